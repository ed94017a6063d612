//! Random histories of records and of backups of every type, joined in memory and in shards, against a map.

use super::bench::{Bench, Lines, small};
use super::chance::Chance;
use super::drive::{Drive, name_of, warned};
use super::faults::Weather;
use super::seeds::Seeds;
use holdfast_common::jobs::{BackupType, Job};
use holdfast_vault::error::Code;
use holdfast_vault::format::footer::DeltaCounts;
use holdfast_vault::format::manifest::{LayerKind, Manifest, StreamManifest};
use holdfast_workflow::WorkLimits;
use holdfast_workflow::config::Compaction;
use holdfast_workflow::events::{Selection, TaskEvent};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

const TYPES: [BackupType; 5] = [
    BackupType::Full,
    BackupType::Incremental,
    BackupType::Incremental,
    BackupType::Incremental,
    BackupType::Differential,
];

/// What the source holds: the lines of each stream by the number in their keys.
#[derive(Debug, Clone, PartialEq, Eq)]
struct World {
    streams: BTreeMap<String, BTreeMap<u64, String>>,
    key: &'static str,
    /// Bytes that make a record fat, so that a task takes several steps.
    fat: usize,
}

impl World {
    fn new(chance: &mut Chance) -> Self {
        let fat = if chance.percent(4) { 500_000 } else { 0 };
        let mut world = Self { streams: BTreeMap::new(), key: "/id", fat };
        world.streams.insert("orders".to_owned(), BTreeMap::new());
        let records = chance.of(&[0, 1, 5, 30]);
        for _ in 0..records {
            world.put(chance, "orders");
        }
        world
    }

    fn put(&mut self, chance: &mut Chance, stream: &str) {
        let keys = if self.fat > 0 { 6 } else { 40 };
        let (number, version) = (chance.below(keys), chance.below(4));
        let pad = "x".repeat(usize::try_from(version * 9).unwrap() + self.fat);
        let line = format!(r#"{{"id":"k{number}","alt":"a{number}","v":{version},"pad":"{pad}"}}"#);
        self.streams.get_mut(stream).unwrap().insert(number, line);
    }

    fn change(&mut self, chance: &mut Chance) {
        for name in ["orders", "items", "prices"] {
            if chance.percent(5) {
                let there = self.streams.remove(name);
                if there.is_none() || self.streams.is_empty() {
                    self.streams.insert(name.to_owned(), BTreeMap::new());
                }
            }
        }
        let names: Vec<String> = self.streams.keys().cloned().collect();
        if chance.percent(5) {
            self.streams.get_mut(&chance.of(&names)).unwrap().clear();
        }
        if chance.percent(3) {
            self.key = if self.key == "/id" { "/alt" } else { "/id" };
        }
        for _ in 0..chance.of(&[0, 1, 3, 10, 40]) {
            let name = chance.of(&names);
            if chance.percent(60) {
                self.put(chance, &name);
            } else {
                let number = chance.below(40);
                self.streams.get_mut(&name).unwrap().remove(&number);
            }
        }
    }

    /// The lines in any order.
    fn lines(&self, chance: &mut Chance) -> Lines {
        let mut all = self.sorted();
        for lines in all.values_mut() {
            chance.shuffle(lines);
        }
        all
    }

    fn sorted(&self) -> Lines {
        let sorted = |records: &BTreeMap<u64, String>| {
            let mut lines: Vec<String> = records.values().cloned().collect();
            lines.sort_unstable();
            lines
        };
        self.streams.iter().map(|(name, records)| (name.clone(), sorted(records))).collect()
    }

    /// A record's key as one types it.
    fn typed(&self, number: u64) -> String {
        format!("{}{number}", if self.key == "/id" { 'k' } else { 'a' })
    }
}

/// A backup that completed.
#[derive(Debug, Clone)]
struct Taken {
    id: String,
    backup_type: BackupType,
    world: World,
}

/// One resource with its chain, all backups of which are joined in one way.
struct Chain {
    resource: &'static str,
    limits: WorkLimits,
    taken: Vec<Taken>,
    old: Vec<TaskEvent>,
}

impl Chain {
    fn base(&self, asked: BackupType) -> Option<&Taken> {
        match asked {
            BackupType::Full => None,
            BackupType::Incremental => self.taken.last(),
            BackupType::Differential => self.taken.iter().rev().find(|t| t.backup_type == BackupType::Full),
        }
    }
}

/// One history; everything follows from its seed.
struct History {
    bench: Bench,
    chance: Chance,
    compaction: Compaction,
    world: World,
    failed: u64,
}

/// How often the parts of the histories happened, to see that they do.
#[derive(Default)]
struct Seen {
    backups: AtomicU64,
    layered: AtomicU64,
    compacted: AtomicU64,
    failed: AtomicU64,
}

impl History {
    async fn run(seed: u64, tally: &Seen) {
        let mut chance = Chance::new(seed);
        let compaction = Compaction {
            layers: chance.of(&[2, 3, 4, 1000]),
            delta_percent: chance.of(&[0, 30, 200, 1_000_000]),
            ..Compaction::default()
        };
        let world = World::new(&mut chance);
        let (joined, shuffled) = limits(&mut chance, world.fat > 0);
        let bench = Bench::new(joined).await;
        let mut history = Self { bench, chance, compaction, world, failed: 0 };
        let chain = |resource, limits| Chain { resource, limits, taken: Vec::new(), old: Vec::new() };
        let mut chains = [chain("joined", joined), chain("shuffled", shuffled)];
        for _ in 0..=history.chance.below(7) {
            history.world.change(&mut history.chance);
            let lines = history.world.lines(&mut history.chance);
            history.bench.write(&lines);
            let asked = history.chance.of(&TYPES);
            let mut stored = Vec::new();
            for chain in &mut chains {
                let manifest = history.back_up(chain, asked, tally).await;
                stored.push(facts(&manifest));
            }
            assert_eq!(stored[0], stored[1], "both joins store the same");
        }
        history.all_come_back(&chains).await;
        tally.failed.fetch_add(history.failed, Ordering::Relaxed);
    }

