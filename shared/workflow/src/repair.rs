//! Repairs a vault: what is in quarantine, which backups need it and what of them is lost, and putting back what a copy
//! of the vault still has. What no copy has, the next full backup takes from the source again.

mod heal;
mod lost;

pub use heal::{Healed, Outcome, heal};
pub use lost::Lost;

use crate::events::{VerifyAnswer, VerifyEvent};
use crate::services::{Services, Step};
use crate::verify::verify;
use holdfast_common::jobs::{DamagedRow, Job, JobKind, JobStore};
use holdfast_vault::error::{Class, Result};
use holdfast_vault::format::header::ObjectKind;
use holdfast_vault::format::manifest::{Manifest, StoredObject, manifest_key};
use jiff::Timestamp;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// Objects in quarantine that one survey tells of, at most.
const LISTED: usize = 10_000;
/// Jobs on a page; a row may be large.
const PAGE: u32 = 20;

/// What is damaged, and what depends on it.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    /// What is in quarantine, by key.
    pub objects: Vec<DamagedRow>,
    /// Whether more is in quarantine than is told.
    pub more: bool,
    /// The backups that cannot be restored whole, by resource, the newest first.
    pub affected: Vec<Affected>,
    /// Objects in quarantine that no backup needs any more.
    pub unneeded: BTreeSet<String>,
    /// How the manifests tell the objects.
    told: HashMap<String, StoredObject>,
}

/// A backup that needs what is damaged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Affected {
    /// The backup's id.
    pub backup: String,
    /// Its resource.
    pub resource: String,
    /// When it completed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    /// Whether it is its resource's newest: the next backup would build on it.
    pub newest: bool,
    /// Whether its manifest does not open, so that all of it is lost here.
    pub unreadable: bool,
    /// The damaged objects that it needs; as many as it has errors, where only job state was asked.
    pub objects: u64,
    /// What of it cannot be restored; nothing where only index objects are damaged, which the next backup needs.
    pub streams: Vec<Lost>,
}

impl Survey {
    /// The resources whose newest backup is damaged: a full backup of them takes from the source what is lost here.
    #[must_use]
    pub fn to_back_up(&self) -> BTreeSet<String> {
        self.affected.iter().filter(|of| of.newest).map(|of| of.resource.clone()).collect()
    }
}

/// Finds what is damaged and what depends on it: of one resource, or of all.
///
/// # Errors
/// `ResourceUnknown`, or what state and storage give. Damage is in the answer.
#[must_use]
pub fn survey<'a>(services: &'a Services, resource: Option<&'a str>) -> Step<'a, Survey> {
    Box::pin(async move {
        let (objects, more) = in_quarantine(&services.jobs, resource).await?;
        let mut survey = Survey { objects, more, ..Survey::default() };
        let mut by_resource: BTreeMap<String, HashSet<String>> = BTreeMap::new();
        for row in &survey.objects {
            by_resource.entry(row.resource.clone()).or_default().insert(row.key.clone());
        }
        let mut needed: HashSet<String> = HashSet::new();
        for (resource, damaged) in &by_resource {
            needed.extend(survey_one(services, resource, damaged, &mut survey).await?);
        }
        survey.unneeded = survey
            .objects
            .iter()
            .map(|row| &row.key)
            .filter(|key| is_told_by_manifests(key) && !needed.contains(*key))
            .cloned()
            .collect();
        Ok(survey)
    })
}

/// Finds what is damaged as job state notes it, where the vault is not at hand.
///
/// # Errors
/// As [`survey`].
pub async fn survey_noted(jobs: &JobStore, resource: Option<&str>) -> Result<Survey> {
    let (objects, more) = in_quarantine(jobs, resource).await?;
    let mut survey = Survey { objects, more, ..Survey::default() };
    let resources: BTreeSet<String> = survey.objects.iter().map(|row| row.resource.clone()).collect();
    for resource in resources {
        let mut newest = true;
        let mut pages = jobs.jobs(JobKind::Backup, Some(&resource)).page_size(PAGE);
        while let Some(page) = pages.next().await? {
            for job in page.into_iter().filter(Job::is_restorable) {
                if let Some(verified) = job.verified.as_ref().filter(|verified| !verified.valid) {
                    survey.affected.push(Affected { objects: verified.errors, ..affected(&job, newest) });
                }
                newest = false;
            }
        }
    }
    Ok(survey)
}

