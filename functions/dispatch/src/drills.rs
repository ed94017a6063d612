//! The drills that are due: of every resource whose last one is as long ago as its policy or its tier says.

use crate::{Dispatch, Tally, told};
use holdfast_common::jobs::{Job, JobKind, Status};
use holdfast_vault::error::Result;
use holdfast_workflow::config::Resource;
use holdfast_workflow::drill::{self, DrillRequest};
use holdfast_workflow::executions::{Started, drill_name};
use holdfast_workflow::handler;
use jiff::Timestamp;

/// Jobs that are looked at for the last drill, and for a backup.
const PAGE: u32 = 16;

/// Starts the drill of every resource that is due, each of a backup that chance chooses.
pub(super) async fn dispatch(dispatch: &Dispatch) -> Result<Tally> {
    let now = dispatch.clock.now();
    let mut done = Tally::default();
    let mut pages = dispatch.jobs.resource_rows();
    while let Some(page) = pages.next().await? {
        let each: Vec<_> = page.into_iter().map(|row| one(dispatch, now, row.name, row.document)).collect();
        done.count(each).await;
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
    let jobs = |kind| dispatch.jobs.jobs(kind, Some(name)).page_size(PAGE);
    // One that was started on this day is told by its name; one that is still at work is waited for.
    let open = jobs(JobKind::Drill).find(|job| !job.status.is_terminal()).await?;
    let last = jobs(JobKind::Drill).find(|job| job.status == Status::Completed).await?;
    let due = drill::is_due(resource.policy.drill_every(), last.map(|job| job.created_at), now);
    if open.is_some() || !due || jobs(JobKind::Backup).find(Job::can_be_built_on).await?.is_none() {
        return Ok(None);
    }
    let input = handler::encode(&DrillRequest::random(name.as_str()))?;
    dispatch.start(&dispatch.machines.drill, &drill_name(name, now), &input).await.map(Some)
}
