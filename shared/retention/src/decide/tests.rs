use super::*;
use crate::NEVER;

fn backups(times: &[&str]) -> Vec<Backup> {
    (0..).zip(times).map(|(number, time)| Backup::new(format!("B{number}"), time.parse().unwrap())).collect()
}

fn retention(json: &str) -> Retention {
    serde_json::from_str(json).unwrap()
}

/// What is said of each backup, in the order that they were given.
fn said(rules: &str, zone: &str, now: &str, backups: &[Backup]) -> Vec<String> {
    let zone = TimeZone::get(zone).unwrap();
    let verdicts = decide(&retention(rules), &zone, now.parse().unwrap(), backups);
    assert!(verdicts.iter().zip(backups).all(|(verdict, backup)| verdict.id == backup.id));
    let words = |verdict: Verdict| {
        assert!(verdict.why.iter().all(|reason| reason.keeps() == verdict.keep));
        let why: Vec<String> = verdict.why.iter().map(ToString::to_string).collect();
        format!("{} {}", if verdict.keep { '+' } else { '-' }, why.join("; "))
    };
    verdicts.into_iter().map(words).collect()
}

/// Which of the backups stay but for being the newest: their numbers, newest first.
#[track_caller]
fn assert_stay(rules: &str, zone: &str, times: &[&str], stay: &[&str]) {
    let told = said(rules, zone, "2027-06-01T00:00:00Z", &backups(times));
    let told: Vec<&str> = told.iter().filter_map(|said| said.strip_prefix("+ ")).collect();
    let told: Vec<&str> = told.iter().map(|said| said.trim_start_matches("the newest; ")).collect();
    assert_eq!(told, stay);
}

#[test]
fn nothing_is_decided_on_nothing() {
    assert!(decide(&Retention::default(), &TimeZone::UTC, Timestamp::UNIX_EPOCH, &[]).is_empty());
}