    async fn back_up(&mut self, chain: &mut Chain, asked: BackupType, tally: &Seen) -> Manifest {
        self.bench.configure(chain.resource, self.world.key, self.compaction).await;
        let job = self.driven(chain, asked).await;
        let manifest = self.bench.services.vault.manifest(&job.id).await.unwrap();
        let base = chain.base(asked).cloned();
        let base = match &base {
            Some(base) => Some((base, self.bench.services.vault.manifest(&base.id).await.unwrap())),
            None => None,
        };
        let backup_type = if base.is_none() { BackupType::Full } else { asked };
        assert_eq!(job.backup_type, Some(backup_type));
        assert_eq!(serde_json::json!(manifest.backup_type), name_of(backup_type));
        assert_eq!(manifest.base, base.as_ref().map(|(base, _)| base.id.clone()));
        assert_eq!(warned(&job), self.warnings(asked, base.as_ref().map(|(base, _)| *base)));
        for stream in &manifest.streams {
            let before = base.as_ref().filter(|(base, _)| base.world.key == self.world.key);
            let before = before.and_then(|(base, manifest)| {
                let old = manifest.streams.iter().find(|old| old.info.name == stream.info.name)?;
                (!old.layers.is_empty()).then(|| (old, &base.world.streams[&stream.info.name]))
            });
            self.stream_is_right(&job, stream, before, tally);
        }
        tally.backups.fetch_add(1, Ordering::Relaxed);
        chain.taken.push(Taken { id: job.id, backup_type, world: self.world.clone() });
        manifest
    }

