//! The figures that a job gives: each once, however often its steps are called.
#![allow(clippy::unwrap_used)] // Helpers of tests may panic as tests do.

use holdfast_common::telemetry::{Measure, Metrics};
use holdfast_connectors::{SourceSpec, TargetSpec};
use holdfast_local::Cloud;
use holdfast_tests::{cloud, sealed_objects, tiny_limits, whole};
use holdfast_workflow::events::{
    BackupInput, Caught, Execution, FailEvent, JobEvent, PlanEvent, RestoreEvent, RestoreInput, TaskEvent,
    VerifyEvent,
};
use holdfast_workflow::{Services, commit, export, fail, plan, restore, upload, verify};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

#[derive(Debug, Default)]
struct Kept(Mutex<Vec<(String, String, String, f64)>>);

impl Metrics for Kept {
    fn put(&self, resource: &str, tier: &str, measures: &[Measure<'_>]) {
        let kept =
            measures.iter().map(|m| (resource.to_owned(), tier.to_owned(), m.name.to_owned(), m.value));
        self.0.lock().unwrap().extend(kept);
    }
}

impl Kept {
    /// What came since the last look: names and values. All of it is of the one resource and its tier.
    fn take(&self) -> Vec<(String, f64)> {
        let kept = std::mem::take(&mut *self.0.lock().unwrap());
        assert!(
            kept.iter().all(|(resource, tier, ..)| resource == "exports" && tier == "critical"),
            "{kept:?}"
        );
        kept.into_iter().map(|(_, _, name, value)| (name, value)).collect()
    }

    fn names(&self) -> Vec<String> {
        self.take().into_iter().map(|(name, _)| name).collect()
    }
}

struct Bench {
    dir: tempfile::TempDir,
    _cloud: Cloud,
    services: Services,
    kept: Arc<Kept>,
}

impl Bench {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("source");
        fs::create_dir(&source).unwrap();
        let lines: Vec<String> = (0..40).map(|id| format!("{{\"id\":{id},\"text\":\"{id}{id}\"}}")).collect();
        fs::write(source.join("orders.jsonl"), lines.join("\n")).unwrap();
        let cloud = cloud(&dir.path().join("home"), tiny_limits()).await;
        let spec = SourceSpec::Jsonl { path: source, key: vec!["/id".to_owned()] };
        let document = json!({ "name": "exports", "source": spec, "policy": { "tier": "critical" } });
        cloud.services().jobs.put_resource("exports", &document).await.unwrap();
        let kept = Arc::new(Kept::default());
        let services = Services { metrics: kept.clone(), ..cloud.services().clone() };
        Self { dir, _cloud: cloud, services, kept }
    }

    fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    /// Plans a backup, twice, and gives its id.
    async fn plan(&self, name: &str) -> String {
        let input = BackupInput { resource: "exports".to_owned(), backup_type: None };
        let event = PlanEvent { input, execution: execution(name) };
        plan::plan(&self.services, &event).await.unwrap();
        plan::plan(&self.services, &event).await.unwrap().job
    }

    /// Backs up, with every call doubled.
    async fn back_up(&self, name: &str) -> String {
        let job = self.plan(name).await;
        for task in listed(&self.home(), &job) {
            loop {
                export::export_chunk(&self.services, &task).await.unwrap();
                if !upload::upload_part(&self.services, &task).await.unwrap().more {
                    break;
                }
            }
        }
        for _ in 0..2 {
            commit::commit(&self.services, &JobEvent { job: job.clone() }).await.unwrap();
        }
        job
    }
}

fn execution(name: &str) -> Execution {
    Execution { execution: name.to_owned(), started_at: "2026-11-21T01:00:00.000Z".to_owned() }
}

