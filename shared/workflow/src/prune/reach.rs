//! Which backups there are, and which objects they need.

use super::shards::{Known, Until};
use crate::services::Services;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use holdfast_common::jobs::Job;
use holdfast_vault::error::{Class, Code, Error, Result};
use holdfast_vault::format::header::Id;
use holdfast_vault::format::manifest::Manifest;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Manifests in memory at a time: each names every object of its backup.
const AT_ONCE: usize = 2;

/// The objects of a shard that some backup needs, each with the day, since 1970, until which it is kept.
pub(super) type Needed = HashMap<Id, u32>;

/// A day without end.
pub(super) const OPEN: u32 = u32::MAX;

/// What objects of some ids are needed, by manifests that are listed now.
///
/// # Errors
/// Why not all manifests can be read: then nothing may be said of any object.
pub(super) async fn needed(
    services: &Services,
    known: &Known,
    holds: impl Fn(&Id) -> bool + Send + Sync,
) -> Result<Needed> {
    let mut ids: BTreeMap<String, Until> = known.backups.clone();
    for id in services.vault.backups().await? {
        ids.entry(id).or_insert(Until::Untold);
    }
    ids.retain(|id, _| !known.ending.contains(id));
    let mut needed = Needed::new();
    let mut manifests = read(services, ids.keys().cloned());
    while let Some(manifest) = manifests.try_next().await? {
        let Some(manifest) = manifest else { continue };
        let day = ids.get(&manifest.id).map_or(0, day);
        for object in manifest.objects.iter().filter(|object| holds(&object.id)) {
            let known = needed.entry(object.id).or_insert(0);
            *known = day.max(*known);
        }
    }
    Ok(needed)
}

fn day(until: &Until) -> u32 {
    match until {
        Until::Untold => 0,
        Until::Open => OPEN,
        Until::Time(time) => u32::try_from(time.as_second() / 86_400).unwrap_or(0),
    }
}

/// Reads manifests, some at a time; none for a backup that was ended.
pub(super) fn read<'a>(
    services: &'a Services,
    ids: impl Iterator<Item = String> + Send + 'a,
) -> impl futures::TryStream<Ok = Option<Manifest>, Error = Error, Item = Result<Option<Manifest>>>
+ Unpin
+ Send
+ 'a {
    let reads: Vec<_> = ids.map(|id| async move { manifest(services, &id).await }.boxed()).collect();
    stream::iter(reads).buffer_unordered(AT_ONCE)
}

/// The manifest of a backup; none where the backup was ended.
///
/// # Errors
/// `ObjectMissing`, `ObjectDamaged`, `KeyMissing` with what to do about it, or what storage and state give.
async fn manifest(services: &Services, id: &str) -> Result<Option<Manifest>> {
    let error = match services.vault.manifest(id).await {
        Ok(manifest) => return Ok(Some(manifest)),
        Err(error) => error,
    };
    if error.code.class() != Class::Damage {
        return Err(error);
    }
    // The row as it is now: another prune may have ended it since it was listed.
    match services.jobs.job(id).await {
        Ok(job) if is_ended(&job) => Ok(None),
        Ok(_) => Err(stopped(id, &error)),
        Err(unknown) if unknown.code == Code::JobUnknown => Err(stopped(id, &error)),
        Err(other) => Err(other),
    }
}

/// Whether a backup's manifest may be gone: it was ended.
pub(super) fn is_ended(job: &Job) -> bool {
    job.deletion.as_ref().is_some_and(|deletion| deletion.deleted_at.is_some())
}

/// Nothing is deleted while a manifest is missing or unreadable: nobody knows what it needs.
fn stopped(id: &str, error: &Error) -> Error {
    let what = if error.code == Code::ObjectMissing { "is missing" } else { "cannot be read" };
    Error::new(
        error.code,
        format!("the manifest of backup {id} {what}, so nothing is pruned: {}", error.message),
    )
    .object(id)
    .hint(format!(
        "put manifests/{id} back from a copy of the vault or an older version of the object; or give the backup up with \
         `holdfast delete {id} --now`"
    ))
}

/// The backups whose manifests are listed.
pub(super) async fn listed(services: &Services) -> Result<BTreeSet<String>> {
    Ok(services.vault.backups().await?.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_until_a_time_is_kept_until_its_day() {
        let at = |second| Until::Time(jiff::Timestamp::from_second(second).unwrap());
        assert_eq!(day(&at(20_000 * 86_400)), 20_000);
        assert_eq!(day(&at(20_001 * 86_400 - 1)), 20_000);
        assert_eq!([day(&at(-1)), day(&at(-86_401)), day(&Until::Untold)], [0; 3]);
        assert_eq!(day(&Until::Open), OPEN);
    }
}
