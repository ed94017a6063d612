//! The backups that are due.
//!
//! An execution is named by its resource and due time, so that it starts once however often it is asked for. What was
//! dispatched is noted after that: a dispatcher that ends in between starts nothing twice, and misses nothing.

use crate::{AT_ONCE, Dispatch, dead, rpo, told};
use futures::StreamExt as _;
use futures::stream;
use holdfast_common::jobs::{JobKind, Known, ResourceRow, ScheduleRow};
use holdfast_vault::error::Result;
use holdfast_workflow::config::Resource;
use holdfast_workflow::events::BackupInput;
use holdfast_workflow::executions::{Started, backup_name};
use holdfast_workflow::handler;
use holdfast_workflow::metrics::count;
use holdfast_workflow::schedule::Schedule;
use jiff::Timestamp;
use serde::Serialize;
use std::collections::{HashMap, HashSet};
use std::ops::AddAssign;

/// What was done, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Dispatched {
    /// Resources that there are.
    pub resources: u64,
    /// Backups that were started.
    pub started: u64,
    /// Backups that were due and had been started before.
    pub already: u64,
    /// Resources whose backup is due and waits for the one before it.
    pub skipped: u64,
    /// Resources whose schedule, or all of whose document, cannot be read.
    pub invalid: u64,
    /// What failed; the next dispatcher tries it again.
    pub failed: u64,
    /// Resources that miss their RPO.
    pub missed: u64,
    /// Jobs whose executions died, now handed to the machine that ends them.
    pub ended: u64,
}

impl AddAssign for Dispatched {
    fn add_assign(&mut self, other: Self) {
        self.resources += other.resources;
        self.started += other.started;
        self.already += other.already;
        self.skipped += other.skipped;
        self.invalid += other.invalid;
        self.failed += other.failed;
        self.missed += other.missed;
        self.ended += other.ended;
    }
}

/// What came of one resource.
enum Outcome {
    Nothing,
    Started,
    Already,
    Skipped,
    Invalid,
}

impl From<Outcome> for Dispatched {
    fn from(outcome: Outcome) -> Self {
        let mut one = Self::default();
        match outcome {
            Outcome::Nothing => {}
            Outcome::Started => one.started = 1,
            Outcome::Already => one.already = 1,
            Outcome::Skipped => one.skipped = 1,
            Outcome::Invalid => one.invalid = 1,
        }
        one
    }
}

/// Starts the backups that are due, says how old the newest of each resource is, and has jobs ended that died.
pub(super) async fn dispatch(dispatch: &Dispatch) -> Result<Dispatched> {
    let now = dispatch.clock.now();
    let open = dispatch.jobs.open_jobs().all().await?;
    let backups = open.iter().filter(|job| job.kind == JobKind::Backup);
    let busy: HashSet<String> = backups.map(|job| job.resource.clone()).collect();
    let mut known: HashMap<String, Known<ScheduleRow>> =
        dispatch.jobs.schedules().all().await?.into_iter().collect();
    let mut done = Dispatched::default();
    let mut pages = dispatch.jobs.resource_rows();
    while let Some(page) = pages.next().await? {
        let each = page.into_iter().map(|row| {
            let (known, busy) = (known.remove(&row.name), busy.contains(&row.name));
            one(dispatch, now, row, known, busy)
        });
        let each: Vec<_> = each.collect();
        let mut outcomes = stream::iter(each).buffer_unordered(AT_ONCE);
        while let Some(outcome) = outcomes.next().await {
            done += outcome;
        }
    }
    let (ended, failed) = dead::end(dispatch, now, open).await;
    done += Dispatched { failed, ended, ..Dispatched::default() };
    tracing::info!(
        done.resources,
        done.started,
        done.skipped,
        done.invalid,
        done.failed,
        done.missed,
        done.ended,
        "dispatched"
    );
    Ok(done)
}

