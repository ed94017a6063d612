//! Completes a backup: proves it whole and writes its manifest.

use holdfast_workflow::events::JobEvent;
use holdfast_workflow::{Services, Step, commit, handler};
use serde_json::Value;

/// Decodes the event, does the work, encodes the answer.
///
/// # Errors
/// `InvalidInput` if the event is none of this function's, or what the work gives.
#[must_use]
pub fn handle(services: &Services, event: Value) -> Step<'_, Value> {
    Box::pin(async move {
        let event: JobEvent = handler::event(&event, &[])?;
        handler::encode(&commit::commit(services, &event).await?)
    })
}
