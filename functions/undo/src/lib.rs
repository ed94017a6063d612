//! Undoes: plans, puts records back, proves, finishes.

use holdfast_workflow::events::UndoEvent;
use holdfast_workflow::{Services, Step, handler, undo};
use serde_json::Value;

/// Decodes the event, does the work, encodes the answer.
///
/// # Errors
/// `InvalidInput` if the event is none of this function's, or what the work gives.
#[must_use]
pub fn handle(services: &Services, event: Value) -> Step<'_, Value> {
    Box::pin(async move {
        let event: UndoEvent = handler::event(&event, &[])?;
        handler::encode(&undo::undo(services, &event).await?)
    })
}
