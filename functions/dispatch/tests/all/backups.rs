//! What is due is started once, and nothing that is due is missed.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use crate::support::{self, Bench};
use holdfast_common::jobs::{JobKind, Status};
use holdfast_dispatch::handle;
use holdfast_vault::error::Code;
use holdfast_workflow::executions::ExecutionStatus;
use serde_json::{Value, json};

const JOB: &str = "01K8Z6T3W4Q5R6S7T8V9W0X1Y2";

fn nightly() -> Value {
    json!({ "schedule": "0 3 * * *" })
}

#[tokio::test]
async fn a_backup_that_is_due_is_started_once() {
    let bench = Bench::new("2026-11-20T12:00:00Z").await;
    bench.apply("orders", nightly()).await;
    assert_eq!(bench.run("2026-11-21T02:55:00Z").await["started"], 0);
    let done = bench.run("2026-11-21T03:00:01Z").await;
    assert_eq!((&done["resources"], &done["started"], &done["failed"]), (&json!(1), &json!(1), &json!(0)));
    for later in ["2026-11-21T03:00:01Z", "2026-11-21T03:05:00Z", "2026-11-22T02:59:59Z"] {
        let done = bench.run(later).await;
        assert_eq!((&done["started"], &done["already"]), (&json!(0), &json!(0)), "{later}");
    }
    let started = bench.executions.of("backup");
    assert_eq!(
        started.into_iter().collect::<Vec<_>>(),
        [("orders-20261121T0300Z".to_owned(), json!({ "resource": "orders" }))]
    );
}

#[tokio::test]
async fn a_resource_that_is_new_is_not_due_for_the_time_before_it_was_applied() {
    let bench = Bench::new("2026-11-21T03:01:00Z").await;
    bench.apply("orders", nightly()).await;
    bench.apply("stock", json!({ "schedule": "2 3 * * *" })).await;
    // The dispatcher sees both for the first time. Only the one was due since.
    assert_eq!(bench.run("2026-11-21T03:05:00Z").await["started"], 1);
    assert_eq!(bench.backups(), ["stock-20261121T0302Z"]);
}

#[tokio::test]
async fn a_schedule_that_changed_is_due_from_then_on() {
    let bench = Bench::new("2026-11-20T12:00:00Z").await;
    bench.apply("orders", nightly()).await;
    bench.run("2026-11-20T12:05:00Z").await;
    bench.advance(60);
    bench.apply("orders", json!({ "schedule": "0 13 * * *" })).await;
    assert_eq!(bench.run("2026-11-20T13:10:00Z").await["started"], 0, "13:00 was before it was applied");
    // The same in another time zone is another schedule.
    bench.apply("orders", json!({ "schedule": "0 13 * * *", "time_zone": "America/New_York" })).await;
    assert_eq!(bench.run("2026-11-20T17:59:00Z").await["started"], 0);
    assert_eq!(bench.run("2026-11-20T18:01:00Z").await["started"], 1);
    assert_eq!(bench.backups(), ["orders-20261120T1800Z"]);
}

#[tokio::test]
async fn applying_the_same_schedule_again_loses_nothing_that_is_due() {
    let bench = Bench::new("2026-11-20T12:00:00Z").await;
    bench.apply("orders", nightly()).await;
    bench.run("2026-11-21T02:55:00Z").await;
    bench.advance(6);
    bench.apply("orders", json!({ "schedule": "0 3 * * *", "tier": "critical" })).await;
    assert_eq!(bench.run("2026-11-21T03:05:00Z").await["started"], 1);
}

#[tokio::test]
async fn the_time_without_a_schedule_is_not_made_up_for() {
    let bench = Bench::new("2026-11-20T12:00:00Z").await;
    bench.apply("orders", nightly()).await;
    bench.run("2026-11-20T12:05:00Z").await;
    bench.apply("orders", json!({})).await;
    assert_eq!(bench.run("2026-11-21T03:05:00Z").await["started"], 0);
    bench.clock.set(support::at("2026-11-21T12:00:00Z"));
    bench.apply("orders", nightly()).await;
    assert_eq!(bench.run("2026-11-21T12:05:00Z").await["started"], 0);
    assert_eq!(bench.run("2026-11-22T03:00:00Z").await["started"], 1);
}

