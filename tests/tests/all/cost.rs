//! The cost model beside what a run does: requests as the storage port counts them, calls of functions, states entered.
//!
//! The state machine and the handlers are the real ones, over stores in memory. What follows from the number of tasks, packs
//! and tables must be equal. Where it hangs on how content compresses, or on which files fall into which range, a bound is
//! stated beside the comparison.

use async_trait::async_trait;
use holdfast_common::clock::{Ids, ManualClock, SeededIds};
use holdfast_common::jobs::{BackupType, Job, JobStore, Status};
use holdfast_common::storage::{Counting, Operation};
use holdfast_common::telemetry::NoMetrics;
use holdfast_connectors::SourceSpec;
use holdfast_local::Home;
use holdfast_local::asl::{
    self, Event, Failure, Happening, Interpreter, Observer, Ports, StateMachine, Tasks, WallTime,
};
use holdfast_local::clients::HomeClients;
use holdfast_local::dynamodb::EmbeddedDynamoDb;
use holdfast_local::functions::{Functions, substitutions};
use holdfast_tests::noise;
use holdfast_vault::crypto::SecretKey;
use holdfast_vault::memory::MemoryCloud;
use holdfast_vault::read::Vault;
use holdfast_vault::read::vault::WrappingKey;
use holdfast_workflow::config::{Compaction, Policy, Resource};
use holdfast_workflow::cost::{Calls, Load, Model, StreamLoad, Work};
use holdfast_workflow::{Services, WorkLimits};
use jiff::SignedDuration;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const BACKUP: &str = include_str!("../../../infra/statemachines/backup.asl.json");

/// Counts calls of functions.
struct CountedCalls(Functions, AtomicU64);

#[async_trait]
impl Tasks for CountedCalls {
    async fn call(&self, resource: &str, parameters: Value) -> Result<Value, Failure> {
        let calls = u64::from(resource.ends_with("lambda:invoke"));
        self.1.fetch_add(calls, Ordering::Relaxed);
        self.0.call(resource, parameters).await
    }
}

/// Counts the states that are entered.
#[derive(Default)]
struct CountedStates(AtomicU64);

#[async_trait]
impl Observer for CountedStates {
    async fn observe(&self, event: &Event<'_>) {
        let entered = matches!(event.what, Happening::StateEntered { .. });
        self.0.fetch_add(u64::from(entered), Ordering::Relaxed);
    }
}

/// A place where backups run, and what they ask of it.
struct Bench {
    dir: tempfile::TempDir,
    services: Services,
    vault: Counting,
    staging: Counting,
    calls: Arc<CountedCalls>,
    states: Arc<CountedStates>,
    interpreter: Interpreter,
    machine: StateMachine,
    clock: Arc<ManualClock>,
    ids: SeededIds,
}

/// What a backup asked for.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    vault: Calls,
    staging: Calls,
    calls: u64,
    states: u64,
}

impl Bench {
    async fn new(limits: WorkLimits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("source")).unwrap();
        let cloud = MemoryCloud::new();
        let (objects, waiting) = (cloud.store("vault"), cloud.store("staging"));
        let key = WrappingKey { id: "cost".to_owned(), secret: SecretKey::new([7; 32]) };
        Vault::create(Arc::new(objects.clone()), &key).await.unwrap();
        let (vault, staging) = (Counting::new(Arc::new(objects)), Counting::new(Arc::new(waiting.clone())));
        // Later than any file here was written: what is as old as a backup is read to be sure.
        let clock = Arc::new(ManualClock::new("2027-11-01T00:00:00Z".parse().unwrap()));
        let tables = EmbeddedDynamoDb::memory().unwrap();
        let jobs = JobStore::new(tables.client(), "jobs", clock.clone());
        jobs.create_table_if_missing().await.unwrap();
        let services = Services {
            jobs,
            vault: Vault::open(Arc::new(vault.clone()), &key).await.unwrap(),
            staging: Arc::new(staging.clone()),
            clients: Arc::new(HomeClients::new(tables)),
            clock: clock.clone(),
            metrics: Arc::new(NoMetrics),
            limits,
        };
        let home = Arc::new(Home::open(&dir.path().join("home"), true).unwrap());
        let functions = Functions::new(services.clone(), home.clone());
        // A map reads its list by itself, which the model counts apart.
        let lists = Services { staging: Arc::new(waiting), ..services.clone() };
        let calls = Arc::new(CountedCalls(functions, AtomicU64::new(0)));
        let states = Arc::new(CountedStates::default());
        let ports = Ports {
            tasks: calls.clone(),
            objects: Arc::new(Functions::new(lists, home)),
            time: Arc::new(WallTime),
            observer: states.clone(),
        };
        let interpreter = Interpreter::new(ports, asl::Options::default());
        let machine = StateMachine::load("backup", BACKUP, &substitutions()).unwrap();
        let ids = SeededIds::new(clock.clone(), 1);
        Self { dir, services, vault, staging, calls, states, interpreter, machine, clock, ids }
    }

    fn source(&self) -> PathBuf {
        self.dir.path().join("source")
    }

    async fn configure(&self, source: SourceSpec, policy: Policy) -> Resource {
        let resource = Resource { name: "shop".to_owned(), source, policy };
        let document = serde_json::to_value(&resource).unwrap();
        self.services.jobs.put_resource("shop", &document).await.unwrap();
        resource
    }

    /// Backs up, and says what that asked for.
    async fn back_up(&self, backup_type: BackupType) -> (Job, Asked) {
        let before = self.asked();
        self.clock.advance(SignedDuration::from_hours(1));
        let id = self.ids.next();
        let input = json!({ "resource": "shop", "type": backup_type });
        let outcome = self.interpreter.run(&self.machine, &id, input).await;
        let job = self.services.jobs.job(&id).await.unwrap();
        assert_eq!(job.status, Status::Completed, "{outcome:?}");
        assert_eq!(job.backup_type, Some(backup_type));
        let after = self.asked();
        let asked = Asked {
            vault: less(after.vault, before.vault),
            staging: less(after.staging, before.staging),
            calls: after.calls - before.calls,
            states: after.states - before.states,
        };
        (job, asked)
    }

    fn asked(&self) -> Asked {
        Asked {
            vault: counted(&self.vault),
            staging: counted(&self.staging),
            calls: self.calls.1.load(Ordering::Relaxed),
            states: self.states.0.load(Ordering::Relaxed),
        }
    }
}

