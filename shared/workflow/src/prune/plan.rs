//! Plans a prune: ends what is to end, makes sure that nothing is hidden, and lists the shards.

use super::end::{Ended, end};
use super::events::{PlanPrune, PrunePlanned, SweepEvent};
use super::keeping::{self, Fate, Lasting, fate, in_use, until};
use super::reach::{is_ended, listed, read};
use super::shards::{self, Known, ShardOrder, Until, expiries_key, is_sampled, known_key, of_objects};
use crate::capture::{self, ExpireEvent};
use crate::events::Pointer;
use crate::plan::value;
use crate::services::Services;
use crate::staging;
use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use holdfast_common::jobs::{JobKind, PruneFigures, PruneRow, PruneShard};
use holdfast_vault::error::{Code, Error, Result};
use std::collections::{BTreeSet, HashSet};

/// Backups that are ended side by side.
const AT_ONCE: usize = 8;

/// Checks every manifest, then ends the backups whose time is up, as many as one call does; when all are, lists the shards. The
/// list is written last, and only if it is not there: with it the plan is done.
///
/// # Errors
/// `ObjectMissing`, `ObjectDamaged` or `KeyMissing` where a manifest is hidden or unreadable: then nothing is condemned or
/// deleted. `JobState` if the prune has ended, or what storage and state give.
pub async fn plan(services: &Services, event: &PlanPrune) -> Result<PrunePlanned> {
    let id = event.execution.job_id()?;
    let row = PruneRow {
        id: id.clone(),
        dry_run: event.input.dry_run,
        started_at: services.clock.now(),
        completed_at: None,
        error: None,
        shards: None,
        figures: PruneFigures::default(),
    };
    let row = services.jobs.create_prune(&row).await?;
    if row.completed_at.is_some() {
        return Err(Error::new(Code::JobState, format!("prune {id} has ended")).object(id));
    }
    if staging::has_task_list(services, &id).await? {
        return planned(services, id).await;
    }
    let lasting = if row.dry_run { Lasting::default() } else { keeping::settle(services).await? };
    let mut found = look(services, row.dry_run, &lasting).await?;
    // Before anything goes: whoever hides one manifest stops all.
    found.known.orders = cut(services, &found.known).await?;
    if row.dry_run {
        let ended = found.due.len() as u64;
        services.jobs.update_prune(&id, |row| row.figures.backups_ended = ended).await?;
    }
    if !row.dry_run {
        let (ended, more) = end_all(services, &found.due, &mut found.known).await?;
        if ended > 0 {
            services.jobs.update_prune(&id, |row| row.figures.backups_ended += ended).await?;
        }
        if more {
            return Ok(PrunePlanned { more: true, ..pointing(services, id, false) });
        }
    }
    store(services, &id, &found.known, row.dry_run).await?;
    planned(services, id).await
}

/// What the catalogue and the vault say of the backups.
struct Found {
    known: Known,
    /// The backups whose manifests are to go.
    due: Vec<String>,
}

async fn look(services: &Services, dry_run: bool, lasting: &Lasting) -> Result<Found> {
    let (now, used) = (services.clock.now(), in_use(services).await?);
    // Job state first: what it says is complete by then is in the listing that follows.
    let mut rows = services.jobs.jobs(JobKind::Backup, None);
    let (mut staying, mut due) = (Vec::new(), Vec::new());
    while let Some(page) = rows.next().await? {
        for job in page {
            match fate(&job, now) {
                Fate::Goes if used.contains(&job.id) => staying.push((job.id, Until::Untold)),
                Fate::Stays => staying.push((job.id.clone(), until(&job, lasting))),
                Fate::Goes | Fate::Ended => due.push((job.id.clone(), job.is_restorable())),
                Fate::Unsettled => {}
            }
        }
    }
    let listed = listed(services).await?;
    let mut known = Known::default();
    for (id, until) in staying {
        if listed.contains(&id) || is_there(services, &id).await? {
            known.backups.insert(id, until);
        }
    }
    // A row of a failed or an ended backup counts only where its manifest is there.
    let due: BTreeSet<String> = due
        .into_iter()
        .filter(|(id, restorable)| *restorable || listed.contains(id))
        .map(|(id, _)| id)
        .collect();
    for id in listed.difference(&due) {
        known.backups.entry(id.clone()).or_insert(Until::Untold);
    }
    if dry_run {
        known.ending.clone_from(&due);
    }
    Ok(Found { known, due: due.into_iter().collect() })
}

