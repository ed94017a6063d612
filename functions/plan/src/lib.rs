//! Begins a backup: its streams and ranges become tasks. Asked again after they are read, it lists the joins.

use holdfast_workflow::events::{JoinEvent, PlanEvent};
use holdfast_workflow::{Services, Step, handler, join, plan};
use serde_json::Value;

/// Decodes the event, does the work, encodes the answer.
///
/// # Errors
/// `InvalidInput` if the event is none of this function's, or what the work gives.
#[must_use]
pub fn handle(services: &Services, event: Value) -> Step<'_, Value> {
    Box::pin(async move {
        if event.get("join").is_some() {
            let event: JoinEvent = handler::event(&event, &[])?;
            return handler::encode(&join::plan(services, &event).await?);
        }
        let event: PlanEvent = handler::event(&event, &[])?;
        handler::encode(&plan::plan(services, &event).await?)
    })
}
