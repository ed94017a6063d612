//! Verifies a backup: quick, chain, a sample, or full.

mod level;
mod quarantine;
mod sample;
mod stages;

pub use level::Level;
pub use sample::Part;
pub use stages::Stage;

use crate::config::{Policy, VerifyAfter};
use crate::events::{VerifyAnswer, VerifyEvent, VerifyProgress};
use crate::metrics;
use crate::services::{Services, Step};
use holdfast_common::jobs::{JobChange, Verified};
use holdfast_vault::error::{Class, Code, Error, Result};
use holdfast_vault::format::manifest::{Manifest, manifest_key};
use holdfast_vault::read::verify::Findings;
use holdfast_vault::storage::ByteRange;
use quarantine::Finder;
use stages::{Budget, Verification};
use std::str::FromStr;
use std::sync::Arc;

/// Findings that an answer names; further ones are counted as one more.
const NAMED: usize = 100;
/// The level of damage that every level finds: a manifest that does not open.
const MANIFEST_LEVEL: &str = "quick";

/// Checks a backup, as much of it as one call reads; the last answer is recorded with the backup.
///
/// What is damaged is put into quarantine, and the other backups that need it are marked; what was in quarantine and is
/// whole again leaves it.
///
/// # Errors
/// `JobUnknown`, `InvalidInput`, or `Storage*` where it could not look. Damage is in the answer.
#[must_use]
pub fn verify<'a>(services: &'a Services, event: &'a VerifyEvent) -> Step<'a, VerifyAnswer> {
    Box::pin(async move {
        event.level.as_deref().map(Level::from_str).transpose()?;
        let manifest = match services.vault.manifest(&event.job).await {
            Ok(manifest) => Arc::new(manifest),
            Err(error) if error.code.class() == Class::Damage => {
                return unreadable(services, event, error).await;
            }
            Err(error) => return Err(error),
        };
        let Some(level) = level(event, &manifest)? else {
            let progress =
                VerifyProgress { stage: Stage::default(), sample: None, findings: Findings::clean() };
            return Ok(answer(event, "none".to_owned(), false, progress));
        };
        let mut progress = match event.progress.clone() {
            Some(progress) => progress,
            None => begin(services, &manifest, level).await?,
        };
        let quarantined = quarantine::known(services).await?;
        let verification =
            Verification { services, manifest: manifest.clone(), level, part: progress.sample, quarantined };
        if event.progress.is_none() {
            verification.foundations(&mut progress.findings).await?;
        }
        let mut budget = Budget::new(services.limits.verify_bytes);
        let next = loop {
            match verification.step(progress.stage, &mut budget, &mut progress.findings).await? {
                Some(next) if !budget.is_spent() => progress.stage = next,
                next => break next,
            }
        };
        let more = next.is_some();
        let sample = progress.sample;
        let progress = VerifyProgress { stage: next.unwrap_or_default(), ..progress };
        let answer = answer(event, level.to_string(), more, progress);
        if !more {
            if let Some(part) = sample {
                services.jobs.end_sample(&manifest.resource, part.from(), part.next()).await?;
            }
            end(services, &manifest, level, &answer).await?;
        }
        Ok(answer)
    })
}

/// Where a verification begins. A sample's part stays the same to its end, whoever else verifies meanwhile.
async fn begin(services: &Services, manifest: &Manifest, level: Level) -> Result<VerifyProgress> {
    let sample = match level {
        Level::Sample(percent) => {
            Some(Part::new(services.jobs.sample_start(&manifest.resource).await?, percent))
        }
        Level::Quick | Level::Chain | Level::Full => None,
    };
    Ok(VerifyProgress { stage: Stage::first(level), sample, findings: Findings::clean() })
}

