//! The packs and index objects of a shard.

use super::judge::{Judge, Rows, Seen};
use super::reach::{self, Needed};
use super::shards::{Known, id_of, prefixes};
use super::{locks, sweep::Part};
use crate::services::Services;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use holdfast_common::jobs::PruneFigures;
use holdfast_vault::error::Result;
use holdfast_vault::format::header::Id;
use holdfast_vault::storage::ObjectInfo;

/// Locks that are looked at side by side.
const AT_ONCE: usize = 16;

/// Sweeps packs and index objects whose ids' first byte is from `first` on and below `end`, from behind `after` on, as many
/// as one call does.
///
/// # Errors
/// Why not all manifests can be read, or what storage and state give.
pub(super) async fn sweep(
    services: &Services,
    dry_run: bool,
    known: &Known,
    (first, end): (u16, u16),
    after: Option<String>,
) -> Result<Part> {
    let listed_at = services.clock.now();
    let holds = |id: &Id| (first..end).contains(&u16::from(id.0[0]));
    let needed = reach::needed(services, known, holds).await?;
    let mut judge = Judge::new(services, dry_run, listed_at);
    let mut extended = 0;
    let mut at = after;
    for prefix in prefixes(first, end) {
        if at.as_deref().is_some_and(|at| at > prefix.as_str() && !at.starts_with(&prefix)) {
            continue;
        }
        // From here on rows are read: after the manifests, so that a row of what a manifest needed until now is gone.
        let mut rows = Rows::new(services, &prefix, at.as_deref())?;
        loop {
            let listing = services.vault.storage().list(&prefix, at.as_deref()).await?;
            let (more, last) = (listing.more, listing.objects.last().map(|object| object.key.clone()));
            let rows = rows.up_to(last.as_deref().filter(|_| more)).await?;
            if !dry_run {
                extended += extend(services, &listing.objects, &needed).await?;
            }
            judge.page(seen(listing.objects, &needed), rows).await?;
            at = last.or(at);
            if !more || at.is_none() {
                break;
            }
            if judge.figures.objects >= services.limits.prune_objects {
                return Ok(Part {
                    after: at,
                    done: false,
                    figures: PruneFigures { extended, ..judge.figures },
                });
            }
        }
    }
    Ok(Part { after: None, done: true, figures: PruneFigures { extended, ..judge.figures } })
}

/// The objects with whether they are needed. What no key of ours names is left alone.
fn seen(objects: Vec<ObjectInfo>, needed: &Needed) -> Vec<Seen> {
    let seen = |object: ObjectInfo| {
        let id = id_of(&object.key)?;
        Some(Seen { needed: needed.contains_key(&id), object })
    };
    objects.into_iter().filter_map(seen).collect()
}

/// Extends locks that end before what they lock is let go. Gives how many.
async fn extend(services: &Services, objects: &[ObjectInfo], needed: &Needed) -> Result<u64> {
    let now = services.clock.now();
    let looks: Vec<_> = objects
        .iter()
        .filter_map(|object| {
            let id = id_of(&object.key)?;
            let kept = *needed.get(&id).filter(|kept| **kept > 0 && locks::is_due(&id, now))?;
            Some(async move { locks::extend(services, &object.key, kept, now).await }.boxed())
        })
        .collect();
    let done: Vec<bool> = stream::iter(looks).buffer_unordered(AT_ONCE).try_collect().await?;
    Ok(done.into_iter().filter(|done| *done).count() as u64)
}