#[tokio::test]
async fn after_an_outage_only_the_newest_missed_backup_is_started() {
    let bench = Bench::new("2026-11-20T12:00:00Z").await;
    bench.apply("orders", json!({ "schedule": "*/15 * * * *" })).await;
    bench.run("2026-11-20T12:05:00Z").await;
    assert_eq!(bench.run("2026-11-27T09:07:00Z").await["started"], 1);
    assert_eq!(bench.backups(), ["orders-20261127T0900Z"]);
}

#[tokio::test]
async fn a_backup_waits_for_the_one_before_it() {
    let bench = Bench::new("2026-11-20T12:00:00Z").await;
    bench.apply("orders", json!({ "schedule": "0 * * * *", "tier": "critical" })).await;
    bench.job(JOB, JobKind::Backup, "orders", Status::Running).await;
    bench.executions.set(
        "backup",
        &format!("run-{JOB}"),
        ExecutionStatus::Running,
        support::at("2026-11-20T12:00:00Z"),
    );
    for due in ["2026-11-20T13:00:00Z", "2026-11-20T14:00:00Z"] {
        let done = bench.run(due).await;
        assert_eq!((&done["skipped"], &done["started"], &done["ended"]), (&json!(1), &json!(0), &json!(0)));
    }
    assert_eq!(bench.metrics.take("orders", "BackupsSkipped"), vec![("critical".to_owned(), 1.0); 2]);
    bench.end(JOB, Status::Completed).await;
    // Late, but not missed, and only the newest.
    assert_eq!(bench.run("2026-11-20T14:05:00Z").await["started"], 1);
    assert_eq!(bench.backups(), ["orders-20261120T1400Z", &format!("run-{JOB}")]);
    // A restore of the same resource keeps no backup waiting.
    bench.job("01K8Z6T3W4Q5R6S7T8V9W0X1Y3", JobKind::Restore, "orders", Status::Pending).await;
    assert_eq!(bench.run("2026-11-20T15:00:00Z").await["started"], 1);
}

#[tokio::test]
async fn a_schedule_that_makes_no_sense_keeps_no_other_waiting() {
    let bench = Bench::new("2026-11-20T12:00:00Z").await;
    bench.apply("broken", json!({ "schedule": "0 25 * * *" })).await;
    bench.apply("nowhere", json!({ "schedule": "0 3 * * *", "time_zone": "Mars/Olympus" })).await;
    bench.apply("orders", nightly()).await;
    bench.jobs().put_resource("unreadable", &json!({ "name": 1 })).await.unwrap();
    let done = bench.run("2026-11-21T03:00:00Z").await;
    assert_eq!((&done["started"], &done["invalid"], &done["failed"]), (&json!(1), &json!(3), &json!(0)));
    assert_eq!(bench.metrics.take("broken", "ScheduleInvalid").len(), 1);
    assert_eq!(bench.metrics.take("nowhere", "ScheduleInvalid").len(), 1);
}

#[tokio::test]
async fn a_start_that_is_to_come_later_comes_later() {
    let bench = Bench::new("2026-11-20T12:00:00Z").await;
    bench.apply("orders", nightly()).await;
    bench.executions.throttle(4);
    assert_eq!(bench.run("2026-11-21T03:00:00Z").await["started"], 1);
}

#[tokio::test]
async fn a_start_that_fails_is_tried_by_the_next_dispatcher() {
    let bench = Bench::new("2026-11-20T12:00:00Z").await;
    bench.apply("orders", nightly()).await;
    bench.executions.refuse("backup");
    let done = bench.run("2026-11-21T03:00:00Z").await;
    assert_eq!((&done["started"], &done["failed"]), (&json!(0), &json!(1)));
    bench.executions.allow("backup");
    assert_eq!(bench.run("2026-11-21T03:05:00Z").await["started"], 1);
    assert_eq!(bench.backups(), ["orders-20261121T0300Z"]);
}