    /// Drives a backup in rough weather until one completes.
    async fn driven(&mut self, chain: &mut Chain, asked: BackupType) -> Job {
        let services = self.bench.with(chain.limits);
        loop {
            let execution = self.bench.execution();
            let rough = self.failed == 0 && self.chance.percent(30);
            if rough {
                let often = self.chance.of(&[2, 10, 40, 150]);
                let weather = Chance::new(self.chance.next());
                self.bench.faults.set(Weather::Rough(weather, often));
            }
            let mut drive = Drive {
                bench: &self.bench,
                services: &services,
                chance: Chance::new(self.chance.next()),
                repeats: self.chance.of(&[0, 0, 20, 50]),
                tries: 6,
                old: &mut chain.old,
            };
            match drive.backup_or_fail(&execution, chain.resource, asked).await {
                Ok(job) => return job,
                Err(error) => {
                    assert!(rough && error.code.retryable(), "{error:?}");
                    self.failed += 1;
                    let manifest = services.vault.manifest(&execution.job_id().unwrap()).await;
                    assert_eq!(manifest.unwrap_err().code, Code::ObjectMissing);
                }
            }
        }
    }

    fn warnings(&self, asked: BackupType, base: Option<&Taken>) -> Vec<String> {
        let Some(base) = base else {
            let none = if asked == BackupType::Full { None } else { Some("NoBase".to_owned()) };
            return none.into_iter().collect();
        };
        let (now, then) = (&self.world.streams, &base.world.streams);
        let gone = then.keys().filter(|name| !now.contains_key(*name)).map(|_| "StreamGone");
        let new = now.keys().filter(|name| !then.contains_key(*name)).map(|_| "StreamNew");
        let other_key = self.world.key != base.world.key;
        let changed =
            now.keys().filter(|name| other_key && then.contains_key(*name)).map(|_| "StreamKeyChanged");
        let mut all: Vec<String> = gone.chain(new).chain(changed).map(str::to_owned).collect();
        all.sort_unstable();
        all
    }

    /// What the manifest says of a stream is what became of the records since the base.
    fn stream_is_right(
        &self,
        job: &Job,
        stream: &StreamManifest,
        before: Option<(&StreamManifest, &BTreeMap<u64, String>)>,
        tally: &Seen,
    ) {
        let now = &self.world.streams[&stream.info.name];
        assert_eq!(stream.records, now.len() as u64);
        assert_eq!(stream.bytes, now.values().map(|line| line.len() as u64).sum::<u64>());
        let own: Vec<_> = stream.layers.iter().filter(|layer| layer.backup == job.id).collect();
        let compacted = before.is_some_and(|(old, _)| self.compaction.is_due(old));
        let Some((old, then)) = before.filter(|_| !compacted) else {
            tally.compacted.fetch_add(u64::from(compacted), Ordering::Relaxed);
            assert_eq!(stream.layers.len(), usize::from(!now.is_empty()), "one base, if anything");
            assert!(own.iter().all(|layer| layer.kind == LayerKind::Base && layer.delta.is_none()));
            return;
        };
        tally.layered.fetch_add(1, Ordering::Relaxed);
        let count = |fits: &dyn Fn(&u64) -> bool, keys: &BTreeMap<u64, String>| {
            keys.keys().filter(|key| fits(key)).count() as u64
        };
        let delta = DeltaCounts {
            added: count(&|key| !then.contains_key(key), now),
            changed: count(&|key| then.get(key).is_some_and(|value| *value != now[key]), now),
            deleted: count(&|key| !now.contains_key(key), then),
        };
        assert_eq!(own.first().and_then(|layer| layer.delta).unwrap_or_default(), delta);
        assert_eq!(own.len(), usize::from(!delta.is_empty()));
        assert_eq!(stream.layers.len(), old.layers.len() + own.len());
        assert!(stream.layers.len() <= self.compaction.layers as usize);
    }

