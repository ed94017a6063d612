//! What is kept of a table beside its items: enough to make it again.

use aws_sdk_dynamodb::types as sdk;
use holdfast_vault::error::{Code, Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A record stream's schema, as the `dynamodb` source writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableSchema {
    /// The input of `CreateTable` in the API's own JSON, all but the name and the tags.
    pub create_table: CreateTable,
    /// The attribute that says when an item expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_to_live: Option<String>,
    /// Point-in-time recovery, where it is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub point_in_time_recovery: Option<PointInTimeRecovery>,
    /// The table's tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Settings that the endpoint or the role did not give: `time_to_live`, `continuous_backups`, `tags`; and those that
    /// are on but not kept: `vector_indexes`, `replicas`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<String>,
}

/// Point-in-time recovery of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PointInTimeRecovery {
    /// How far back, where the service says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_period_in_days: Option<i32>,
}

/// The input of `CreateTable`. Lists are sorted by name, key schemas are in the API's order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the names are the API's")]
pub struct CreateTable {
    pub attribute_definitions: Vec<AttributeDefinition>,
    pub key_schema: Vec<KeyElement>,
    pub billing_mode: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provisioned_throughput: Option<Throughput>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_demand_throughput: Option<OnDemandThroughput>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub local_secondary_indexes: Vec<Index>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub global_secondary_indexes: Vec<Index>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_specification: Option<StreamSpecification>,
    #[serde(default, rename = "SSESpecification", skip_serializing_if = "Option::is_none")]
    pub sse_specification: Option<SseSpecification>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table_class: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deletion_protection_enabled: bool,
}

/// An attribute that a key needs, and its type: `S`, `N` or `B`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the names are the API's")]
pub struct AttributeDefinition {
    pub attribute_name: String,
    pub attribute_type: String,
}

/// A part of a key: `HASH` or `RANGE`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the names are the API's")]
pub struct KeyElement {
    pub attribute_name: String,
    pub key_type: String,
}

/// Capacity that is paid for whether used or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the names are the API's")]
pub struct Throughput {
    pub read_capacity_units: i64,
    pub write_capacity_units: i64,
}

/// Bounds of capacity on demand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the names are the API's")]
pub struct OnDemandThroughput {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_read_request_units: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_write_request_units: Option<i64>,
}

/// A secondary index; local ones have no throughput.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the names are the API's")]
pub struct Index {
    pub index_name: String,
    pub key_schema: Vec<KeyElement>,
    pub projection: Projection,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provisioned_throughput: Option<Throughput>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_demand_throughput: Option<OnDemandThroughput>,
}

/// Which attributes an index holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the names are the API's")]
pub struct Projection {
    pub projection_type: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub non_key_attributes: Vec<String>,
}

/// A table's stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the names are the API's")]
pub struct StreamSpecification {
    pub stream_enabled: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_view_type: Option<String>,
}

/// Encryption with a key of KMS; absent where DynamoDB's own key is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the names are the API's")]
pub struct SseSpecification {
    pub enabled: bool,
    #[serde(rename = "SSEType")]
    pub sse_type: String,
    #[serde(default, rename = "KMSMasterKeyId", skip_serializing_if = "Option::is_none")]
    pub kms_master_key_id: Option<String>,
}

/// An attribute of the table's key and its type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyPart {
    pub name: String,
    pub kind: String,
}

impl TableSchema {
    /// Reads the schema of a stream that the `dynamodb` source wrote.
    ///
    /// # Errors
    /// `TargetInvalid`, naming the stream, if it is none.
    pub(crate) fn of_stream(stream: &holdfast_vault::model::StreamInfo) -> Result<Self> {
        serde_json::from_value(stream.schema.clone()).map_err(|error| {
            Error::new(
                Code::TargetInvalid,
                format!("stream {} has no usable table definition: {error}", stream.name),
            )
            .object(stream.name.clone())
            .hint("restore into a table that exists already")
        })
    }

    /// The least that makes a table with this key.
    pub(crate) fn plain(key: &[KeyPart]) -> Self {
        Self {
            create_table: CreateTable {
                attribute_definitions: key
                    .iter()
                    .map(|part| AttributeDefinition {
                        attribute_name: part.name.clone(),
                        attribute_type: part.kind.clone(),
                    })
                    .collect(),
                key_schema: key
                    .iter()
                    .zip(["HASH", "RANGE"])
                    .map(|(part, kind)| KeyElement {
                        attribute_name: part.name.clone(),
                        key_type: kind.to_owned(),
                    })
                    .collect(),
                billing_mode: "PAY_PER_REQUEST".to_owned(),
                provisioned_throughput: None,
                on_demand_throughput: None,
                local_secondary_indexes: Vec::new(),
                global_secondary_indexes: Vec::new(),
                stream_specification: None,
                sse_specification: None,
                table_class: None,
                deletion_protection_enabled: false,
            },
            time_to_live: None,
            point_in_time_recovery: None,
            tags: BTreeMap::new(),
            unread: Vec::new(),
        }
    }
}

