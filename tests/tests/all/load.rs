//! A thousand resources that are due at once in one embedded cloud, two hundred of them at work at a time. Nothing is
//! lost; time and memory are printed, and are no test.
//!
//! At full size in CI and with `HOLDFAST_FULL` set; else a hundred resources, forty at a time.

use crate::generator::is_full;
use holdfast_common::jobs::{BackupType, JobKind, Status};
use holdfast_connectors::SourceSpec;
use holdfast_local::{Cloud, Options};
use holdfast_tests::configure;
use holdfast_workflow::WorkLimits;
use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// The most memory that this process has had so far, in MiB: of this test, where it is run alone.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    number.unwrap_or(0) >> 10
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[allow(clippy::print_stdout)]
async fn a_thousand_resources_that_are_due_at_once_are_all_backed_up() {
    let (resources, at_once) = if is_full() { (1_000, 200) } else { (100, 40) };
    let dir = tempfile::tempdir().unwrap();
    let options = Options { create: true, workers: at_once, limits: WorkLimits::default() };
    let cloud = Arc::new(Cloud::open(&dir.path().join("home"), options).await.unwrap());
    for number in 0..resources {
        let path = dir.path().join(format!("source-{number:04}"));
        fs::create_dir(&path).unwrap();
        let lines: Vec<String> =
            (0..20).map(|key| format!(r#"{{"id":{key},"of":{number},"v":"{key}-{number}"}}"#)).collect();
        fs::write(path.join("records.jsonl"), lines.join("\n")).unwrap();
        let source = SourceSpec::Jsonl { path, key: vec!["/id".to_owned()] };
        configure(&cloud, &format!("resource-{number:04}"), source).await;
    }
    let (begun, places, mut running) = (Instant::now(), Arc::new(Semaphore::new(at_once)), JoinSet::new());
    for number in 0..resources {
        let (cloud, places) = (cloud.clone(), places.clone());
        running.spawn(async move {
            let _place = places.acquire_owned().await.unwrap();
            let (id, name) = (cloud.new_id(), format!("resource-{number:04}"));
            Box::pin(cloud.run_backup(&id, &name, Some(BackupType::Full))).await.map(|job| (name, job.id))
        });
    }
    let mut taken = BTreeMap::new();
    while let Some(done) = running.join_next().await {
        let (name, id) = done.unwrap().unwrap();
        taken.insert(name, id);
    }
    let took = begun.elapsed();
    let jobs = cloud.services().jobs.jobs(JobKind::Backup, None).all().await.unwrap();
    assert_eq!((jobs.len(), taken.len()), (resources, resources));
    for job in jobs {
        assert_eq!((job.status, taken.get(&job.resource)), (Status::Completed, Some(&job.id)));
        assert_eq!(job.totals.records, 20);
        assert!(cloud.run_verify(&job.id, "quick").await.unwrap().valid, "{}", job.id);
    }
    println!(
        "load: {resources} resources at once, {at_once} at work at a time: {:.1} s, {} MiB at most",
        took.as_secs_f64(),
        peak()
    );
}
