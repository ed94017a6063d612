//! Completes a backup: proves it whole and writes its manifest.

use holdfast_vault::error::Result;
use holdfast_workflow::events::JobEvent;
use holdfast_workflow::{Services, commit, handler};
use serde_json::Value;

/// Decodes the event, does the work, encodes the answer.
///
/// # Errors
/// `InvalidInput` if the event is none of this function's, or what the work gives.
pub async fn handle(services: &Services, event: Value) -> Result<Value> {
    let event: JobEvent = handler::event(&event, &[])?;
    handler::encode(&commit::commit(services, &event).await?)
}
