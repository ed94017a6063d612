//! Admits a staged step into the vault. Knows no source.

use holdfast_workflow::events::TaskEvent;
use holdfast_workflow::{Services, Step, handler, upload};
use serde_json::Value;

/// Decodes the event, does the work, encodes the answer.
///
/// # Errors
/// `InvalidInput` if the event is none of this function's, or what the work gives.
#[must_use]
pub fn handle(services: &Services, event: Value) -> Step<'_, Value> {
    Box::pin(async move {
        let event: TaskEvent = handler::event(&event, &["more"])?;
        handler::encode(&upload::upload_part(services, &event).await?)
    })
}
