//! Points in time: which backup a time means, and the captured changes on top of it.

use crate::capture::log;
use crate::events::RestoreRequest;
use crate::margins::{CHANGES_BEFORE, CLOCK_SKEW};
use crate::services::Services;
use holdfast_common::jobs::{Job, JobKind};
use holdfast_vault::crypto::Namer;
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::format::changes::Change;
use holdfast_vault::format::manifest::{Manifest, StreamManifest};
use holdfast_vault::model::{StreamKind, Warning};
use holdfast_vault::read::Shard;
use jiff::Timestamp;

/// Changes of one shard that are held in memory, about.
const CHANGES_AT_ONCE: u64 = 64 << 10;

/// A request for a time becomes one for a backup, with the time kept where captured changes lead there from it.
///
/// # Errors
/// `InvalidInput` for a time in the future or before the first backup, `ResourceUnknown`, or what state gives.
pub(super) async fn resolve(
    services: &Services,
    request: &RestoreRequest,
) -> Result<(RestoreRequest, Vec<Warning>)> {
    let (Some(at), Some(resource)) = (request.at, &request.resource) else {
        return Ok((request.clone(), Vec::new()));
    };
    let now = services.clock.now();
    if at > now {
        return Err(Error::new(Code::InvalidInput, format!("{at:.0} is in the future"))
            .object("--at")
            .hint(format!("give a time before {now:.0}")));
    }
    services.jobs.resource(resource).await?;
    let (backup, earlier) = newest(services, resource, at).await?;
    let coverage = log::coverage(services, resource).await?;
    let covers = |backup: &Job| coverage.as_ref().map(|coverage| coverage.covers(start(backup), at));
    // Where changes lead from both, the one is taken that was complete by any clock.
    let led = earlier.iter().chain([&backup]).find(|backup| matches!(covers(backup), Some(Ok(()))));
    if let Some(from) = led {
        let resolved = RestoreRequest { backup: from.id.clone(), at: Some(at), ..request.clone() };
        return Ok((resolved, Vec::new()));
    }
    let why = match covers(&backup) {
        Some(Err(uncovered)) => told(&uncovered),
        _ => "its changes are not captured".to_owned(),
    };
    let completed = backup.completed_at.unwrap_or_else(|| start(&backup));
    let message =
        format!("{at:.0} is restored as backup {} found it, completed at {completed:.0}: {why}", backup.id);
    let resolved = RestoreRequest { backup: backup.id, at: None, ..request.clone() };
    Ok((resolved, vec![Warning::new("PointNotExact", message)]))
}

fn start(backup: &Job) -> Timestamp {
    backup.started_at.unwrap_or(backup.created_at)
}

fn told(uncovered: &log::Uncovered) -> String {
    match uncovered {
        log::Uncovered::BeforeSince(since) => format!("changes are captured since {since:.0}"),
        log::Uncovered::AfterWatermark(until) => format!("changes are captured until {until:.0}"),
        log::Uncovered::Gaps(gaps) => {
            let time = |millis| Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MIN);
            let told: Vec<String> =
                gaps.iter().map(|gap| format!("{:.0} and {:.0}", time(gap.from), time(gap.to))).collect();
            format!("changes are missing between {}", told.join(", "))
        }
    }
}

/// The newest backup that was complete at a time, and where it was not by every clock, as wrong as one may be, the newest
/// that was: of the other some records may be from after that time.
async fn newest(services: &Services, resource: &str, at: Timestamp) -> Result<(Job, Option<Job>)> {
    let surely = at.checked_sub(CLOCK_SKEW).unwrap_or(Timestamp::MIN);
    let mut pages = services.jobs.jobs(JobKind::Backup, Some(resource));
    let (mut oldest, mut newest) = (None, None);
    while let Some(page) = pages.next().await? {
        for job in page.into_iter().filter(Job::is_restorable) {
            let Some(completed) = job.completed_at else { continue };
            oldest = Some(completed);
            if completed > at {
                continue;
            }
            let sure = completed <= surely;
            match (newest.take(), sure) {
                (None, false) => newest = Some(job),
                (None, true) => return Ok((job, None)),
                (Some(newest), true) => return Ok((newest, Some(job))),
                (known, false) => newest = known,
            }
        }
    }
    if let Some(newest) = newest {
        return Ok((newest, None));
    }
    let hint = match oldest {
        Some(oldest) => format!("the first backup was complete at {oldest:.3}"),
        None => format!("there is no backup of {resource}"),
    };
    Err(Error::new(Code::InvalidInput, format!("{at:.0} is before the first backup of {resource}"))
        .object("--at")
        .hint(hint))
}

