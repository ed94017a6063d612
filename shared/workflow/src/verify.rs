//! Verifies a backup: quick, full, or a sample.

use crate::config::VerifyAfter;
use crate::events::{VerifyAnswer, VerifyEvent, VerifyProgress};
use crate::metrics;
use crate::services::Services;
use futures::{StreamExt, TryStreamExt, stream};
use holdfast_common::jobs::{JobChange, Verified};
use holdfast_connectors::KeyFinder;
use holdfast_vault::error::{Class, Code, Error, Result};
use holdfast_vault::format::manifest::{Manifest, StreamManifest, manifest_key};
use holdfast_vault::model::StreamKind;
use holdfast_vault::read::verify::{self, Depth, Finding, Findings};
use holdfast_vault::read::{RecordKeys, tree_layers};
use holdfast_vault::storage::ByteRange;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Findings that an answer names; further ones are counted as one more.
const NAMED: usize = 100;

/// How thorough a verification is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Level {
    /// Every object is there and has its size; the manifest and all footers open and add up.
    Quick,
    /// Every byte of every object.
    Full,
    /// Quick, and every byte of this percentage of the objects.
    Sample(f64),
}

impl FromStr for Level {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let percent = |text: &str| text.parse::<f64>().ok().filter(|p| *p > 0.0 && *p <= 100.0);
        match text {
            "quick" => Ok(Self::Quick),
            "full" => Ok(Self::Full),
            _ => text.strip_prefix("sample=").and_then(percent).map(Self::Sample).ok_or_else(|| {
                Error::new(Code::InvalidInput, format!("{text:?} is no level of verification"))
                    .object("--level")
                    .hint("use quick, full or sample=PERCENT, with more than 0 and at most 100")
            }),
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quick => f.write_str("quick"),
            Self::Full => f.write_str("full"),
            Self::Sample(percent) => write!(f, "sample={percent}"),
        }
    }
}

impl Level {
    /// How deep an object of a backup is looked at. Which objects a sample takes follows from their ids and the
    /// sample's seed, so that a repeat takes the same and another day others.
    fn depth(self, object: [u8; 16], seed: u64) -> Depth {
        match self {
            Self::Quick => Depth::Quick,
            Self::Full => Depth::Full,
            Self::Sample(percent) => {
                let mut first = [0_u8; 8];
                first.copy_from_slice(&object[..8]);
                let place = (u64::from_le_bytes(first) ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)) % 10_000;
                #[allow(clippy::cast_precision_loss)]
                if (place as f64) < percent * 100.0 { Depth::Full } else { Depth::Quick }
            }
        }
    }
}

/// Checks a backup, as much of it as one call reads; the last answer is recorded with the backup.
///
/// # Errors
/// `JobUnknown`, `InvalidInput`, or `Storage*` where it could not look. Damage is in the answer.
pub async fn verify(services: &Services, event: &VerifyEvent) -> Result<VerifyAnswer> {
    event.level.as_deref().map(Level::from_str).transpose()?;
    let manifest = match services.vault.manifest(&event.job).await {
        Ok(manifest) => Arc::new(manifest),
        Err(error) if error.code.class() == Class::Damage => return unreadable(services, event, error).await,
        Err(error) => return Err(error),
    };
    let Some(level) = level(event, &manifest)? else {
        let progress = VerifyProgress { next_object: 0, findings: Findings::clean() };
        return Ok(answer(event, "none".to_owned(), false, progress));
    };
    let (first, mut findings) = match &event.progress {
        Some(progress) => (progress.next_object, progress.findings.clone()),
        None => (0, verify::totals(&services.vault, &manifest).await?),
    };
    let next = next_object(services, &manifest, first);
    // A day's sample is another day's by its seed; within one verification it stays, since the manifest's does.
    let seed = services.clock.now().as_second().unsigned_abs() / 86_400;
    let checks = (first..next).map(|at| {
        let (vault, manifest) = (services.vault.clone(), manifest.clone());
        let depth = manifest.objects.get(at as usize).map_or(Depth::Quick, |o| level.depth(o.id.0, seed));
        tokio::spawn(async move { verify::object(&vault, &manifest, at, depth).await })
    });
    let checked: Vec<Findings> = stream::iter(checks)
        .buffered(services.limits.objects_at_once.min(parallelism()))
        .map(|joined| joined.map_err(|e| Error::new(Code::Internal, format!("a check ended early: {e}")))?)
        .try_collect()
        .await?;
    for more in checked {
        merge(&mut findings, more);
    }
    let more = (next as usize) < manifest.objects.len();
    if !more && level == Level::Full && findings.valid() {
        merged(services, &manifest, &mut findings).await?;
    }
    let answer = answer(event, level.to_string(), more, VerifyProgress { next_object: next, findings });
    if !more {
        record(services, &answer).await?;
        let policy = serde_json::from_value(manifest.policy.clone()).ok();
        metrics::backup_verified(services, &manifest.resource, policy.as_ref(), answer.valid).await;
    }
    Ok(answer)
}

