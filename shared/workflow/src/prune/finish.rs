//! Ends a prune whose shards are all swept.

use super::events::FinishPrune;
use crate::services::Services;
use crate::staging;
use holdfast_common::jobs::{PruneFigures, PruneRow};
use holdfast_vault::error::{Code, Error, Result};

/// Adds up what the shards did, and clears up. May be repeated.
///
/// # Errors
/// `Internal` if a shard was left out, or what state and staging give.
pub async fn finish(services: &Services, event: &FinishPrune) -> Result<PruneRow> {
    let id = event.prune.as_str();
    let mut row = services.jobs.prune(id).await?;
    if row.completed_at.is_none() {
        let shards = services.jobs.prune_shards(id).all().await?;
        let planned = row.shards.map(|shards| shards as usize);
        if planned != Some(shards.len()) || shards.iter().any(|shard| !shard.done) {
            return Err(Error::new(Code::Internal, format!("prune {id} has shards that are not swept"))
                .object(id)
                .hint("start it again"));
        }
        let mut figures = PruneFigures::default();
        for shard in &shards {
            figures += shard.figures;
        }
        let now = services.clock.now();
        row = services
            .jobs
            .update_prune(id, |row| {
                row.figures += figures;
                row.completed_at = Some(now);
            })
            .await?;
    }
    clear(services, &row).await?;
    services.jobs.forget_old_prunes().await?;
    Ok(row)
}

/// Removes what a prune that has ended left in staging and in job state.
///
/// # Errors
/// What state and staging give.
pub(super) async fn clear(services: &Services, row: &PruneRow) -> Result<()> {
    services.jobs.forget_prune_shards(&row.id, row.shards.unwrap_or(0)).await?;
    staging::clear(services, &row.id).await
}
