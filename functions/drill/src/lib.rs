//! Drills: chooses what is restored for trial, compares it with its manifest, removes it. Only reads the vault.

use holdfast_vault::error::Result;
use holdfast_workflow::drill::{DrillEvent, drill};
use holdfast_workflow::{Services, handler};
use serde_json::Value;

/// Decodes the event, does the work, encodes the answer.
///
/// # Errors
/// `InvalidInput` if the event is none of this function's, or what the work gives.
pub async fn handle(services: &Services, event: Value) -> Result<Value> {
    let event: DrillEvent = handler::event(&event, &[])?;
    drill(services, &event).await
}
