//! Deletes what nothing in the vault needs any more. The only function that deletes from it.

use holdfast_workflow::prune::PruneEvent;
use holdfast_workflow::{Services, Step, handler, prune};
use serde_json::Value;

/// Decodes the event, does the work, encodes the answer.
///
/// # Errors
/// `InvalidInput` if the event is none of this function's, or what the work gives.
#[must_use]
pub fn handle(services: &Services, event: Value) -> Step<'_, Value> {
    Box::pin(async move {
        let event: PruneEvent = handler::event(&event, &["more"])?;
        prune::prune(services, &event).await
    })
}
