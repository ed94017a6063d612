//! The resources under protection, as the workflow writes them.

use super::failure::failure;
use super::item::{self, Item, RESOURCE_PARTITION, json, read_json, read_text, read_time, text};
use super::table::SORT_KEY;
use super::{JobStore, Pages, time};
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use futures::future::BoxFuture;
use holdfast_vault::error::{Code, Error, Result};
use jiff::Timestamp;
use serde_json::Value;

/// A resource's document, and when it came.
#[derive(Debug, Clone, PartialEq)]
pub struct ResourceRow {
    /// The resource's name.
    pub name: String,
    /// Its document.
    pub document: Value,
    /// When it was stored first; `None` in rows that were made before this was kept.
    pub added_at: Option<Timestamp>,
    /// When it was stored last.
    pub applied_at: Option<Timestamp>,
}

impl JobStore {
    /// Stores a resource's document, and returns the one that it replaces.
    ///
    /// # Errors
    /// `StateUnavailable`.
    #[must_use]
    pub fn put_resource<'a>(
        &'a self,
        name: &'a str,
        document: &'a Value,
    ) -> BoxFuture<'a, Result<Option<Value>>> {
        Box::pin(async move {
            let answer = self
                .client
                .update_item()
                .table_name(&self.table)
                .set_key(Some(item::key(RESOURCE_PARTITION, name)))
                .update_expression(
                    "SET body = :body, applied_at = :now, added_at = if_not_exists(added_at, :now)",
                )
                .expression_attribute_values(":body", json(document)?)
                .expression_attribute_values(":now", text(time::text(self.clock.now())))
                .return_values(aws_sdk_dynamodb::types::ReturnValue::AllOld)
                .send()
                .await
                .map_err(|error| self.error(failure(&error), &format!("storing resource {name}")))?;
            answer
                .attributes
                .filter(|old| old.contains_key("body"))
                .map(|old| read_json(&old, "body"))
                .transpose()
        })
    }

    /// A resource's document.
    ///
    /// # Errors
    /// `ResourceUnknown` if there is none, `StateUnavailable`.
    #[must_use]
    pub fn resource<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Value>> {
        Box::pin(async move {
            let unknown = || {
                Error::new(Code::ResourceUnknown, format!("no resource is named {name:?}"))
                    .object(name)
                    .hint("`holdfast resources` lists them; `holdfast apply -f FILE` adds one")
            };
            if name.is_empty() || name.len() > 512 {
                return Err(unknown());
            }
            let found = self.row(RESOURCE_PARTITION, name, &format!("reading resource {name}")).await?;
            read_json(&found.ok_or_else(unknown)?, "body")
        })
    }

    /// All resources with their documents, by name.
    #[must_use]
    pub fn resources(&self) -> Pages<(String, Value)> {
        Pages::new(self, self.resource_query(), |item: &Item| {
            Ok((read_text(item, SORT_KEY)?.to_owned(), read_json(item, "body")?))
        })
    }

    /// All resources with their documents and times, by name.
    #[must_use]
    pub fn resource_rows(&self) -> Pages<ResourceRow> {
        Pages::new(self, self.resource_query(), |item: &Item| {
            Ok(ResourceRow {
                name: read_text(item, SORT_KEY)?.to_owned(),
                document: read_json(item, "body")?,
                added_at: read_time(item, "added_at")?,
                applied_at: read_time(item, "applied_at")?,
            })
        })
    }

    fn resource_query(&self) -> QueryFluentBuilder {
        self.client
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", text(RESOURCE_PARTITION))
            .consistent_read(true)
    }
}
