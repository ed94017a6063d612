//! The world of one history: a vault, staging and job state in memory, sources in a directory, and the executions of
//! state machines.

use super::calls::Request;
use super::model::{Model, SKEW};
use super::ports::{ActorsClock, Port, client};
use super::stage::{Number, Role, Stage, Weather};
use super::tally::{Happened, Tally};
use super::till::Till;
use crate::increments::bench::{Lines, small};
use crate::increments::chance::Chance;
use async_trait::async_trait;
use holdfast_common::clock::{Clock, Ids, SeededIds};
use holdfast_common::jobs::{JobKind, JobStore};
use holdfast_common::telemetry::NoMetrics;
use holdfast_connectors::{Clients, SourceSpec};
use holdfast_local::dynamodb::EmbeddedDynamoDb;
use holdfast_vault::crypto::SecretKey;
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::memory::{MemoryCloud, MemoryStorage};
use holdfast_vault::read::Vault;
use holdfast_vault::read::vault::WrappingKey;
use holdfast_vault::storage::{ByteRange, Storage, list_all};
use holdfast_workflow::config::{Policy, Resource};
use holdfast_workflow::executions::ExecutionStatus;
use holdfast_workflow::{Services, WorkLimits};
use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// The execution of a state machine.
#[derive(Debug, Clone)]
pub(super) struct Running {
    pub(super) status: ExecutionStatus,
    pub(super) started_at: Timestamp,
    pub(super) actor: Number,
}

/// One history's world.
pub(super) struct World {
    pub(super) stage: Stage,
    pub(super) tally: Arc<Tally>,
    pub(super) model: Arc<Model>,
    pub(super) till: Arc<Till>,
    pub(super) tables: EmbeddedDynamoDb,
    pub(super) dir: tempfile::TempDir,
    /// As handlers reach everything.
    pub(super) rough: Services,
    /// As the model does: nothing fails.
    pub(super) fair: Services,
    pub(super) vault: MemoryStorage,
    pub(super) staging: MemoryStorage,
    pub(super) executions: Mutex<BTreeMap<(String, String), Running>>,
    ids: SeededIds,
    calm: AtomicBool,
    directories: AtomicU64,
}

/// The service's tables, which never fail: those of the job table go through a port of their own.
struct Tables(EmbeddedDynamoDb);

#[async_trait]
impl Clients for Tables {
    async fn dynamodb(&self, _: Option<&str>, _: Option<&str>) -> Result<aws_sdk_dynamodb::Client> {
        Ok(self.0.client())
    }

    async fn s3(&self, _: Option<&str>, _: Option<&str>) -> Result<aws_sdk_s3::Client> {
        Err(Error::new(Code::InvalidInput, "there are no buckets here"))
    }
}

impl World {
    pub(super) async fn new(seed: u64, tally: &Arc<Tally>) -> Arc<Self> {
        let mut chance = Chance::new(seed);
        let limits = limits(&mut chance);
        let start: Timestamp = "2026-11-01T00:00:00Z".parse().unwrap();
        let stage = Stage::new(start, Chance::new(chance.next()), tally);
        let clock: Arc<dyn Clock> = Arc::new(ActorsClock(stage.clone()));
        let cloud = MemoryCloud::new();
        let (vault, staging) = (cloud.store("vault"), cloud.store("staging"));
        let key = WrappingKey { id: "sim".to_owned(), secret: SecretKey::new([7; 32]) };
        let plain = Vault::create(Arc::new(vault.clone()), &key).await.unwrap();
        let tables = EmbeddedDynamoDb::memory().unwrap();
        let jobs = JobStore::new(tables.client(), "jobs", clock.clone());
        jobs.create_table_if_missing().await.unwrap();
        let till = Arc::new(Till::default());
        let model = Arc::new(Model::new(plain.clone(), jobs.clone(), &stage, tally, &till));
        let port = |store: &MemoryStorage, model| Arc::new(Port::new(store.clone(), &stage, tally, model));
        let fair = Services {
            jobs,
            vault: plain,
            staging: Arc::new(staging.clone()),
            clients: Arc::new(Tables(tables.clone())),
            clock: clock.clone(),
            metrics: Arc::new(NoMetrics),
            limits,
        };
        let rough = Services {
            jobs: JobStore::new(client(&tables, &stage, tally, &model), "jobs", clock.clone()),
            // Without a source of further keys: handlers are processes of their own, and share nothing to wait for.
            vault: Vault::with_keys(port(&vault, Some(model.clone())), fair.vault.keys().clone()),
            staging: port(&staging, None),
            ..fair.clone()
        };
        Arc::new(Self {
            ids: SeededIds::new(clock, chance.next()),
            dir: tempfile::tempdir().unwrap(),
            executions: Mutex::default(),
            calm: AtomicBool::new(false),
            directories: AtomicU64::new(0),
            tally: tally.clone(),
            stage,
            model,
            till,
            tables,
            rough,
            fair,
            vault,
            staging,
        })
    }

    /// Asks chance.
    pub(super) fn chance<T>(&self, ask: impl FnOnce(&mut Chance) -> T) -> T {
        self.stage.chance(ask)
    }

    /// True in so many of a hundred cases, while anything may still go wrong.
    pub(super) fn mishap(&self, often: u64) -> bool {
        !self.calm.load(Ordering::Relaxed) && self.chance(|chance| chance.percent(often))
    }