fn counted(store: &Counting) -> Calls {
    assert_eq!(store.count(Operation::Lock), 0, "no backup asks for locks");
    Calls {
        put: store.count(Operation::Put),
        get: store.count(Operation::Get),
        head: store.count(Operation::Head),
        copy: store.count(Operation::Copy),
        list: store.count(Operation::List),
        delete: store.count(Operation::Delete),
    }
}

fn less(after: Calls, before: Calls) -> Calls {
    Calls {
        put: after.put - before.put,
        get: after.get - before.get,
        head: after.head - before.head,
        copy: after.copy - before.copy,
        list: after.list - before.list,
        delete: after.delete - before.delete,
    }
}

/// What the model says, in the same words; `children` are the tasks of all maps, whose beginning the model counts too.
fn told(work: &Work, children: u64) -> Asked {
    Asked {
        vault: work.vault,
        staging: work.staging,
        calls: work.calls,
        states: work.transitions - 1 - children,
    }
}

/// That figures are within so many percent of each other.
#[track_caller]
fn near(told: Calls, found: Calls, percent: f64, what: &str) {
    let pairs = [
        ("put", told.put, found.put),
        ("get", told.get, found.get),
        ("head", told.head, found.head),
        ("copy", told.copy, found.copy),
        ("list", told.list, found.list),
        ("delete", told.delete, found.delete),
    ];
    for (name, told, found) in pairs {
        #[allow(clippy::cast_precision_loss)]
        let (told, found) = (told as f64, found as f64);
        let apart = (told - found).abs();
        assert!(apart <= found * percent / 100.0, "{what} {name}: the model says {told}, there were {found}");
    }
}

/// A load of what a job holds, with the share that was stored of what is given.
fn load(resource: &Resource, job: &Job, limits: WorkLimits, change: f64) -> Load {
    let mut load = Load::of(resource);
    let streams = job.streams.iter().map(|stream| StreamLoad {
        records: stream.records,
        files: stream.files,
        bytes: stream.bytes,
    });
    load.streams = streams.collect();
    (load.limits, load.daily_change, load.backups_per_day) = (limits, change, 1.0);
    load.backup_type = BackupType::Incremental;
    load
}

/// Lines of about a hundred bytes, of which a third does not compress; those of other `versions` differ.
fn lines(path: &Path, stream: &str, count: u64, version: impl Fn(u64) -> u64) {
    let line = |id: u64| {
        let value = noise(id * 7 + version(id) + 1, 16);
        let value = u128::from_be_bytes(value.try_into().unwrap());
        format!("{{\"id\":\"{id:08}\",\"of\":\"{stream}\",\"value\":\"{value:080x}\"}}\n")
    };
    fs::write(path.join(format!("{stream}.jsonl")), (0..count).map(line).collect::<Vec<_>>().concat())
        .unwrap();
}

fn tasks(limits: &WorkLimits, bytes: &[u64]) -> u64 {
    bytes.iter().map(|bytes| bytes.div_ceil(limits.range_bytes)).sum()
}

/// Ranges of 256 KiB, so that two streams make some ten tasks; runs and packs as they are.
fn ranges() -> WorkLimits {
    WorkLimits { range_bytes: 256 << 10, ..WorkLimits::default() }
}

async fn records(limits: WorkLimits) -> (Bench, Resource) {
    let bench = Bench::new(limits).await;
    let source = SourceSpec::Jsonl { path: bench.source(), key: vec!["/id".to_owned()] };
    let resource = bench.configure(source, Policy::default()).await;
    (bench, resource)
}