    /// Every backup, whole and by single keys, with every byte verified; and nothing stands in the vault beside them.
    async fn all_come_back(&mut self, chains: &[Chain; 2]) {
        let mut objects = BTreeSet::new();
        for chain in chains {
            for taken in &chain.taken {
                let limits = WorkLimits {
                    overlay_keys: self.chance.of(&[1, 4, 1000]),
                    step_bytes: self.chance.of(&[1, 200, 1 << 20]),
                    ..chain.limits
                };
                let services = self.bench.with(limits);
                let (lines, _) = self.bench.restored(&services, &taken.id, Selection::default()).await;
                assert_eq!(lines, taken.world.sorted(), "backup {} of {}", taken.id, chain.resource);
                self.keys_come_back(chain, taken).await;
                let verified = self.bench.verify(&services, &taken.id, "full").await;
                assert!(verified.valid, "{:?}", verified.progress.findings);
                let manifest = services.vault.manifest(&taken.id).await.unwrap();
                objects
                    .extend(manifest.objects.iter().map(holdfast_vault::format::manifest::StoredObject::key));
            }
        }
        assert_eq!(self.bench.staged("").await, Vec::<String>::new(), "staging is empty");
        let sealed = self.bench.sealed().await;
        assert!(sealed.is_superset(&objects));
        if self.failed == 0 {
            assert_eq!(sealed, objects, "no object that no backup needs");
        }
    }

    async fn keys_come_back(&mut self, chain: &Chain, taken: &Taken) {
        let names: Vec<&String> = taken.world.streams.keys().collect();
        let stream = self.chance.of(&names);
        let numbers: BTreeSet<u64> = (0..3).map(|_| self.chance.below(40)).collect();
        let selection = Selection {
            streams: vec![stream.clone()],
            keys: numbers.iter().map(|number| taken.world.typed(*number)).collect(),
            ..Selection::default()
        };
        let services = self.bench.with(chain.limits);
        let (lines, job) = self.bench.restored(&services, &taken.id, selection).await;
        let held = &taken.world.streams[stream];
        let mut expected: Vec<String> =
            numbers.iter().filter_map(|number| held.get(number).cloned()).collect();
        expected.sort_unstable();
        assert_eq!(lines.get(stream).cloned().unwrap_or_default(), expected);
        // One warning a stream tells of all keys that it does not hold.
        let missing = numbers.iter().any(|number| !held.contains_key(number));
        assert_eq!(warned(&job), vec!["KeyNotFound"; usize::from(missing)]);
    }
}

/// Limits that join in memory, and such that join in shards.
fn limits(chance: &mut Chance, fat: bool) -> (WorkLimits, WorkLimits) {
    let mut joined = small();
    joined.range_bytes = chance.of(&[200, 700, 1 << 20]);
    if fat {
        joined.range_bytes = 4 << 20;
    }
    joined.step_bytes = chance.of(&[100, 1 << 20]);
    joined.runs.run_bytes = chance.of(&[150, 600, 1 << 20]);
    joined.runs.pack_bytes = chance.of(&[300, 2_000, 1 << 20]);
    let shuffled = WorkLimits { broadcast_rows: 0, shard_rows: chance.of(&[1, 6, 20, 1000]), ..joined };
    (joined, shuffled)
}

/// What does not hang on how a backup was joined.
fn facts(manifest: &Manifest) -> serde_json::Value {
    let stream = |stream: &StreamManifest| {
        let layers: Vec<_> = stream
            .layers
            .iter()
            .map(|layer| {
                let count: u64 = layer.segments.iter().map(|segment| segment.count).sum();
                let bytes: u64 = layer.segments.iter().map(|segment| segment.bytes).sum();
                (layer.kind, layer.delta, count, bytes)
            })
            .collect();
        (stream.info.clone(), stream.records, stream.bytes, stream.digest.clone(), layers)
    };
    let streams: Vec<_> = manifest.streams.iter().map(stream).collect();
    let warnings: Vec<_> = manifest.warnings.iter().map(|warning| &warning.code).collect();
    serde_json::json!({ "type": manifest.backup_type, "streams": streams, "warnings": warnings })
}

#[test]
fn random_histories_come_back() {
    let (seeds, tally) = (Seeds::asked("HOLDFAST_CASES", 400), Seen::default());
    let cases = seeds.count;
    seeds.hold(async |seed| History::run(seed, &tally).await);
    if cases >= 100 {
        for (what, count) in [
            ("backups", &tally.backups),
            ("layered streams", &tally.layered),
            ("compactions", &tally.compacted),
            ("failures", &tally.failed),
        ] {
            assert!(count.load(Ordering::Relaxed) > cases / 20, "the histories have hardly any {what}");
        }
    }
}