#[test]
fn without_rules_all_stay_for_ever() {
    let backups = backups(&["2020-01-01T00:00:00Z", "2020-01-02T00:00:00Z"]);
    let now = "2026-11-01T00:00:00Z";
    assert_eq!(
        said("{}", "UTC", now, &backups),
        ["+ no rule lets it go", "+ the newest; no rule lets it go"]
    );
    let at_least_two = said(r#"{"minimum": 2}"#, "UTC", now, &backups);
    assert_eq!(at_least_two, ["+ minimum 2 of 2; no rule lets it go", "+ the newest; no rule lets it go"]);
}

#[test]
fn the_newest_of_each_day_stays_for_as_many_days_as_have_one() {
    let times = [
        "2026-11-19T01:00:00Z",
        "2026-11-19T23:00:00Z",
        "2026-11-15T12:00:00Z",
        "2026-11-15T13:00:00Z",
        "2026-11-01T00:00:00Z",
        "2026-10-01T00:00:00Z",
    ];
    let told = said(r#"{"daily": 3}"#, "UTC", "2026-11-20T00:00:00Z", &backups(&times));
    assert_eq!(
        told,
        [
            "- no rule keeps it",
            "+ the newest; daily 1 of 3 (2026-11-19)",
            "- no rule keeps it",
            "+ daily 2 of 3 (2026-11-15)",
            "+ daily 3 of 3 (2026-11-01)",
            "- no rule keeps it",
        ]
    );
}

#[test]
fn every_rule_that_keeps_a_backup_is_told() {
    let rules = r#"{"minimum": 2, "keep_last": 1, "hourly": 1, "daily": 1, "weekly": 1, "monthly": 1, "yearly": 1,
        "keep_within": "2d", "days": 1}"#;
    let backups = backups(&["2026-11-18T10:00:00Z", "2026-11-19T10:30:00Z"]);
    let told = said(rules, "Europe/Berlin", "2026-11-19T12:00:00Z", &backups);
    assert_eq!(
        told,
        [
            "+ minimum 2 of 2; within 2d",
            "+ the newest; last 1 of 1; hourly 1 of 1 (2026-11-19T11+01); daily 1 of 1 (2026-11-19); \
             weekly 1 of 1 (2026-W47); monthly 1 of 1 (2026-11); yearly 1 of 1 (2026); within 2d; within 1 day",
        ]
    );
}

#[test]
fn days_are_those_of_the_time_zone() {
    // In New York all but the last of them are of 18 November.
    let times =
        ["2026-11-18T05:00:00Z", "2026-11-18T12:00:00Z", "2026-11-19T04:59:59Z", "2026-11-19T05:00:00Z"];
    assert_stay(
        r#"{"daily": 9}"#,
        "America/New_York",
        &times,
        &["daily 2 of 9 (2026-11-18)", "daily 1 of 9 (2026-11-19)"],
    );
    let utc = ["daily 2 of 9 (2026-11-18)", "daily 1 of 9 (2026-11-19)"];
    assert_stay(r#"{"daily": 9}"#, "UTC", &times, &utc);
    let stay = said(r#"{"daily": 9}"#, "UTC", "2026-11-20T00:00:00Z", &backups(&times));
    assert!(stay[1].starts_with('+') && stay[2].starts_with('-'), "{stay:?}");
}

#[test]
fn a_day_of_25_hours_is_one_day_and_its_double_hour_two() {
    // Berlin sets its clocks back from 03:00 to 02:00 on 25 October: 00:30 UTC and 01:30 UTC are both 02:30 there.
    let times =
        ["2026-10-24T22:00:00Z", "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-25T22:59:59Z"];
    assert_stay(r#"{"daily": 9}"#, "Europe/Berlin", &times, &["daily 1 of 9 (2026-10-25)"]);
    assert_stay(
        r#"{"hourly": 9}"#,
        "Europe/Berlin",
        &times,
        &[
            "hourly 4 of 9 (2026-10-25T00+02)",
            "hourly 3 of 9 (2026-10-25T02+02)",
            "hourly 2 of 9 (2026-10-25T02+01)",
            "hourly 1 of 9 (2026-10-25T23+01)",
        ],
    );
    // New York does so on 1 November, from 02:00 to 01:00.
    let times = ["2026-11-01T05:10:00Z", "2026-11-01T05:50:00Z", "2026-11-01T06:30:00Z"];
    assert_stay(
        r#"{"hourly": 9}"#,
        "America/New_York",
        &times,
        &["hourly 2 of 9 (2026-11-01T01-04)", "hourly 1 of 9 (2026-11-01T01-05)"],
    );
}

#[test]
fn a_day_of_23_hours_is_one_day() {
    // Berlin skips 02:00 to 03:00 on 29 March.
    let times =
        ["2026-03-28T22:59:59Z", "2026-03-28T23:00:00Z", "2026-03-29T00:59:59Z", "2026-03-29T21:59:59Z"];
    let stay = ["daily 2 of 9 (2026-03-28)", "daily 1 of 9 (2026-03-29)"];
    assert_stay(r#"{"daily": 9}"#, "Europe/Berlin", &times, &stay);
    let hours = [
        "hourly 4 of 9 (2026-03-28T23+01)",
        "hourly 3 of 9 (2026-03-29T00+01)",
        "hourly 2 of 9 (2026-03-29T01+01)",
        "hourly 1 of 9 (2026-03-29T23+02)",
    ];
    assert_stay(r#"{"hourly": 9}"#, "Europe/Berlin", &times, &hours);
    // New York skips 02:00 to 03:00 on 8 March.
    let times = ["2026-03-08T06:59:59Z", "2026-03-08T07:00:00Z"];
    let hours = ["hourly 2 of 9 (2026-03-08T01-05)", "hourly 1 of 9 (2026-03-08T03-04)"];
    assert_stay(r#"{"hourly": 9}"#, "America/New_York", &times, &hours);
}

#[test]
fn weeks_begin_on_monday_and_belong_to_the_year_of_their_thursday() {
    // 28 December 2026 is a Monday; the week with 1 January 2027, a Friday, is the 53rd of 2026.
    let times = [
        "2026-12-27T12:00:00Z",
        "2026-12-28T00:00:00Z",
        "2026-12-31T23:00:00Z",
        "2027-01-01T00:00:00Z",
        "2027-01-03T23:59:59Z",
        "2027-01-04T00:00:00Z",
    ];
    let stay = ["weekly 3 of 9 (2026-W52)", "weekly 2 of 9 (2026-W53)", "weekly 1 of 9 (2027-W01)"];
    assert_stay(r#"{"weekly": 9}"#, "UTC", &times, &stay);
    assert_stay(r#"{"yearly": 9}"#, "UTC", &times, &["yearly 2 of 9 (2026)", "yearly 1 of 9 (2027)"]);
    let stay = ["monthly 2 of 9 (2026-12)", "monthly 1 of 9 (2027-01)"];
    assert_stay(r#"{"monthly": 9}"#, "UTC", &times, &stay);
    // 29 December 2025, a Monday, is of the first week of 2026.
    assert_stay(r#"{"weekly": 1}"#, "UTC", &["2025-12-29T00:00:00Z"], &["weekly 1 of 1 (2026-W01)"]);
}

#[test]
fn a_year_begins_when_it_does_there() {
    let times = ["2026-12-31T22:59:59Z", "2026-12-31T23:00:00Z"];
    let years = ["yearly 2 of 9 (2026)", "yearly 1 of 9 (2027)"];
    assert_stay(r#"{"yearly": 9}"#, "Europe/Berlin", &times, &years);
    assert_stay(r#"{"yearly": 9}"#, "America/New_York", &times, &["yearly 1 of 9 (2026)"]);
}

#[test]
fn what_is_within_a_time_stays_until_it_is_over() {
    let backups = backups(&["2026-11-01T12:00:00Z"]);
    let zone = TimeZone::UTC;
    let older = Backup::new("older", "2026-10-01T00:00:00Z".parse().unwrap());
    let all = [older, backups[0].clone()];
    let at = |rules: &str, now: &str| decide(&retention(rules), &zone, now.parse().unwrap(), &all)[0].clone();
    for rules in [r#"{"keep_within": "35d"}"#, r#"{"days": 35}"#] {
        let last = at(rules, "2026-11-04T23:59:59.999Z");
        assert!(last.keep);
        assert_eq!(last.until, Some("2026-11-05T00:00:00Z".parse().unwrap()));
        assert!(!at(rules, "2026-11-05T00:00:00Z").keep);
    }
    // The longer of the two counts.
    let both = at(r#"{"keep_within": "35d", "days": 40}"#, "2026-11-06T00:00:00Z");
    assert_eq!((both.why.len(), both.until), (1, Some("2026-11-10T00:00:00Z".parse().unwrap())));
}

#[test]
fn very_many_days_never_end() {
    let backups = backups(&["2026-11-01T12:00:00Z", "2026-11-02T12:00:00Z"]);
    let rules = retention(r#"{"days": 4294967295}"#);
    let verdicts = decide(&rules, &TimeZone::UTC, "9990-01-01T00:00:00Z".parse().unwrap(), &backups);
    assert_eq!((verdicts[0].keep, verdicts[0].until, verdicts[0].lasts()), (true, None, "for ever"));
}

#[test]
fn an_expiry_of_its_own_replaces_rules_of_age_and_no_others() {
    let mut backups = backups(&["2026-11-01T12:00:00Z", "2026-11-02T12:00:00Z", "2026-11-03T12:00:00Z"]);
    let now = "2026-11-04T00:00:00Z";
    backups[0].expires_at = Some("2026-11-04T00:00:00Z".parse().unwrap());
    backups[1].expires_at = Some("2026-11-04T00:00:01Z".parse().unwrap());
    for rules in ["{}", r#"{"days": 30}"#, r#"{"keep_within": "1y"}"#] {
        let told = said(rules, "UTC", now, &backups);
        assert_eq!(
            told[..2],
            ["- expired 2026-11-04T00:00:00Z", "+ expires 2026-11-04T00:00:01Z"],
            "{rules}"
        );
    }
    assert_eq!(said(r#"{"daily": 3}"#, "UTC", now, &backups)[0], "+ daily 3 of 3 (2026-11-01)");
    assert_eq!(said(r#"{"keep_last": 3}"#, "UTC", now, &backups)[0], "+ last 3 of 3");
    assert_eq!(said(r#"{"minimum": 3}"#, "UTC", now, &backups)[0], "+ minimum 3 of 3");
    backups[0].held = true;
    assert_eq!(said("{}", "UTC", now, &backups)[0], "+ held");
    backups[1].expires_at = Some(NEVER);
    assert_eq!(said(r#"{"days": 1}"#, "UTC", "2126-01-01T00:00:00Z", &backups)[1], "+ never expires");
}

#[test]
fn a_backup_of_the_future_stays_and_takes_no_place() {
    let backups = backups(&["2026-11-01T12:00:00Z", "2026-11-02T12:00:00Z", "2026-11-02T12:00:00.001Z"]);
    let told = said(r#"{"keep_last": 1}"#, "UTC", "2026-11-02T12:00:00Z", &backups);
    assert_eq!(told, ["- no rule keeps it", "+ the newest; last 1 of 1", "+ completed later than now"]);
}

#[test]
fn a_damaged_backup_takes_no_place_of_a_sound_one() {
    let mut backups = backups(&[
        "2026-11-01T10:00:00Z",
        "2026-11-01T11:00:00Z",
        "2026-11-01T12:00:00Z",
        "2026-11-02T12:00:00Z",
        "2026-10-31T12:00:00Z",
    ]);
    backups[1].damaged = true;
    backups[2].damaged = true;
    backups[3].damaged = true;
    let told = said(r#"{"daily": 1}"#, "UTC", "2026-11-03T00:00:00Z", &backups);
    let beside = "daily 1 of 1 (2026-11-01) until a sound one is";
    assert_eq!(
        told,
        [
            "+ the newest; daily 1 of 1 (2026-11-01)".to_owned(),
            format!("+ the newest until a sound one is; {beside}"),
            format!("+ the newest until a sound one is; {beside}"),
            "+ the newest until a sound one is; daily 1 of 1 (2026-11-02) until a sound one is".to_owned(),
            "- no rule keeps it".to_owned(),
        ]
    );
}

#[test]
fn what_was_asked_for_by_hand_goes_and_takes_no_place() {
    let mut backups = backups(&["2026-11-01T12:00:00Z", "2026-11-02T12:00:00Z", "2026-11-03T12:00:00Z"]);
    backups[2].leaving = true;
    let now = "2026-11-04T00:00:00Z";
    let told = said(r#"{"keep_last": 1, "keep_within": "1y"}"#, "UTC", now, &backups);
    assert_eq!(told, ["+ within 1y", "+ the newest; last 1 of 1; within 1y", "- asked for by hand"]);
    // It goes where its clock was wrong, or where it would have expired, as well.
    backups[2].expires_at = Some("2026-11-03T13:00:00Z".parse().unwrap());
    assert_eq!(said("{}", "UTC", now, &backups)[2], "- asked for by hand");
    assert_eq!(said("{}", "UTC", "2026-11-03T00:00:00Z", &backups)[2], "- asked for by hand");
    // A hold keeps it all the same.
    backups[2].held = true;
    assert_eq!(said("{}", "UTC", now, &backups)[2], "+ held");
}

#[test]
fn of_two_of_the_same_moment_the_later_id_is_the_newer() {
    let backups = backups(&["2026-11-01T12:00:00Z", "2026-11-01T12:00:00Z"]);
    let told = said(r#"{"keep_last": 1}"#, "UTC", "2026-11-02T00:00:00Z", &backups);
    assert_eq!(told, ["- no rule keeps it", "+ the newest; last 1 of 1"]);
}
