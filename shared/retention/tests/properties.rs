//! What holds of every decision, over rules and backups by chance.
#![allow(clippy::unwrap_used, reason = "what a helper of a test cannot do ends the test")]

use holdfast_retention::{Backup, Length, Retention, Unit, decide};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::num::NonZeroU32;

/// The middle of all times: 21 November 2026.
const MIDDLE: Timestamp = Timestamp::constant(1_795_219_200, 0);
const ZONES: [&str; 5] =
    ["UTC", "Europe/Berlin", "America/New_York", "Pacific/Kiritimati", "Australia/Lord_Howe"];

fn zone() -> impl Strategy<Value = TimeZone> {
    proptest::sample::select(&ZONES[..]).prop_map(|name| TimeZone::get(name).unwrap())
}

fn count() -> impl Strategy<Value = Option<NonZeroU32>> {
    option::weighted(0.4, (1_u32..6).prop_map(|count| NonZeroU32::new(count).unwrap()))
}

fn length() -> impl Strategy<Value = Option<Length>> {
    const UNITS: [Unit; 5] = [Unit::Hours, Unit::Days, Unit::Weeks, Unit::Months, Unit::Years];
    let length = (1_u32..60, proptest::sample::select(&UNITS[..]));
    option::weighted(0.3, length.prop_map(|(count, unit)| Length::new(count, unit).unwrap()))
}

prop_compose! {
    fn retention()(
        counts in [count(), count(), count(), count(), count(), count(), count(), count()],
        keep_within in length(),
    ) -> Retention {
        let [keep_last, hourly, daily, weekly, monthly, yearly, days, minimum] = counts;
        Retention { keep_last, hourly, daily, weekly, monthly, yearly, keep_within, days, minimum }
    }
}

/// Times that lie close together as well as far apart, around the middle: hours, days and years before, and a few later.
fn time() -> impl Strategy<Value = Timestamp> {
    prop_oneof![
        5 => -60 * 24 * 30_i64..0,
        3 => -60 * 24 * 1_500_i64..0,
        3 => -600..60_i64,
    ]
    .prop_map(|minutes| MIDDLE + SignedDuration::from_mins(minutes))
}

fn backup() -> impl Strategy<Value = Backup> {
    let one_in = |weight| proptest::bool::weighted(weight);
    (time(), option::weighted(0.15, time()), one_in(0.1), one_in(0.1), one_in(0.1)).prop_map(
        |(completed_at, expires_at, held, damaged, leaving)| Backup {
            expires_at,
            held,
            damaged,
            leaving,
            ..Backup::new("", completed_at)
        },
    )
}

fn backups() -> impl Strategy<Value = Vec<Backup>> {
    vec(backup(), 0..40).prop_map(|mut backups| {
        for (number, backup) in backups.iter_mut().enumerate() {
            backup.id = format!("B{number:02}");
        }
        backups
    })
}

fn kept(retention: &Retention, zone: &TimeZone, now: Timestamp, backups: &[Backup]) -> BTreeSet<String> {
    let verdicts = decide(retention, zone, now, backups);
    verdicts.into_iter().filter(|verdict| verdict.keep).map(|verdict| verdict.id).collect()
}

fn more(count: Option<NonZeroU32>, by: u32) -> Option<NonZeroU32> {
    count.map(|count| count.saturating_add(by))
}

