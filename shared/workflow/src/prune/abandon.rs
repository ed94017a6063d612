//! Ends a prune that came to nothing.

use super::events::AbandonPrune;
use super::finish::clear;
use crate::fail::job_error;
use crate::services::Services;
use holdfast_common::jobs::PruneRow;
use holdfast_vault::error::{Code, Result};
use serde::{Deserialize, Serialize};

/// What abandoning a prune answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Abandoned {
    /// The prune's id.
    pub prune: String,
    /// Why, by its code.
    pub code: String,
}

/// Notes why a prune came to nothing, and clears up. What it condemned stays condemned, and the next one goes on from there.
/// May be repeated.
///
/// # Errors
/// What state and staging give.
pub async fn abandon(services: &Services, event: &AbandonPrune) -> Result<Abandoned> {
    let (id, error) = (event.execution.job_id()?, job_error(&event.error));
    let now = services.clock.now();
    let noted = services.jobs.update_prune(&id, |row: &mut PruneRow| {
        row.error = Some(error.clone());
        row.completed_at = Some(now);
    });
    match noted.await {
        Ok(row) => clear(services, &row).await?,
        // It failed before it was noted that it began.
        Err(unknown) if unknown.code == Code::JobUnknown => {}
        Err(other) => return Err(other),
    }
    tracing::warn!(prune = id, code = error.code, "a prune ended without completing");
    Ok(Abandoned { prune: id, code: error.code })
}
