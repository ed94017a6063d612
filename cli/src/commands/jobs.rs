//! What several commands say of jobs.

use crate::output::{exact, time};
use crate::place::Place;
use holdfast_common::jobs::{
    BackupType, Deletion, Hold, Job, JobError, JobKind, Status, StreamSummary, Verified,
};
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::model::Warning;
use holdfast_workflow::retention::NEVER;
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

/// What says how long one backup stays, as commands tell it to programs.
#[derive(Debug, Serialize)]
pub(super) struct Fate {
    hold: Option<Hold>,
    deletion: Option<Deletion>,
    expires_at: Option<String>,
    #[serde(skip)]
    never: bool,
}

impl Fate {
    pub(super) fn of(job: &Job) -> Self {
        Self {
            hold: job.hold.clone(),
            deletion: job.deletion.clone(),
            expires_at: job.expires_at.map(exact),
            never: job.expires_at.is_some_and(|at| at >= NEVER),
        }
    }

    /// In a word or two: `held`, `goes 2026-11-22T03:00:00Z`, `deleted`.
    pub(super) fn word(&self) -> String {
        match (&self.hold, &self.deletion, &self.expires_at) {
            (_, Some(Deletion { deleted_at: Some(_), .. }), _) => "deleted".to_owned(),
            (_, Some(deletion), _) => format!("goes {}", time(Some(deletion.due_at))),
            (Some(_), None, _) => "held".to_owned(),
            (None, None, Some(_)) if self.never => "never expires".to_owned(),
            (None, None, Some(at)) => format!("until {}", at.get(..10).unwrap_or(at)),
            (None, None, None) => "-".to_owned(),
        }
    }

    /// Line by line, for people.
    pub(super) fn write(&self, out: &mut String) -> fmt::Result {
        if let Some(hold) = &self.hold {
            writeln!(out, "  held      since {}: {}", time(Some(hold.at)), hold.reason)?;
        }
        match &self.deletion {
            Some(Deletion { deleted_at: Some(at), reason, .. }) => {
                writeln!(out, "  deleted   {}: {reason}", time(Some(*at)))?;
            }
            Some(Deletion { due_at, reason, .. }) => {
                writeln!(out, "  goes      {}: {reason}", time(Some(*due_at)))?;
            }
            None => {}
        }
        match &self.expires_at {
            Some(_) if self.never => writeln!(out, "  expires   never"),
            Some(at) => writeln!(out, "  expires   {at}"),
            None => Ok(()),
        }
    }
}

/// The id that an operator means: an id, or `latest:RESOURCE`.
pub(super) async fn backup_id(place: &Place, text: &str) -> Result<String> {
    let Some(resource) = text.strip_prefix(LATEST) else { return Ok(text.to_owned()) };
    let store = place.jobs();
    if let Some(job) = store.jobs(JobKind::Backup, Some(resource)).find(Job::is_restorable).await? {
        return Ok(job.id);
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