proptest! {
    #[test]
    fn each_backup_gets_its_verdict_with_reasons(
        retention in retention(), zone in zone(), backups in backups()
    ) {
        let verdicts = decide(&retention, &zone, MIDDLE, &backups);
        prop_assert_eq!(verdicts.len(), backups.len());
        for (verdict, backup) in verdicts.iter().zip(&backups) {
            prop_assert_eq!(&verdict.id, &backup.id);
            prop_assert!(!verdict.why.is_empty());
            prop_assert!(verdict.why.iter().all(|reason| reason.keeps() == verdict.keep));
            prop_assert!(verdict.until.is_none_or(|until| verdict.keep && until > MIDDLE));
        }
    }

    #[test]
    fn what_is_held_or_of_the_future_stays(retention in retention(), zone in zone(), backups in backups()) {
        let kept = kept(&retention, &zone, MIDDLE, &backups);
        for backup in &backups {
            let future = backup.completed_at > MIDDLE && !backup.leaving;
            prop_assert!(!(backup.held || future) || kept.contains(&backup.id));
            prop_assert!(!backup.leaving || backup.held || !kept.contains(&backup.id));
        }
    }

    #[test]
    fn the_newest_and_the_minimum_stay(retention in retention(), zone in zone(), backups in backups()) {
        let kept = kept(&retention, &zone, MIDDLE, &backups);
        let counts = |backup: &&Backup| !backup.leaving && backup.completed_at <= MIDDLE;
        let mut sound: Vec<&Backup> = backups.iter().filter(counts).filter(|backup| !backup.damaged).collect();
        sound.sort_by_key(|backup| (backup.completed_at, &backup.id));
        for backup in sound.iter().rev().take(retention.at_least().get() as usize) {
            prop_assert!(kept.contains(&backup.id));
        }
        let newest = backups.iter().filter(counts).max_by_key(|backup| (backup.completed_at, &backup.id));
        prop_assert!(newest.is_none_or(|newest| kept.contains(&newest.id)));
    }

    #[test]
    fn a_later_backup_keeps_no_older_one(
        retention in retention(), zone in zone(), backups in backups(), later in backup()
    ) {
        let before = kept(&retention, &zone, MIDDLE, &backups);
        let newest = backups.iter().map(|backup| backup.completed_at).filter(|at| *at <= MIDDLE).max();
        let completed_at = newest.unwrap_or(MIDDLE).max(later.completed_at);
        let mut all = backups;
        all.push(Backup { id: "later".to_owned(), completed_at, ..later });
        let mut after = kept(&retention, &zone, MIDDLE, &all);
        after.remove("later");
        prop_assert!(after.is_subset(&before), "{:?}", after.difference(&before));
    }

    #[test]
    fn time_that_passes_keeps_nothing_more(
        retention in retention(), zone in zone(), backups in backups(), minutes in 0..60 * 24 * 400_i64
    ) {
        let before = kept(&retention, &zone, MIDDLE, &backups);
        let later = MIDDLE + SignedDuration::from_mins(minutes);
        prop_assert!(kept(&retention, &zone, later, &backups).is_subset(&before));
    }

    #[test]
    fn nothing_goes_before_the_time_that_was_told(
        retention in retention(), zone in zone(), backups in backups(), later in vec(backup(), 0..20)
    ) {
        let verdicts = decide(&retention, &zone, MIDDLE, &backups);
        for told in verdicts.into_iter().filter(|verdict| verdict.keep) {
            let Some(until) = told.until else { continue };
            let just_before = until - SignedDuration::from_millis(1);
            let mut all = backups.clone();
            all.extend((0..).zip(&later).map(|(number, backup)| Backup {
                id: format!("L{number}"), completed_at: just_before, ..backup.clone()
            }));
            prop_assert!(kept(&retention, &zone, just_before, &all).contains(&told.id));
        }
    }

    #[test]
    fn larger_counts_let_nothing_more_go(
        retention in retention(), zone in zone(), backups in backups(), by in vec(0_u32..4, 8)
    ) {
        let larger = Retention {
            keep_last: more(retention.keep_last, by[0]),
            hourly: more(retention.hourly, by[1]),
            daily: more(retention.daily, by[2]),
            weekly: more(retention.weekly, by[3]),
            monthly: more(retention.monthly, by[4]),
            yearly: more(retention.yearly, by[5]),
            days: more(retention.days, by[6]),
            minimum: more(retention.minimum, by[7]),
            ..retention
        };
        let before = kept(&retention, &zone, MIDDLE, &backups);
        prop_assert!(before.is_subset(&kept(&larger, &zone, MIDDLE, &backups)));
    }

    #[test]
    fn one_more_rule_beside_others_lets_nothing_more_go(
        retention in retention(), zone in zone(), backups in backups(), weekly in 1_u32..5
    ) {
        prop_assume!(retention.has_rules() && retention.weekly.is_none());
        let before = kept(&retention, &zone, MIDDLE, &backups);
        let also = Retention { weekly: NonZeroU32::new(weekly), ..retention };
        prop_assert!(before.is_subset(&kept(&also, &zone, MIDDLE, &backups)));
    }

    #[test]
    fn deciding_again_on_what_stayed_lets_nothing_go(
        retention in retention(), zone in zone(), backups in backups()
    ) {
        let before = kept(&retention, &zone, MIDDLE, &backups);
        let stayed: Vec<Backup> = backups.into_iter().filter(|backup| before.contains(&backup.id)).collect();
        prop_assert_eq!(kept(&retention, &zone, MIDDLE, &stayed), before);
    }

    #[test]
    fn the_order_that_backups_come_in_is_nothing(
        retention in retention(), zone in zone(), backups in backups()
    ) {
        let reversed: Vec<Backup> = backups.iter().rev().cloned().collect();
        let mut again = decide(&retention, &zone, MIDDLE, &reversed);
        again.reverse();
        prop_assert_eq!(decide(&retention, &zone, MIDDLE, &backups), again);
    }

    #[test]
    fn a_policy_survives_being_stored(retention in retention()) {
        let stored = serde_json::to_string(&retention).unwrap();
        prop_assert_eq!(serde_json::from_str::<Retention>(&stored).unwrap(), retention);
    }
}