impl CreateTable {
    /// The table's key, hash before range, with its types.
    pub(crate) fn key(&self) -> Vec<KeyPart> {
        let mut key: Vec<_> = self.key_schema.iter().collect();
        key.sort_by_key(|element| element.key_type != "HASH");
        let kind_of = |name: &String| {
            let found = self.attribute_definitions.iter().find(|attribute| attribute.attribute_name == *name);
            found.map(|attribute| attribute.attribute_type.clone()).unwrap_or_default()
        };
        key.into_iter()
            .map(|element| KeyPart {
                name: element.attribute_name.clone(),
                kind: kind_of(&element.attribute_name),
            })
            .collect()
    }
}

fn unbuildable(error: impl std::fmt::Display) -> Error {
    Error::new(Code::TargetInvalid, format!("the table's definition cannot be sent: {error}"))
}

pub(crate) fn attributes(definitions: &[AttributeDefinition]) -> Result<Vec<sdk::AttributeDefinition>> {
    definitions
        .iter()
        .map(|attribute| {
            sdk::AttributeDefinition::builder()
                .attribute_name(&attribute.attribute_name)
                .attribute_type(attribute.attribute_type.as_str().into())
                .build()
                .map_err(unbuildable)
        })
        .collect()
}

pub(crate) fn key_schema(elements: &[KeyElement]) -> Result<Vec<sdk::KeySchemaElement>> {
    elements
        .iter()
        .map(|element| {
            sdk::KeySchemaElement::builder()
                .attribute_name(&element.attribute_name)
                .key_type(element.key_type.as_str().into())
                .build()
                .map_err(unbuildable)
        })
        .collect()
}

impl Projection {
    fn to_sdk(&self) -> sdk::Projection {
        let others = (!self.non_key_attributes.is_empty()).then(|| self.non_key_attributes.clone());
        sdk::Projection::builder()
            .projection_type(self.projection_type.as_str().into())
            .set_non_key_attributes(others)
            .build()
    }
}

impl Throughput {
    pub(crate) fn to_sdk(self) -> Result<sdk::ProvisionedThroughput> {
        sdk::ProvisionedThroughput::builder()
            .read_capacity_units(self.read_capacity_units)
            .write_capacity_units(self.write_capacity_units)
            .build()
            .map_err(unbuildable)
    }
}

impl OnDemandThroughput {
    pub(crate) fn to_sdk(self) -> sdk::OnDemandThroughput {
        sdk::OnDemandThroughput::builder()
            .set_max_read_request_units(self.max_read_request_units)
            .set_max_write_request_units(self.max_write_request_units)
            .build()
    }
}

impl Index {
    pub(crate) fn to_local(&self) -> Result<sdk::LocalSecondaryIndex> {
        sdk::LocalSecondaryIndex::builder()
            .index_name(&self.index_name)
            .set_key_schema(Some(key_schema(&self.key_schema)?))
            .projection(self.projection.to_sdk())
            .build()
            .map_err(unbuildable)
    }

    pub(crate) fn to_global(&self) -> Result<sdk::GlobalSecondaryIndex> {
        sdk::GlobalSecondaryIndex::builder()
            .index_name(&self.index_name)
            .set_key_schema(Some(key_schema(&self.key_schema)?))
            .projection(self.projection.to_sdk())
            .set_provisioned_throughput(self.provisioned_throughput.map(Throughput::to_sdk).transpose()?)
            .set_on_demand_throughput(self.on_demand_throughput.map(OnDemandThroughput::to_sdk))
            .build()
            .map_err(unbuildable)
    }
}

impl SseSpecification {
    pub(crate) fn to_sdk(&self) -> sdk::SseSpecification {
        sdk::SseSpecification::builder()
            .enabled(self.enabled)
            .sse_type(self.sse_type.as_str().into())
            .set_kms_master_key_id(self.kms_master_key_id.clone())
            .build()
    }
}

impl StreamSpecification {
    pub(crate) fn to_sdk(&self) -> Result<sdk::StreamSpecification> {
        sdk::StreamSpecification::builder()
            .stream_enabled(self.stream_enabled)
            .set_stream_view_type(self.stream_view_type.as_deref().map(Into::into))
            .build()
            .map_err(unbuildable)
    }
}
