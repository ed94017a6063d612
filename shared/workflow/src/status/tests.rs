//! Each promise breaks where it says, and not a moment before.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use super::judge::{Drilled, Ended, Good, Promise, Seen, SeenVerified, judge};
use crate::config::{DrillEvery, Tier};
use jiff::{SignedDuration, Timestamp};

const NOW: &str = "2026-11-21T12:00:00Z";

fn ago(minutes: i64) -> Timestamp {
    NOW.parse::<Timestamp>().unwrap() - SignedDuration::from_mins(minutes)
}

const HOUR: i64 = 60;
const DAY: i64 = 24 * HOUR;

/// A critical resource that lacks nothing.
fn kept() -> Seen {
    Seen {
        tier: Tier::Critical,
        drill_every: DrillEvery::Daily,
        added_at: Some(ago(90 * DAY)),
        restorable_until: Some(ago(30)),
        protected_since: Some(ago(80 * DAY)),
        last_good: Some(Good { id: "good".to_owned(), completed_at: ago(30), warnings: 2 }),
        last_ended: Some(Ended { id: "good".to_owned(), failed: false, scheduled: true }),
        verified: Some(SeenVerified {
            backup: "good".to_owned(),
            level: "full".to_owned(),
            at: ago(DAY),
            valid: true,
        }),
        last_drill: Some(drill(true, true, 50)),
        drilled_at: Some(ago(DAY)),
        next_run: Some(ago(-30)),
        ..Seen::of("orders")
    }
}

fn drill(completed: bool, equal: bool, minutes: u64) -> Drilled {
    let rto_ms = completed.then_some(minutes * 60_000);
    Drilled { id: "drill".to_owned(), at: ago(DAY), completed, equal, rto_ms }
}

fn broken(seen: &Seen) -> Vec<Promise> {
    judge(seen, NOW.parse().unwrap()).broken.into_iter().map(|of| of.promise).collect()
}

#[test]
fn what_is_kept_is_told_with_its_figures() {
    let told = judge(&kept(), NOW.parse().unwrap());
    assert_eq!(told.broken, []);
    assert_eq!((told.age_seconds, told.rpo_seconds, told.rpo_limit_seconds), (Some(1800), Some(1800), 3600));
    assert_eq!((told.rto_limit_seconds, told.warnings), (3600, 2));
    assert_eq!(told.next_run.as_deref(), Some("2026-11-21T12:30:00.000Z"));
    let json = serde_json::to_value(&told).unwrap();
    assert_eq!(json["last_backup"]["completed_at"], "2026-11-21T11:30:00.000Z");
    assert_eq!(json["drill_every"], "daily");
}

#[test]
fn an_rpo_is_missed_with_a_quarter_on_top() {
    let at = |minutes| Seen { restorable_until: Some(ago(minutes)), ..kept() };
    assert_eq!(broken(&at(75)), []);
    assert_eq!(broken(&at(76)), [Promise::Rpo]);
    let never = |added_at| Seen {
        restorable_until: None,
        protected_since: None,
        last_good: None,
        last_ended: None,
        verified: None,
        last_drill: None,
        drilled_at: None,
        added_at,
        ..kept()
    };
    assert_eq!(broken(&never(Some(ago(70)))), [], "it is new");
    assert_eq!(broken(&never(Some(ago(80)))), [Promise::Rpo]);
    assert_eq!(broken(&never(None)), [Promise::Rpo]);
}

#[test]
fn a_scheduled_backup_that_failed_breaks_a_promise_and_one_by_hand_does_not() {
    let last = |failed, scheduled| Seen {
        last_ended: Some(Ended { id: "last".to_owned(), failed, scheduled }),
        ..kept()
    };
    assert_eq!(broken(&last(true, true)), [Promise::Backup]);
    assert_eq!(broken(&last(true, false)), []);
}

#[test]
fn damage_and_what_nobody_looked_at_break_promises() {
    let found = |valid, minutes| {
        let verified = SeenVerified { at: ago(minutes), valid, ..kept().verified.unwrap() };
        Seen { verified: Some(verified), ..kept() }
    };
    assert_eq!(broken(&found(false, DAY)), [Promise::Undamaged]);
    assert_eq!(broken(&found(true, 2 * DAY)), []);
    assert_eq!(broken(&found(true, 2 * DAY + 1)), [Promise::Verified]);
    assert_eq!(broken(&Seen { damaged_backups: 1, ..kept() }), [Promise::Undamaged], "of an older backup");
    assert_eq!(broken(&Seen { damaged_objects: 1, ..kept() }), [Promise::Undamaged]);
    let never = |minutes| Seen { verified: None, protected_since: Some(ago(minutes)), ..kept() };
    assert_eq!(broken(&never(2 * DAY)), []);
    assert_eq!(broken(&never(2 * DAY + 1)), [Promise::Verified]);
}

#[test]
fn a_drill_that_fails_differs_or_takes_too_long_breaks_a_promise() {
    let last = |last| Seen { last_drill: Some(last), ..kept() };
    assert_eq!(broken(&last(drill(false, false, 0))), [Promise::Drill]);
    assert_eq!(broken(&last(drill(true, false, 5))), [Promise::Drill]);
    assert_eq!(broken(&last(drill(true, true, 60))), []);
    assert_eq!(broken(&last(drill(true, true, 61))), [Promise::Rto]);
    assert_eq!(broken(&Seen { tier: Tier::Important, ..last(drill(true, true, 61)) }), []);
}

#[test]
fn a_drill_is_overdue_after_twice_its_period() {
    let at = |minutes| Seen { drilled_at: Some(ago(minutes)), ..kept() };
    assert_eq!(broken(&at(2 * DAY)), []);
    assert_eq!(broken(&at(2 * DAY + 1)), [Promise::DrillDue]);
    for drill_every in [DrillEvery::Off, DrillEvery::Weekly] {
        assert_eq!(broken(&Seen { drill_every, ..at(2 * DAY + 1) }), [], "{drill_every:?}");
    }
    assert_eq!(broken(&Seen { drillable: false, ..at(2 * DAY + 1) }), []);
    let never =
        |minutes| Seen { last_drill: None, drilled_at: None, protected_since: Some(ago(minutes)), ..kept() };
    assert_eq!(broken(&never(2 * DAY)), []);
    assert_eq!(broken(&never(2 * DAY + 1)), [Promise::DrillDue]);
}
