//! How a stream falls into tasks, steps, runs, packs and state tables.

use super::load::{Kind, Load, StreamLoad};
use super::{at_least, real, whole};
use crate::join::FRAME;
use crate::services::WorkLimits;
use holdfast_connectors::Sizing;
use holdfast_connectors::dynamodb::segments;
use holdfast_vault::write::BLOCK_LEN;
use holdfast_vault::write::records::STATE_ROW_LEN;

/// An object of at most so many bytes is read with one request, a larger one by its footer and block by block.
const SMALL: u64 = BLOCK_LEN as u64;
/// What the writer holds in memory of a record beside its bytes: it counts towards a run.
const ROW: u64 = 64;
/// Rows in a block of a state table.
const TABLE_ROWS: u64 = (BLOCK_LEN / STATE_ROW_LEN) as u64 / 4;
/// What the entry of a file takes before it is compressed, about: its path, times, mode, digest and extents.
const ENTRY: u64 = 200;
/// What a file takes in the vault beside its content, about: its entry, compressed, and its chunk list.
const ENTRY_STORED: u64 = 120;

/// How the source is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut {
    /// Tasks of the first round.
    pub(super) tasks: u64,
    /// Steps of all of them.
    pub(super) steps: u64,
}

/// What one backup wrote of a stream.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Layer {
    /// Packs.
    pub(super) packs: u64,
    /// Stored bytes of a pack, about.
    pub(super) pack_bytes: u64,
    /// Runs or tree segments.
    pub(super) runs: u64,
    /// Index objects: state tables or chunk lists.
    pub(super) tables: u64,
    /// Stored bytes of an index object, about.
    pub(super) table_bytes: u64,
    /// Blocks of all state tables; of a tree blocks of all entries.
    pub(super) blocks: u64,
    /// Bytes in the vault.
    pub(super) stored: u64,
}

impl Cut {
    /// How a source cuts a stream, and how often a call has enough of a range.
    pub(super) fn of(stream: StreamLoad, load: &Load) -> Self {
        let limits = &load.limits;
        let (bytes, entries) = (limits.range_bytes.max(1), limits.range_entries.max(1));
        let tasks = match load.kind {
            Kind::Jsonl => stream.bytes.div_ceil(bytes),
            Kind::Dynamodb if !stream.is_tree() => {
                let sizing = Sizing { bytes, entries, workers: limits.workers };
                segments(stream.bytes, stream.records, &sizing)
            }
            Kind::Json => stream.bytes.div_ceil(bytes).max(stream.things().div_ceil(entries)),
            // A tree has one range more, for what may have stood behind the last path.
            _ => (stream.bytes / bytes).max(stream.files / entries) + 1,
        };
        let tasks = tasks.max(1);
        let in_each = real(stream.bytes) / real(tasks) / real(limits.step_bytes.max(1));
        Self { tasks, steps: tasks * at_least(in_each).max(1) }
    }
}

impl Layer {
    /// What so many workers write of a stream, each as much.
    pub(super) fn of(of: StreamLoad, workers: u64, load: &Load) -> Self {
        let things = of.things();
        if things == 0 || workers == 0 {
            return Self::default();
        }
        let workers = workers.min(things);
        if of.is_tree() { Self::tree(of, workers, load) } else { Self::records(of, workers, load) }
    }

    fn records(of: StreamLoad, workers: u64, load: &Load) -> Self {
        let WorkLimits { runs: limits, .. } = load.limits;
        let (run_bytes, pack_bytes) = (limits.run_bytes as u64, limits.pack_bytes as u64);
        let (rows, bytes) = (real(of.records) / real(workers), real(of.bytes) / real(workers));
        let runs = at_least((bytes + rows * real(ROW)) / real(run_bytes.max(1))).max(1);
        // A pack ends with the run that fills it.
        let in_pack = at_least(real(pack_bytes) / (real(run_bytes) * load.stored_share).max(1.0)).max(1);
        let packs = runs.div_ceil(in_pack);
        let table = rows * real(STATE_ROW_LEN as u64);
        let tables = at_least(table / real(pack_bytes.max(1))).max(1);
        let content = bytes * load.stored_share;
        let objects = workers * (packs + tables);
        Self {
            packs: packs * workers,
            pack_bytes: whole(content / real(packs)) + FRAME,
            runs: runs * workers,
            tables: tables * workers,
            table_bytes: whole(table / real(tables)) + FRAME,
            // Each run has one that is not full.
            blocks: workers * runs + of.records / TABLE_ROWS,
            stored: whole((content + table) * real(workers)) + objects * FRAME,
        }
    }

    fn tree(of: StreamLoad, workers: u64, load: &Load) -> Self {
        let WorkLimits { trees: limits, .. } = load.limits;
        let (files, bytes) = (real(of.files) / real(workers), real(of.bytes) / real(workers));
        let content = bytes * load.stored_share;
        let by_bytes = at_least(content / real(limits.pack_bytes.max(1) as u64));
        let by_entries = at_least(files * real(ENTRY) / real(limits.entry_bytes.max(1) as u64));
        let packs = by_bytes.max(by_entries).max(1);
        let entries = files * real(ENTRY_STORED);
        Self {
            packs: packs * workers,
            pack_bytes: whole((content + entries / 2.0) / real(packs)) + FRAME,
            runs: packs * workers,
            tables: workers,
            table_bytes: whole(entries / 2.0) + FRAME,
            blocks: workers * packs * at_least(files / real(packs) * real(ENTRY) / real(SMALL)).max(1),
            stored: whole((content + entries) * real(workers)) + workers * (packs + 1) * FRAME,
        }
    }

    /// The same, read as if all of it stood in one pack and one table. Of a delta that is cut into shards small objects are
    /// read whole, which takes fewer requests: this is an upper bound, and more shards never cost less.
    pub(super) const fn as_one(self) -> Self {
        Self { pack_bytes: self.pack_bytes * self.packs, table_bytes: self.table_bytes * self.tables, ..self }
    }

    /// Packs and index objects.
    pub(super) const fn objects(&self) -> u64 {
        self.packs + self.tables
    }

    /// The requests with which one of so many shards of the state tables is read.
    pub(super) fn reading_tables(&self, shards: u64) -> u64 {
        self.tables + Self::beside(self.table_bytes, self.blocks, self.runs, shards)
    }

    /// The requests with which one of so many shards of the records of all runs is read, so many bytes in a block.
    pub(super) fn reading_runs(&self, shards: u64, bytes: u64) -> u64 {
        let blocks = bytes.div_ceil(SMALL).max(self.runs);
        self.packs + Self::beside(self.pack_bytes, blocks, self.runs, shards)
    }

    /// The requests with which the entries of a tree are read, one after the other.
    pub(super) fn reading_entries(&self) -> u64 {
        self.packs + Self::beside(self.pack_bytes, self.blocks, 0, 1)
    }

    /// The requests for single blocks, of objects that are too large to be read whole. At the ends of a shard each run has
    /// a block that reaches into it.
    fn beside(object: u64, blocks: u64, runs: u64, shards: u64) -> u64 {
        if object <= SMALL {
            return 0;
        }
        let ends = if shards > 1 { runs } else { 0 };
        blocks.div_ceil(shards.max(1)) + ends
    }
}
