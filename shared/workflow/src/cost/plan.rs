//! What a first backup asks of the services, and what every backup does alike.

use super::load::{Kind, Load, StreamLoad};
use super::shape::{Cut, Layer};
use super::state::{BACKUP_STATES, BEGIN, END_STATES, EXPORT_MEMORY, EXPORTED, MEMORY, OPENED};
use super::work::Work;
use crate::commit::duplicates::SHARD_ROWS;
use crate::verify::Level;

/// Bytes that one read unit of a consistent scan reads.
const SCANNED: u64 = 4 << 10;
/// Objects on one page of a listing.
pub(super) const PAGE: u64 = 1_000;
/// Index objects that the search for keys that stand twice keeps open.
const KEPT_OPEN: u64 = 2;
/// Jobs of earlier backups that a commit compares with, in read units.
const EARLIER: u64 = 8;
/// Partitions of condemned objects.
const PARTITIONS: u64 = 32;

/// The model of one load.
#[derive(Debug, Clone, Copy)]
pub struct Model<'a> {
    pub(super) load: &'a Load,
}

/// What a backup's round of tasks did, for what comes after it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Round {
    /// Tasks.
    pub(super) tasks: u64,
    /// Steps of all of them.
    pub(super) steps: u64,
    /// Rows that they left in job state.
    pub(super) rows: u64,
    /// Objects of the backup's own in the vault.
    pub(super) objects: u64,
    /// Requests with which a commit reads them, and what it builds on.
    pub(super) read: u64,
    /// Objects that stay in staging until the end.
    pub(super) left: u64,
}

impl<'a> Model<'a> {
    /// The model of a load.
    #[must_use]
    pub const fn new(load: &'a Load) -> Self {
        Self { load }
    }

    /// A backup that builds on nothing, verified as the policy says.
    #[must_use]
    pub fn first(self) -> Work {
        let (mut work, mut round) = (Work::default(), Round::default());
        let mut stored = 0;
        for of in &self.load.streams {
            let cut = Cut::of(*of, self.load);
            let base = Layer::of(*of, cut.steps, self.load);
            stored += base.stored;
            self.read_source(&mut work, *of, cut, 1.0);
            let places = self.places(*of, base.runs);
            work.staging.put += base.objects() + places;
            work.admit(base.packs, base.pack_bytes);
            work.admit(base.tables, base.table_bytes);
            work.call(cut.steps, EXPORT_MEMORY, base.objects() + places, of.bytes, EXPORTED);
            work.call(cut.steps, MEMORY, 2 * base.objects(), 0, OPENED);
            round.tasks += cut.tasks;
            round.steps += cut.steps;
            round.rows += base.objects();
            round.objects += base.objects();
            round.read += base.objects() + Self::duplicates(*of, &base);
            round.left += places;
        }
        Self::plan(&mut work, round.tasks);
        work.call(1, MEMORY, 0, 0, OPENED);
        Self::finish(&mut work, round);
        let level = self.level_after();
        work += self.verify(level, round.objects, round.objects, stored);
        work
    }

    /// The plan of a job: its tasks listed, once it is known that nobody has listed them.
    pub(super) fn plan(work: &mut Work, tasks: u64) {
        work.vault.list += 1;
        work.staging.head += 2;
        work.staging.put += 1;
        // The map's own request.
        work.copy_gets += 1;
        work.call(1, MEMORY, 4, 0, OPENED);
        work.begin_job(tasks);
        work.transitions += BEGIN + BACKUP_STATES + tasks * (BEGIN + END_STATES);
    }

    /// What a step reads of the source; `share` of a tree's content, since what is unchanged is only listed.
    pub(super) fn read_source(self, work: &mut Work, of: StreamLoad, cut: Cut, share: f64) {
        match self.load.kind {
            Kind::Dynamodb if !of.is_tree() => {
                // The last page of each segment is begun, however little is on it.
                work.scan_reads += of.bytes.div_ceil(SCANNED) + cut.steps;
            }
            _ if of.is_tree() && matches!(self.load.kind, Kind::S3 | Kind::Dynamodb) => {
                // Once to cut, once to read.
                work.source.list += 1 + 2 * of.files.div_ceil(PAGE) + cut.tasks;
                work.source.get += super::at_least(super::real(of.files) * share);
            }
            _ => {}
        }
    }

    /// Where records stood in a source that tells it: an object a run.
    pub(super) fn places(self, of: StreamLoad, runs: u64) -> u64 {
        let told = matches!(self.load.kind, Kind::Jsonl | Kind::Json) && !of.is_tree();
        if told { runs } else { 0 }
    }

    /// The requests with which a commit makes sure that no key stands twice in what a backup wrote.
    pub(super) fn duplicates(of: StreamLoad, own: &Layer) -> u64 {
        if own.runs < 2 || of.is_tree() {
            return own.tables;
        }
        let shards = of.records.div_ceil(SHARD_ROWS).max(1);
        let opened = if own.tables > KEPT_OPEN { own.tables } else { 0 };
        own.tables + shards * (opened + own.reading_tables(shards) - own.tables)
    }

    /// The end of a backup: its objects opened, its manifest written and read back, staging cleared.
    pub(super) fn finish(work: &mut Work, round: Round) {
        // Whether there is a manifest, and what became of it.
        work.vault.get += 2 + round.read;
        work.vault.put += 1;
        let left = round.left + 1;
        work.staging.list += left.div_ceil(PAGE);
        work.staging.delete += left;
        work.steps(round.steps, round.rows);
        work.gather(1, round.tasks, round.rows);
        work.state_reads += EARLIER + round.objects.min(PARTITIONS);
        work.end_job(round.tasks, round.rows);
        work.call(1, MEMORY, (round.read + left) / 8, 0, OPENED);
    }

    /// What the policy has verified after a backup.
    pub(super) fn level_after(self) -> Option<Level> {
        use crate::config::VerifyAfter;
        match self.load.verify {
            VerifyAfter::None => None,
            VerifyAfter::Quick => Some(Level::Quick),
            VerifyAfter::Chain => Some(Level::Chain),
            VerifyAfter::Full => Some(Level::Full),
        }
    }
}
