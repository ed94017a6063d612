//! Verifies a backup. Only reads the vault.

use holdfast_workflow::events::VerifyEvent;
use holdfast_workflow::{Services, Step, handler, verify};
use serde_json::Value;

/// Decodes the event, does the work, encodes the answer.
///
/// # Errors
/// `InvalidInput` if the event is none of this function's, or what the work gives.
#[must_use]
pub fn handle(services: &Services, event: Value) -> Step<'_, Value> {
    Box::pin(async move {
        let event: VerifyEvent = handler::event(&event, &[])?;
        handler::encode(&verify::verify(services, &event).await?)
    })
}
