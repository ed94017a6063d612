//! What AWS Backup did lately.

use super::clients::Recovery;
use super::fault::Side;
use super::table::timestamp;
use aws_sdk_backup::types::{BackupJobState, CopyJobState};
use aws_smithy_types::DateTime;
use holdfast_vault::error::Result;
use jiff::Timestamp;

/// How a job of AWS Backup stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum JobState {
    Running,
    Completed,
    Partial,
    Failed,
    Expired,
    Aborted,
}

/// A backup job or a copy job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Job {
    pub resource: String,
    pub resource_type: String,
    /// The vault that it writes.
    pub vault: String,
    pub created: Option<Timestamp>,
    pub state: JobState,
    pub message: Option<String>,
}

/// A resource of which AWS Backup holds recovery points.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Protected {
    pub resource: String,
    pub resource_type: String,
    pub last_backup: Option<Timestamp>,
}

/// Everything that AWS Backup protects.
///
/// # Errors
/// `Source*`.
pub(crate) async fn protected(recovery: &Recovery) -> Result<Vec<Protected>> {
    let mut pages = recovery.backup.list_protected_resources().into_paginator().send();
    let mut all = Vec::new();
    while let Some(page) = pages.next().await {
        let page =
            page.map_err(|error| Side::Source.fault("list the protected resources", "AWS Backup", &error))?;
        all.extend(page.results.unwrap_or_default().into_iter().filter_map(|resource| {
            Some(Protected {
                resource: resource.resource_arn?,
                resource_type: resource.resource_type.unwrap_or_default(),
                last_backup: resource.last_backup_time.as_ref().and_then(timestamp),
            })
        }));
    }
    Ok(all)
}

/// The backup jobs that were made since. Parts of a larger job are told by that.
///
/// # Errors
/// `Source*`.
pub(crate) async fn backup_jobs(recovery: &Recovery, since: Timestamp) -> Result<Vec<Job>> {
    let since = DateTime::from_secs(since.as_second());
    let mut pages = recovery.backup.list_backup_jobs().by_created_after(since).into_paginator().send();
    let mut all = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| Side::Source.fault("list the backup jobs", "AWS Backup", &error))?;
        let whole =
            page.backup_jobs.unwrap_or_default().into_iter().filter(|job| job.parent_job_id.is_none());
        all.extend(whole.filter_map(|job| {
            Some(Job {
                resource: job.resource_arn?,
                resource_type: job.resource_type.unwrap_or_default(),
                vault: job.backup_vault_name.unwrap_or_default(),
                created: job.creation_date.as_ref().and_then(timestamp),
                state: job.state.map_or(JobState::Running, |state| backup_state(&state)),
                message: job.status_message,
            })
        }));
    }
    Ok(all)
}

/// The copy jobs that were made since.
///
/// # Errors
/// `Source*`.
pub(crate) async fn copy_jobs(recovery: &Recovery, since: Timestamp) -> Result<Vec<Job>> {
    let since = DateTime::from_secs(since.as_second());
    let mut pages = recovery.backup.list_copy_jobs().by_created_after(since).into_paginator().send();
    let mut all = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| Side::Source.fault("list the copy jobs", "AWS Backup", &error))?;
        let whole = page.copy_jobs.unwrap_or_default().into_iter().filter(|job| job.parent_job_id.is_none());
        all.extend(whole.filter_map(|job| {
            Some(Job {
                resource: job.resource_arn?,
                resource_type: job.resource_type.unwrap_or_default(),
                vault: job.destination_backup_vault_arn.unwrap_or_default(),
                created: job.creation_date.as_ref().and_then(timestamp),
                state: job.state.map_or(JobState::Running, |state| copy_state(&state)),
                message: job.status_message,
            })
        }));
    }
    Ok(all)
}

fn backup_state(state: &BackupJobState) -> JobState {
    match state {
        BackupJobState::Completed => JobState::Completed,
        BackupJobState::Partial => JobState::Partial,
        BackupJobState::Expired => JobState::Expired,
        BackupJobState::Aborted | BackupJobState::Aborting => JobState::Aborted,
        BackupJobState::Created | BackupJobState::Pending | BackupJobState::Running => JobState::Running,
        // A state that nobody knows yet is looked at by a person.
        _ => JobState::Failed,
    }
}

fn copy_state(state: &CopyJobState) -> JobState {
    match state {
        CopyJobState::Completed => JobState::Completed,
        CopyJobState::Partial => JobState::Partial,
        CopyJobState::Created | CopyJobState::Running => JobState::Running,
        _ => JobState::Failed,
    }
}