fn listed(home: &Path, job: &str) -> Vec<TaskEvent> {
    let text = fs::read_to_string(home.join(format!("staging/{job}/tasks.jsonl"))).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_backup_tells_once_that_it_began_and_what_came_of_it() {
    let bench = Bench::new().await;
    let id = bench.plan("nightly").await;
    assert_eq!(bench.kept.take(), [("BackupsStarted".to_owned(), 1.0)]);
    let job = bench.services.jobs.job(&id).await.unwrap();
    assert_eq!(job.execution.as_deref(), Some("nightly"), "who asks after its execution finds it");
    bench.back_up("nightly").await;
    let told = bench.kept.take();
    let value = |of: &str| told.iter().find(|(name, _)| name == of).unwrap().1;
    assert_eq!(told.len(), 6, "{told:?}");
    assert_eq!((value("BackupsCompleted"), value("BackupRecords")), (1.0, 40.0));
    assert!(value("BackupBytes") > 0.0 && value("StoredBytes") > 0.0 && value("BackupDuration") >= 0.0);
}

#[tokio::test]
async fn a_backup_that_fails_tells_it_once() {
    let bench = Bench::new().await;
    bench.plan("nightly").await;
    bench.kept.take();
    let error = Caught { error: "SourceMissing".to_owned(), cause: String::new() };
    let event = FailEvent { execution: execution("nightly"), input: Value::Null, error };
    for _ in 0..2 {
        assert_eq!(fail::fail(&bench.services, &event).await.unwrap().kind, "backup");
    }
    assert_eq!(bench.kept.names(), ["BackupsFailed"]);
}

#[tokio::test]
async fn a_verification_tells_whether_it_found_damage() {
    let bench = Bench::new().await;
    let job = bench.back_up("nightly").await;
    bench.kept.take();
    let event = VerifyEvent { job, level: Some("full".to_owned()), progress: None };
    verify::verify(&bench.services, &event).await.unwrap();
    assert_eq!(bench.kept.take(), [("VerifyDamaged".to_owned(), 0.0)]);
    let pack = sealed_objects(&bench.home().join("vault"))
        .into_iter()
        .find(|path| path.to_string_lossy().contains("/packs/"));
    let pack = pack.unwrap();
    let mut bytes = fs::read(&pack).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::remove_file(&pack).unwrap();
    fs::write(&pack, bytes).unwrap();
    assert!(!verify::verify(&bench.services, &event).await.unwrap().valid);
    assert_eq!(bench.kept.take(), [("VerifyDamaged".to_owned(), 1.0)]);
}

#[tokio::test]
async fn a_restore_tells_how_long_it_took_or_that_it_failed() {
    let bench = Bench::new().await;
    let backup = bench.back_up("nightly").await;
    bench.kept.take();
    let asked = whole(&backup, TargetSpec::Jsonl { path: bench.dir.path().join("back") });
    let begin = async |name: &str| {
        let input = RestoreInput::Request(Box::new(asked.clone()));
        let event = RestoreEvent::Plan { input, execution: execution(name) };
        restore::restore(&bench.services, &event).await.unwrap()["job"].as_str().unwrap().to_owned()
    };
    let id = begin("restore").await;
    assert_eq!(bench.services.jobs.job(&id).await.unwrap().execution.as_deref(), Some("restore"));
    for task in listed(&bench.home(), &id) {
        while restore::restore(&bench.services, &RestoreEvent::Part(task.clone())).await.unwrap()["more"]
            == true
        {}
    }
    for _ in 0..2 {
        let finish = RestoreEvent::Finish(JobEvent { job: id.clone() });
        restore::restore(&bench.services, &finish).await.unwrap();
    }
    assert_eq!(bench.kept.names(), ["RestoresCompleted", "RtoSeconds"]);

    fs::remove_dir_all(bench.dir.path().join("back")).unwrap();
    begin("another").await;
    let error = Caught { error: "States.Timeout".to_owned(), cause: String::new() };
    let event = FailEvent { execution: execution("another"), input: Value::Null, error };
    for _ in 0..2 {
        assert_eq!(fail::fail(&bench.services, &event).await.unwrap().kind, "restore");
    }
    assert_eq!(bench.kept.names(), ["RestoresFailed"]);
}
