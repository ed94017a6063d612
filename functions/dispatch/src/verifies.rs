//! The daily verification: the newest completed backup of every resource.

use crate::{Dispatch, Tally, told};
use holdfast_common::jobs::{Job, JobKind};
use holdfast_vault::error::Result;
use holdfast_workflow::executions::{Started, verify_name};
use jiff::Timestamp;
use serde_json::json;

/// Starts the verification of the newest completed backup of every resource.
pub(super) async fn dispatch(dispatch: &Dispatch) -> Result<Tally> {
    let now = dispatch.clock.now();
    let mut done = Tally::default();
    let mut pages = dispatch.jobs.resources();
    while let Some(page) = pages.next().await? {
        let each: Vec<_> = page.into_iter().map(|(resource, _)| one(dispatch, now, resource)).collect();
        done.count(each).await;
    }
    tracing::info!(done.resources, done.started, done.skipped, done.failed, "verifications dispatched");
    Ok(done)
}

async fn one(dispatch: &Dispatch, now: Timestamp, resource: String) -> Result<Option<Started>, ()> {
    start(dispatch, now, &resource).await.map_err(|error| told("starting a verification", &resource, &error))
}

async fn start(dispatch: &Dispatch, now: Timestamp, resource: &str) -> Result<Option<Started>> {
    let backups = dispatch.jobs.jobs(JobKind::Backup, Some(resource)).page_size(8);
    let Some(backup) = backups.find(Job::is_restorable).await? else { return Ok(None) };
    let input = json!({ "verify": backup.id, "level": dispatch.verify_level.to_string() });
    dispatch.start(&dispatch.machines.verify, &verify_name(&backup.id, now), &input).await.map(Some)
}
