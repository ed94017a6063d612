//! Every resource is drilled as often as its tier or its policy says.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use crate::support::Bench;
use holdfast_common::jobs::{JobKind, Status};
use holdfast_dispatch::handle;
use serde_json::{Value, json};

async fn run(bench: &Bench) -> Value {
    handle(&bench.dispatch, json!({ "task": "drills" })).await.unwrap()
}

fn id(number: u32) -> String {
    format!("01K8Z6T3W4Q5R6S7T8V9W0{number:04}")
}

#[tokio::test]
async fn a_resource_is_drilled_as_often_as_its_tier_or_its_policy_says() {
    let bench = Bench::new("2026-11-01T04:00:00Z").await;
    for (number, name, policy) in [
        (1, "critical", json!({ "tier": "critical" })),
        (2, "important", json!({ "tier": "important" })),
        (3, "reference", json!({ "tier": "reference" })),
        (4, "daily", json!({ "tier": "reference", "drill": "daily" })),
        (5, "never", json!({ "tier": "critical", "drill": "off" })),
    ] {
        bench.apply(name, policy).await;
        bench.job(&id(number), JobKind::Backup, name, Status::Completed).await;
    }
    bench.apply("without-backup", json!({ "tier": "critical" })).await;
    let mut drills = std::collections::BTreeMap::<String, u32>::new();
    let mut number = 100;
    for _ in 0..60 {
        run(&bench).await;
        // Whatever was started today comes to its end a little later.
        bench.advance(20);
        let day = bench.dispatch.clock.now().strftime("-%Y%m%d").to_string();
        for (name, input) in bench.executions.of("drill") {
            if !name.ends_with(&day) {
                continue;
            }
            let resource = input["resource"].as_str().unwrap().to_owned();
            assert_eq!(input, json!({ "resource": resource, "backup": "random" }));
            assert_eq!(name, format!("drill-{resource}{day}"));
            number += 1;
            bench.job(&id(number), JobKind::Drill, &resource, Status::Completed).await;
            *drills.entry(resource).or_default() += 1;
        }
        bench.advance(24 * 60 - 20);
    }
    let told: Vec<(&str, u32)> = drills.iter().map(|(name, times)| (name.as_str(), *times)).collect();
    assert_eq!(told, [("critical", 60), ("daily", 60), ("important", 9), ("reference", 2)]);
}

#[tokio::test]
async fn a_drill_is_started_once_a_day_and_waits_for_the_one_before() {
    let bench = Bench::new("2026-11-01T04:00:00Z").await;
    bench.apply("orders", json!({ "tier": "critical" })).await;
    bench.job(&id(1), JobKind::Backup, "orders", Status::Completed).await;
    assert_eq!(run(&bench).await["started"], 1);
    assert_eq!(run(&bench).await["already"], 1);
    bench.job(&id(2), JobKind::Drill, "orders", Status::Running).await;
    bench.advance(24 * 60);
    assert_eq!(run(&bench).await["skipped"], 1, "one is at work");
    bench.end(&id(2), Status::Failed).await;
    assert_eq!(run(&bench).await["started"], 1, "one that failed is tried again");
    bench.executions.refuse("drill");
    bench.advance(24 * 60);
    assert_eq!(run(&bench).await["failed"], 1);
}

#[tokio::test]
async fn what_a_stack_has_no_place_for_is_not_drilled() {
    let bench = Bench::new("2026-11-01T04:00:00Z").await;
    let document = json!({ "name": "notes", "source": { "kind": "json", "document": { "notes": [] } } });
    bench.jobs().put_resource("notes", &document).await.unwrap();
    bench.job(&id(1), JobKind::Backup, "notes", Status::Completed).await;
    let told = run(&bench).await;
    assert_eq!(told, json!({ "resources": 1, "started": 0, "already": 0, "skipped": 1, "failed": 0 }));
}
