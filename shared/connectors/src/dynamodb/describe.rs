//! Reads a table's definition and settings from the service.

use super::schema::{
    AttributeDefinition, CreateTable, Index, KeyElement, OnDemandThroughput, PointInTimeRecovery, Projection,
    SseSpecification, StreamSpecification, TableSchema, Throughput,
};
use crate::aws::{Subject, Tell, not_offered};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::describe_table::DescribeTableError;
use aws_sdk_dynamodb::types as sdk;
use aws_sdk_dynamodb::types::{
    BillingMode, PointInTimeRecoveryStatus, SseStatus, SseType, TableDescription, TimeToLiveStatus,
};
use holdfast_vault::error::Result;
use std::collections::BTreeMap;

/// The tag of a table that a restore made and has not finished; its value is the restore's id.
pub(crate) const MADE_BY: &str = "holdfast:restore";
/// The tag of an empty table that a restore found and fills.
pub(crate) const FILLED_BY: &str = "holdfast:restore-into";

/// The table as the service describes it, `None` if there is none.
pub(crate) async fn describe(
    client: &Client,
    table: &str,
    subject: &Subject,
) -> Result<Option<TableDescription>> {
    match client.describe_table().table_name(table).send().await {
        Ok(answer) => Ok(answer.table),
        Err(error)
            if error.as_service_error().is_some_and(DescribeTableError::is_resource_not_found_exception) =>
        {
            Ok(None)
        }
        Err(error) => Err(subject.fault("describe", Tell::All, &error)),
    }
}

/// All that is kept of a table beside its items.
pub(crate) async fn read_schema(
    client: &Client,
    table: &str,
    description: &TableDescription,
    subject: &Subject,
) -> Result<TableSchema> {
    let mut unread = Vec::new();
    if description.vector_indexes.as_ref().is_some_and(|indexes| !indexes.is_empty()) {
        unread.push("vector_indexes".to_owned());
    }
    if description.replicas.as_ref().is_some_and(|replicas| !replicas.is_empty()) {
        unread.push("replicas".to_owned());
    }
    let time_to_live = match time_to_live(client, table, subject).await? {
        Some(attribute) => attribute,
        None => leave_out(&mut unread, "time_to_live"),
    };
    let point_in_time_recovery = match point_in_time_recovery(client, table, subject).await? {
        Some(recovery) => recovery,
        None => leave_out(&mut unread, "continuous_backups"),
    };
    let tags = match tags(client, description, subject).await? {
        Some(mut tags) => {
            tags.retain(|name, _| name != MADE_BY && name != FILLED_BY);
            tags
        }
        None => leave_out(&mut unread, "tags"),
    };
    Ok(TableSchema {
        create_table: definition(description),
        time_to_live,
        point_in_time_recovery,
        tags,
        unread,
    })
}

fn leave_out<T: Default>(unread: &mut Vec<String>, setting: &str) -> T {
    unread.push(setting.to_owned());
    T::default()
}

/// The attribute of time to live; the outer `None` means that it cannot be read here.
pub(crate) async fn time_to_live(
    client: &Client,
    table: &str,
    subject: &Subject,
) -> Result<Option<Option<String>>> {
    match client.describe_time_to_live().table_name(table).send().await {
        Ok(answer) => {
            Ok(Some(answer.time_to_live_description.and_then(|ttl| match ttl.time_to_live_status {
                Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling) => ttl.attribute_name,
                _ => None,
            })))
        }
        Err(error) if not_offered(&error) => Ok(None),
        Err(error) => Err(subject.fault("read the time to live of", Tell::All, &error)),
    }
}

/// Point-in-time recovery; the outer `None` means that it cannot be read here.
pub(crate) async fn point_in_time_recovery(
    client: &Client,
    table: &str,
    subject: &Subject,
) -> Result<Option<Option<PointInTimeRecovery>>> {
    match client.describe_continuous_backups().table_name(table).send().await {
        Ok(answer) => {
            let recovery =
                answer.continuous_backups_description.and_then(|d| d.point_in_time_recovery_description);
            Ok(Some(
                recovery
                    .filter(|r| r.point_in_time_recovery_status == Some(PointInTimeRecoveryStatus::Enabled))
                    .map(|r| PointInTimeRecovery { recovery_period_in_days: r.recovery_period_in_days }),
            ))
        }
        Err(error) if not_offered(&error) => Ok(None),
        Err(error) => Err(subject.fault("read the continuous backups of", Tell::All, &error)),
    }
}

/// The table's tags; `None` if they cannot be read here.
pub(crate) async fn tags(
    client: &Client,
    description: &TableDescription,
    subject: &Subject,
) -> Result<Option<BTreeMap<String, String>>> {
    let Some(arn) = &description.table_arn else { return Ok(None) };
    let mut tags = BTreeMap::new();
    let mut next = None;
    loop {
        match client.list_tags_of_resource().resource_arn(arn).set_next_token(next).send().await {
            Ok(answer) => {
                tags.extend(answer.tags.unwrap_or_default().into_iter().map(|tag| (tag.key, tag.value)));
                next = answer.next_token;
                if next.is_none() {
                    return Ok(Some(tags));
                }
            }
            Err(error) if not_offered(&error) => return Ok(None),
            Err(error) => return Err(subject.fault("read the tags of", Tell::All, &error)),
        }
    }
}

