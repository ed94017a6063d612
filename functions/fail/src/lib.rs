//! Ends a job that came to nothing.

use holdfast_vault::error::Result;
use holdfast_workflow::events::FailEvent;
use holdfast_workflow::{Services, fail, handler};
use serde_json::Value;

/// Decodes the event, does the work, encodes the answer.
///
/// # Errors
/// `InvalidInput` if the event is none of this function's, or what the work gives.
pub async fn handle(services: &Services, event: Value) -> Result<Value> {
    let event: FailEvent = handler::event(&event, &[])?;
    handler::encode(&fail::fail(services, &event).await?)
}
