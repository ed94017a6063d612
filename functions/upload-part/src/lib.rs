//! Admits a staged step into the vault. Knows no source.

use holdfast_vault::error::Result;
use holdfast_workflow::events::TaskEvent;
use holdfast_workflow::{Services, handler, upload};
use serde_json::Value;

/// Decodes the event, does the work, encodes the answer.
///
/// # Errors
/// `InvalidInput` if the event is none of this function's, or what the work gives.
pub async fn handle(services: &Services, event: Value) -> Result<Value> {
    let event: TaskEvent = handler::event(&event, &["more"])?;
    handler::encode(&upload::upload_part(services, &event).await?)
}
