//! Every handler may be called twice with the same event, and late: the answer and what is stored are the same.
#![allow(clippy::unwrap_used)] // Helpers of tests may panic as tests do.

use holdfast_common::jobs::Status;
use holdfast_connectors::{SourceSpec, TargetSpec};
use holdfast_local::Cloud;
use holdfast_tests::{cloud, configure, hostile_tree, sealed_objects, tiny_limits, tree};
use holdfast_vault::error::Code;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

async fn twice(cloud: &Cloud, function: &str, event: Value) -> Value {
    let first = cloud.functions().invoke(function, event.clone()).await.unwrap();
    let second = cloud.functions().invoke(function, event).await.unwrap();
    assert_eq!(first, second, "{function} answers the same");
    first
}

fn listed_tasks(home: &Path, job: &str) -> Vec<Value> {
    let text = fs::read_to_string(home.join(format!("staging/{job}/tasks.jsonl"))).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn vault_bytes(home: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    sealed_objects(&home.join("vault"))
        .into_iter()
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

struct Backup {
    _dir: tempfile::TempDir,
    home: PathBuf,
    source: PathBuf,
    cloud: Cloud,
    execution: Value,
}

async fn planned() -> (Backup, String) {
    let dir = tempfile::tempdir().unwrap();
    let (home, source) = (dir.path().join("home"), dir.path().join("site"));
    fs::create_dir(&source).unwrap();
    hostile_tree(&source);
    let cloud = cloud(&home, tiny_limits()).await;
    configure(&cloud, "site", SourceSpec::Files { path: source.clone() }).await;
    let execution = json!({"execution": "nightly-run-7", "started_at": "2026-11-21T01:00:00.000Z"});
    let mut event = execution.clone();
    event["input"] = json!({"resource": "site"});
    let answer = twice(&cloud, "plan", event).await;
    let job = answer["job"].as_str().unwrap().to_owned();
    (Backup { _dir: dir, home, source, cloud, execution }, job)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_backup_and_a_restore_with_every_call_doubled() {
    let (backup, job) = planned().await;
    let cloud = &backup.cloud;
    for task in listed_tasks(&backup.home, &job) {
        loop {
            twice(cloud, "export-chunk", task.clone()).await;
            let answer = twice(cloud, "upload-part", task.clone()).await;
            if answer["more"] == json!(false) {
                break;
            }
        }
        // A call that comes late, when the task is long done, changes nothing.
        let late = twice(cloud, "export-chunk", task.clone()).await;
        assert_eq!(late["more"], json!(false));
    }
    twice(cloud, "commit", json!({ "job": job })).await;
    let stored = vault_bytes(&backup.home);
    twice(cloud, "verify", json!({"job": job, "level": "full"})).await;
    twice(cloud, "commit", json!({ "job": job })).await;
    let mut fail = backup.execution.clone();
    fail["error"] = json!({"Error": "States.Timeout", "Cause": ""});
    let late = twice(cloud, "fail", fail).await;
    assert_eq!(late["status"], json!("completed"), "a late failure does not undo a backup");
    assert_eq!(vault_bytes(&backup.home), stored, "nothing was written again");

    let target = backup.home.join("../restored");
    let mut event = json!({"step": "plan", "execution": "restore-1", "started_at": "2026-11-21T02:00:00Z"});
    event["input"] = json!({"backup": job, "target": TargetSpec::Files { path: target.clone() }});
    let restore = twice(cloud, "restore", event).await["job"].as_str().unwrap().to_owned();
    for mut task in listed_tasks(&backup.home, &restore) {
        task["step"] = json!("part");
        while cloud.functions().invoke("restore", task.clone()).await.unwrap()["more"] == json!(true) {}
        twice(cloud, "restore", task).await;
    }
    twice(cloud, "restore", json!({"step": "finish", "job": restore})).await;
    assert_eq!(tree(&target), tree(&backup.source));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_same_call_at_the_same_time_stores_once() {
    let (backup, job) = planned().await;
    let cloud = &backup.cloud;
    for task in listed_tasks(&backup.home, &job) {
        loop {
            let call = |function: &'static str| cloud.functions().invoke(function, task.clone());
            let (a, b, c) = tokio::join!(call("export-chunk"), call("export-chunk"), call("export-chunk"));
            assert!(a.is_ok() && b.is_ok() && c.is_ok());
            let (a, b) = tokio::join!(call("upload-part"), call("upload-part"));
            if a.unwrap()["more"] == json!(false) || b.unwrap()["more"] == json!(false) {
                break;
            }
        }
    }
    let commit = || cloud.functions().invoke("commit", json!({ "job": job }));
    let (a, b) = tokio::join!(commit(), commit());
    assert!(a.is_ok() || b.is_ok());
    let manifest = cloud.services().vault.manifest(&job).await.unwrap();
    let objects = sealed_objects(&backup.home.join("vault")).len();
    assert_eq!(objects, manifest.objects.len() + 1, "no object beside those of the manifest");
    assert_eq!(cloud.services().jobs.job(&job).await.unwrap().status, Status::Completed);
    assert!(cloud.run_verify(&job, "full").await.unwrap().valid);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_failure_in_the_middle_clears_staging_and_ends_the_job() {
    let (backup, job) = planned().await;
    let cloud = &backup.cloud;
    let task = listed_tasks(&backup.home, &job).remove(0);
    cloud.functions().invoke("export-chunk", task.clone()).await.unwrap();
    let mut fail = backup.execution.clone();
    fail["error"] = json!({"Error": "SourceDenied",
        "Cause": "{\"errorType\":\"SourceDenied\",\"errorMessage\":\"cannot read x\\nhint: allow it\"}"});
    let answer = twice(cloud, "fail", fail).await;
    assert_eq!(answer["status"], json!("failed"));
    let ended = cloud.services().jobs.job(&job).await.unwrap();
    let error = ended.error.unwrap();
    assert_eq!((error.code.as_str(), error.message.as_str()), ("SourceDenied", "cannot read x"));
    assert_eq!(error.hint.as_deref(), Some("allow it"));
    assert!(!backup.home.join("staging").join(&job).join("tasks.jsonl").exists(), "staging is cleared");
    let late = cloud.functions().invoke("export-chunk", task.clone()).await.unwrap_err();
    assert_eq!(late.code, Code::JobState, "a late export does not bring the job back");
    assert!(cloud.functions().invoke("commit", json!({ "job": job })).await.is_err());
    assert_eq!(cloud.services().vault.backups().await.unwrap(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cancelled_backup_stops_at_its_next_step() {
    let (backup, job) = planned().await;
    let cloud = &backup.cloud;
    let task = listed_tasks(&backup.home, &job).remove(0);
    cloud.functions().invoke("export-chunk", task.clone()).await.unwrap();
    cloud.cancel(&job).await.unwrap();
    for function in ["export-chunk", "upload-part"] {
        let error = cloud.functions().invoke(function, task.clone()).await.unwrap_err();
        assert_eq!(error.code, Code::Cancelled, "{function}");
    }
    let mut fail = backup.execution.clone();
    fail["error"] = json!({"Error": "Cancelled", "Cause": ""});
    assert_eq!(twice(cloud, "fail", fail).await["status"], json!("cancelled"));
    assert!(sealed_objects(&backup.home.join("vault")).is_empty());
}
