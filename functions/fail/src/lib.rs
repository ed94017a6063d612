//! Ends a job that came to nothing.

use holdfast_workflow::events::FailEvent;
use holdfast_workflow::{Services, Step, fail, handler};
use serde_json::Value;

/// Decodes the event, does the work, encodes the answer.
///
/// # Errors
/// `InvalidInput` if the event is none of this function's, or what the work gives.
#[must_use]
pub fn handle(services: &Services, event: Value) -> Step<'_, Value> {
    Box::pin(async move {
        let event: FailEvent = handler::event(&event, &[])?;
        handler::encode(&fail::fail(services, &event).await?)
    })
}