/// The changes that are laid over a backup.
pub(super) struct Changes<'a> {
    services: &'a Services,
    manifest: &'a Manifest,
    stream: &'a StreamManifest,
    from: Timestamp,
    until: Timestamp,
}

/// What a record is at the time that was asked for.
pub(super) struct Latest {
    /// The hash of its key, as the manifest's streams have it.
    pub(super) hash: u128,
    /// Its canonical key.
    pub(super) key: Vec<u8>,
    /// Its value; none where it is gone.
    pub(super) value: Option<Vec<u8>>,
}

impl<'a> Changes<'a> {
    /// Those of a record stream up to a time: from before the backup began, so that none is left out where the clock that
    /// told its beginning was ahead. What it saw already changes nothing where all that followed is captured: so none from
    /// before a gap.
    pub(super) async fn until(
        services: &'a Services,
        manifest: &'a Manifest,
        stream: &'a StreamManifest,
        until: Timestamp,
    ) -> Result<Option<Self>> {
        if !matches!(stream.info.shape, StreamKind::Records { .. }) {
            return Ok(None);
        }
        let started: Timestamp = manifest.started_at.parse().map_err(|e| {
            Error::new(Code::Internal, format!("backup {} has no readable start: {e}", manifest.id))
        })?;
        let from = started.checked_sub(CHANGES_BEFORE).unwrap_or(Timestamp::MIN);
        let coverage = log::coverage(services, &manifest.resource).await?;
        let gap = coverage.and_then(|coverage| coverage.last_gap_before(started));
        let from = gap.map_or(from, |ended| from.max(ended));
        Ok(Some(Self { services, manifest, stream, from, until }))
    }

    /// In how many shards they fit memory.
    pub(super) async fn shards(&self) -> Result<u64> {
        let name = &self.stream.info.name;
        let count =
            log::count_in(self.services, &self.manifest.resource, name, self.from, self.until).await?;
        Ok(Shard::count(count, CHANGES_AT_ONCE))
    }

    /// What the records of a shard are that were changed.
    pub(super) async fn latest(&self, hasher: &Namer, shard: Shard) -> Result<Vec<Latest>> {
        // Changes are hashed under version 1 of the key. Where that is the manifest's own, shards are the same.
        let same = self.manifest.name_key_version == 1;
        let read = if same { shard } else { Shard::ALL };
        let (services, name) = (self.services, &self.stream.info.name);
        let changes =
            log::changes_in(services, &self.manifest.resource, name, self.from, self.until, read.bounds())
                .await?;
        Ok(last_of_each(changes, hasher).into_iter().filter(|latest| shard.holds(latest.hash)).collect())
    }

    /// What the records of these canonical keys are, as far as they were changed.
    pub(super) async fn of_keys(&self, hasher: &Namer, keys: &[Vec<u8>]) -> Result<Vec<Latest>> {
        let (resource, name) = (&self.manifest.resource, &self.stream.info.name);
        let mut all = Vec::new();
        for key in keys {
            all.extend(log::changes_of_key(self.services, resource, name, key, self.from, self.until).await?);
        }
        Ok(last_of_each(all, hasher))
    }
}

/// The last change of each key; changes come by key hash and then in order.
fn last_of_each(changes: Vec<Change>, hasher: &Namer) -> Vec<Latest> {
    let mut latest: Vec<Latest> = Vec::new();
    for change in changes {
        let hash = u128::from_be_bytes(hasher.name(&change.key));
        let now = Latest { hash, key: change.key, value: change.after };
        match latest.last_mut() {
            Some(last) if last.hash == hash => *last = now,
            _ => latest.push(now),
        }
    }
    latest
}