    /// From now on nothing goes wrong any more.
    pub(super) fn calm_down(&self) {
        self.calm.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    /// As what the next handler acts: which of its calls go wrong, how wrong its clock is.
    pub(super) fn handler(&self) -> Role {
        let ends_at = Some(self.stage.now() + SignedDuration::from_mins(15));
        let calm = self.is_calm();
        self.chance(|chance| {
            let skew = SignedDuration::from_secs(i64::try_from(chance.below(1200)).unwrap()) - SKEW;
            if calm {
                return Role { weather: Weather::FAIR, skew, ends_at };
            }
            let seconds = i64::try_from(chance.below(1500)).unwrap();
            let weather = Weather {
                rough: chance.of(&[0, 0, 0, 0, 3, 10, 40]),
                stale: chance.of(&[0, 0, 20, 100]),
                reads_changes: false,
                crash_at: chance.percent(4).then(|| 1 + chance.below(40)),
                hold: chance.percent(4).then(|| (1 + chance.below(40), SignedDuration::from_secs(seconds))),
            };
            Role { weather, skew, ends_at }
        })
    }

    /// An id that nobody has.
    pub(super) fn new_id(&self) -> String {
        self.ids.next()
    }

    /// A directory that nobody has.
    pub(super) fn new_directory(&self, what: &str) -> PathBuf {
        let number = self.directories.fetch_add(1, Ordering::Relaxed);
        self.dir.path().join(format!("{what}-{number:04}"))
    }

    /// Writes a new directory of lines.
    pub(super) fn write_source(&self, lines: &Lines) -> PathBuf {
        let path = self.new_directory("source");
        fs::create_dir(&path).unwrap();
        for (name, lines) in lines {
            fs::write(path.join(format!("{name}.jsonl")), lines.join("\n")).unwrap();
        }
        self.model.source_holds(&path, Some(sorted(lines.clone())));
        path
    }

    /// What a resource's document says now.
    pub(super) async fn resource(&self, name: &str) -> Resource {
        serde_json::from_value(self.fair.jobs.resource(name).await.unwrap()).unwrap()
    }

    /// Stores a resource's document.
    pub(super) async fn configure(&self, name: &str, source: SourceSpec, policy: Policy) {
        let resource = Resource { name: name.to_owned(), source, policy };
        let document = serde_json::to_value(&resource).unwrap();
        self.fair.jobs.put_resource(name, &document).await.unwrap();
    }

    /// The lines of a list in staging; none where it is gone.
    pub(super) async fn listed<T: DeserializeOwned>(&self, key: &str) -> Option<Vec<T>> {
        let bytes = self.staging.get(key, ByteRange::All).await.ok()?;
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Some(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
    }

    /// The keys of a store.
    pub(super) async fn keys(store: &MemoryStorage, prefix: &str) -> Vec<String> {
        list_all(store, prefix).await.unwrap().into_iter().map(|object| object.key).collect()
    }

    /// Whether an execution of a machine is at work.
    pub(super) fn is_at_work(&self, machine: &str) -> bool {
        let all = self.executions.lock().unwrap();
        all.iter().any(|((of, _), one)| of == machine && one.status == ExecutionStatus::Running)
    }

    /// Job state that knows nothing, over the same vault.
    pub(super) async fn forgotten(&self) -> Services {
        let tables = EmbeddedDynamoDb::memory().unwrap();
        let jobs = JobStore::new(tables.client(), "jobs", self.fair.clock.clone());
        jobs.create_table_if_missing().await.unwrap();
        Services { jobs, ..self.fair.clone() }
    }

    /// An error that should not be is excused where a job was planned twice at once, which its tasks tell, and of a call
    /// that came when its job was over, and found half of its rows gone.
    pub(super) async fn is_excused(&self, request: &Request, error: &Error) {
        if error.message.contains("planned twice") {
            return;
        }
        if let Some(id) = request.job()
            && let Ok(job) = self.fair.jobs.job(&id).await
        {
            assert!(job.status.is_terminal(), "{request:?} of {job:?}: {error:?}");
        }
    }

    /// Counts how a job ended.
    pub(super) async fn ended(&self, id: &str) {
        let Ok(job) = self.fair.jobs.job(id).await else { return };
        let completed = job.status == holdfast_common::jobs::Status::Completed;
        self.tally.count(match (job.kind, completed) {
            (JobKind::Restore, true) => Happened::Restore,
            (JobKind::Restore, false) => Happened::RestoreFailed,
            (JobKind::Undo, true) => Happened::Undo,
            (JobKind::Undo, false) => Happened::UndoFailed,
            (JobKind::Backup, false) => Happened::BackupFailed,
            _ => return,
        });
    }
}

/// What a directory of lines holds, sorted.
pub(super) fn read_lines(path: &Path) -> Lines {
    let mut streams = Lines::new();
    for entry in fs::read_dir(path).unwrap() {
        let file = entry.unwrap().path();
        let text = fs::read_to_string(&file).unwrap();
        let lines = text.lines().map(str::to_owned).collect();
        streams.insert(file.file_stem().unwrap().to_string_lossy().into_owned(), lines);
    }
    sorted(streams)
}

fn sorted(mut streams: Lines) -> Lines {
    for lines in streams.values_mut() {
        lines.sort_unstable();
    }
    streams
}

/// Small limits; in some histories every join is done in shards.
fn limits(chance: &mut Chance) -> WorkLimits {
    let mut limits = small();
    limits.range_bytes = chance.of(&[400, 1 << 20]);
    limits.step_bytes = chance.of(&[200, 1 << 20]);
    limits.runs.run_bytes = chance.of(&[300, 1 << 20]);
    limits.runs.pack_bytes = chance.of(&[500, 1 << 20]);
    if chance.percent(25) {
        limits = WorkLimits { broadcast_rows: 0, shard_rows: chance.of(&[6, 1000]), ..limits };
    }
    limits
}
