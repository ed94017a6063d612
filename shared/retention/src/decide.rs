//! The decision.

use crate::length::{Length, Unit};
use crate::retention::Retention;
use crate::verdict::{Place, Reason, Rule, Verdict};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use std::cmp::Reverse;
use std::collections::HashSet;
use std::num::NonZeroU32;

/// A backup that can be restored, as far as retention is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// Its id.
    pub id: String,
    /// When it completed: its age counts from then.
    pub completed_at: Timestamp,
    /// Until when this one is kept, in place of what the policy says of age (`keep_within`, `days`, and that nothing goes
    /// where there is no rule). Rules that count, the minimum and a hold keep it beyond. [`crate::NEVER`] is for ever.
    pub expires_at: Option<Timestamp>,
    /// Whether it is held.
    pub held: bool,
    /// Whether it was found damaged. It takes no place of a sound one, and is kept beside the one that has its place until
    /// a sound one of the same period is there: part of it may be all that is left.
    pub damaged: bool,
    /// Whether it was asked for by hand to be deleted. It takes no place: what stays must not count on it.
    pub leaving: bool,
}

impl Backup {
    /// A sound backup that nobody holds and that has no expiry of its own.
    #[must_use]
    pub fn new(id: impl Into<String>, completed_at: Timestamp) -> Self {
        Self { id: id.into(), completed_at, expires_at: None, held: false, damaged: false, leaving: false }
    }
}

/// Decides on all backups of a resource, in their order. `zone` is the resource's: its calendar has the periods.
///
/// A backup of the future stays and takes no place, so that a wrong clock lets nothing go.
#[must_use]
pub fn decide(retention: &Retention, zone: &TimeZone, now: Timestamp, backups: &[Backup]) -> Vec<Verdict> {
    let mut reasons = vec![Vec::new(); backups.len()];
    let mut counted: Vec<usize> =
        (0..backups.len()).filter(|&at| backups[at].completed_at <= now && !backups[at].leaving).collect();
    counted.sort_by_key(|&at| Reverse((backups[at].completed_at, &backups[at].id)));
    let newest_first: Vec<Counted<'_>> = counted
        .into_iter()
        .map(|at| Counted {
            at,
            backup: &backups[at],
            local: backups[at].completed_at.to_zoned(zone.clone()),
        })
        .collect();
    for (backup, reasons) in backups.iter().zip(&mut reasons) {
        reasons.extend(backup.held.then_some(Reason::Held));
        if !backup.leaving {
            reasons.extend((backup.completed_at > now).then_some(Reason::Future));
        }
    }
    for (rule, count) in rules(retention) {
        for (at, place) in places(rule, count, &newest_first) {
            reasons[at].push(Reason::Place(place));
        }
    }
    let decided = backups.iter().zip(reasons).map(|(backup, mut reasons)| {
        if !backup.leaving {
            reasons.extend(by_age(retention, zone, now, backup));
        }
        Verdict::new(&backup.id, reasons, why_not(backup))
    });
    decided.collect()
}

/// A backup that takes places, and its time as the resource's zone has it.
struct Counted<'a> {
    at: usize,
    backup: &'a Backup,
    local: Zoned,
}

/// The rules that count, in the order in which they are told.
fn rules(retention: &Retention) -> impl Iterator<Item = (Rule, NonZeroU32)> {
    [
        (Rule::Minimum, Some(retention.at_least())),
        (Rule::Last, retention.keep_last),
        (Rule::Hourly, retention.hourly),
        (Rule::Daily, retention.daily),
        (Rule::Weekly, retention.weekly),
        (Rule::Monthly, retention.monthly),
        (Rule::Yearly, retention.yearly),
    ]
    .into_iter()
    .filter_map(|(rule, count)| Some((rule, count?)))
}

/// Who has the places of a rule. A period that a sound backup has settled is closed to older ones; a damaged backup settles
/// none.
fn places(rule: Rule, count: NonZeroU32, newest_first: &[Counted<'_>]) -> Vec<(usize, Place)> {
    let mut settled = HashSet::new();
    let mut found = Vec::new();
    let mut number = 1;
    for counted in newest_first {
        if number > count.get() {
            break;
        }
        let period = period(rule, &counted.local);
        if period.as_ref().is_some_and(|period| settled.contains(period)) {
            continue;
        }
        let beside = counted.backup.damaged;
        let place = Place { rule, number, of: count.get(), period: period.clone(), beside };
        found.push((counted.at, place));
        if !beside {
            settled.extend(period);
            number += 1;
        }
    }
    found
}

/// The period of a rule that a time is in. An hour that clocks show twice is two hours, told apart by their distance from
/// UTC.
fn period(rule: Rule, local: &Zoned) -> Option<String> {
    match rule {
        Rule::Minimum | Rule::Last => None,
        Rule::Hourly => Some(format!("{}T{:02}{}", local.date(), local.hour(), local.offset())),
        Rule::Daily => Some(local.date().to_string()),
        Rule::Weekly => {
            let week = local.date().iso_week_date();
            Some(format!("{:04}-W{:02}", week.year(), week.week()))
        }
        Rule::Monthly => Some(format!("{:04}-{:02}", local.year(), local.month())),
        Rule::Yearly => Some(format!("{:04}", local.year())),
    }
}

/// What keeps a backup by its age.
fn by_age(retention: &Retention, zone: &TimeZone, now: Timestamp, backup: &Backup) -> Vec<Reason> {
    if let Some(at) = backup.expires_at {
        return if now < at { vec![Reason::Expires(at)] } else { Vec::new() };
    }
    if !retention.has_rules() {
        return vec![Reason::NoRule];
    }
    let within = retention
        .keep_within
        .map(|length| Reason::Within { length, until: length.after(backup.completed_at, zone) });
    let days = retention.days.map(|days| Reason::Days {
        days: days.get(),
        until: end_of_days(days.get(), backup.completed_at, zone),
    });
    let lasting = |reason: &Reason| match reason {
        Reason::Within { until, .. } | Reason::Days { until, .. } => now < *until,
        _ => false,
    };
    within.into_iter().chain(days).filter(lasting).collect()
}

/// More days than a length can have never end.
fn end_of_days(days: u32, since: Timestamp, zone: &TimeZone) -> Timestamp {
    Length::new(days, Unit::Days).map_or(Timestamp::MAX, |length| length.after(since, zone))
}

/// Why a backup goes, where nothing keeps it.
fn why_not(backup: &Backup) -> Reason {
    match backup.expires_at {
        _ if backup.leaving => Reason::Asked,
        Some(at) => Reason::Expired(at),
        None => Reason::NotKept,
    }
}

#[cfg(test)]
mod tests;