/// Whether the manifest of a backup is there though it was not listed; an error where it is hidden. A listing may be old, and
/// so may a page of the catalogue.
async fn is_there(services: &Services, id: &str) -> Result<bool> {
    let key = holdfast_vault::format::manifest::manifest_key(id);
    match services.vault.storage().head(&key).await {
        Ok(_) => return Ok(true),
        Err(error) if error.code != Code::ObjectMissing => return Err(error),
        Err(_) => {}
    }
    let job = services.jobs.job(id).await?;
    if is_ended(&job) || !job.is_restorable() {
        return Ok(false);
    }
    Err(Error::new(
        Code::ObjectMissing,
        format!("the manifest of backup {id} of {} is missing, so nothing is pruned", job.resource),
    )
    .object(id)
    .hint(format!(
        "put {key} back from a copy of the vault or an older version of the object; or give the backup up with `holdfast \
         delete {id} --now`"
    )))
}

/// Ends backups, as many as one call does. Gives how many, and whether there may be more.
async fn end_all(services: &Services, due: &[String], known: &mut Known) -> Result<(u64, bool)> {
    let (mut gone, mut done) = (0, 0);
    for some in due.chunks(AT_ONCE) {
        let ends: Vec<_> = some.iter().map(|id| async move { end(services, id).await }.boxed()).collect();
        let ended: Vec<Ended> = stream::iter(ends).buffered(AT_ONCE).try_collect().await?;
        for (id, ended) in some.iter().zip(ended) {
            match ended {
                Ended::Gone => gone += 1,
                Ended::Locked | Ended::Kept => {
                    known.backups.insert(id.clone(), Until::Untold);
                }
            }
        }
        done += some.len();
        if gone >= services.limits.prune_backups {
            return Ok((gone as u64, done < due.len()));
        }
    }
    Ok((gone as u64, false))
}

/// Reads every manifest, which proves that each can be, and decides on the shards.
async fn cut(services: &Services, known: &Known) -> Result<Vec<ShardOrder>> {
    let mut sample = HashSet::new();
    let mut manifests = read(services, known.backups.keys().cloned());
    while let Some(manifest) = manifests.try_next().await? {
        let ids = manifest.into_iter().flat_map(|manifest| manifest.objects).map(|object| object.id);
        sample.extend(ids.filter(is_sampled));
    }
    let mut orders = of_objects(sample.len(), services.limits.prune_ids);
    let mut captures = services.jobs.captures();
    while let Some(page) = captures.next().await? {
        orders.extend(page.into_iter().map(|(resource, _)| ShardOrder::Changes { resource }));
    }
    orders.push(ShardOrder::Undos);
    Ok(orders)
}

/// The resources with changes that are too old to be kept.
async fn expiries(services: &Services, orders: &[ShardOrder]) -> Result<Vec<ExpireEvent>> {
    let mut expiries = Vec::new();
    for order in orders {
        if let ShardOrder::Changes { resource } = order {
            expiries.extend(capture::to_expire(services, resource).await?);
        }
    }
    Ok(expiries)
}

/// Writes down what the shards are, then the shards, then the list of them. Each stands as it was written first.
async fn store(services: &Services, id: &str, known: &Known, dry_run: bool) -> Result<()> {
    let bytes = serde_json::to_vec(known)
        .map_err(|e| Error::new(Code::Internal, format!("the known backups have no JSON form: {e}")))?;
    services.staging.put_if_absent(&known_key(id), Bytes::from(bytes)).await?;
    let orders = shards::known(services, id).await?.orders;
    let count = u32::try_from(orders.len()).unwrap_or(u32::MAX);
    services.jobs.update_prune(id, |row| row.shards = Some(count)).await?;
    let mut tasks = Vec::with_capacity(orders.len());
    for (shard, order) in (0_u32..).zip(&orders) {
        let figures = PruneFigures::default();
        let row = PruneShard { order: value(order)?, after: None, done: false, figures };
        services.jobs.put_prune_shard(id, shard, &row).await?;
        tasks.push(SweepEvent { prune: id.to_owned(), shard });
    }
    let expiries = if dry_run { Vec::new() } else { expiries(services, &orders).await? };
    if !expiries.is_empty() {
        staging::put_list(services, &expiries_key(id), &expiries).await?;
    }
    staging::put_task_list(services, id, &tasks).await
}

async fn planned(services: &Services, id: String) -> Result<PrunePlanned> {
    let expire = staging::has(services, &expiries_key(&id)).await?;
    Ok(pointing(services, id, expire))
}

fn pointing(services: &Services, id: String, expire: bool) -> PrunePlanned {
    let at = |key| Pointer { bucket: services.staging.name().to_owned(), key };
    PrunePlanned {
        more: false,
        expire,
        expiries: at(expiries_key(&id)),
        tasks: at(staging::task_list(&id)),
        prune: id,
    }
}
