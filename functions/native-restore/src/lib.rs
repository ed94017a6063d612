//! Restores a recovery point of DynamoDB or of AWS Backup into a new table.

use holdfast_common::clock::SystemClock;
use holdfast_lambda::{Environment, aws_config};
use holdfast_recovery::Recovery;
use holdfast_recovery::native::{self, NativeEvent};
use holdfast_vault::error::Result;
use holdfast_workflow::handler;
use serde_json::Value;
use std::sync::Arc;

/// The role with which AWS Backup restores.
const RESTORE_ROLE: &str = "HOLDFAST_RESTORE_ROLE_ARN";

/// What the environment names.
///
/// # Errors
/// None: a restore that needs a role says so where there is none.
pub async fn open() -> Result<Recovery> {
    let role = Environment::get(RESTORE_ROLE).ok();
    Ok(Recovery::new(&aws_config().await, Arc::new(SystemClock), role))
}

/// Decodes the event, does the work, encodes the answer.
///
/// # Errors
/// `InvalidInput` if the event is none of this function's, or what the work gives.
pub async fn handle(recovery: &Recovery, event: Value) -> Result<Value> {
    let event: NativeEvent = handler::decode(event)?;
    native::step(recovery, event).await
}
