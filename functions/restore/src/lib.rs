//! Restores: plans, writes parts, finishes.

use holdfast_workflow::events::RestoreEvent;
use holdfast_workflow::{Services, Step, handler, restore};
use serde_json::Value;

/// Decodes the event, does the work, encodes the answer.
///
/// # Errors
/// `InvalidInput` if the event is none of this function's, or what the work gives.
#[must_use]
pub fn handle(services: &Services, event: Value) -> Step<'_, Value> {
    Box::pin(async move {
        let event: RestoreEvent = handler::event(&event, &[])?;
        handler::encode(&restore::restore(services, &event).await?)
    })
}
