//! Reading what was captured.

use super::batch::KEY_VERSION;
use super::rows;
use crate::services::Services;
use holdfast_common::jobs::{CaptureRow, JobKind, JobStore};
use holdfast_vault::error::Result;
use holdfast_vault::format::changes::{Change, Gap};
use holdfast_vault::read::changes::{ALL_KEYS, Window, changes, list, visit};
use jiff::Timestamp;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// Of which time a resource's changes are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage {
    /// From then on, but for the gaps.
    pub since: Timestamp,
    /// Up to then and with it.
    pub watermark: Timestamp,
    /// Times in which changes are missing, in order.
    pub gaps: Vec<Gap>,
}

/// Why some time is not covered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Uncovered {
    /// It begins before the capture did.
    BeforeSince(Timestamp),
    /// It ends after what was captured last.
    AfterWatermark(Timestamp),
    /// Changes in it are missing.
    Gaps(Vec<Gap>),
}

impl Coverage {
    /// Whether every change after `from` and up to `to` is captured.
    ///
    /// # Errors
    /// Why not.
    pub fn covers(&self, from: Timestamp, to: Timestamp) -> Result<(), Uncovered> {
        // Times of changes are whole milliseconds.
        let (from, to) = (from.as_millisecond(), to.as_millisecond());
        if from < self.since.as_millisecond() {
            return Err(Uncovered::BeforeSince(self.since));
        }
        if to > self.watermark.as_millisecond() {
            return Err(Uncovered::AfterWatermark(self.watermark));
        }
        let gaps: Vec<Gap> = self.gaps.iter().filter(|gap| gap.from < to && from < gap.to).cloned().collect();
        if gaps.is_empty() { Ok(()) } else { Err(Uncovered::Gaps(gaps)) }
    }

    /// When the last gap ended that ended by some time; `None` if there is none.
    #[must_use]
    pub fn last_gap_before(&self, time: Timestamp) -> Option<Timestamp> {
        let ends = self.gaps.iter().map(|gap| gap.to).filter(|to| *to <= time.as_millisecond());
        Timestamp::from_millisecond(ends.max()?).ok()
    }
}

/// Of which time a resource's changes are known; `None` if none were ever captured.
///
/// # Errors
/// What state and storage give.
pub async fn coverage(services: &Services, resource: &str) -> Result<Option<Coverage>> {
    Ok(rows::known(services, resource).await?.map(covered))
}

fn covered(row: CaptureRow) -> Coverage {
    Coverage { since: time(row.since), watermark: time(row.watermark().max(row.since)), gaps: row.gaps }
}

fn time(millis: i64) -> Timestamp {
    let ends = if millis < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_millisecond(millis).unwrap_or(ends)
}

/// The changes of a stream after `from` and up to `to` whose key hashes lie in a shard (both ends included): each once,
/// in order of key hash and then of sequence. Key hashes are of version 1 of the vault key.
///
/// # Errors
/// What storage gives, or `ObjectDamaged`.
pub async fn changes_in(
    services: &Services,
    resource: &str,
    stream: &str,
    from: Timestamp,
    to: Timestamp,
    shard: (u128, u128),
) -> Result<Vec<Change>> {
    let (window, names) = (window(from, to), names(services, resource, from, to).await?);
    changes(&services.vault, names, stream, window, shard).await
}

/// How many changes [`changes_in`] gives of all keys; takes 32 bytes of memory a change, repeats among them.
///
/// # Errors
/// As [`changes_in`].
pub async fn count_in(
    services: &Services,
    resource: &str,
    stream: &str,
    from: Timestamp,
    to: Timestamp,
) -> Result<u64> {
    let (window, names) = (window(from, to), names(services, resource, from, to).await?);
    let mut seen: Vec<(u128, u64)> = Vec::new();
    let count = |change: Change| {
        let mut hasher = DefaultHasher::new();
        change.sequence.trim_start_matches('0').hash(&mut hasher);
        seen.push((u128::from_be_bytes(change.hash), hasher.finish()));
        Ok(())
    };
    visit(&services.vault, names, stream, window, ALL_KEYS, count).await?;
    seen.sort_unstable();
    seen.dedup();
    Ok(seen.len() as u64)
}

/// The changes of one record after `from` and up to `to`, in order of their sequences.
///
/// # Errors
/// As [`changes_in`].
pub async fn changes_of_key(
    services: &Services,
    resource: &str,
    stream: &str,
    canonical_key: &[u8],
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<Change>> {
    let hasher = services.vault.keys().key_hasher(KEY_VERSION)?;
    let hash = u128::from_be_bytes(hasher.name(canonical_key));
    changes_in(services, resource, stream, from, to, (hash, hash)).await
}

/// The newest time that can be restored: what was captured up to, where a backup and no later gap lead there; else the
/// start of the newest completed backup. `None` where nothing was backed up.
///
/// # Errors
/// What state and storage give.
pub async fn restorable_until(services: &Services, resource: &str) -> Result<Option<Timestamp>> {
    let Some(backup) = newest_start(&services.jobs, resource).await? else { return Ok(None) };
    Ok(Some(reached(backup, coverage(services, resource).await?)))
}

/// As [`restorable_until`], from what job state notes, where the vault is not at hand.
///
/// # Errors
/// What state gives.
pub async fn noted_until(jobs: &JobStore, resource: &str) -> Result<Option<Timestamp>> {
    let Some(backup) = newest_start(jobs, resource).await? else { return Ok(None) };
    Ok(Some(reached(backup, jobs.capture(resource).await?.map(covered))))
}

/// When the newest completed backup began.
pub(super) async fn newest_start(jobs: &JobStore, resource: &str) -> Result<Option<Timestamp>> {
    // The newest is mostly among the first few; a page without a limit is a megabyte.
    let backups = jobs.jobs(JobKind::Backup, Some(resource)).page_size(8);
    let newest = backups.find(|job| job.is_restorable() && job.started_at.is_some()).await?;
    Ok(newest.and_then(|job| job.started_at))
}

fn reached(backup: Timestamp, coverage: Option<Coverage>) -> Timestamp {
    let Some(coverage) = coverage else { return backup };
    let reached = coverage.watermark > backup && coverage.covers(backup, coverage.watermark).is_ok();
    if reached { coverage.watermark } else { backup }
}

fn window(from: Timestamp, to: Timestamp) -> Window {
    Window { after: from.as_millisecond(), to: to.as_millisecond() }
}

async fn names(
    services: &Services,
    resource: &str,
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<(holdfast_vault::format::changes::ChangeName, u64)>> {
    list(&services.vault, resource, from.as_millisecond().saturating_add(1), to.as_millisecond()).await
}
