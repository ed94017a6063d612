//! Whether each resource is protected as its tier promises, from what job state notes.

mod judge;
#[cfg(test)]
mod tests;

pub use judge::{Broken, Drilled, Ended, Good, Promise, ResourceStatus, Seen, SeenVerified, judge};

use crate::capture::log;
use crate::config::Resource;
use crate::drill::{DrillDetail, has_place_on_a_stack};
use crate::plan::detail;
use crate::schedule::Schedule;
use holdfast_common::jobs::{Job, JobKind, JobStore, PruneRow, ResourceRow, Status};
use holdfast_vault::error::{Code, Error, Result};
use jiff::Timestamp;
use serde::Serialize;
use std::collections::HashMap;

/// Backups of a resource that are looked at, the newest ones.
const BACKUPS: usize = 200;
/// Rows that are asked for at a time.
const PAGE: u32 = 50;

/// What is promised of every resource, and what holds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StatusReport {
    /// When it was asked for.
    pub at: String,
    /// The resources, by name.
    pub resources: Vec<ResourceStatus>,
    /// The newest prune that was no dry run.
    pub last_prune: Option<LastPrune>,
    /// Whether nothing that was promised is broken.
    pub kept: bool,
}

/// A prune in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LastPrune {
    /// Its id.
    pub id: String,
    /// When it began.
    pub started_at: String,
    /// When it ended well.
    pub completed_at: Option<String>,
    /// Why it failed, by its code.
    pub error: Option<String>,
}

/// The status of all resources, or of the one of a name. `on_a_stack` tells where drills have their targets.
///
/// # Errors
/// `ResourceUnknown`, or what state gives.
pub async fn report(
    jobs: &JobStore,
    now: Timestamp,
    name: Option<&str>,
    on_a_stack: bool,
) -> Result<StatusReport> {
    let mut damaged: HashMap<String, u64> = HashMap::new();
    let mut pages = jobs.damaged();
    while let Some(page) = pages.next().await? {
        for row in page {
            *damaged.entry(row.resource).or_default() += 1;
        }
    }
    if let Some(name) = name {
        jobs.resource(name).await?;
    }
    let mut resources = Vec::new();
    let mut pages = jobs.resource_rows();
    while let Some(page) = pages.next().await? {
        for row in page.into_iter().filter(|row| name.is_none_or(|name| row.name == name)) {
            let broken_objects = damaged.remove(&row.name).unwrap_or(0);
            let seen = see(jobs, now, row, on_a_stack).await?;
            resources.push(judge(&Seen { damaged_objects: broken_objects, ..seen }, now));
        }
    }
    let kept = resources.iter().all(|resource| resource.broken.is_empty());
    Ok(StatusReport { at: exact(now), resources, last_prune: last_prune(jobs).await?, kept })
}

/// All that job state notes of a resource.
async fn see(jobs: &JobStore, now: Timestamp, row: ResourceRow, on_a_stack: bool) -> Result<Seen> {
    let ResourceRow { name, document, added_at, .. } = row;
    let resource: Resource = serde_json::from_value(document).map_err(|e| {
        Error::new(Code::Internal, format!("resource {name:?} is unreadable: {e}"))
            .object(&name)
            .hint("apply it again with `holdfast apply -f FILE`")
    })?;
    let policy = &resource.policy;
    let schedule =
        policy.schedule.as_ref().and_then(|text| Schedule::parse(text, policy.time_zone.as_deref()).ok());
    let mut seen = Seen {
        tier: policy.tier,
        drill_every: policy.drill_every(),
        drillable: !on_a_stack || has_place_on_a_stack(&resource.source),
        added_at,
        restorable_until: log::noted_until(jobs, &name).await?,
        next_run: schedule.and_then(|schedule| schedule.next(now)),
        ..Seen::of(&name)
    };
    see_backups(jobs, &name, &mut seen).await?;
    see_drills(jobs, &name, &mut seen).await?;
    Ok(seen)
}

async fn see_backups(jobs: &JobStore, name: &str, seen: &mut Seen) -> Result<()> {
    let mut pages = jobs.jobs(JobKind::Backup, Some(name)).page_size(PAGE);
    let mut looked_at = 0;
    let mut oldest = None;
    while let Some(page) = pages.next().await? {
        looked_at += page.len();
        for job in page {
            see_backup(&job, seen);
            if job.is_restorable() {
                oldest = job.completed_at.or(oldest);
            }
        }
        if looked_at >= BACKUPS {
            // Older ones are there: what was protected before them is told by the resource's own row.
            seen.protected_since = seen.added_at.or(oldest);
            return Ok(());
        }
    }
    seen.protected_since = oldest;
    Ok(())
}

/// Notes a backup; they come newest first.
fn see_backup(job: &Job, seen: &mut Seen) {
    if seen.last_ended.is_none() && matches!(job.status, Status::Completed | Status::Failed) {
        // Who asks by hand gives the execution the job's own id.
        let scheduled = job.execution.as_ref().is_some_and(|execution| *execution != job.id);
        seen.last_ended = Some(Ended { id: job.id.clone(), failed: job.status == Status::Failed, scheduled });
    }
    if !job.is_restorable() {
        return;
    }
    if let (None, Some(completed_at)) = (&seen.last_good, job.completed_at) {
        let warnings = job.warnings.len() as u64;
        seen.last_good = Some(Good { id: job.id.clone(), completed_at, warnings });
    }
    let Some(found) = &job.verified else { return };
    seen.damaged_backups += u64::from(!found.valid);
    if seen.verified.as_ref().is_none_or(|known| known.at < found.at) {
        let (backup, level) = (job.id.clone(), found.level.clone());
        seen.verified = Some(SeenVerified { backup, level, at: found.at, valid: found.valid });
    }
}

/// Notes the newest drill that ended by itself, and when the newest that completed did.
async fn see_drills(jobs: &JobStore, name: &str, seen: &mut Seen) -> Result<()> {
    let mut pages = jobs.jobs(JobKind::Drill, Some(name)).page_size(PAGE);
    while let Some(page) = pages.next().await? {
        for job in page {
            if !matches!(job.status, Status::Completed | Status::Failed) {
                continue;
            }
            let told = detail::<DrillDetail>(&job).ok();
            let completed = job.status == Status::Completed;
            if seen.last_drill.is_none() {
                seen.last_drill = Some(Drilled {
                    id: job.id.clone(),
                    at: job.completed_at.unwrap_or(job.created_at),
                    completed,
                    equal: completed && told.as_ref().is_some_and(DrillDetail::equal),
                    rto_ms: told.and_then(|told| told.rto_ms).filter(|_| completed),
                });
            }
            if completed {
                seen.drilled_at = job.completed_at;
                return Ok(());
            }
        }
    }
    Ok(())
}

async fn last_prune(jobs: &JobStore) -> Result<Option<LastPrune>> {
    let mut pages = jobs.prunes();
    while let Some(page) = pages.next().await? {
        if let Some(row) = page.into_iter().find(|row| !row.dry_run) {
            let PruneRow { id, started_at, completed_at, error, .. } = row;
            return Ok(Some(LastPrune {
                id,
                started_at: exact(started_at),
                completed_at: completed_at.map(exact),
                error: error.map(|error| error.code),
            }));
        }
    }
    Ok(None)
}

fn exact(time: Timestamp) -> String {
    format!("{time:.3}")
}