#[tokio::test]
async fn clocks_that_change_are_followed() {
    let spring = Bench::new("2026-03-28T12:00:00Z").await;
    let policy = |schedule: &str| json!({ "schedule": schedule, "time_zone": "Europe/Berlin" });
    spring.apply("at-half-past-two", policy("30 2 * * *")).await;
    spring.apply("hourly", policy("0 * * * *")).await;
    let autumn = Bench::new("2026-10-24T23:00:00Z").await;
    autumn.apply("at-half-past-two", policy("30 2 * * *")).await;
    autumn.apply("hourly", policy("0 * * * *")).await;
    for minute in (0..180).step_by(5) {
        let time = |start: &str| (support::at(start) + jiff::SignedDuration::from_mins(minute)).to_string();
        spring.run(&time("2026-03-29T00:00:00Z")).await;
        autumn.run(&time("2026-10-25T00:00:00Z")).await;
    }
    // Half past two does not come that night; every hour does once.
    let hours = |day: &str| (0..3).map(|hour| format!("hourly-{day}T0{hour}00Z")).collect::<Vec<_>>();
    assert_eq!(spring.backups(), hours("20260329"));
    let twice = ["at-half-past-two-20261025T0030Z", "at-half-past-two-20261025T0130Z"].map(str::to_owned);
    assert_eq!(autumn.backups(), [twice.to_vec(), hours("20261025")].concat());
}

#[tokio::test]
async fn thousands_of_resources_are_dispatched_in_one_go() {
    let bench = Bench::new("2026-11-20T12:00:00Z").await;
    for number in 0..3_000 {
        bench.apply(&format!("site-{number:04}"), nightly()).await;
    }
    let done = bench.run("2026-11-21T03:00:00Z").await;
    assert_eq!(
        (&done["resources"], &done["started"], &done["failed"]),
        (&json!(3_000), &json!(3_000), &json!(0))
    );
    assert_eq!(bench.backups().len(), 3_000);
    assert_eq!(bench.run("2026-11-21T03:05:00Z").await["started"], 0);
}

#[tokio::test]
async fn the_rpo_that_is_achieved_is_told() {
    let bench = Bench::new("2026-11-20T12:00:00Z").await;
    bench.apply("orders", json!({ "tier": "critical" })).await;
    bench.apply("stock", json!({ "tier": "reference" })).await;
    assert_eq!(bench.run("2026-11-20T13:00:00Z").await["missed"], 0, "an hour has not been missed yet");
    assert_eq!(bench.run("2026-11-20T13:20:00Z").await["missed"], 1);
    let figures = [0.0, 1.0].map(|missed| ("critical".to_owned(), missed));
    assert_eq!(bench.metrics.take("orders", "RpoMissed"), figures);
    assert_eq!(bench.metrics.take("orders", "RpoSeconds"), [], "nothing can be restored");
    bench.job(JOB, JobKind::Backup, "orders", Status::Completed).await;
    assert_eq!(bench.run("2026-11-20T13:30:00Z").await["missed"], 0);
    assert_eq!(bench.metrics.take("orders", "RpoSeconds"), [("critical".to_owned(), 600.0)]);
    assert_eq!(bench.metrics.take("stock", "RpoMissed"), vec![("reference".to_owned(), 0.0); 3]);
}

#[tokio::test]
async fn an_event_that_is_not_understood_is_refused() {
    let bench = Bench::new("2026-11-20T12:00:00Z").await;
    for event in [json!({}), json!({ "task": "prune" }), json!({ "task": "backups", "at": 1 }), json!(null)] {
        let error = handle(&bench.dispatch, event.clone()).await.unwrap_err();
        assert_eq!(error.code, Code::InvalidInput, "{event}");
    }
}