/// Writes two streams of some ten tasks, and tells the bytes of each.
fn two_streams(bench: &Bench) -> [u64; 2] {
    [("orders", 18_000), ("customers", 3_000)].map(|(name, count)| {
        lines(&bench.source(), name, count, |_| 0);
        bench.source().join(format!("{name}.jsonl")).metadata().unwrap().len()
    })
}

#[tokio::test]
async fn a_first_backup_of_records_asks_for_what_the_model_says() {
    let limits = ranges();
    let (bench, resource) = records(limits).await;
    let sizes = two_streams(&bench);
    let (job, found) = bench.back_up(BackupType::Full).await;
    let load = load(&resource, &job, limits, 0.0);
    let model = Model::new(&load).first();
    assert_eq!(told(&model, tasks(&limits, &sizes)), found);
    assert!(found.vault.copy >= 16, "there were several tasks");
}

#[tokio::test]
async fn an_increment_of_records_asks_for_what_the_model_says() {
    let limits = ranges();
    let (bench, resource) = records(limits).await;
    let sizes = two_streams(&bench);
    bench.back_up(BackupType::Full).await;
    for deltas in 0..3_u64 {
        // One record of fifty changes, all over the table, so that every task has some.
        for stream in ["orders", "customers"] {
            let count = if stream == "orders" { 18_000 } else { 3_000 };
            lines(&bench.source(), stream, count, |id| if id % 50 == 0 { deltas + 1 } else { 0 });
        }
        let (job, found) = bench.back_up(BackupType::Incremental).await;
        let load = load(&resource, &job, limits, 0.02);
        let model = Model::new(&load).increment(deltas, false);
        assert_eq!(told(&model, tasks(&limits, &sizes) + 2), found, "on {deltas} deltas");
    }
}

#[tokio::test]
async fn an_increment_that_is_joined_in_shards_is_near_to_what_the_model_says() {
    let limits = WorkLimits { broadcast_rows: 1_000, shard_rows: 6_000, ..ranges() };
    let (bench, resource) = records(limits).await;
    lines(&bench.source(), "orders", 18_000, |_| 0);
    bench.back_up(BackupType::Full).await;
    lines(&bench.source(), "orders", 18_000, |id| u64::from(id % 50 == 0));
    let (job, found) = bench.back_up(BackupType::Incremental).await;
    let load = load(&resource, &job, limits, 0.02);
    let model = Model::new(&load).increment(0, false);
    near(model.vault, found.vault, 15.0, "vault");
    near(model.staging, found.staging, 15.0, "staging");
    assert_eq!(model.calls, found.calls);
}

#[tokio::test]
async fn an_increment_that_merges_layers_is_near_to_what_the_model_says() {
    let limits = ranges();
    let (bench, _) = records(limits).await;
    let source = SourceSpec::Jsonl { path: bench.source(), key: vec!["/id".to_owned()] };
    let compaction = Compaction { layers: 2, ..Compaction::default() };
    let resource = bench.configure(source, Policy { compaction, ..Policy::default() }).await;
    lines(&bench.source(), "orders", 18_000, |_| 0);
    bench.back_up(BackupType::Full).await;
    for version in 1..3 {
        lines(&bench.source(), "orders", 18_000, |id| if id % 50 == 0 { version } else { 0 });
        let (job, found) = bench.back_up(BackupType::Incremental).await;
        let load = load(&resource, &job, limits, 0.02);
        let model = Model::new(&load).increment(version - 1, version == 2);
        near(model.vault, found.vault, 15.0, "vault");
        near(model.staging, found.staging, 15.0, "staging");
        assert_eq!(model.calls, found.calls);
    }
}

#[tokio::test]
async fn backups_of_files_are_near_to_what_the_model_says() {
    let limits = WorkLimits { range_entries: 100, ..WorkLimits::default() };
    let bench = Bench::new(limits).await;
    let resource = bench.configure(SourceSpec::Files { path: bench.source() }, Policy::default()).await;
    let write = |number: u64, version: u64| {
        let path = bench.source().join(format!("{:02}/{number:04}.bin", number / 50));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, noise(number * 11 + version + 1, 9_000)).unwrap();
    };
    (0..2_000).for_each(|number| write(number, 0));
    let (job, found) = bench.back_up(BackupType::Full).await;
    let first = Model::new(&load(&resource, &job, limits, 0.0)).first();
    near(first.vault, found.vault, 15.0, "first, vault");
    near(first.staging, found.staging, 15.0, "first, staging");
    assert_eq!(first.calls, found.calls);
    for deltas in 0..2_u64 {
        (0..2_000).filter(|number| number % 50 == 0).for_each(|number| write(number, deltas + 1));
        let (job, found) = bench.back_up(BackupType::Incremental).await;
        let load = load(&resource, &job, limits, 0.02);
        let model = Model::new(&load).increment(deltas, false);
        near(model.vault, found.vault, 15.0, "increment, vault");
        near(model.staging, found.staging, 15.0, "increment, staging");
        assert_eq!(model.calls, found.calls);
    }
}
