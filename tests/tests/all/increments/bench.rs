//! A vault, staging and job state in memory, and a directory of JSON Lines that is backed up.

use super::faults::Faults;
use holdfast_common::clock::{Clock, Ids, ManualClock, SeededIds};
use holdfast_common::jobs::{Job, JobChange, JobError, JobKind, JobStore, Status};
use holdfast_common::telemetry::NoMetrics;
use holdfast_connectors::{OnConflict, SourceSpec, TargetSpec};
use holdfast_local::clients::HomeClients;
use holdfast_local::dynamodb::EmbeddedDynamoDb;
use holdfast_vault::crypto::SecretKey;
use holdfast_vault::error::{Error, Result};
use holdfast_vault::memory::{MemoryCloud, MemoryStorage};
use holdfast_vault::read::Vault;
use holdfast_vault::read::vault::WrappingKey;
use holdfast_vault::storage::{Storage, list_all};
use holdfast_workflow::config::{Compaction, Policy, Resource};
use holdfast_workflow::events::{
    Execution, JobEvent, RestoreEvent, RestoreInput, RestoreRequest, Selection, TaskEvent, VerifyAnswer,
    VerifyEvent,
};
use holdfast_workflow::{Services, WorkLimits, fail, restore, verify};
use jiff::SignedDuration;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

/// The lines of each stream: what a source holds, what a restore gives.
pub(crate) type Lines = BTreeMap<String, Vec<String>>;

pub(crate) struct Bench {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) faults: Faults,
    pub(crate) services: Services,
    pub(crate) vault: MemoryStorage,
    pub(crate) staging: MemoryStorage,
    clock: Arc<ManualClock>,
    ids: SeededIds,
}

