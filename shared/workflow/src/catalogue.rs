//! The catalogue and the index, made again from the vault alone.

use crate::anomaly::Written;
use crate::capture;
use crate::commit::{summaries, totals};
use crate::config::{Policy, Resource};
use crate::plan::{BackupDetail, value};
use crate::services::{Services, Step};
use holdfast_common::jobs::{BackupType, Job, JobKind, Status, StatusChange};
use holdfast_vault::error::{Class, Code, Error, Result};
use holdfast_vault::format::manifest::Manifest;
use holdfast_vault::read::verify::Finding;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a rebuild found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rebuilt {
    /// Backups now in the catalogue.
    pub backups: u64,
    /// Resources now known.
    pub resources: u64,
    /// Manifests that could not be opened.
    pub errors: Vec<Finding>,
}

/// Writes the catalogue anew: a job for every backup in the vault, and each resource as its newest backup describes it
/// unless it is configured already.
///
/// # Errors
/// What state and storage give. A damaged manifest is in the answer, and does not keep the others out.
#[must_use]
pub fn rebuild(services: &Services) -> Step<'_, Rebuilt> {
    Box::pin(async move {
        let mut rebuilt = Rebuilt::default();
        let mut resources: BTreeMap<String, Resource> = BTreeMap::new();
        for id in services.vault.backups().await? {
            let manifest = match services.vault.manifest(&id).await {
                Ok(manifest) => manifest,
                Err(error) if error.code.class() == Class::Damage => {
                    rebuilt.errors.push(Finding {
                        object: error.object.unwrap_or_default(),
                        code: error.code.to_string(),
                        message: error.message,
                    });
                    continue;
                }
                Err(error) => return Err(error),
            };
            let resource = resource(&manifest)?;
            enter(services, &job(&manifest, &resource)?).await?;
            rebuilt.backups += 1;
            // Ids sort by time, so the newest backup's word stands.
            resources.insert(resource.name.clone(), resource);
        }
        for (name, resource) in resources {
            match services.jobs.resource(&name).await {
                Ok(_) => {}
                Err(error) if error.code == Code::ResourceUnknown => {
                    services.jobs.put_resource(&name, &value(&resource)?).await?;
                }
                Err(error) => return Err(error),
            }
            rebuilt.resources += 1;
        }
        rebuilt.errors.extend(capture::rebuild(services).await?);
        Ok(rebuilt)
    })
}

/// Stores a backup's entry. What was verified, and what was said of how long it stays, is no part of the vault: where the
/// catalogue still knows it, it stays.
async fn enter(services: &Services, found: &Job) -> Result<()> {
    let entered = services.jobs.change_job(&found.id, |known| {
        let entry = Job {
            verified: known.verified.take(),
            hold: known.hold.take(),
            deletion: known.deletion.take(),
            expires_at: known.expires_at,
            ..found.clone()
        };
        *known = entry;
        Ok(true)
    });
    match entered.await {
        Ok(_) => Ok(()),
        // There is no row, or none that can be read.
        Err(error) if matches!(error.code, Code::JobUnknown | Code::Internal) => {
            services.jobs.put_catalogue(found).await
        }
        Err(error) => Err(error),
    }
}

fn resource(manifest: &Manifest) -> Result<Resource> {
    let unreadable =
        |e| Error::new(Code::Internal, format!("backup {} names a source that is unknown: {e}", manifest.id));
    let policy: Policy = serde_json::from_value(manifest.policy.clone()).unwrap_or_default();
    let source = serde_json::from_value(manifest.source.clone()).map_err(unreadable)?;
    Ok(Resource { name: manifest.resource.clone(), source, policy })
}

fn job(manifest: &Manifest, resource: &Resource) -> Result<Job> {
    let time = |text: &str| {
        text.parse::<Timestamp>().map_err(|e| {
            Error::new(Code::Internal, format!("backup {} has no readable time: {e}", manifest.id))
        })
    };
    let (started, completed) = (time(&manifest.started_at)?, time(&manifest.completed_at)?);
    let mut detail = BackupDetail::new(resource.clone());
    detail.streams = manifest.streams.iter().map(|stream| stream.info.clone()).collect();
    detail.base.clone_from(&manifest.base);
    detail.written = Some(Written::of(manifest));
    let mut job = Job::new(&manifest.id, JobKind::Backup, &manifest.resource, started, value(&detail)?);
    job.backup_type = BackupType::deserialize(serde_json::Value::String(manifest.backup_type.clone())).ok();
    job.status = Status::Completed;
    job.history = vec![
        StatusChange { status: Status::Running, at: started },
        StatusChange { status: Status::Completed, at: completed },
    ];
    job.started_at = Some(started);
    job.completed_at = Some(completed);
    job.warnings.clone_from(&manifest.warnings);
    job.totals = totals(manifest);
    job.streams = summaries(manifest);
    Ok(job)
}
