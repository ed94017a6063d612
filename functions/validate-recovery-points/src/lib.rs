//! Reports what AWS Backup failed to do in the last day.

use holdfast_common::clock::SystemClock;
use holdfast_lambda::aws_config;
use holdfast_recovery::Recovery;
use holdfast_recovery::report::{ReportEvent, report};
use holdfast_vault::error::Result;
use holdfast_workflow::handler;
use serde_json::Value;
use std::sync::Arc;

/// The services of the environment's region and account.
///
/// # Errors
/// None.
pub async fn open() -> Result<Recovery> {
    Ok(Recovery::new(&aws_config().await, Arc::new(SystemClock), None))
}

/// Decodes the event, does the work, encodes the answer.
///
/// # Errors
/// `InvalidInput` if the event is none of this function's, or what the work gives.
pub async fn handle(recovery: &Recovery, event: Value) -> Result<Value> {
    let event: ReportEvent = handler::decode(event)?;
    handler::encode(&report(recovery, &event).await?)
}
