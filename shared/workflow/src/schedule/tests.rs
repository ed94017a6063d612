use super::*;
use proptest::prelude::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn newest(expression: &str, zone: &str, after: &str, until: &str) -> Option<String> {
    let schedule = Schedule::parse(expression, Some(zone)).unwrap();
    schedule.newest(at(after), at(until)).map(|due| due.to_string())
}

#[test]
fn the_newest_due_time_is_found_however_far_back_it_is() {
    let due = |until| newest("0 3 * * *", "UTC", "2026-01-01T00:00:00Z", until);
    assert_eq!(due("2026-11-21T02:59:59Z").as_deref(), Some("2026-11-20T03:00:00Z"));
    assert_eq!(due("2026-11-21T03:00:00Z").as_deref(), Some("2026-11-21T03:00:00Z"));
    assert_eq!(due("2026-01-01T02:59:00Z"), None);
    assert_eq!(due("2025-12-31T04:00:00Z"), None, "until before after");
    let leap = newest("0 3 29 2 *", "UTC", "2024-01-01T00:00:00Z", "2027-12-31T00:00:00Z");
    assert_eq!(leap.as_deref(), Some("2024-02-29T03:00:00Z"));
    let settled = newest("0 3 * * *", "UTC", "2026-11-21T03:00:00Z", "2026-11-22T02:00:00Z");
    assert_eq!(settled, None, "what is settled is not due again");
}

#[test]
fn a_time_zone_decides_when_a_day_begins() {
    let until = "2026-11-21T23:30:00Z";
    assert_eq!(
        newest("0 0 * * *", "Europe/Berlin", "2026-11-21T00:00:00Z", until).as_deref(),
        Some("2026-11-21T23:00:00Z")
    );
    assert_eq!(newest("0 0 * * *", "UTC", "2026-11-21T00:00:00Z", until), None);
}

#[test]
fn a_time_that_clocks_skip_in_spring_is_not_due_that_day() {
    let due = |until| newest("30 2 * * *", "Europe/Berlin", "2026-03-27T12:00:00Z", until).unwrap();
    assert_eq!(due("2026-03-28T02:00:00Z"), "2026-03-28T01:30:00Z");
    assert_eq!(due("2026-03-29T23:00:00Z"), "2026-03-28T01:30:00Z");
    assert_eq!(due("2026-03-30T00:30:00Z"), "2026-03-30T00:30:00Z");
    let hourly = newest("0 * * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", "2026-03-29T01:59:00Z");
    assert_eq!(hourly.as_deref(), Some("2026-03-29T01:00:00Z"), "three o'clock follows one o'clock");
}

#[test]
fn a_time_that_clocks_show_twice_in_autumn_is_due_twice() {
    let due = |after, until| newest("30 2 * * *", "Europe/Berlin", after, until);
    let first = due("2026-10-24T12:00:00Z", "2026-10-25T01:29:00Z");
    assert_eq!(first.as_deref(), Some("2026-10-25T00:30:00Z"));
    let second = due("2026-10-25T00:30:00Z", "2026-10-25T12:00:00Z");
    assert_eq!(second.as_deref(), Some("2026-10-25T01:30:00Z"));
}

#[test]
fn what_is_no_schedule_is_told_by_its_field() {
    let refused = |expression: &str, zone: Option<&str>| {
        let fault = Schedule::parse(expression, zone).map(|_| ()).unwrap_err();
        assert!(!fault.message.contains('\n'), "{}", fault.message);
        (fault.field, fault.message)
    };
    for expression in
        ["", "* * * *", "0 3 * * * UTC", "60 * * * *", "0 25 * * *", "0 3 * * MON-", "H 3 * * *", "@daily"]
    {
        assert_eq!(refused(expression, None).0, "schedule", "{expression}");
    }
    assert_eq!(
        refused("0 25 * * *", None).1,
        "\"0 25 * * *\" is no schedule: value must be in range 0..=23; found 25"
    );
    assert_eq!(refused("0 0 31 2 *", None).1, "\"0 0 31 2 *\" is no schedule: no day is like that");
    for zone in ["Europe/Berlinn", "+02:00", "localtime", "Etc/Unknown", "Australia/Lord_Howe", "UTC 5"] {
        assert_eq!(refused("0 3 * * *", Some(zone)).0, "time_zone", "{zone}");
    }
}

#[test]
fn due_times_are_five_minutes_apart() {
    for often in
        ["* * * * *", "*/4 * * * *", "0,58 * * * *", "0,58 0,23 * * *", "0,58 0,23 5-6 2 *", "1,2 3 29 2 *"]
    {
        let fault = Schedule::check_interval(often).unwrap_err();
        assert!(fault.message.ends_with("it is due again within 5 minutes"), "{often}: {}", fault.message);
    }
    for seldom in ["*/5 * * * *", "0,5 3 * * *", "0,58 0 * * *", "0 3 29 2 *", "2,58 0-22/2 * * *"] {
        Schedule::check_interval(seldom).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Against every minute, one by one.
    #[test]
    fn nothing_due_is_passed_over(
        minutes in prop::sample::select(vec!["0", "*/5", "17,48", "59"]),
        hours in prop::sample::select(vec!["*", "3", "2,22-23"]),
        zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "America/Santiago", "Asia/Kathmandu"]),
        // Around the change of clocks in Berlin in March, and a plain day.
        from in prop_oneof![Just(1_774_656_000_i64), Just(1_779_000_000)],
        after in 0_i64..90_000,
        length in 0_i64..180_000,
    ) {
        let schedule = Schedule::parse(&format!("{minutes} {hours} * * *"), Some(zone)).unwrap();
        let time = |second: i64| Timestamp::from_second(from + second).unwrap();
        let minute = |second: i64| (from + second).div_euclid(60) * 60;
        let end = minute(after + length);
        let due = (0..=length / 60 + 1)
            .map(|back| end - back * 60)
            .filter(|second| *second > from + after)
            .map(|second| Timestamp::from_second(second).unwrap())
            .find(|time| schedule.0.matches(*time).unwrap());
        prop_assert_eq!(schedule.newest(time(after), time(after + length)), due);
    }
}
