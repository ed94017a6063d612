//! Sweeps one shard, as much of it as one call does.

use super::events::{SweepAnswer, SweepEvent};
use super::shards::{ShardOrder, known};
use super::{changes, objects, undos};
use crate::services::Services;
use holdfast_common::jobs::{PruneFigures, PruneShard};
use holdfast_vault::error::{Code, Error, Result};
use serde::Deserialize as _;

/// What a call did of a shard.
pub(super) struct Part {
    /// After which key to go on.
    pub(super) after: Option<String>,
    /// Whether all was looked at.
    pub(super) done: bool,
    /// What was done.
    pub(super) figures: PruneFigures,
}

/// Looks at the next objects of a shard. What was swept is noted last, and only if no duplicate of this call noted it: one
/// that is cut short is done again, which changes nothing but figures.
///
/// # Errors
/// Why not all manifests can be read, `JobState` if the prune has ended, or what storage and state give.
pub async fn sweep(services: &Services, event: &SweepEvent) -> Result<SweepAnswer> {
    let answer = |more| SweepAnswer { prune: event.prune.clone(), shard: event.shard, more };
    let run = services.jobs.prune(&event.prune).await?;
    if run.completed_at.is_some() {
        return Ok(answer(false));
    }
    let Some((shard, revision)) = services.jobs.prune_shard(&event.prune, event.shard).await? else {
        return Err(Error::new(
            Code::JobState,
            format!("prune {} has no shard {}", event.prune, event.shard),
        )
        .object(&event.prune));
    };
    if shard.done {
        return Ok(answer(false));
    }
    let order = ShardOrder::deserialize(&shard.order)
        .map_err(|e| Error::new(Code::Internal, format!("a shard's order is unreadable: {e}")))?;
    let part = match &order {
        ShardOrder::Objects { first, end } => {
            let known = known(services, &event.prune).await?;
            objects::sweep(services, run.dry_run, &known, (*first, *end), shard.after.clone()).await?
        }
        ShardOrder::Changes { resource } => changes::sweep(services, run.dry_run, resource).await?,
        ShardOrder::Undos => undos::sweep(services, run.dry_run).await?,
    };
    let mut figures = shard.figures;
    figures += part.figures;
    let next = PruneShard { order: shard.order, after: part.after, done: part.done, figures };
    if services.jobs.update_prune_shard(&event.prune, event.shard, &next, revision).await? {
        return Ok(answer(!next.done));
    }
    // A duplicate came first: its word stands.
    let now = services.jobs.prune_shard(&event.prune, event.shard).await?;
    Ok(answer(now.is_some_and(|(shard, _)| !shard.done)))
}
