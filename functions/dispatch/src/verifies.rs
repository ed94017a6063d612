//! The daily verification: the newest completed backup of every resource.

use crate::{AT_ONCE, Dispatch, told};
use futures::StreamExt as _;
use futures::stream;
use holdfast_common::jobs::{Job, JobKind};
use holdfast_vault::error::Result;
use holdfast_workflow::executions::{Started, verify_name};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

/// What was done, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Verifies {
    /// Resources that there are.
    pub resources: u64,
    /// Verifications that were started.
    pub started: u64,
    /// Backups whose verification was started before on this day.
    pub already: u64,
    /// Resources without a completed backup.
    pub skipped: u64,
    /// Resources for which it failed.
    pub failed: u64,
}

/// Starts the verification of the newest completed backup of every resource.
pub(super) async fn dispatch(dispatch: &Dispatch) -> Result<Verifies> {
    let now = dispatch.clock.now();
    let mut done = Verifies::default();
    let mut pages = dispatch.jobs.resources();
    while let Some(page) = pages.next().await? {
        let each: Vec<_> = page.into_iter().map(|(resource, _)| one(dispatch, now, resource)).collect();
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
    tracing::info!(done.resources, done.started, done.skipped, done.failed, "verifications dispatched");
    Ok(done)
}

async fn one(dispatch: &Dispatch, now: Timestamp, resource: String) -> Result<Option<Started>, ()> {
    start(dispatch, now, &resource).await.map_err(|error| told("starting a verification", &resource, &error))
}

async fn start(dispatch: &Dispatch, now: Timestamp, resource: &str) -> Result<Option<Started>> {
    let Some(backup) = newest(dispatch, resource).await? else { return Ok(None) };
    let input = json!({ "verify": backup.id, "level": dispatch.verify_level.to_string() });
    dispatch.start(&dispatch.machines.verify, &verify_name(&backup.id, now), &input).await.map(Some)
}

async fn newest(dispatch: &Dispatch, resource: &str) -> Result<Option<Job>> {
    let mut pages = dispatch.jobs.jobs(JobKind::Backup, Some(resource)).page_size(8);
    while let Some(page) = pages.next().await? {
        if let Some(completed) = page.into_iter().find(holdfast_common::jobs::Job::is_restorable) {
            return Ok(Some(completed));
        }
    }
    Ok(None)
}
