//! The figures that the steps give: what began, what came of it, how long it took and how much it was.
//!
//! A figure of a job is given where its status changed, so that a repeat of the step gives none.

use crate::anomaly;
use crate::config::{Policy, Resource, Tier};
use crate::drill::DrillDetail;
use crate::plan::BackupDetail;
use crate::services::Services;
use holdfast_common::jobs::{Job, JobKind, JobStore};
use holdfast_common::telemetry::{Measure, Unit};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize as _;

/// How many.
#[must_use]
pub fn count(name: &str, value: u64) -> Measure<'_> {
    #[allow(clippy::cast_precision_loss, reason = "figures of this size are read by people")]
    Measure { name, unit: Unit::Count, value: value as f64 }
}

/// How many bytes.
#[must_use]
pub fn bytes(name: &str, value: u64) -> Measure<'_> {
    Measure { unit: Unit::Bytes, ..count(name, value) }
}

/// How long; never less than nothing, whatever clocks say.
#[must_use]
pub fn seconds(name: &str, value: SignedDuration) -> Measure<'_> {
    Measure { name, unit: Unit::Seconds, value: value.as_secs_f64().max(0.0) }
}

/// A backup began.
pub fn backup_started(services: &Services, job: &Job) {
    put(services, job, backup_tier(job), &[count("BackupsStarted", 1)]);
}

/// A backup completed.
pub fn backup_completed(services: &Services, job: &Job) {
    let totals = &job.totals;
    let odd = job.warnings.iter().filter(|told| anomaly::CODES.contains(&told.code.as_str())).count() as u64;
    let figures = [
        count("BackupsCompleted", 1),
        seconds("BackupDuration", took(job, job.started_at)),
        bytes("BackupBytes", totals.bytes),
        count("BackupRecords", totals.records + totals.files),
        bytes("StoredBytes", totals.stored_bytes),
        count("Anomalies", odd),
    ];
    put(services, job, backup_tier(job), &figures);
}

/// A restore completed.
pub async fn restore_completed(services: &Services, job: &Job) {
    let figures = [count("RestoresCompleted", 1), seconds("RtoSeconds", took(job, Some(job.created_at)))];
    put(services, job, configured_tier(&services.jobs, &job.resource).await, &figures);
}

/// A drill completed: how long the restore took, and whether it gave what was backed up.
pub async fn drill_completed(services: &Services, job: &Job, detail: &DrillDetail) {
    let rto = SignedDuration::from_millis(i64::try_from(detail.rto_ms.unwrap_or(0)).unwrap_or(i64::MAX));
    let figures = [
        count("DrillsCompleted", 1),
        count("DrillDiffers", u64::from(!detail.equal())),
        seconds("DrillRtoSeconds", rto),
    ];
    put(services, job, configured_tier(&services.jobs, &job.resource).await, &figures);
}

/// A job failed.
pub async fn job_failed(services: &Services, job: &Job) {
    let (name, tier) = match job.kind {
        JobKind::Backup => ("BackupsFailed", backup_tier(job)),
        JobKind::Restore => ("RestoresFailed", configured_tier(&services.jobs, &job.resource).await),
        JobKind::Drill => ("DrillsFailed", configured_tier(&services.jobs, &job.resource).await),
        JobKind::Undo => return,
    };
    put(services, job, tier, &[count(name, 1)]);
}

/// A backup was verified to the end, under the policy that its manifest keeps; none where that is unreadable.
pub async fn backup_verified(services: &Services, resource: &str, policy: Option<&Policy>, valid: bool) {
    let tier = match policy {
        Some(policy) => policy.tier,
        None => configured_tier(&services.jobs, resource).await,
    };
    services.metrics.put(resource, tier.as_str(), &[count("VerifyDamaged", u64::from(!valid))]);
}

fn put(services: &Services, job: &Job, tier: Tier, figures: &[Measure<'_>]) {
    services.metrics.put(&job.resource, tier.as_str(), figures);
}

fn took(job: &Job, from: Option<Timestamp>) -> SignedDuration {
    let span = from.zip(job.completed_at);
    span.map_or(SignedDuration::ZERO, |(from, to)| to.duration_since(from))
}

fn backup_tier(job: &Job) -> Tier {
    BackupDetail::deserialize(&job.detail).map_or_else(|_| Tier::default(), |of| of.resource.policy.tier)
}

/// The tier that a resource has now. A figure is not worth failing a job: where the tier cannot be had, it is the usual.
async fn configured_tier(jobs: &JobStore, resource: &str) -> Tier {
    let document = jobs.resource(resource).await.ok();
    let known = document.and_then(|document| serde_json::from_value::<Resource>(document).ok());
    known.map_or_else(Tier::default, |resource| resource.policy.tier)
}
