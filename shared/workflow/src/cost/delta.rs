//! What an increment asks of the services: what was read is joined with the base, and now and then merged with it.

use super::load::StreamLoad;
use super::plan::{Model, Round};
use super::shape::{Cut, Layer};
use super::state::{BEGIN, END_STATES, EXPORT_MEMORY, EXPORTED, MEMORY, OPENED};
use super::work::Work;
use super::{at_least, real, whole};
use crate::join::EXPANDS;
use crate::plan::Way;
use holdfast_vault::read::Shard;

/// A stream with the layers that an increment builds on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    /// What the stream holds now.
    pub(super) of: StreamLoad,
    /// How it is read.
    pub(super) cut: Cut,
    /// Its base.
    pub(super) base: Layer,
    /// One of its deltas.
    pub(super) delta: Layer,
    /// How many lie on the base.
    pub(super) deltas: u64,
    /// What the first round of an increment leaves.
    kept: Layer,
    /// What the increment adds to the vault.
    written: Layer,
    way: Way,
    merges: bool,
    /// Tasks of the second round.
    joins: u64,
}

impl Standing {
    /// All objects of the stream's layers.
    pub(super) const fn objects(&self) -> u64 {
        self.base.objects() + self.deltas * self.delta.objects()
    }

    /// All bytes of the stream's layers.
    pub(super) const fn stored(&self) -> u64 {
        self.base.stored + self.deltas * self.delta.stored
    }

    /// The requests with which one of so many shards of all state tables is read.
    fn tables(&self, shards: u64) -> u64 {
        self.base.reading_tables(shards) + self.deltas * self.delta.reading_tables(shards)
    }

    /// The requests with which all entries of a tree are read.
    fn entries(&self) -> u64 {
        self.base.reading_entries() + self.deltas * self.delta.reading_entries()
    }

    #[cfg(test)]
    pub(super) const fn way(&self) -> Way {
        self.way
    }
}

