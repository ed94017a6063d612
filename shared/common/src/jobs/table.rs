//! The table's definition, the same here, in the template and in the embedded cloud.

use super::JobStore;
use super::failure::{Failure, failure};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType,
};
use futures::future::BoxFuture;
use holdfast_vault::error::{Code, Error, Result};

/// The partition key, a string.
pub const PARTITION_KEY: &str = "pk";
/// The sort key, a string.
pub const SORT_KEY: &str = "sk";

/// When the service may remove a row, in seconds since 1970; rows without it stay.
pub(super) const EXPIRES_AT: &str = "expires_at";

/// A global secondary index that projects all attributes. Its keys are strings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexDefinition {
    /// The index's name.
    pub name: &'static str,
    /// Its partition key.
    pub partition_key: &'static str,
    /// Its sort key: a job's id, so that newer jobs come later.
    pub sort_key: &'static str,
}

pub(super) const BY_KIND: IndexDefinition =
    IndexDefinition { name: "by_kind", partition_key: "gsi_kind", sort_key: "gsi_sort" };
pub(super) const BY_RESOURCE: IndexDefinition =
    IndexDefinition { name: "by_resource", partition_key: "gsi_resource", sort_key: "gsi_sort" };

/// Holds only the jobs that have not ended: few, however many there were.
pub(super) const BY_OPEN: IndexDefinition =
    IndexDefinition { name: "by_open", partition_key: "gsi_open", sort_key: "gsi_sort" };

/// The table's indexes: jobs of a kind, jobs that have not ended, and jobs of a kind and a resource.
pub const INDEXES: [IndexDefinition; 3] = [BY_KIND, BY_OPEN, BY_RESOURCE];

impl JobStore {
    /// Makes the table, billed by request, unless it exists: for the embedded cloud, where no template does.
    ///
    /// # Errors
    /// `StateUnavailable`.
    #[must_use]
    pub fn create_table_if_missing(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let mut attributes = vec![PARTITION_KEY, SORT_KEY];
            for index in INDEXES {
                attributes.extend([index.partition_key, index.sort_key]);
            }
            attributes.sort_unstable();
            attributes.dedup();
            let attributes = attributes.into_iter().map(attribute).collect::<Result<Vec<_>>>()?;
            let indexes = INDEXES.iter().map(index).collect::<Result<Vec<_>>>()?;
            let made = self
                .client
                .create_table()
                .table_name(&self.table)
                .billing_mode(BillingMode::PayPerRequest)
                .set_attribute_definitions(Some(attributes))
                .set_key_schema(Some(keys(PARTITION_KEY, SORT_KEY)?))
                .set_global_secondary_indexes(Some(indexes))
                .send()
                .await;
            match made {
                Ok(_) => Ok(()),
                Err(error) => match failure(&error) {
                    Failure::InUse => Ok(()),
                    other => Err(self.error(other, "creating the job table")),
                },
            }
        })
    }
}

fn attribute(name: &str) -> Result<AttributeDefinition> {
    AttributeDefinition::builder()
        .attribute_name(name)
        .attribute_type(ScalarAttributeType::S)
        .build()
        .map_err(internal)
}

fn keys(partition: &str, sort: &str) -> Result<Vec<KeySchemaElement>> {
    let element = |name, role| KeySchemaElement::builder().attribute_name(name).key_type(role).build();
    Ok(vec![
        element(partition, KeyType::Hash).map_err(internal)?,
        element(sort, KeyType::Range).map_err(internal)?,
    ])
}

fn index(index: &IndexDefinition) -> Result<GlobalSecondaryIndex> {
    GlobalSecondaryIndex::builder()
        .index_name(index.name)
        .set_key_schema(Some(keys(index.partition_key, index.sort_key)?))
        .projection(Projection::builder().projection_type(ProjectionType::All).build())
        .build()
        .map_err(internal)
}

/// A request that the SDK would not build: a fault of ours.
pub(super) fn internal(error: impl std::fmt::Display) -> Error {
    Error::new(Code::Internal, format!("a request to the job table could not be built: {error}"))
}
