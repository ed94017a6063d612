//! Finds changes that were never captured: what a backup found different, and no change explains.

use super::{gap, log};
use crate::plan::base_stream;
use crate::services::{Services, Step};
use holdfast_common::jobs::{JobChange, JobKind};
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::format::changes::{Change, Gap};
use holdfast_vault::format::manifest::{LayerKind, Manifest, StreamManifest};
use holdfast_vault::model::{StreamKind, Warning};
use holdfast_vault::read::state::{StateRow, position};
use holdfast_vault::read::{Fetch, PackReader, Shard, state};
use holdfast_vault::write::records::{KeyStorage, TOMBSTONE_DIGEST, record_digest};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;

/// Sources tell whole seconds.
const SLACK: SignedDuration = SignedDuration::from_secs(60);

/// Asks the capture function whether all that a backup found changed was captured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckEvent {
    /// The backup's id.
    pub check: String,
    /// Whether the capture was given time enough to catch up: what it has not by now, it has missed.
    #[serde(default)]
    pub last: bool,
}

/// What is known of the changes before a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckAnswer {
    /// The backup's id.
    pub job: String,
    /// Whether to ask again a little later: the capture has not reached the backup yet.
    pub again: bool,
    /// Whether changes were missed; then a gap is recorded.
    pub gap: bool,
}

/// Compares what a completed backup found different from the one before it with the changes captured since. What no
/// change explains lies in a gap, which is recorded with the capture and told by the backup. Call it once all changes
/// made before the backup's end are captured; it may be repeated. `last` judges a capture that has not reached the
/// backup: a stream that nobody reads any more looks like a table that nobody writes, but for what the backup found.
///
/// # Errors
/// `JobUnknown` if there is no such backup, or what state and storage give.
#[must_use]
pub fn check<'a>(services: &'a Services, event: &'a CheckEvent) -> Step<'a, CheckAnswer> {
    Box::pin(async move {
        let backup = event.check.as_str();
        let answer = |again, gap| CheckAnswer { job: backup.to_owned(), again, gap };
        let now = Arc::new(services.vault.manifest(backup).await?);
        let Some(coverage) = log::coverage(services, &now.resource).await? else {
            return Ok(answer(false, false));
        };
        let Some(before) = previous(services, &now).await? else { return Ok(answer(false, false)) };
        // The first full backup after a rotation of the vault key hashes its keys otherwise than the one before it: by
        // their hashes they cannot be told apart. The next one is compared with it again.
        if before.name_key_version != now.name_key_version {
            return Ok(answer(false, false));
        }
        let (began, ended) = (time(&before.started_at, &before.id)?, time(&now.completed_at, &now.id)?);
        if coverage.covers(began, ended.min(coverage.watermark)).is_err() {
            return Ok(answer(false, false));
        }
        if !event.last && coverage.watermark < time(&now.started_at, &now.id)? {
            return Ok(answer(true, false));
        }
        let (mut unexplained, mut from) = (0_u64, ended.as_millisecond());
        for stream in &now.streams {
            let known = before.streams.iter().any(|old| old.info.name == stream.info.name);
            if !known || stream.info.keys_are_stored() || stream.info.shape == StreamKind::Tree {
                continue;
            }
            let span = Span { services, before: &before, now: &now, began, until: services.clock.now() };
            let (count, earliest) = span.unexplained(stream).await?;
            unexplained += count;
            from = from.min(earliest);
        }
        if unexplained == 0 {
            return Ok(answer(false, false));
        }
        let found = Gap {
            from,
            to: ended.as_millisecond(),
            reason: format!(
                "backup {backup} found {unexplained} records changed that no captured change explains"
            ),
        };
        let warnings = vec![Warning::new("CaptureGap", found.reason.clone())];
        gap(services, &now.resource, found).await?;
        services.jobs.update_job(backup, JobChange { warnings, ..JobChange::default() }).await?;
        Ok(answer(false, true))
    })
}

/// The backup that this one is compared with: its base, or the one completed before it.
async fn previous(services: &Services, now: &Manifest) -> Result<Option<Arc<Manifest>>> {
    if let Some(base) = &now.base {
        return Ok(Some(Arc::new(services.vault.manifest(base).await?)));
    }
    let backups = services.jobs.jobs(JobKind::Backup, Some(&now.resource));
    let Some(older) = backups.find(|job| job.is_restorable() && job.id < now.id).await? else {
        return Ok(None);
    };
    Ok(Some(Arc::new(services.vault.manifest(&older.id).await?)))
}