impl Model<'_> {
    /// A stream under so many deltas.
    pub(super) fn standing(self, of: StreamLoad, deltas: u64, merges: bool) -> Standing {
        let (load, limits) = (self.load, self.load.limits);
        let cut = Cut::of(of, load);
        let change = load.change();
        let some = |number: u64| at_least(real(number) * change);
        let changed = StreamLoad {
            records: some(of.records),
            files: some(of.files),
            bytes: whole(real(of.bytes) * change),
        };
        let rows = of.records + deltas * changed.records;
        let way = if of.is_tree() || rows <= limits.broadcast_rows { Way::Joined } else { Way::Sorted };
        let content = whole(real(changed.bytes) * load.stored_share);
        // A delta is closed in as few shards as its content needs; a new base is cut as the source is.
        let (small, large) = match way {
            _ if of.is_tree() => (0, 0),
            Way::Sorted => [Shard::count(of.records, limits.shard_rows); 2].into(),
            _ => (
                Shard::count(content.saturating_mul(EXPANDS), limits.range_bytes),
                Shard::count(of.bytes, limits.range_bytes),
            ),
        };
        let joins = if merges { large } else { small };
        let read = if way == Way::Sorted { of } else { changed };
        let kept = Layer::of(read, cut.steps, load);
        let writers = |joins| if of.is_tree() { cut.steps } else { joins };
        let own = Layer::of(changed, writers(small), load);
        let delta = if of.is_tree() { own } else { own.as_one() };
        let base = Layer::of(of, cut.steps, load);
        let written = if merges { Layer::of(of, writers(large), load) } else { own };
        Standing { of, cut, base, delta, deltas, kept, written, way, merges, joins }
    }

    /// A backup that builds on a base with so many deltas, verified as the policy says. `merges` says that it makes a new
    /// base of all of them.
    #[must_use]
    pub fn increment(self, deltas: u64, merges: bool) -> Work {
        let streams: Vec<Standing> =
            self.load.streams.iter().map(|of| self.standing(*of, deltas, merges)).collect();
        let (mut work, mut round) = (Work::default(), Round::default());
        for stream in &streams {
            self.open_base(&mut work, stream);
            self.export(&mut work, &mut round, stream);
        }
        Self::plan(&mut work, round.tasks);
        work.vault.get += 1;
        Self::plan_joins(&mut work, &mut round, &streams);
        for stream in &streams {
            self.join(&mut work, &mut round, stream);
        }
        // The base's manifest, and that it is still there.
        work.vault.head += 1;
        round.read += 1;
        Self::finish(&mut work, round);
        let held = |of: fn(&Standing) -> u64| streams.iter().map(of).sum::<u64>();
        let (objects, stored) = if merges {
            (round.objects, held(|stream| stream.written.stored))
        } else {
            (held(Standing::objects) + round.objects, held(|stream| stream.stored() + stream.written.stored))
        };
        work += self.verify(self.level_after(), objects, objects, stored);
        work
    }

    /// The plan looks at every object of the base, and reads its state tables or its entries.
    fn open_base(self, work: &mut Work, stream: &Standing) {
        work.vault.head += stream.objects();
        let read = if stream.of.is_tree() {
            // Once more where layers are merged, to find the packs of which little is needed.
            let times = if stream.merges { 2 } else { 1 };
            times * stream.entries()
        } else {
            let layers = stream.of.records + stream.deltas * stream.delta.runs;
            let shards = Shard::count(layers, self.load.limits.shard_rows);
            shards * stream.tables(shards)
        };
        work.vault.get += read;
        let looked = stream.objects() / self.load.limits.objects_at_once.max(1) as u64;
        work.call(0, MEMORY, looked + read, 0, OPENED);
    }

    /// The first round: every range of the source is read, and what differs is put into staging.
    fn export(self, work: &mut Work, round: &mut Round, stream: &Standing) {
        let (cut, kept, is_tree) = (stream.cut, stream.kept, stream.of.is_tree());
        let own = if is_tree { stream.written } else { kept };
        let places = self.places(stream.of, own.runs);
        let read = match stream.way {
            // Which files changed stands beside their chunks.
            _ if is_tree => stream.entries() + own.tables,
            Way::Sorted => 0,
            _ => cut.steps * stream.tables(1),
        };
        work.vault.get += cut.steps + read;
        let seen = if is_tree || stream.way == Way::Sorted { 0 } else { cut.steps };
        work.staging.put += own.objects() + places + seen;
        self.read_source(work, stream.of, cut, self.load.change());
        let bytes = if is_tree { whole(real(stream.of.bytes) * self.load.change()) } else { stream.of.bytes };
        work.call(cut.steps, EXPORT_MEMORY, cut.steps + read + own.objects(), bytes, EXPORTED);
        let admitted = if is_tree {
            work.admit(own.packs, own.pack_bytes);
            work.admit(own.tables, own.table_bytes);
            round.objects += own.objects();
            let stays =
                if stream.merges { 0 } else { stream.base.packs + stream.deltas * stream.delta.packs };
            round.read += own.objects() + Self::duplicates(stream.of, &own) + stays;
            2 * own.objects()
        } else {
            round.left += own.objects() + places + seen;
            0
        };
        work.call(cut.steps, MEMORY, admitted, 0, OPENED);
        round.tasks += cut.tasks;
        round.steps += cut.steps;
        round.rows += own.objects() + cut.steps;
    }

    /// The second round is listed, where a stream of records is joined.
    fn plan_joins(work: &mut Work, round: &mut Round, streams: &[Standing]) {
        let joins: u64 = streams.iter().map(|stream| stream.joins).sum();
        work.staging.head += 1;
        work.vault.get += 1;
        work.gather(1, round.tasks, round.rows);
        work.call(1, MEMORY, 3, 0, OPENED);
        if joins > 0 {
            work.staging.put += 1;
            work.copy_gets += 1;
            round.left += 1;
            work.state_writes += super::state::JOB_WRITE + 2 * joins;
            // Each asks what all tasks left.
            work.gather(joins, round.tasks, round.rows);
            work.transitions += END_STATES + joins * (BEGIN + END_STATES);
        }
    }

    /// The second round: what was kept is joined with the base, shard by shard.
    fn join(self, work: &mut Work, round: &mut Round, stream: &Standing) {
        let (joins, kept) = (stream.joins, stream.kept);
        if joins == 0 {
            return;
        }
        let part = whole(real(stream.of.bytes) * self.load.change());
        let (tables, bits, runs) = match stream.way {
            Way::Sorted => {
                let now = kept.reading_tables(joins) + kept.reading_runs(joins, stream.of.bytes);
                (stream.tables(joins), 0, now)
            }
            _ => (stream.tables(1), stream.cut.steps, kept.reading_runs(joins, part)),
        };
        // Deltas are read once for their keys, and once more with the base.
        let (runs, merged) = if stream.merges && stream.way == Way::Joined {
            let deltas = 2 * stream.deltas * stream.delta.reading_runs(joins, part);
            (2 * runs, deltas + stream.base.reading_runs(joins, stream.of.bytes))
        } else {
            (runs, 0)
        };
        work.vault.get += joins * (1 + tables + merged);
        // What is not there is asked of staging before the vault.
        work.staging.get += joins * (bits + kept.objects() + runs + merged);
        let own = stream.written;
        work.staging.put += own.objects();
        work.admit(own.packs, own.pack_bytes);
        work.admit(own.tables, own.table_bytes);
        let requests = joins * (1 + tables + bits + kept.objects() + runs + merged) + own.objects();
        let opened = if stream.merges { stream.stored() } else { kept.stored };
        work.call(joins, EXPORT_MEMORY, requests, opened, OPENED);
        work.call(joins, MEMORY, 2 * own.objects(), 0, OPENED);
        round.tasks += joins;
        round.steps += joins;
        round.rows += own.objects();
        round.objects += own.objects();
        round.read += own.objects() + Self::duplicates(stream.of, &own);
    }
}