/// Notes that what no backup needs is no matter any more.
///
/// # Errors
/// What state gives.
pub async fn forget_unneeded(services: &Services, survey: &Survey) -> Result<()> {
    for key in &survey.unneeded {
        services.jobs.clear_damaged(key).await?;
    }
    Ok(())
}

/// Verifies a backup to the end, as deep as it takes to trust it again: what was put back was compared byte for byte.
///
/// # Errors
/// As [`verify`].
#[must_use]
pub fn reverify<'a>(services: &'a Services, backup: &'a str) -> Step<'a, VerifyAnswer> {
    Box::pin(async move {
        let level = crate::verify::Level::Chain.to_string();
        let mut event = VerifyEvent { job: backup.to_owned(), level: Some(level), progress: None };
        loop {
            let answer = verify(services, &event).await?;
            if !answer.more {
                return Ok(answer);
            }
            event.progress = Some(answer.progress);
        }
    })
}

async fn in_quarantine(jobs: &JobStore, resource: Option<&str>) -> Result<(Vec<DamagedRow>, bool)> {
    if let Some(resource) = resource {
        jobs.resource(resource).await?;
    }
    let mut found = Vec::new();
    let mut pages = jobs.damaged();
    while let Some(page) = pages.next().await? {
        found.extend(page.into_iter().filter(|row| resource.is_none_or(|of| row.resource == of)));
        if found.len() > LISTED {
            found.truncate(LISTED);
            return Ok((found, true));
        }
    }
    Ok((found, false))
}

/// Adds the backups of a resource that need what is damaged. Gives the keys that any of them needs.
async fn survey_one(
    services: &Services,
    resource: &str,
    damaged: &HashSet<String>,
    survey: &mut Survey,
) -> Result<HashSet<String>> {
    let (mut needed, mut newest) = (HashSet::new(), true);
    let mut pages = services.jobs.jobs(JobKind::Backup, Some(resource)).page_size(PAGE);
    while let Some(page) = pages.next().await? {
        for job in page.into_iter().filter(Job::is_restorable) {
            match services.vault.manifest(&job.id).await {
                Ok(manifest) => {
                    let manifest = Arc::new(manifest);
                    let keys = damaged_of(&manifest, damaged, &mut survey.told);
                    if !keys.is_empty() {
                        let streams = lost::lost(services, &manifest, &keys).await?;
                        let objects = keys.len() as u64;
                        survey.affected.push(Affected { objects, streams, ..affected(&job, newest) });
                        needed.extend(keys);
                    }
                    // It opens, and its layers did not merge.
                    let key = manifest_key(&job.id);
                    if damaged.contains(&key) {
                        needed.insert(key);
                    }
                }
                Err(error) if error.code.class() == Class::Damage => {
                    survey.affected.push(Affected { unreadable: true, objects: 1, ..affected(&job, newest) });
                    needed.insert(manifest_key(&job.id));
                }
                Err(error) => return Err(error),
            }
            newest = false;
        }
    }
    Ok(needed)
}

fn affected(job: &Job, newest: bool) -> Affected {
    Affected {
        backup: job.id.clone(),
        resource: job.resource.clone(),
        completed_at: job.completed_at,
        newest,
        unreadable: false,
        objects: 0,
        streams: Vec::new(),
    }
}

/// The keys of the damaged objects that a manifest names; how it tells them is kept.
fn damaged_of(
    manifest: &Manifest,
    damaged: &HashSet<String>,
    told: &mut HashMap<String, StoredObject>,
) -> HashSet<String> {
    let mut keys = HashSet::new();
    for object in &manifest.objects {
        let key = object.key();
        if damaged.contains(&key) {
            told.entry(key.clone()).or_insert_with(|| object.clone());
            keys.insert(key);
        }
    }
    keys
}

/// Whether it is manifests that say if an object is needed, and not the listing of a folder.
fn is_told_by_manifests(key: &str) -> bool {
    [ObjectKind::Pack, ObjectKind::Index, ObjectKind::Manifest]
        .iter()
        .any(|kind| key.starts_with(kind.prefix()))
}