/// Records what was found.
async fn end(services: &Services, manifest: &Manifest, level: Level, answer: &VerifyAnswer) -> Result<()> {
    if answer.valid {
        let key = manifest_key(&manifest.id);
        let row = services.jobs.damaged_object(&key).await?;
        if row.is_some_and(|row| row.level == MANIFEST_LEVEL || level == Level::Full) {
            services.jobs.clear_damaged(&key).await?;
        }
    }
    record(services, answer).await?;
    let policy = serde_json::from_value(manifest.policy.clone()).ok();
    metrics::backup_verified(services, &manifest.resource, policy.as_ref(), answer.valid).await;
    Ok(())
}

fn parallelism() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

fn level(event: &VerifyEvent, manifest: &Manifest) -> Result<Option<Level>> {
    if let Some(level) = &event.level {
        return level.parse().map(Some);
    }
    let policy: Policy = serde_json::from_value(manifest.policy.clone()).unwrap_or_default();
    Ok(match policy.verify {
        VerifyAfter::None => None,
        VerifyAfter::Quick => Some(Level::Quick),
        VerifyAfter::Chain => Some(Level::Chain),
        VerifyAfter::Full => Some(Level::Full),
    })
}

/// Adds findings, naming only so many objects: an answer must fit an event.
fn merge(findings: &mut Findings, more: Findings) {
    let damaged_objects = |f: &Findings| f.errors.iter().map(|e| e.object.clone()).collect::<Vec<_>>();
    let known = damaged_objects(findings);
    let more =
        Findings { errors: more.errors.into_iter().filter(|e| !known.contains(&e.object)).collect(), ..more };
    findings.merge(more);
    findings.errors.truncate(NAMED);
}

fn answer(event: &VerifyEvent, level: String, more: bool, progress: VerifyProgress) -> VerifyAnswer {
    VerifyAnswer { job: event.job.clone(), level, more, valid: progress.findings.valid(), progress }
}

async fn unreadable(services: &Services, event: &VerifyEvent, error: Error) -> Result<VerifyAnswer> {
    let key = manifest_key(&event.job);
    let job = services.jobs.job(&event.job).await;
    if error.code == Code::ObjectMissing {
        // Without a manifest there is a backup to verify only if the catalogue says that it was completed.
        let job = job.as_ref().map_err(Clone::clone)?;
        if !job.is_restorable() {
            let is = if job.deletion.is_some() { "deleted" } else { job.status.as_str() };
            return Err(Error::new(Code::JobState, format!("backup {} is {is}", job.id))
                .object(&job.id)
                .hint("only a completed backup can be verified"));
        }
    }
    let bytes = services.vault.storage().get(&key, ByteRange::All).await.map_or(0, |b| b.len() as u64);
    let findings = Findings {
        errors: vec![stages::unreadable(&event.job, error)],
        bytes_checked: bytes,
        ..Findings::default()
    };
    let resource = job.as_ref().map_or("", |job| job.resource.as_str());
    let finder = Finder { services, backup: &event.job, resource, level: MANIFEST_LEVEL };
    finder.note(&findings.errors, None).await?;
    let level = event.level.clone().unwrap_or_else(|| Level::Quick.to_string());
    let progress = VerifyProgress { stage: Stage::default(), sample: None, findings };
    let answer = answer(event, level, false, progress);
    record(services, &answer).await?;
    if let Ok(job) = job {
        metrics::backup_verified(services, &job.resource, None, answer.valid).await;
    }
    Ok(answer)
}

async fn record(services: &Services, answer: &VerifyAnswer) -> Result<()> {
    let verified = Verified {
        level: answer.level.clone(),
        at: services.clock.now(),
        valid: answer.valid,
        errors: answer.progress.findings.errors.len() as u64,
        warnings: 0,
    };
    let change = JobChange { verified: Some(verified), ..JobChange::default() };
    match services.jobs.update_job(&answer.job, change).await {
        // A copied vault may be verified before its catalogue is rebuilt.
        Err(error) if error.code == Code::JobUnknown => Ok(()),
        other => other.map(|_| ()),
    }
}
