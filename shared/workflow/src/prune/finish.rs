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
        row = match swept(services, &row).await {
            Ok(figures) => end(services, id, figures).await?,
            Err(error) => {
                // A twin of this call that came first has cleared up.
                let now = services.jobs.prune(id).await?;
                if now.completed_at.is_none() {
                    return Err(error);
                }
                now
            }
        };
    }
    clear(services, &row).await?;
    services.jobs.forget_old_prunes().await?;
    Ok(row)
}

async fn end(services: &Services, id: &str, figures: PruneFigures) -> Result<PruneRow> {
    let now = services.clock.now();
    let end = |row: &mut PruneRow| {
        row.figures += figures;
        row.completed_at = Some(now);
    };
    services.jobs.update_prune(id, end).await
}

/// What all shards did.
async fn swept(services: &Services, row: &PruneRow) -> Result<PruneFigures> {
    let shards = services.jobs.prune_shards(&row.id).all().await?;
    let planned = row.shards.map(|shards| shards as usize);
    if planned != Some(shards.len()) || shards.iter().any(|shard| !shard.done) {
        return Err(Error::new(Code::Internal, format!("prune {} has shards that are not swept", row.id))
            .object(&row.id)
            .hint("start it again"));
    }
    let mut figures = PruneFigures::default();
    for shard in &shards {
        figures += shard.figures;
    }
    Ok(figures)
}

/// Removes what a prune that has ended left in staging and in job state.
///
/// # Errors
/// What state and staging give.
pub(super) async fn clear(services: &Services, row: &PruneRow) -> Result<()> {
    services.jobs.forget_prune_shards(&row.id, row.shards.unwrap_or(0)).await?;
    staging::clear(services, &row.id).await
}