fn time(text: &str, backup: &str) -> Result<Timestamp> {
    text.parse().map_err(|e| Error::new(Code::Internal, format!("backup {backup} has no readable time: {e}")))
}

struct Span<'a> {
    services: &'a Services,
    before: &'a Arc<Manifest>,
    now: &'a Arc<Manifest>,
    began: Timestamp,
    until: Timestamp,
}

impl Span<'_> {
    /// How many records differ without a change that made them so, and since when at the earliest.
    async fn unexplained(&self, stream: &StreamManifest) -> Result<(u64, i64)> {
        let most = self.services.limits.shard_rows;
        let of = Shard::count(stream.records, most);
        let (mut count, mut earliest) = (0, i64::MAX);
        for number in 0..of {
            let shard = Shard::new(number, of);
            let differing = self.differing(stream, shard).await?;
            if differing.is_empty() {
                continue;
            }
            let changes = self.changes(stream, shard).await?;
            for row in differing {
                let of_key = changes.get(&row.hash).map_or(&[][..], Vec::as_slice);
                if !of_key.iter().any(|(_, digest)| *digest == row.digest) {
                    count += 1;
                    let last = of_key.iter().map(|(time, _)| *time).max();
                    earliest = earliest.min(last.unwrap_or_else(|| self.began.as_millisecond()));
                }
            }
        }
        Ok((count, earliest))
    }

    /// What the backup holds otherwise than the one before it.
    async fn differing(&self, stream: &StreamManifest, shard: Shard) -> Result<Vec<StateRow>> {
        let mut reader = PackReader::new(&self.services.vault, self.now, Fetch::Blocks);
        let own = stream.layers.last().filter(|layer| layer.backup == self.now.id);
        if let Some(delta) = own.filter(|layer| layer.kind == LayerKind::Delta) {
            return state::table_rows(&mut reader, delta, shard).await;
        }
        if own.is_none() {
            return Ok(Vec::new());
        }
        let now = state::live_rows(&mut reader, &stream.layers, shard).await?;
        let mut reader = PackReader::new(&self.services.vault, self.before, Fetch::Blocks);
        let old = base_stream(self.before, &stream.info.name)?;
        let old = state::live_rows(&mut reader, &old.layers, shard).await?;
        let changed = now
            .iter()
            .filter(|row| position(&old, row.hash).is_none_or(|at| old[at].digest != row.digest))
            .copied();
        let gone = old
            .iter()
            .filter(|row| position(&now, row.hash).is_none())
            .map(|row| StateRow { digest: TOMBSTONE_DIGEST, ..*row });
        Ok(changed.chain(gone).collect())
    }

    /// The captured changes of a shard, by key hash: when, and what the record was then.
    async fn changes(
        &self,
        stream: &StreamManifest,
        shard: Shard,
    ) -> Result<HashMap<u128, Vec<(i64, [u8; 16])>>> {
        let version = self.now.name_key_version;
        let hasher = self.services.vault.keys().key_hasher(version)?;
        // Changes are hashed under version 1 of the key.
        let read = if version == 1 { shard } else { Shard::ALL };
        let from = self.began.checked_sub(SLACK).unwrap_or(Timestamp::MIN);
        let (resource, name) = (&self.now.resource, &stream.info.name);
        let changes = log::changes_in(self.services, resource, name, from, self.until, read.bounds()).await?;
        let mut by_key: HashMap<u128, Vec<(i64, [u8; 16])>> = HashMap::new();
        for change in &changes {
            let hash = u128::from_be_bytes(hasher.name(&change.key));
            by_key.entry(hash).or_default().push((change.time, digest(change)));
        }
        Ok(by_key)
    }
}

fn digest(change: &Change) -> [u8; 16] {
    let mut digest = TOMBSTONE_DIGEST;
    if let Some(value) = &change.after {
        digest.copy_from_slice(&record_digest(KeyStorage::Derived, &change.key, value)[..16]);
    }
    digest
}