impl Bench {
    pub(crate) async fn new(limits: WorkLimits) -> Self {
        let (cloud, faults) = (MemoryCloud::new(), Faults::new());
        let (vault, staging) = (cloud.store("vault"), cloud.store("staging"));
        let key = WrappingKey { id: "bench".to_owned(), secret: SecretKey::new([7; 32]) };
        Vault::create(Arc::new(vault.clone()), &key).await.unwrap();
        let open = Vault::open(faults.around(Arc::new(vault.clone())), &key).await.unwrap();
        let clock = Arc::new(ManualClock::new("2026-11-01T00:00:00Z".parse().unwrap()));
        let tables = EmbeddedDynamoDb::memory().unwrap();
        let jobs = JobStore::new(faults.client(&tables.client()), "jobs", clock.clone());
        jobs.create_table_if_missing().await.unwrap();
        let services = Services {
            jobs,
            vault: open,
            staging: faults.around(Arc::new(staging.clone())),
            clients: Arc::new(HomeClients::new(tables)),
            clock: clock.clone(),
            metrics: Arc::new(NoMetrics),
            limits,
        };
        let ids = SeededIds::new(clock.clone(), 1);
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("source")).unwrap();
        Self { dir, faults, services, vault, staging, clock, ids }
    }

    /// Other limits over the same vault and job state.
    pub(crate) fn with(&self, limits: WorkLimits) -> Services {
        Services { limits, ..self.services.clone() }
    }

    /// The same vault with job state that knows nothing.
    pub(crate) async fn forgotten(&self, limits: WorkLimits) -> Services {
        let tables = EmbeddedDynamoDb::memory().unwrap();
        let jobs = JobStore::new(tables.client(), "jobs", self.clock.clone());
        jobs.create_table_if_missing().await.unwrap();
        Services { jobs, ..self.with(limits) }
    }

    pub(crate) fn source(&self) -> PathBuf {
        self.dir.path().join("source")
    }

    /// Configures a resource over the directory of lines.
    pub(crate) async fn configure(&self, name: &str, key: &str, compaction: Compaction) {
        let source = SourceSpec::Jsonl { path: self.source(), key: vec![key.to_owned()] };
        self.configure_source(name, source, compaction).await;
    }

    pub(crate) async fn configure_source(&self, name: &str, source: SourceSpec, compaction: Compaction) {
        let policy = Policy { compaction, ..Policy::default() };
        let resource = Resource { name: name.to_owned(), source, policy };
        let document = serde_json::to_value(&resource).unwrap();
        self.services.jobs.put_resource(name, &document).await.unwrap();
    }

    /// Makes the directory hold these streams and no others.
    pub(crate) fn write(&self, streams: &Lines) {
        for entry in fs::read_dir(self.source()).unwrap() {
            let path = entry.unwrap().path();
            if !streams.contains_key(&*path.file_stem().unwrap().to_string_lossy()) {
                fs::remove_file(path).unwrap();
            }
        }
        for (name, lines) in streams {
            fs::write(self.source().join(format!("{name}.jsonl")), lines.join("\n")).unwrap();
        }
    }

    /// Time passes.
    pub(crate) fn pass(&self, time: SignedDuration) {
        self.clock.advance(time);
    }

    /// A second passes, and an id that sorts after all others is given out.
    pub(crate) fn execution(&self) -> Execution {
        self.clock.advance(SignedDuration::from_secs(1));
        Execution { execution: self.ids.next(), started_at: self.clock.now().to_string() }
    }

    /// Restores into a new directory and gives the lines of each stream, sorted.
    pub(crate) async fn restored(
        &self,
        services: &Services,
        backup: &str,
        selection: Selection,
    ) -> (Lines, Job) {
        let path = self.dir.path().join("restored");
        let job =
            self.restore_to(services, backup, selection, TargetSpec::Jsonl { path: path.clone() }).await;
        let mut streams = Lines::new();
        for entry in fs::read_dir(&path).unwrap() {
            let file = entry.unwrap().path();
            let text = fs::read_to_string(&file).unwrap();
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.sort_unstable();
            streams.insert(file.file_stem().unwrap().to_string_lossy().into_owned(), lines);
        }
        fs::remove_dir_all(&path).unwrap();
        (streams, job)
    }

    /// Restores by hand, every part twice.
    pub(crate) async fn restore_to(
        &self,
        services: &Services,
        backup: &str,
        selection: Selection,
        target: TargetSpec,
    ) -> Job {
        self.try_restore(services, backup, selection, target).await.unwrap()
    }

    /// Why a restore does not complete; its target is left as the failed job's end leaves it.
    pub(crate) async fn refused(&self, services: &Services, backup: &str, target: TargetSpec) -> Error {
        let (TargetSpec::Jsonl { path } | TargetSpec::Json { path }) = target.clone() else { panic!() };
        let error = self.try_restore(services, backup, Selection::default(), target).await.unwrap_err();
        let jobs = services.jobs.jobs(JobKind::Restore, None).all().await.unwrap();
        let open = jobs.into_iter().find(|job| !job.status.is_terminal()).unwrap();
        let ended = JobChange { error: Some(JobError::from(&error)), ..JobChange::default() };
        let from = [Status::Pending, Status::Running];
        let job = services.jobs.transition(&open.id, &from, Status::Failed, ended).await.unwrap();
        fail::clean(services, &job).await.unwrap();
        assert!(!path.exists(), "nothing is left of a restore that failed");
        error
    }

    async fn try_restore(
        &self,
        services: &Services,
        backup: &str,
        selection: Selection,
        target: TargetSpec,
    ) -> Result<Job> {
        let execution = self.execution();
        self.restore_under(services, execution, backup, selection, target).await
    }

    /// Restores under an execution, which may have begun before.
    pub(crate) async fn restore_under(
        &self,
        services: &Services,
        execution: Execution,
        backup: &str,
        selection: Selection,
        target: TargetSpec,
    ) -> Result<Job> {
        let backup = backup.to_owned();
        let request = RestoreRequest {
            backup,
            resource: None,
            at: None,
            target,
            on_conflict: OnConflict::Fail,
            selection,
        };
        let input = RestoreInput::Request(Box::new(request));
        let planned = restore::restore(services, &RestoreEvent::Plan { input, execution }).await?;
        let id = planned["job"].as_str().unwrap().to_owned();
        let key = planned["tasks"]["key"].as_str().unwrap();
        for task in self.listed(key).await {
            let part = RestoreEvent::Part(task);
            while restore::restore(services, &part).await?["more"] == serde_json::json!(true) {}
            restore::restore(services, &part).await?;
        }
        let finish = RestoreEvent::Finish(JobEvent { job: id.clone() });
        restore::restore(services, &finish).await?;
        let job = services.jobs.job(&id).await?;
        assert_eq!(job.status, Status::Completed);
        Ok(job)
    }

    /// The tasks that a list in staging names.
    pub(crate) async fn listed(&self, key: &str) -> Vec<TaskEvent> {
        let bytes = self.staging.get(key, holdfast_vault::storage::ByteRange::All).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub(crate) async fn verify(&self, services: &Services, backup: &str, level: &str) -> VerifyAnswer {
        let mut event = VerifyEvent { job: backup.to_owned(), level: Some(level.to_owned()), progress: None };
        loop {
            let answer = verify::verify(services, &event).await.unwrap();
            if !answer.more {
                return answer;
            }
            event.progress = Some(answer.progress);
        }
    }

    /// The keys of all sealed objects of the vault but manifests.
    pub(crate) async fn sealed(&self) -> BTreeSet<String> {
        let keys = list_all(&self.vault, "").await.unwrap().into_iter().map(|object| object.key);
        keys.filter(|key| key.starts_with("packs/") || key.starts_with("index/")).collect()
    }

    /// What is left in staging.
    pub(crate) async fn staged(&self, prefix: &str) -> Vec<String> {
        list_all(&self.staging, prefix).await.unwrap().into_iter().map(|object| object.key).collect()
    }
}

/// Never due.
pub(crate) const NEVER: Compaction = Compaction { layers: 1000, delta_percent: 1_000_000, worn_percent: 0 };

/// Limits so small that few records make several tasks, runs and packs.
pub(crate) fn small() -> WorkLimits {
    let mut limits =
        WorkLimits { range_bytes: 300, step_bytes: 200, verify_bytes: 4_000, ..WorkLimits::default() };
    limits.runs.run_bytes = 400;
    limits.runs.pack_bytes = 900;
    limits
}

/// The same, and every join is done shard by shard.
pub(crate) fn shuffled() -> WorkLimits {
    WorkLimits { broadcast_rows: 0, shard_rows: 7, overlay_keys: 5, ..small() }
}
