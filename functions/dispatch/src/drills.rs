//! The drills that are due: of every resource whose last one is as long ago as its policy or its tier says.

use crate::{AT_ONCE, Dispatch, told};
use futures::StreamExt as _;
use futures::stream;
use holdfast_common::jobs::{Job, JobKind, Status};
use holdfast_vault::error::Result;
use holdfast_workflow::config::Resource;
use holdfast_workflow::drill::{self, DrillRequest};
use holdfast_workflow::executions::{Started, drill_name};
use holdfast_workflow::handler;
use jiff::Timestamp;
use serde::Serialize;

/// Jobs that are looked at for the last drill, and for a backup.
const PAGE: u32 = 16;

/// What was done, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Drills {
    /// Resources that there are.
    pub resources: u64,
    /// Drills that were started.
    pub started: u64,
    /// Resources whose drill was started before on this day.
    pub already: u64,
    /// Resources that are not due, or have no backup, or no place where a stack could restore them to.
    pub skipped: u64,
    /// Resources for which it failed.
    pub failed: u64,
}

/// Starts the drill of every resource that is due, each of a backup that chance chooses.
pub(super) async fn dispatch(dispatch: &Dispatch) -> Result<Drills> {
    let now = dispatch.clock.now();
    let mut done = Drills::default();
    let mut pages = dispatch.jobs.resource_rows();
    while let Some(page) = pages.next().await? {
        let each: Vec<_> = page.into_iter().map(|row| one(dispatch, now, row.name, row.document)).collect();
        let mut outcomes = stream::iter(each).buffer_unordered(AT_ONCE);
        while let Some(outcome) = outcomes.next().await {
            done.resources += 1;
            match outcome {
                Ok(Some(Started::Now)) => done.started += 1,
                Ok(Some(Started::Before)) => done.already += 1,
                Ok(None) => done.skipped += 1,
                Err(()) => done.failed += 1,
            }
        }
    }
    tracing::info!(done.resources, done.started, done.skipped, done.failed, "drills dispatched");
    Ok(done)
}

async fn one(
    dispatch: &Dispatch,
    now: Timestamp,
    name: String,
    document: serde_json::Value,
) -> Result<Option<Started>, ()> {
    let started = async {
        let resource: Resource = handler::decode(document)?;
        start(dispatch, now, &resource).await
    };
    started.await.map_err(|error| told("starting a drill", &name, &error))
}

async fn start(dispatch: &Dispatch, now: Timestamp, resource: &Resource) -> Result<Option<Started>> {
    let name = &resource.name;
    if !drill::has_place_on_a_stack(&resource.source) {
        return Ok(None);
    }
    // One that was started on this day is told by its name; one that is still at work is waited for.
    let open = newest(dispatch, JobKind::Drill, name, |job| !job.status.is_terminal()).await?;
    let last = newest(dispatch, JobKind::Drill, name, |job| job.status == Status::Completed).await?;
    let due = drill::is_due(resource.policy.drill_every(), last.map(|job| job.created_at), now);
    if open.is_some()
        || !due
        || newest(dispatch, JobKind::Backup, name, Job::can_be_built_on).await?.is_none()
    {
        return Ok(None);
    }
    let input = handler::encode(&DrillRequest::random(name.as_str()))?;
    dispatch.start(&dispatch.machines.drill, &drill_name(name, now), &input).await.map(Some)
}

/// The newest job of a kind that is as is asked for.
async fn newest(
    dispatch: &Dispatch,
    kind: JobKind,
    resource: &str,
    wanted: impl Fn(&Job) -> bool,
) -> Result<Option<Job>> {
    let mut pages = dispatch.jobs.jobs(kind, Some(resource)).page_size(PAGE);
    while let Some(page) = pages.next().await? {
        if let Some(found) = page.into_iter().find(&wanted) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}