async fn one(
    dispatch: &Dispatch,
    now: Timestamp,
    row: ResourceRow,
    known: Option<Known<ScheduleRow>>,
    busy: bool,
) -> Dispatched {
    let mut done = Dispatched { resources: 1, ..Dispatched::default() };
    let resource: Resource = match serde_json::from_value(row.document) {
        Ok(resource) => resource,
        Err(error) => {
            tracing::error!(resource = row.name, %error, "the resource is unreadable: apply it again");
            done.invalid = 1;
            return done;
        }
    };
    let times = (row.added_at, row.applied_at);
    match backup(dispatch, now, &resource, times.1, known, busy).await {
        Ok(outcome) => done += outcome.into(),
        Err(error) => {
            told("starting a backup", &resource.name, &error);
            done.failed += 1;
        }
    }
    match rpo::tell(dispatch, now, &resource, times.0).await {
        Ok(missed) => done.missed += u64::from(missed),
        Err(error) => {
            told("telling the RPO", &resource.name, &error);
            done.failed += 1;
        }
    }
    done
}

/// Starts a resource's newest backup that is due and not settled.
async fn backup(
    dispatch: &Dispatch,
    now: Timestamp,
    resource: &Resource,
    applied_at: Option<Timestamp>,
    known: Option<Known<ScheduleRow>>,
    busy: bool,
) -> Result<Outcome> {
    let (name, policy) = (&resource.name, &resource.policy);
    let told = |metric| dispatch.metrics.put(name, policy.tier.as_str(), &[count(metric, 1)]);
    let row = |after| ScheduleRow {
        schedule: policy.schedule.clone(),
        time_zone: policy.schedule.as_ref().and(policy.time_zone.clone()),
        after,
    };
    let Some(expression) = &policy.schedule else {
        // Where the same schedule comes back some day, the time without it is not made up for.
        if known.as_ref().is_some_and(|known| known.row.schedule.is_some()) {
            dispatch.jobs.put_schedule(name, &row(now), known.as_ref()).await?;
        }
        return Ok(Outcome::Nothing);
    };
    let schedule = match Schedule::parse(expression, policy.time_zone.as_deref()) {
        Ok(schedule) => schedule,
        Err(fault) => {
            tracing::error!(resource = name, field = fault.field, "{}; {}", fault.message, fault.hint);
            told("ScheduleInvalid");
            return Ok(Outcome::Invalid);
        }
    };
    let settled = known.as_ref().map(|known| known.row.after);
    let same = known.as_ref().is_some_and(|known| row(known.row.after) == known.row);
    // A schedule that is new to the dispatcher is not due for the time before it was applied.
    let after = if same { settled } else { applied_at.or(Some(now)).max(settled) };
    let after = after.unwrap_or(now);
    let mut upto = after;
    let mut outcome = Ok(Outcome::Nothing);
    if let Some(due) = schedule.newest(after, now) {
        if busy {
            tracing::warn!(resource = name, %due, "a backup is due and waits for the one that still runs");
            told("BackupsSkipped");
            outcome = Ok(Outcome::Skipped);
        } else {
            outcome = start(dispatch, resource, due).await;
            upto = if outcome.is_ok() { due } else { after };
        }
    }
    if !same || upto > after {
        // Where another dispatcher was faster its word stands; what it does not know of has its name, and starts once.
        dispatch.jobs.put_schedule(name, &row(upto), known.as_ref()).await?;
    }
    outcome
}

async fn start(dispatch: &Dispatch, resource: &Resource, due: Timestamp) -> Result<Outcome> {
    let name = backup_name(&resource.name, due);
    let input = handler::encode(&BackupInput { resource: resource.name.clone(), backup_type: None })?;
    match dispatch.start(&dispatch.machines.backup, &name, &input).await? {
        Started::Now => {
            tracing::info!(resource = resource.name, execution = name, "started a backup");
            Ok(Outcome::Started)
        }
        Started::Before => Ok(Outcome::Already),
    }
}
