//! What AWS Backup failed to do lately: for every resource under its protection, how its last backup and its last copies
//! ended.

use crate::aws::{Job, JobState, Protected, Recovery, backup_jobs, copy_jobs, protected};
use holdfast_vault::error::{Code, Error, Result};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Findings that a report lists; the number of all is in it too.
const LISTED: usize = 100;
/// Characters of a reason.
const LONGEST_REASON: usize = 300;
/// AWS Backup forgets jobs after about so many hours.
const MOST_HOURS: u32 = 30 * 24;

/// Asks for a report.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportEvent {
    /// Of how many hours, 24 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hours: Option<u32>,
    /// Until when, RFC 3339; now where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub now: Option<String>,
}

/// How the protection of a resource stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Standing {
    /// It was backed up.
    Completed,
    /// It is being backed up.
    Running,
    /// Some of it was backed up.
    Partial,
    /// The job failed.
    Failed,
    /// The job was not begun in time.
    Expired,
    /// Somebody ended the job.
    Aborted,
    /// There was no job.
    Missing,
}

impl Standing {
    const fn of(state: JobState) -> Self {
        match state {
            JobState::Completed => Self::Completed,
            JobState::Running => Self::Running,
            JobState::Partial => Self::Partial,
            JobState::Failed => Self::Failed,
            JobState::Expired => Self::Expired,
            JobState::Aborted => Self::Aborted,
        }
    }

    const fn is_finding(self) -> bool {
        !matches!(self, Self::Completed | Self::Running)
    }
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// The resource's ARN.
    pub resource: String,
    /// Its type, such as `DynamoDB`.
    pub resource_type: String,
    /// `backup`, or `copy to` and a vault.
    pub job: String,
    /// How it stands.
    pub status: Standing,
    /// Why.
    pub reason: String,
}

/// How everything stands that AWS Backup protects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// From when.
    pub from: Timestamp,
    /// Until when.
    pub to: Timestamp,
    /// Resources that were looked at.
    pub resources: usize,
    /// How many stand how, by their last backup.
    pub standings: BTreeMap<Standing, usize>,
    /// How many findings.
    pub findings: usize,
    /// The first of them.
    pub listed: Vec<Finding>,
    /// How many are not listed.
    pub left_off: usize,
}

/// Reports.
///
/// # Errors
/// `InvalidInput`, `Source*`.
pub async fn report(recovery: &Recovery, event: &ReportEvent) -> Result<Report> {
    let (from, to) = window(recovery, event)?;
    let protected = protected(recovery).await?;
    let within = |job: &Job| job.created.is_none_or(|created| created <= to);
    let mut backups = backup_jobs(recovery, from).await?;
    backups.retain(within);
    let mut copies = copy_jobs(recovery, from).await?;
    copies.retain(within);
    let mut report = Report {
        from,
        to,
        resources: 0,
        standings: BTreeMap::new(),
        findings: 0,
        listed: Vec::new(),
        left_off: 0,
    };
    let mut findings = Vec::new();
    for (resource, (resource_type, standing, reason)) in stand(protected, backups) {
        report.resources += 1;
        *report.standings.entry(standing).or_insert(0) += 1;
        if standing.is_finding() {
            let job = "backup".to_owned();
            findings.push(Finding { resource, resource_type, job, status: standing, reason });
        }
    }
    findings.extend(failed_copies(copies));
    findings.sort_by(|left, right| (&left.resource, &left.job).cmp(&(&right.resource, &right.job)));
    report.findings = findings.len();
    findings.truncate(LISTED);
    report.left_off = report.findings - findings.len();
    report.listed = findings;
    tracing::info!(resources = report.resources, findings = report.findings, "recovery points validated");
    Ok(report)
}

fn window(recovery: &Recovery, event: &ReportEvent) -> Result<(Timestamp, Timestamp)> {
    let wrong =
        |field: &str, why: String| Error::new(Code::InvalidInput, format!("{field} {why}")).object(field);
    let to = match &event.now {
        None => recovery.clock.now(),
        Some(now) => now.parse().map_err(|error| wrong("now", format!("{now:?} is no time: {error}")))?,
    };
    let hours = event.hours.unwrap_or(24);
    if !(1..=MOST_HOURS).contains(&hours) {
        return Err(wrong("hours", format!("is {hours}: give 1 to {MOST_HOURS}")));
    }
    let from = to.checked_sub(SignedDuration::from_hours(i64::from(hours)));
    Ok((from.map_err(|error| wrong("now", format!("is too early: {error}")))?, to))
}

/// How each resource stands by its last job that ended, or by one that runs.
fn stand(protected: Vec<Protected>, jobs: Vec<Job>) -> BTreeMap<String, (String, Standing, String)> {
    let mut latest: BTreeMap<String, Job> = BTreeMap::new();
    for job in jobs {
        match latest.get(&job.resource) {
            Some(known) if !follows(&job, known) => {}
            _ => {
                latest.insert(job.resource.clone(), job);
            }
        }
    }
    let mut all: BTreeMap<String, (String, Standing, String)> = latest
        .into_values()
        .map(|job| {
            let reason = reason(&job);
            (job.resource, (job.resource_type, Standing::of(job.state), reason))
        })
        .collect();
    for resource in protected {
        let last = match resource.last_backup {
            Some(time) => format!("no backup job; the last backup is of {time}"),
            None => "no backup job, and no backup is known".to_owned(),
        };
        all.entry(resource.resource).or_insert((resource.resource_type, Standing::Missing, last));
    }
    all
}

/// Whether a job says more of a resource than another one does.
fn follows(job: &Job, known: &Job) -> bool {
    let rank = |job: &Job| (job.state != JobState::Running, job.created);
    rank(job) > rank(known)
}

fn reason(job: &Job) -> String {
    let told = match &job.message {
        Some(message) if !message.is_empty() => message.as_str(),
        _ => "AWS Backup says no more",
    };
    told.chars().take(LONGEST_REASON).collect()
}

/// The last copy of each resource into each vault, where it came to nothing.
fn failed_copies(jobs: Vec<Job>) -> Vec<Finding> {
    let mut latest: BTreeMap<(String, String), Job> = BTreeMap::new();
    for job in jobs {
        let place = (job.resource.clone(), job.vault.clone());
        match latest.get(&place) {
            Some(known) if !follows(&job, known) => {}
            _ => {
                latest.insert(place, job);
            }
        }
    }
    latest
        .into_values()
        .filter(|job| Standing::of(job.state).is_finding())
        .map(|job| Finding {
            reason: reason(&job),
            status: Standing::of(job.state),
            job: format!("copy to {}", job.vault),
            resource: job.resource,
            resource_type: job.resource_type,
        })
        .collect()
}