/// Whether the layers of each stream merge to what the manifest says of it.
async fn merged(services: &Services, manifest: &Arc<Manifest>, findings: &mut Findings) -> Result<()> {
    for stream in manifest.streams.iter().filter(|stream| stream.layers.len() > 1) {
        match merges(services, manifest, stream).await {
            Err(error) if error.code.class() == Class::Damage => {
                findings.data_integrity = false;
                findings.errors.push(Finding {
                    object: error.object.unwrap_or_default(),
                    code: error.code.to_string(),
                    message: error.message,
                });
            }
            other => other?,
        }
    }
    Ok(())
}

async fn merges(services: &Services, manifest: &Arc<Manifest>, stream: &StreamManifest) -> Result<()> {
    if stream.info.shape == StreamKind::Tree {
        return tree_layers::check(&services.vault, manifest, stream).await;
    }
    let finder = KeyFinder::new(&stream.info)?;
    let key_of = |value: &[u8]| finder.key(value);
    let hasher = services.vault.keys().key_hasher(manifest.name_key_version)?;
    let keys = RecordKeys::new(hasher, &key_of);
    holdfast_vault::read::merged::check(&services.vault, manifest, stream, &keys).await
}

fn parallelism() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

fn level(event: &VerifyEvent, manifest: &Manifest) -> Result<Option<Level>> {
    if let Some(level) = &event.level {
        return level.parse().map(Some);
    }
    let policy: crate::config::Policy = serde_json::from_value(manifest.policy.clone()).unwrap_or_default();
    Ok(match policy.verify {
        VerifyAfter::None => None,
        VerifyAfter::Quick => Some(Level::Quick),
        VerifyAfter::Full => Some(Level::Full),
    })
}

fn next_object(services: &Services, manifest: &Manifest, first: u32) -> u32 {
    let (mut next, mut bytes) = (first, 0);
    for object in manifest.objects.iter().skip(first as usize) {
        next += 1;
        bytes += object.size;
        if bytes >= services.limits.verify_bytes {
            break;
        }
    }
    next
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
    if error.code == Code::ObjectMissing {
        // Without a manifest there is a backup to verify only if the catalogue says that it was completed.
        let job = services.jobs.job(&event.job).await?;
        if job.status != holdfast_common::jobs::Status::Completed {
            return Err(Error::new(Code::JobState, format!("backup {} is {}", job.id, job.status))
                .object(job.id)
                .hint("only a completed backup can be verified"));
        }
    }
    let bytes = services.vault.storage().get(&key, ByteRange::All).await.map_or(0, |b| b.len() as u64);
    let findings = Findings {
        errors: vec![Finding { object: key, code: error.code.to_string(), message: error.message }],
        bytes_checked: bytes,
        ..Findings::default()
    };
    let level = event.level.clone().unwrap_or_else(|| Level::Quick.to_string());
    let answer = answer(event, level, false, VerifyProgress { next_object: 0, findings });
    record(services, &answer).await?;
    if let Ok(job) = services.jobs.job(&event.job).await {
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
