//! The newest completed backup of every resource is verified once a day.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use crate::support::Bench;
use holdfast_common::jobs::{JobKind, Status};
use holdfast_dispatch::handle;
use serde_json::json;

#[tokio::test]
async fn the_newest_completed_backup_of_every_resource_is_verified_once_a_day() {
    let bench = Bench::new("2026-11-20T12:00:00Z").await;
    for name in ["orders", "stock", "new"] {
        bench.apply(name, json!({})).await;
    }
    let id = |number: u32| format!("01K8Z6T3W4Q5R6S7T8V9W0{number:04}");
    for (number, resource, status) in [
        (1, "orders", Status::Completed),
        (2, "orders", Status::Completed),
        (3, "orders", Status::Failed),
        (4, "orders", Status::Running),
        (5, "stock", Status::Completed),
        (6, "new", Status::Failed),
    ] {
        bench.job(&id(number), JobKind::Backup, resource, status).await;
    }
    let run = || async { handle(&bench.dispatch, json!({ "task": "verify" })).await.unwrap() };
    assert_eq!(run().await, json!({ "resources": 3, "started": 2, "already": 0, "skipped": 1, "failed": 0 }));
    assert_eq!(run().await, json!({ "resources": 3, "started": 0, "already": 2, "skipped": 1, "failed": 0 }));
    let level = |backup: u32| json!({ "verify": id(backup), "level": "full" });
    let name = |backup: u32, day: &str| format!("verify-{}-{day}", id(backup));
    let started = bench.executions.of("verify");
    assert_eq!(started, [(name(2, "20261120"), level(2)), (name(5, "20261120"), level(5))].into());
    bench.advance(24 * 60);
    assert_eq!(run().await["started"], 2);
    bench.executions.refuse("verify");
    bench.advance(24 * 60);
    assert_eq!(run().await["failed"], 2);
}
