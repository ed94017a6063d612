//! What was found damaged: noted object by object, and what depends on it is told.

use super::Budget;
use crate::services::Services;
use holdfast_common::jobs::{DamagedRow, Job, JobKind, Verified};
use holdfast_vault::error::{Class, Result};
use holdfast_vault::format::manifest::{Manifest, StoredObject, manifest_key};
use holdfast_vault::read::verify::Finding;
use std::collections::HashSet;

/// Objects in quarantine that one call reads again whatever its level, at most.
const REMEMBERED: usize = 10_000;
/// Jobs on a page; a row may be large.
const PAGE: u32 = 20;
/// What opening a manifest costs of a call's bytes: so many of them are opened that a call stays within minutes.
const MANIFEST: u64 = 16 << 20;

/// The keys of the objects in quarantine.
pub(super) async fn known(services: &Services) -> Result<HashSet<String>> {
    let mut known = HashSet::new();
    let mut pages = services.jobs.damaged();
    while known.len() < REMEMBERED
        && let Some(page) = pages.next().await?
    {
        known.extend(page.into_iter().map(|row| row.key));
    }
    Ok(known)
}

/// Which verification found what it notes.
pub(super) struct Finder<'a> {
    pub(super) services: &'a Services,
    pub(super) backup: &'a str,
    pub(super) resource: &'a str,
    pub(super) level: &'a str,
}

impl Finder<'_> {
    /// Puts what is damaged into quarantine.
    pub(super) async fn note(&self, findings: &[Finding], manifest: Option<&Manifest>) -> Result<()> {
        for finding in findings {
            let size = manifest.map_or(0, |manifest| size_of(manifest, &finding.object));
            // What names no object is the manifest's own fault.
            let key = Some(&finding.object).filter(|key| !key.is_empty());
            let row = DamagedRow {
                key: key.cloned().unwrap_or_else(|| manifest_key(self.backup)),
                code: finding.code.clone(),
                message: finding.message.clone(),
                found_at: self.services.clock.now(),
                level: self.level.to_owned(),
                backup: self.backup.to_owned(),
                resource: self.resource.to_owned(),
                size,
            };
            self.services.jobs.put_damaged(&row).await?;
        }
        Ok(())
    }

    /// Marks the backups of the resource that need an object in quarantine as damaged, newest first, from the first on
    /// that is older than `before`: none is built on until it was verified again. Gives where to go on; `None` after the
    /// last.
    pub(super) async fn mark(&self, before: Option<&str>, budget: &mut Budget) -> Result<Option<String>> {
        let damaged = known(self.services).await?;
        let jobs = self.services.jobs.jobs_before(JobKind::Backup, Some(self.resource), before);
        let mut pages = jobs.page_size(PAGE);
        while let Some(page) = pages.next().await? {
            for job in page {
                if job.is_restorable() && job.id != self.backup && !is_known_damaged(&job) {
                    self.mark_one(&job, &damaged).await?;
                    budget.take(MANIFEST);
                }
                if budget.is_spent() {
                    return Ok(Some(job.id));
                }
            }
        }
        Ok(None)
    }

    async fn mark_one(&self, job: &Job, damaged: &HashSet<String>) -> Result<()> {
        let errors = match self.services.vault.manifest(&job.id).await {
            Ok(manifest) => manifest.objects.iter().filter(|object| damaged.contains(&object.key())).count(),
            Err(error) if error.code.class() == Class::Damage => {
                let of_it = Finder { backup: &job.id, level: super::MANIFEST_LEVEL, ..*self };
                let finding = Finding { object: manifest_key(&job.id), ..Finding::from(error) };
                of_it.note(&[finding], None).await?;
                1
            }
            Err(error) => return Err(error),
        };
        if errors == 0 {
            return Ok(());
        }
        let verified = Verified {
            level: self.level.to_owned(),
            at: self.services.clock.now(),
            valid: false,
            errors: errors as u64,
            warnings: 0,
        };
        let change = |job: &mut Job| {
            let known = is_known_damaged(job);
            job.verified = Some(verified.clone());
            Ok(!known)
        };
        self.services.jobs.change_job(&job.id, change).await?;
        Ok(())
    }
}

fn is_known_damaged(job: &Job) -> bool {
    job.verified.as_ref().is_some_and(|verified| !verified.valid)
}

fn size_of(manifest: &Manifest, key: &str) -> u64 {
    let found = manifest.objects.iter().find(|object: &&StoredObject| object.key() == key);
    found.map_or(0, |object| object.size)
}
