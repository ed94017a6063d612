//! Jobs whose executions died come to an end, and those at work are left alone.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use crate::support::{Bench, at};
use holdfast_common::jobs::{JobKind, Status};
use holdfast_workflow::events::FailEvent;
use holdfast_workflow::executions::ExecutionStatus;
use serde_json::{Value, json};

const JOB: &str = "01K8Z6T3W4Q5R6S7T8V9W0X1Y2";
const NOON: &str = "2026-11-20T12:00:00Z";

/// A job that runs since noon, and what its execution came to.
async fn bench(status: Option<ExecutionStatus>) -> Bench {
    let bench = Bench::new(NOON).await;
    bench.job(JOB, JobKind::Backup, "orders", Status::Running).await;
    if let Some(status) = status {
        bench.executions.set("backup", &format!("run-{JOB}"), status, at(NOON));
    }
    bench
}

/// The events that the machine that ends jobs was started with, by the names of its executions.
fn failed(bench: &Bench) -> Vec<(String, FailEvent)> {
    let event = |(name, event): (String, Value)| (name, serde_json::from_value(event).unwrap());
    bench.executions.of("fail").into_iter().map(event).collect()
}

#[tokio::test]
async fn a_job_whose_execution_ended_is_ended() {
    use ExecutionStatus::{Aborted, Failed, Succeeded, TimedOut};
    for (status, code) in [
        (Some(Failed), "Interrupted"),
        (Some(Aborted), "Interrupted"),
        (Some(Succeeded), "Interrupted"),
        (Some(TimedOut), "States.Timeout"),
        (None, "Interrupted"),
    ] {
        let bench = bench(status).await;
        assert_eq!(bench.run("2026-11-20T12:04:00Z").await["ended"], 0, "{status:?}: it may be about to end");
        assert_eq!(bench.run("2026-11-20T12:05:00Z").await["ended"], 1, "{status:?}");
        let started = failed(&bench);
        assert_eq!(started.len(), 1);
        let (name, event) = &started[0];
        assert_eq!(
            (name.as_str(), event.error.error.as_str()),
            (&*format!("fail-{JOB}"), code),
            "{status:?}"
        );
        assert_eq!(event.execution.job_id().unwrap(), JOB, "the event leads to the job");
        // While that runs nothing more is done; once the job is ended neither.
        assert_eq!(bench.run("2026-11-20T12:10:00Z").await["ended"], 0);
        bench.end(JOB, Status::Failed).await;
        assert_eq!(bench.run("2026-11-20T18:10:00Z").await["ended"], 0);
        assert_eq!(failed(&bench).len(), 1);
    }
}

#[tokio::test]
async fn a_job_at_work_is_left_alone_until_it_outruns_its_time() {
    let bench = bench(Some(ExecutionStatus::Running)).await;
    assert_eq!(bench.run("2026-11-20T18:14:00Z").await["ended"], 0);
    assert_eq!(bench.run("2026-11-20T18:15:00Z").await["ended"], 1);
    assert_eq!(failed(&bench)[0].1.error.error, "States.Timeout");
}

#[tokio::test]
async fn a_job_that_ended_meanwhile_is_left_alone() {
    let bench = bench(Some(ExecutionStatus::Failed)).await;
    bench.end(JOB, Status::Failed).await;
    assert_eq!(bench.run("2026-11-20T13:00:00Z").await["ended"], 0);
}

#[tokio::test]
async fn a_job_that_could_not_be_ended_is_tried_again_every_hour() {
    let bench = bench(Some(ExecutionStatus::Aborted)).await;
    let fail = format!("fail-{JOB}");
    assert_eq!(bench.run("2026-11-20T12:10:00Z").await["ended"], 1);
    bench.executions.set("fail", &fail, ExecutionStatus::Failed, at(NOON));
    for (time, ended) in [("12:15", 1), ("12:20", 0), ("12:55", 0), ("13:00", 1), ("13:05", 0)] {
        assert_eq!(bench.run(&format!("2026-11-20T{time}:00Z")).await["ended"], ended, "{time}");
    }
    assert_eq!(
        bench.executions.names("fail"),
        [fail.clone(), format!("{fail}-20261120T12"), format!("{fail}-20261120T13")]
    );
}

#[tokio::test]
async fn a_restore_that_nobody_started_ends_after_an_hour() {
    let bench = Bench::new(NOON).await;
    let (restore, undo) = (JOB, "01K8Z6T3W4Q5R6S7T8V9W0X1Y3");
    bench.job(restore, JobKind::Restore, "orders", Status::Pending).await;
    bench.job(undo, JobKind::Undo, "orders", Status::Pending).await;
    assert_eq!(bench.run("2026-11-20T12:59:00Z").await["ended"], 0);
    assert_eq!(bench.run("2026-11-20T13:00:00Z").await["ended"], 2);
    let inputs: Vec<Value> = failed(&bench).into_iter().map(|(_, event)| event.input).collect();
    assert_eq!(inputs, [json!({ "restore": restore }), json!({ "undo": undo })]);
}

#[tokio::test]
async fn a_job_without_a_name_of_its_execution_has_that_of_its_id() {
    let bench = Bench::new(NOON).await;
    bench.job(JOB, JobKind::Restore, "orders", Status::Pending).await;
    bench.executions.set("restore", JOB, ExecutionStatus::Failed, at(NOON));
    assert_eq!(bench.run("2026-11-20T12:05:00Z").await["ended"], 1, "it failed before its plan");
}

#[tokio::test]
async fn a_restore_may_be_that_of_a_test() {
    let bench = Bench::new(NOON).await;
    bench.job(JOB, JobKind::Restore, "orders", Status::Running).await;
    bench.executions.set("restore-test", &format!("run-{JOB}"), ExecutionStatus::Running, at(NOON));
    assert_eq!(bench.run("2026-11-20T12:30:00Z").await["ended"], 0);
    bench.executions.set("restore-test", &format!("run-{JOB}"), ExecutionStatus::Aborted, at(NOON));
    assert_eq!(bench.run("2026-11-20T12:35:00Z").await["ended"], 1);
}

#[tokio::test]
async fn what_fails_for_one_job_is_told_and_tried_again() {
    let bench = bench(Some(ExecutionStatus::Aborted)).await;
    bench.executions.refuse("fail");
    let done = bench.run("2026-11-20T12:10:00Z").await;
    assert_eq!((&done["ended"], &done["failed"]), (&json!(0), &json!(1)));
    bench.executions.allow("fail");
    assert_eq!(bench.run("2026-11-20T12:15:00Z").await["ended"], 1);
}

#[test]
fn the_limit_is_that_of_the_machines() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../infra/statemachines");
    for machine in ["backup", "restore", "undo"] {
        let text = std::fs::read_to_string(directory.join(format!("{machine}.asl.json"))).unwrap();
        let definition: Value = serde_json::from_str(&text).unwrap();
        let limit = definition["TimeoutSeconds"].as_i64().unwrap();
        let margin = holdfast_dispatch::EXECUTION_LIMIT.as_secs() - limit;
        assert!((300..=3_600).contains(&margin), "{machine}: {margin} s");
    }
}
