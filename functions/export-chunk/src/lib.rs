//! Exports one step of a task into staging. Reads the source; never touches the vault.

use holdfast_workflow::events::TaskEvent;
use holdfast_workflow::{Services, Step, export, handler};
use serde_json::Value;

/// Decodes the event, does the work, encodes the answer.
///
/// # Errors
/// `InvalidInput` if the event is none of this function's, or what the work gives.
#[must_use]
pub fn handle(services: &Services, event: Value) -> Step<'_, Value> {
    Box::pin(async move {
        let event: TaskEvent = handler::event(&event, &["more"])?;
        handler::encode(&export::export_chunk(services, &event).await?)
    })
}
