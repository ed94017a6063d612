//! A table as its service describes it.

use super::fault::Side;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::delete_table::DeleteTableError;
use aws_sdk_dynamodb::operation::describe_table::DescribeTableError;
use aws_sdk_dynamodb::types::{BillingMode, TableDescription, TableStatus};
use aws_smithy_types::DateTime;
use holdfast_connectors::dynamodb::{TableSchema, table_schema};
use holdfast_vault::error::{Code, Error, Result};
use jiff::Timestamp;

/// Where a table stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// Being made, or restored.
    Creating,
    /// There.
    Active,
    /// There, with something of it being changed.
    Updating,
    /// Going.
    Deleting,
    /// Anything else, by the service's name.
    Other(String),
}

/// What of a table restores ask for.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub name: String,
    pub arn: String,
    pub state: State,
    pub created: Option<Timestamp>,
    /// The table that it was restored from, and as of when; none if it was made otherwise.
    pub restored: Option<Restored>,
    /// As the service last counted: hours old, 0 for a new table.
    pub items: u64,
    pub bytes: u64,
    pub protected: bool,
    /// The attributes of the key, hash before range.
    pub key: Vec<String>,
    pub billing: Billing,
    pub(super) description: TableDescription,
}

/// Where a restored table came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Restored {
    pub source_arn: Option<String>,
    pub at: Option<Timestamp>,
    pub in_progress: bool,
}

/// How a table is paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Billing {
    OnDemand,
    Provisioned { read: i64, write: i64 },
}

pub(super) fn timestamp(time: &DateTime) -> Option<Timestamp> {
    Timestamp::from_second(time.secs()).ok()
}

/// The table, if there is one.
///
/// # Errors
/// `Source*` or `Target*`.
pub(crate) async fn describe(client: &Client, name: &str, side: Side) -> Result<Option<Table>> {
    match client.describe_table().table_name(name).send().await {
        Ok(answer) => Ok(answer.table.map(|table| read(name, table))),
        Err(error)
            if error.as_service_error().is_some_and(DescribeTableError::is_resource_not_found_exception) =>
        {
            Ok(None)
        }
        Err(error) => Err(side.fault(&format!("describe table {name}"), name, &error)),
    }
}

fn read(name: &str, table: TableDescription) -> Table {
    let state = match table.table_status.as_ref() {
        Some(TableStatus::Creating) => State::Creating,
        // What says nothing of its state can be used.
        Some(TableStatus::Active) | None => State::Active,
        Some(TableStatus::Updating) => State::Updating,
        Some(TableStatus::Deleting) => State::Deleting,
        Some(other) => State::Other(other.as_str().to_owned()),
    };
    let mut key: Vec<_> = table.key_schema().iter().collect();
    key.sort_by_key(|part| part.key_type.as_str() != "HASH");
    let on_demand = table.billing_mode_summary.as_ref().and_then(|summary| summary.billing_mode.as_ref())
        == Some(&BillingMode::PayPerRequest);
    let throughput = table.provisioned_throughput.as_ref();
    let billing = match throughput.map(|units| (units.read_capacity_units, units.write_capacity_units)) {
        Some((Some(read), Some(write))) if !on_demand && read > 0 => Billing::Provisioned { read, write },
        _ => Billing::OnDemand,
    };
    let count = |count: Option<i64>| u64::try_from(count.unwrap_or(0)).unwrap_or(0);
    Table {
        name: table.table_name.clone().unwrap_or_else(|| name.to_owned()),
        arn: table.table_arn.clone().unwrap_or_default(),
        state,
        created: table.creation_date_time.as_ref().and_then(timestamp),
        restored: table.restore_summary.as_ref().map(|summary| Restored {
            source_arn: summary.source_table_arn.clone(),
            at: timestamp(&summary.restore_date_time),
            in_progress: summary.restore_in_progress,
        }),
        items: count(table.item_count),
        bytes: count(table.table_size_bytes),
        protected: table.deletion_protection_enabled == Some(true),
        key: key.into_iter().map(|part| part.attribute_name.clone()).collect(),
        billing,
        description: table,
    }
}

/// The table's definition and settings.
///
/// # Errors
/// `Source*`.
pub(crate) async fn schema(client: &Client, table: &Table) -> Result<TableSchema> {
    table_schema(client, &table.name, &table.description).await
}

/// What came of removing a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remove {
    /// It is gone.
    Gone,
    /// It is on its way, or cannot be deleted yet.
    Wait,
}

/// Removes a table as far as that is possible now.
///
/// # Errors
/// `Target*`.
pub(crate) async fn remove(client: &Client, table: &Table) -> Result<Remove> {
    let name = &table.name;
    match &table.state {
        State::Creating | State::Updating | State::Deleting => return Ok(Remove::Wait),
        State::Active | State::Other(_) => {}
    }
    if table.protected {
        let changed = client.update_table().table_name(name).deletion_protection_enabled(false).send().await;
        changed.map_err(|error| Side::Target.fault(&format!("unprotect table {name}"), name, &error))?;
        return Ok(Remove::Wait);
    }
    match client.delete_table().table_name(name).send().await {
        Ok(_) => Ok(Remove::Wait),
        Err(error) => match error.as_service_error() {
            Some(DeleteTableError::ResourceNotFoundException(_)) => Ok(Remove::Gone),
            Some(DeleteTableError::ResourceInUseException(_)) => Ok(Remove::Wait),
            _ => Err(Side::Target.fault(&format!("delete table {name}"), name, &error)),
        },
    }
}

impl Table {
    /// The table itself, if it can be read.
    ///
    /// # Errors
    /// `TargetInvalid` if it is none that can be.
    pub(crate) fn readable(self) -> Result<Self> {
        match &self.state {
            State::Active | State::Updating => Ok(self),
            State::Creating | State::Deleting => Err(self.unreadable("not there yet, or on its way out")),
            State::Other(state) => Err(self.unreadable(state)),
        }
    }

    fn unreadable(&self, why: &str) -> Error {
        Error::new(Code::TargetInvalid, format!("table {} cannot be read: it is {why}", self.name))
            .object(&self.name)
    }
}
