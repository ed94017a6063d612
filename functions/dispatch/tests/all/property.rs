//! Dispatchers at any times, doubled, late and side by side: what is due starts at most once, and the newest that is due
//! is never missed.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use crate::support::{Bench, at};
use futures::future::join_all;
use holdfast_dispatch::handle;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeSet;

/// A round of dispatchers at once, each a little late.
#[derive(Debug, Clone)]
struct Round {
    /// Minutes since the last round.
    after: i64,
    /// How many minutes late each is.
    late: Vec<i64>,
    /// Whether nothing can be started.
    down: bool,
}

fn rounds() -> impl Strategy<Value = Vec<Round>> {
    let after = prop_oneof![0_i64..20, Just(5_i64), 60_i64..3_000];
    let late = prop::collection::vec(0_i64..40, 1..4);
    let round =
        (after, late, prop::bool::weighted(0.2)).prop_map(|(after, late, down)| Round { after, late, down });
    prop::collection::vec(round, 1..12)
}

/// Whether a minute is due, told without the crate that the dispatcher asks.
fn is_due(schedule: &str, time: Timestamp) -> bool {
    let minute = time.as_second().div_euclid(60);
    let of_day = minute.rem_euclid(24 * 60);
    match schedule {
        "*/5 * * * *" => minute % 5 == 0,
        "7,37 * * * *" => [7, 37].contains(&(minute % 60)),
        "0 3 * * *" => of_day == 180,
        other => unreachable!("{other}"),
    }
}

/// The newest minute that is due, not later than a time and after the other.
fn newest(schedule: &str, applied: Timestamp, until: Timestamp) -> Option<Timestamp> {
    let minute = |time: Timestamp| time.as_second().div_euclid(60);
    (minute(applied) + 1..=minute(until))
        .rev()
        .map(|minute| Timestamp::from_second(minute * 60).unwrap())
        .find(|time| is_due(schedule, *time))
}

fn due_of(name: &str) -> Timestamp {
    let text = name.strip_prefix("orders-").unwrap();
    let (day, time) = text.strip_suffix('Z').unwrap().split_once('T').unwrap();
    at(&format!("{}-{}-{}T{}:{}:00Z", &day[..4], &day[4..6], &day[6..], &time[..2], &time[2..]))
}

async fn play(schedule: &str, rounds: &[Round]) {
    let applied = at("2026-11-20T12:00:30Z");
    let bench = Bench::new("2026-11-20T12:00:30Z").await;
    bench.apply("orders", json!({ "schedule": schedule })).await;
    let mut now = applied;
    for round in rounds {
        now += SignedDuration::from_mins(round.after);
        if round.down {
            bench.executions.refuse("backup");
        } else {
            bench.executions.allow("backup");
        }
        let before: BTreeSet<String> = bench.backups().into_iter().collect();
        let times: Vec<Timestamp> =
            round.late.iter().map(|late| (now - SignedDuration::from_mins(*late)).max(applied)).collect();
        let dispatchers: Vec<_> = times.iter().map(|time| bench.another(*time)).collect();
        let each = dispatchers.iter().map(|dispatch| handle(dispatch, json!({ "task": "backups" })));
        for done in join_all(each).await {
            assert!(round.down || done.unwrap()["failed"] == 0);
        }
        let started: BTreeSet<Timestamp> = bench.backups().iter().map(|name| due_of(name)).collect();
        assert!(started.iter().all(|due| *due > applied && is_due(schedule, *due)), "only what is due");
        assert!(started.len() - before.len() <= times.len(), "of what was missed only the newest");
        if !round.down {
            for time in times {
                let due = newest(schedule, applied, time);
                let met = due.is_none_or(|due| started.range(due..).next().is_some());
                assert!(met, "{due:?} is missed at {time}: {started:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn nothing_is_started_twice_and_nothing_is_missed(
        schedule in prop::sample::select(vec!["*/5 * * * *", "7,37 * * * *", "0 3 * * *"]),
        rounds in rounds(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(play(schedule, &rounds));
    }
}
