//! `DynamoDB`'s own recovery: any second of a table's last days, into a new table.

use super::fault::Side;
use super::table::{Billing, Table, timestamp};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::restore_table_to_point_in_time::RestoreTableToPointInTimeError as Refused;
use aws_sdk_dynamodb::types::{BillingMode, PointInTimeRecoveryStatus, ProvisionedThroughput};
use aws_smithy_types::DateTime;
use holdfast_vault::error::{Code, Error, Result};
use jiff::Timestamp;

/// The times that a table can be restored to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub earliest: Timestamp,
    pub latest: Timestamp,
}

/// The times that a table can be restored to; none if point-in-time recovery is off.
///
/// # Errors
/// `Source*`.
pub(crate) async fn recovery_window(client: &Client, table: &str) -> Result<Option<Window>> {
    let answer = client.describe_continuous_backups().table_name(table).send().await.map_err(|error| {
        Side::Source.fault(&format!("read the continuous backups of table {table}"), table, &error)
    })?;
    let recovery = answer.continuous_backups_description.and_then(|d| d.point_in_time_recovery_description);
    Ok(recovery
        .filter(|recovery| recovery.point_in_time_recovery_status == Some(PointInTimeRecoveryStatus::Enabled))
        .and_then(|recovery| {
            Some(Window {
                earliest: timestamp(recovery.earliest_restorable_date_time.as_ref()?)?,
                latest: timestamp(recovery.latest_restorable_date_time.as_ref()?)?,
            })
        }))
}

/// A restore to a time.
#[derive(Debug)]
pub(crate) struct TimeRestore<'a> {
    pub source: &'a Table,
    pub target: &'a str,
    /// The latest that is possible where none is given.
    pub at: Option<Timestamp>,
}

/// Starts a restore. The new table is billed as the source. Its indexes and its encryption are the source's too: the
/// service takes them from it where a request names none, and refuses some keys by name that it uses itself.
///
/// # Errors
/// `TargetUnavailable` if a table of the target's name came up, else `Source*`.
pub(crate) async fn restore_to_time(client: &Client, order: &TimeRestore<'_>) -> Result<()> {
    let source = order.source;
    let unbuilt = |error: aws_sdk_dynamodb::error::BuildError| Error::new(Code::Internal, error.to_string());
    let (billing, throughput) = match source.billing {
        Billing::OnDemand => (BillingMode::PayPerRequest, None),
        Billing::Provisioned { read, write } => {
            let units =
                ProvisionedThroughput::builder().read_capacity_units(read).write_capacity_units(write);
            (BillingMode::Provisioned, Some(units.build().map_err(unbuilt)?))
        }
    };
    let mut call = client
        .restore_table_to_point_in_time()
        .source_table_arn(&source.arn)
        .target_table_name(order.target)
        .billing_mode_override(billing)
        .set_provisioned_throughput_override(throughput);
    call = match order.at {
        Some(at) => call.restore_date_time(DateTime::from_secs(at.as_second())),
        None => call.use_latest_restorable_time(true),
    };
    let Err(error) = call.send().await else { return Ok(()) };
    let came_up = matches!(
        error.as_service_error(),
        Some(Refused::TableAlreadyExistsException(_) | Refused::TableInUseException(_))
    );
    if came_up {
        return Err(Error::new(
            Code::TargetUnavailable,
            format!("a table {} came up meanwhile, or the source is being changed", order.target),
        )
        .object(order.target));
    }
    Err(Side::Source.fault(&format!("restore table {}", source.name), &source.name, &error))
}