/// What `CreateTable` would be given to make the table.
pub(crate) fn definition(table: &TableDescription) -> CreateTable {
    let mut attribute_definitions: Vec<_> = table
        .attribute_definitions()
        .iter()
        .map(|attribute| AttributeDefinition {
            attribute_name: attribute.attribute_name.clone(),
            attribute_type: attribute.attribute_type.as_str().to_owned(),
        })
        .collect();
    attribute_definitions.sort();
    let provisioned_throughput = table.provisioned_throughput.as_ref().and_then(throughput);
    let billing_mode =
        match table.billing_mode_summary.as_ref().and_then(|summary| summary.billing_mode.as_ref()) {
            Some(mode) => mode.as_str().to_owned(),
            None => BillingMode::Provisioned.as_str().to_owned(),
        };
    let provisioned = billing_mode == BillingMode::Provisioned.as_str();
    CreateTable {
        attribute_definitions,
        key_schema: key_schema(table.key_schema()),
        billing_mode,
        provisioned_throughput: provisioned_throughput.filter(|_| provisioned),
        on_demand_throughput: table.on_demand_throughput.as_ref().and_then(on_demand),
        local_secondary_indexes: local_indexes(table),
        global_secondary_indexes: global_indexes(table, provisioned),
        stream_specification: table.stream_specification.as_ref().filter(|stream| stream.stream_enabled).map(
            |stream| StreamSpecification {
                stream_enabled: true,
                stream_view_type: stream.stream_view_type.as_ref().map(|kind| kind.as_str().to_owned()),
            },
        ),
        sse_specification: table.sse_description.as_ref().and_then(encryption),
        table_class: table
            .table_class_summary
            .as_ref()
            .and_then(|summary| summary.table_class.as_ref())
            .map(|class| class.as_str().to_owned()),
        deletion_protection_enabled: table.deletion_protection_enabled == Some(true),
    }
}

fn key_schema(elements: &[sdk::KeySchemaElement]) -> Vec<KeyElement> {
    let element = |element: &sdk::KeySchemaElement| KeyElement {
        attribute_name: element.attribute_name.clone(),
        key_type: element.key_type.as_str().to_owned(),
    };
    elements.iter().map(element).collect()
}

fn local_indexes(table: &TableDescription) -> Vec<Index> {
    let mut indexes: Vec<_> = table
        .local_secondary_indexes()
        .iter()
        .map(|index| Index {
            index_name: index.index_name.clone().unwrap_or_default(),
            key_schema: key_schema(index.key_schema()),
            projection: projection(index.projection.as_ref()),
            provisioned_throughput: None,
            on_demand_throughput: None,
        })
        .collect();
    indexes.sort_by(|left, right| left.index_name.cmp(&right.index_name));
    indexes
}

fn global_indexes(table: &TableDescription, provisioned: bool) -> Vec<Index> {
    let mut indexes: Vec<_> = table
        .global_secondary_indexes()
        .iter()
        .map(|index| Index {
            index_name: index.index_name.clone().unwrap_or_default(),
            key_schema: key_schema(index.key_schema()),
            projection: projection(index.projection.as_ref()),
            provisioned_throughput: index
                .provisioned_throughput
                .as_ref()
                .and_then(throughput)
                .filter(|_| provisioned),
            on_demand_throughput: index.on_demand_throughput.as_ref().and_then(on_demand),
        })
        .collect();
    indexes.sort_by(|left, right| left.index_name.cmp(&right.index_name));
    indexes
}

fn projection(projection: Option<&sdk::Projection>) -> Projection {
    let kind = projection.and_then(|projection| projection.projection_type.as_ref());
    let mut others =
        projection.map(|projection| projection.non_key_attributes().to_vec()).unwrap_or_default();
    others.sort();
    Projection {
        projection_type: kind.unwrap_or(&sdk::ProjectionType::All).as_str().to_owned(),
        non_key_attributes: others,
    }
}

fn throughput(throughput: &sdk::ProvisionedThroughputDescription) -> Option<Throughput> {
    Some(Throughput {
        read_capacity_units: throughput.read_capacity_units?,
        write_capacity_units: throughput.write_capacity_units?,
    })
}

/// The service writes -1 for a bound that is not set.
fn on_demand(bounds: &sdk::OnDemandThroughput) -> Option<OnDemandThroughput> {
    let bounds = OnDemandThroughput {
        max_read_request_units: bounds.max_read_request_units.filter(|units| *units > 0),
        max_write_request_units: bounds.max_write_request_units.filter(|units| *units > 0),
    };
    (bounds.max_read_request_units.is_some() || bounds.max_write_request_units.is_some()).then_some(bounds)
}

fn encryption(sse: &sdk::SseDescription) -> Option<SseSpecification> {
    let on = matches!(sse.status, Some(SseStatus::Enabled | SseStatus::Enabling | SseStatus::Updating));
    on.then(|| SseSpecification {
        enabled: true,
        sse_type: sse.sse_type.as_ref().unwrap_or(&SseType::Kms).as_str().to_owned(),
        kms_master_key_id: sse.kms_master_key_arn.clone(),
    })
}
