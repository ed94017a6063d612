//! Begins a backup: its streams and ranges become tasks.

use holdfast_vault::error::Result;
use holdfast_workflow::events::PlanEvent;
use holdfast_workflow::{Services, handler, plan};
use serde_json::Value;

/// Decodes the event, does the work, encodes the answer.
///
/// # Errors
/// `InvalidInput` if the event is none of this function's, or what the work gives.
pub async fn handle(services: &Services, event: Value) -> Result<Value> {
    let event: PlanEvent = handler::decode(event)?;
    handler::encode(&plan::plan(services, &event).await?)
}
