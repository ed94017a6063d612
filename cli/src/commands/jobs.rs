//! What several commands say of jobs.

use crate::output::{exact, time};
use crate::place::Place;
use holdfast_common::jobs::{BackupType, Job, JobError, JobKind, Status, StreamSummary, Verified};
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::model::Warning;
use jiff::Timestamp;
use serde::Serialize;
use std::fmt::{self, Write as _};

/// What stands before a resource's name where its newest completed backup is meant.
const LATEST: &str = "latest:";

/// A backup as every command tells it to programs.
#[derive(Debug, Serialize)]
pub(super) struct BackupReport<'a> {
    id: &'a str,
    resource: &'a str,
    #[serde(rename = "type")]
    backup_type: BackupType,
    status: Status,
    streams: &'a [StreamSummary],
    records: u64,
    files: u64,
    bytes: u64,
    stored_bytes: u64,
    warnings: &'a [Warning],
    started_at: Option<String>,
    completed_at: Option<String>,
}

impl<'a> BackupReport<'a> {
    pub(super) fn new(job: &'a Job) -> Self {
        Self {
            id: &job.id,
            resource: &job.resource,
            backup_type: job.backup_type.unwrap_or_default(),
            status: job.status,
            streams: &job.streams,
            records: job.totals.records,
            files: job.totals.files,
            bytes: job.totals.bytes,
            stored_bytes: job.totals.stored_bytes,
            warnings: &job.warnings,
            started_at: job.started_at.map(exact),
            completed_at: job.completed_at.map(exact),
        }
    }
}

/// The id that an operator means: an id, or `latest:RESOURCE`.
pub(super) async fn backup_id(place: &Place, text: &str) -> Result<String> {
    let Some(resource) = text.strip_prefix(LATEST) else { return Ok(text.to_owned()) };
    let store = place.jobs();
    let mut pages = store.jobs(JobKind::Backup, Some(resource));
    while let Some(page) = pages.next().await? {
        if let Some(job) = page.into_iter().find(holdfast_common::jobs::Job::is_restorable) {
            return Ok(job.id);
        }
    }
    store.resource(resource).await?;
    Err(Error::new(Code::JobUnknown, format!("{resource} has no completed backup"))
        .object(resource)
        .hint(format!("make one with `holdfast backup {resource}`; see `holdfast backups {resource}`")))
}

/// How long a job took, or has taken by now.
pub(super) fn took(job: &Job, now: Timestamp) -> Option<jiff::SignedDuration> {
    let end = if job.status.is_terminal() { job.completed_at? } else { now };
    Some(end.duration_since(job.started_at?))
}

/// A verification in a word: `full`, or `DAMAGED`.
pub(super) fn verified(verified: Option<&Verified>) -> String {
    match verified {
        None => "-".to_owned(),
        Some(verified) if verified.valid => verified.level.clone(),
        Some(_) => "DAMAGED".to_owned(),
    }
}

/// A verification in a sentence.
pub(super) fn verification(found: &Verified) -> String {
    let at = time(Some(found.at));
    match (found.valid, found.errors) {
        (true, _) => format!("{}, valid, {at}", found.level),
        (false, 1) => format!("{}, DAMAGED: 1 error, {at}", found.level),
        (false, errors) => format!("{}, DAMAGED: {errors} errors, {at}", found.level),
    }
}

/// Lists warnings, each on a line.
pub(super) fn write_warnings(out: &mut String, warnings: &[Warning]) -> fmt::Result {
    warnings.iter().try_for_each(|warning| writeln!(out, "warning[{}]: {}", warning.code, warning.message))
}

/// Tells why a job or a task failed.
pub(super) fn write_error(out: &mut String, error: &JobError) -> fmt::Result {
    writeln!(out, "error[{}]: {}", error.code, error.message)?;
    error.hint.as_ref().map_or(Ok(()), |hint| writeln!(out, "  hint: {hint}"))
}
