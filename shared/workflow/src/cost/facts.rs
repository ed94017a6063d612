//! What the catalogue knows of a resource, as a load.

use super::load::{Asked, Load, StreamLoad};
use super::{real, whole};
use crate::anomaly::Written;
use crate::config::{Policy, Resource};
use crate::plan::BackupDetail;
use crate::retention::{Origin, Rules};
use crate::schedule::Schedule;
use holdfast_common::jobs::{Job, JobKind, JobStore, StreamShape};
use holdfast_retention::{Backup, decide};
use holdfast_vault::error::{Code, Error, Result};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// Backups that are looked at for how much changes.
const LOOKED_AT: usize = 8;
/// What is taken to change in a day where no backup tells, in percent.
const USUAL_CHANGE: f64 = 1.0;
/// Days over which a schedule is counted: four weeks, and so are all its weekdays.
const COUNTED_DAYS: i64 = 28;
/// Backups that a retention is tried on, at most.
const TRIED: f64 = 20_000.0;
/// Bytes below which what was stored of them says nothing: their objects' own parts outweigh them.
const TELLING: u64 = 1 << 20;

/// Where the figures of a resource come from.
#[derive(Debug, Clone, Serialize)]
pub struct Facts {
    /// The resource.
    pub resource: String,
    /// The newest completed backup, whose records, files and bytes count; none where the caller gave them.
    pub newest: Option<String>,
    /// Bytes of all objects that the newest backup needs.
    pub stored_bytes: Option<u64>,
    /// So many of the newest backups tell by their deltas how much changes.
    pub deltas: usize,
    /// Whether no backup tells that and nobody said it, so that it is taken to be 1 percent in a day.
    pub change_is_assumed: bool,
    /// Whether backups come by a schedule.
    pub scheduled: bool,
    /// Whether every backup is kept for ever, so that those of a year are counted.
    pub for_ever: bool,
    /// What was asked about.
    #[serde(skip)]
    pub load: Load,
}

/// What is known of a resource, with what was asked in place of it.
///
/// # Errors
/// `ResourceUnknown`, `InvalidInput` where nothing was backed up and no figures were asked, or what state gives.
pub async fn of_resource(jobs: &JobStore, name: &str, asked: &Asked) -> Result<Facts> {
    let resource: Resource = serde_json::from_value(jobs.resource(name).await?).map_err(|error| {
        Error::new(Code::Internal, format!("resource {name:?} is unreadable: {error}"))
            .object(name)
            .hint("apply it again with `holdfast apply -f FILE`")
    })?;
    let newest = newest(jobs, name).await?;
    let mut load = Load::of(&resource);
    load.streams = match newest.first() {
        _ if asked.has_figures() => Load::of_figures(&asked.with_change())?.streams,
        Some(job) => streams(job),
        None => return Err(nothing(name)),
    };
    let scheduled = resource.policy.schedule.is_some();
    let usual = often(&resource.policy, &newest);
    load.backups_per_day = usual;
    // What cannot be is refused before it is counted with.
    load.apply(asked)?;
    let rules = Rules::of(&resource.policy).map_err(|error| error.object(name))?;
    let (kept, span) = kept(&rules, load.backups_per_day);
    (load.kept, load.span) = (kept, span);
    let (change, deltas) = change(&newest);
    load.daily_change = change.map_or(USUAL_CHANGE / 100.0, |between| (between * usual).min(1.0));
    load.stored_share = newest.iter().find_map(share).unwrap_or(load.stored_share);
    load.apply(asked)?;
    Ok(Facts {
        resource: name.to_owned(),
        stored_bytes: newest.first().map(|job| job.totals.stored_bytes),
        newest: newest.first().filter(|_| !asked.has_figures()).map(|job| job.id.clone()),
        deltas,
        change_is_assumed: change.is_none() && asked.daily_change.is_none(),
        scheduled,
        for_ever: rules.origin == Origin::ForEver && asked.kept.is_none(),
        load,
    })
}

impl Asked {
    fn has_figures(&self) -> bool {
        self.records.is_some() || self.files.is_some() || self.bytes.is_some()
    }

    /// The same with a change: of a resource it need not be said.
    fn with_change(self) -> Self {
        Self { daily_change: self.daily_change.or(Some(USUAL_CHANGE)), ..self }
    }
}

fn nothing(name: &str) -> Error {
    Error::new(Code::InvalidInput, format!("there is no completed backup of {name} to go by"))
        .object(name)
        .hint(format!("make one with `holdfast backup {name}`, or say --records N --bytes B yourself"))
}

/// The newest completed backups.
async fn newest(jobs: &JobStore, name: &str) -> Result<Vec<Job>> {
    let mut found = Vec::new();
    let mut pages = jobs.jobs(JobKind::Backup, Some(name)).page_size(20);
    while found.len() < LOOKED_AT
        && let Some(page) = pages.next().await?
    {
        found.extend(page.into_iter().filter(Job::is_restorable));
    }
    found.truncate(LOOKED_AT);
    Ok(found)
}

fn streams(job: &Job) -> Vec<StreamLoad> {
    let of = job.streams.iter().map(|stream| match stream.kind {
        StreamShape::Tree => StreamLoad { records: 0, files: stream.files, bytes: stream.bytes },
        StreamShape::Records => StreamLoad { records: stream.records, files: 0, bytes: stream.bytes },
    });
    of.filter(|stream| stream.things() > 0).collect()
}

fn written(job: &Job) -> Option<Written> {
    BackupDetail::deserialize(&job.detail).ok()?.written
}

