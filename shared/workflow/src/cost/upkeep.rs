//! What keeping backups asks of the services: they are verified, and what nothing needs is deleted.

use super::delta::Standing;
use super::plan::{Model, PAGE};
use super::state::{
    AGAIN_STATES, BEGIN, END_STATES, JOB_READ, JOB_WRITE, MEMORY, OPENED, PRUNE_STATES, VERIFY_STATES,
};
use super::work::Work;
use super::{at_least, real};
use crate::verify::Level;
use holdfast_common::jobs::BackupType;

/// Prefixes below which a prune lists packs and index objects.
const PREFIXES: u64 = 32;
/// Shards that a prune cuts a vault into which fits memory: its objects, and the records of undos.
const SHARDS: u64 = 2;
/// States that a shard enters.
const SHARD_STATES: u64 = 2;

impl Model<'_> {
    /// A verification, as a step of a backup, of so many objects with so many bytes, of which so many are in layers that
    /// are merged; none where nothing is verified.
    pub(super) fn verify(self, level: Option<Level>, objects: u64, merged: u64, stored: u64) -> Work {
        let mut work = Work::default();
        work.vault.get += 1;
        let Some(level) = level else {
            work.call(1, MEMORY, 1, 0, OPENED);
            return work;
        };
        // The vault's description and its key.
        work.vault.get += 2;
        work.vault.head += objects;
        let part = match level {
            Level::Quick | Level::Chain => 0.0,
            Level::Sample(percent) => percent / 100.0,
            Level::Full => 1.0,
        };
        let merged = if level == Level::Full { merged } else { 0 };
        let structure = if level == Level::Quick { 0 } else { objects };
        let gets = structure + at_least(real(objects) * part) + merged;
        work.vault.get += gets;
        let read = super::whole(real(stored) * part) + if merged > 0 { stored } else { 0 };
        let calls = 1 + read / self.load.limits.verify_bytes.max(1);
        let at_once = self.load.limits.objects_at_once.max(1) as u64;
        work.call(calls, MEMORY, 3 + (objects + gets) / at_once, read, OPENED);
        work.transitions += (calls - 1) * AGAIN_STATES;
        work.state_reads += calls + 1 + JOB_READ;
        work.state_writes += JOB_WRITE;
        work
    }

    /// The daily verification of the newest backup.
    #[must_use]
    pub fn daily_verification(self) -> Work {
        let deltas = if self.load.backup_type == BackupType::Full { 0 } else { self.load.deltas() };
        let streams: Vec<Standing> =
            self.load.streams.iter().map(|of| self.standing(*of, deltas, false)).collect();
        let objects = streams.iter().map(Standing::objects).sum();
        let stored = streams.iter().map(Standing::stored).sum();
        let merged = if deltas > 0 { objects } else { 0 };
        let mut work = self.verify(Some(self.load.daily_verify), objects, merged, stored);
        work.transitions += BEGIN + VERIFY_STATES;
        work
    }

    /// A day's prune, as if the resource were the only one of its vault.
    #[must_use]
    pub fn prune(self) -> Work {
        let mut work = Work::default();
        let kept = self.load.kept;
        let gone = self.load.backups_per_day;
        let streams: Vec<Standing> =
            self.load.streams.iter().map(|of| self.standing(*of, 0, false)).collect();
        let of_base: u64 = streams.iter().map(|stream| stream.base.objects()).sum();
        let of_delta: u64 = streams.iter().map(|stream| stream.delta.objects()).sum();
        let (bases, deltas) = self.load.layers_kept();
        let objects = at_least(bases * real(of_base) + deltas * real(of_delta));
        let often = if self.load.backup_type == BackupType::Full { 1.0 } else { 1.0 / self.load.cycle() };
        let deleted = at_least(gone * (often * real(of_base) + (1.0 - often) * real(of_delta)));
        let ended = at_least(gone);
        work.staging.head += 2;
        work.staging.put += 2;
        work.staging.get += SHARDS;
        work.staging.list += 1;
        work.staging.delete += 2;
        work.copy_gets += 1;
        // The plan reads every manifest, and so does the shard that has the objects.
        work.vault.list += 2 * kept.div_ceil(PAGE) + PREFIXES.max(objects / PAGE) + 1;
        work.vault.get += 2 * kept + ended;
        work.vault.head += ended + deleted;
        work.vault.delete += ended + deleted;
        // Each object is condemned, and forgotten when it is gone.
        work.state_writes += 2 * deleted + ended * JOB_WRITE + 4 * (1 + SHARDS);
        work.state_reads += kept * JOB_READ + PREFIXES + 4 * SHARDS + ended * PREFIXES;
        let requests = 2 * kept + PREFIXES + deleted + ended;
        work.call(2 + SHARDS, MEMORY, requests, 0, OPENED);
        work.transitions += BEGIN + PRUNE_STATES + SHARDS * (BEGIN + SHARD_STATES + END_STATES);
        work
    }
}
