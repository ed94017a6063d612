//! Captures changes of a table from its stream. Writes change objects into the vault. Asked about a backup, it tells
//! whether a change was missed before it. Told that old changes are to go, it records that they are missing from then on.

use holdfast_workflow::capture::{CaptureEvent, CheckEvent, ExpireEvent};
use holdfast_workflow::{Services, Step, capture, handler};
use serde_json::Value;

/// Decodes the event, does the work, encodes the answer: a partial batch response, which names the first record that is to
/// be delivered again.
///
/// # Errors
/// `InvalidInput` if the event is none of this function's, or what the work gives; then the whole batch is to be delivered
/// again.
#[must_use]
pub fn handle(services: &Services, event: Value) -> Step<'_, Value> {
    Box::pin(async move {
        if event.get("check").is_some() {
            let event: CheckEvent = handler::decode(event)?;
            return handler::encode(&capture::check(services, &event).await?);
        }
        if event.get("expire").is_some() {
            let event: ExpireEvent = handler::decode(event)?;
            return handler::encode(&capture::expire(services, &event).await?);
        }
        let event: CaptureEvent = handler::decode(event)?;
        handler::encode(&capture::capture(services, &event).await?)
    })
}
