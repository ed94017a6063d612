//! Restores: plans, writes parts, finishes.

use holdfast_vault::error::Result;
use holdfast_workflow::events::RestoreEvent;
use holdfast_workflow::{Services, handler, restore};
use serde_json::Value;

/// Decodes the event, does the work, encodes the answer.
///
/// # Errors
/// `InvalidInput` if the event is none of this function's, or what the work gives.
pub async fn handle(services: &Services, event: Value) -> Result<Value> {
    let event: RestoreEvent = handler::event(&event, &[])?;
    handler::encode(&restore::restore(services, &event).await?)
}
