//! Drills: a backup is restored into a throw-away target, compared with its manifest, and the target goes again.
//!
//! The steps between are a restore's own, of a job that the plan makes. What was restored is read back through the
//! connector's source and held against the digests of the manifest; nothing that the restore said of itself counts.

mod compare;
mod digest;
mod end;
mod events;
mod model;
mod plan;

pub use end::{clear, worker};
pub use events::{DrillAnswer, DrillEvent, DrillInput, DrillPlanned, Drilled};
pub use model::{Chosen, Compared, DrillDetail, DrillReport, DrillRequest, LATEST, Progress, RANDOM, Tally};
pub use plan::would;

use crate::config::DrillEvery;
use crate::plan::{detail, not_running, value};
use crate::services::{Services, Step};
use holdfast_common::jobs::{Job, JobChange, JobKind, JobStore, Status};
use holdfast_connectors::{Ground, SourceSpec, ThrowAway};
use holdfast_vault::error::{Class, Code, Error, Result};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::path::PathBuf;

/// Carries out one step of a drill.
///
/// # Errors
/// `JobUnknown`, `JobState`, `Target*`, `Source*`, `Object*`, `Cancelled`, or what state and storage give.
#[must_use]
pub fn drill<'a>(services: &'a Services, event: &'a DrillEvent) -> Step<'a, Value> {
    Box::pin(async move {
        match event {
            DrillEvent::Plan { input, execution } => value(&plan::plan(services, input, execution).await?),
            DrillEvent::Compare(event) => value(&compare::compare(services, &event.job).await?),
            DrillEvent::Remove(event) => value(&end::remove(services, event).await?),
            DrillEvent::Finish(event) => value(&end::finish(services, event).await?),
        }
    })
}

/// Makes the job of a drill, pending, so that an execution can be started with its id alone. `directory` has room for
/// its target, where it is of this machine. May be repeated.
///
/// # Errors
/// `ResourceUnknown`, `JobState` if the id is that of a job of another kind, or what state gives.
pub async fn request(
    jobs: &JobStore,
    now: Timestamp,
    id: &str,
    request: &DrillRequest,
    directory: Option<PathBuf>,
) -> Result<Job> {
    jobs.resource(&request.resource).await?;
    let detail = DrillDetail::new(request.clone(), directory);
    let stored =
        jobs.create_job(&Job::new(id, JobKind::Drill, &request.resource, now, value(&detail)?)).await?;
    if stored.kind != JobKind::Drill {
        return Err(Error::new(Code::JobState, format!("job {id} is a {}", stored.kind)).object(id));
    }
    Ok(stored)
}

/// Ends the restore of a drill that was cancelled, so that it ends before its next step too. Other jobs have none.
///
/// # Errors
/// What state gives.
pub async fn cancel_restore(jobs: &JobStore, job: &Job) -> Result<()> {
    let restore = worker(job);
    if restore == job.id {
        return Ok(());
    }
    let from = [Status::Pending, Status::Running];
    match jobs.transition(&restore, &from, Status::Cancelled, JobChange::default()).await {
        // It has ended, or was not made yet.
        Err(error) if error.code.class() == Class::BadInput => Ok(()),
        other => other.map(|_| ()),
    }
}

/// How much earlier than its period a drill is due: the dispatcher comes once a day, and a drill begins after it.
const EARLY: SignedDuration = SignedDuration::from_hours(12);

/// Whether a resource is to be drilled now, where its last completed drill began then.
#[must_use]
pub fn is_due(every: DrillEvery, last: Option<Timestamp>, now: Timestamp) -> bool {
    let Some(period) = every.period() else { return false };
    last.is_none_or(|last| now.duration_since(last) >= period - EARLY)
}

/// Whether a stack has a place where a backup of this source could be restored to for trial.
#[must_use]
pub fn has_place_on_a_stack(source: &SourceSpec) -> bool {
    ThrowAway::of(source, &Ground::Bucket(String::new()), "any").is_ok()
}

/// A drill that is at work, what it keeps, and what it chose.
async fn running(services: &Services, id: &str) -> Result<(Job, DrillDetail, Chosen)> {
    let job = services.jobs.job(id).await?;
    if job.status != Status::Running {
        return Err(not_running(&job));
    }
    let detail: DrillDetail = detail(&job)?;
    let chosen = detail.chosen.clone();
    let chosen = chosen.ok_or_else(|| Error::new(Code::Internal, format!("drill {id} was not planned")))?;
    Ok((job, detail, chosen))
}