/// The share of records and files that changes from backup to backup, and how many backups tell it.
fn change(jobs: &[Job]) -> (Option<f64>, usize) {
    let share = |job: &Job| {
        let deltas = written(job)?.deltas;
        let touched: u64 = deltas.values().map(|delta| delta.added + delta.changed + delta.deleted).sum();
        let things = job.totals.records + job.totals.files;
        (!deltas.is_empty()).then(|| (real(touched) / real(things.max(1))).min(1.0))
    };
    let shares: Vec<f64> = jobs.iter().filter_map(share).collect();
    let mean = shares.iter().sum::<f64>() / real(shares.len().max(1) as u64);
    ((!shares.is_empty()).then_some(mean), shares.len())
}

/// What was stored of a byte of new content.
fn share(job: &Job) -> Option<f64> {
    let written = written(job)?;
    (written.fresh_bytes >= TELLING)
        .then(|| (real(written.packed_bytes) / real(written.fresh_bytes)).clamp(0.001, 1.5))
}

/// Backups in a day: as the schedule says, else as they came, else one.
fn often(policy: &Policy, newest: &[Job]) -> f64 {
    let parsed = policy.schedule.as_deref().map(|at| Schedule::parse(at, policy.time_zone.as_deref()));
    if let Some(Ok(schedule)) = parsed {
        let mut at = START;
        let mut due = 0;
        while let Some(next) = schedule.next(at).filter(|next| next.duration_since(START) <= COUNTED) {
            (at, due) = (next, due + 1);
        }
        // One that is due less often than in four weeks is counted as due once.
        return real(due.max(1)) / real(COUNTED_DAYS.unsigned_abs());
    }
    let (Some(first), Some(last)) = (newest.first(), newest.last()) else { return 1.0 };
    let apart = first.created_at.duration_since(last.created_at).as_secs_f64() / 86_400.0;
    let between = real(newest.len() as u64) - 1.0;
    // Backups made by hand within an hour tell of no habit.
    if apart < 1.0 || between < 1.0 { 1.0 } else { between / apart }
}

/// A Monday, on which all counting begins, so that the same policy gives the same figures on every day.
const START: Timestamp = Timestamp::constant(1_793_577_600, 0);
const COUNTED: SignedDuration = SignedDuration::from_hours(COUNTED_DAYS * 24);

/// How many backups a policy keeps when it has run for long, and how many were made from the oldest of them on.
fn kept(rules: &Rules, per_day: f64) -> (u64, u64) {
    let retention = &rules.retention;
    if rules.origin == Origin::ForEver {
        let year = whole(per_day * 365.0).max(1);
        return (year, year);
    }
    let number = |of: Option<std::num::NonZeroU32>, days: f64| of.map_or(0.0, |n| f64::from(n.get()) * days);
    let days = [
        number(retention.days, 1.0),
        number(retention.daily, 1.0),
        number(retention.hourly, 1.0 / 24.0),
        number(retention.weekly, 7.0),
        number(retention.monthly, 31.0),
        number(retention.yearly, 366.0),
        number(retention.keep_last, 1.0 / per_day),
        number(retention.minimum, 1.0 / per_day),
        retention.keep_within.map_or(0.0, |_| 366.0),
    ];
    let days = days.into_iter().fold(1.0, f64::max) * 1.1 + 2.0;
    let made = whole((days * per_day).clamp(2.0, TRIED));
    let apart = SignedDuration::from_secs_f64((86_400.0 / per_day).min(1e9));
    let mut at = START;
    let mut backups = Vec::new();
    for number in 0..made {
        backups.push(Backup::new(format!("{:06}", made - number), at));
        let Ok(before) = at.checked_sub(apart) else { break };
        at = before;
    }
    let verdicts = decide(retention, &rules.zone, START, &backups);
    let places = || verdicts.iter().enumerate().filter(|(_, verdict)| verdict.keep);
    let span = places().map(|(at, _)| at as u64 + 1).max().unwrap_or(1);
    (places().count().max(1) as u64, span)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::str::FromStr as _;

    fn policy(json: &str) -> Policy {
        serde_json::from_str(json).unwrap()
    }

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn a_schedule_says_how_often() {
        for (at, times) in
            [("0 3 * * *", 1.0), ("0 * * * *", 24.0), ("0 3 * * 1", 1.0 / 7.0), ("*/5 * * * *", 288.0)]
        {
            let json = format!(r#"{{"schedule": "{at}"}}"#);
            let found = often(&policy(&json), &[]);
            assert!(near(found, times), "{at}: {found}");
        }
        assert!(near(often(&policy("{}"), &[]), 1.0));
    }

    #[test]
    fn what_is_kept_follows_from_the_rules() {
        let found = |json: &str, per_day: f64| kept(&Rules::of(&policy(json)).unwrap(), per_day);
        assert_eq!(found(r#"{"retention": {"keep_last": 7}}"#, 1.0), (7, 7));
        assert_eq!(found(r#"{"retention": {"keep_last": 7}}"#, 24.0), (7, 7));
        assert_eq!(found("{}", 1.0), (365, 365), "for ever");
        let (kept_daily, span) = found(r#"{"retention": {"daily": 7}}"#, 4.0);
        assert_eq!(kept_daily, 7);
        assert!((20..=28).contains(&span), "{span}");
        let (days, _) = found(r#"{"retention_days": 35}"#, 1.0);
        assert!((35..=36).contains(&days), "{days}");
        let (long, span) = found(r#"{"retention": {"daily": 14, "monthly": 12, "yearly": 3}}"#, 1.0);
        assert!((25..=30).contains(&long) && (660..=690).contains(&span), "{long} {span}");
        assert_eq!(Timestamp::from_str("2026-11-02T00:00:00Z").unwrap(), START);
    }
}
