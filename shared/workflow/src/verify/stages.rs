//! What a verification does, stage by stage: each call does as much as it may read, and says where the next goes on.

use super::level::Level;
use super::quarantine::Finder;
use super::sample::Part;
use crate::capture;
use crate::config::Policy;
use crate::margins::CHANGES_BEFORE;
use crate::services::Services;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use holdfast_common::jobs::{Job, JobKind};
use holdfast_connectors::KeyFinder;
use holdfast_vault::error::{Class, Code, Error, Result};
use holdfast_vault::format::manifest::{Manifest, StreamManifest, manifest_key};
use holdfast_vault::format::root::VAULT_KEY;
use holdfast_vault::model::StreamKind;
use holdfast_vault::read::verify::{self, Depth, Finding, Findings};
use holdfast_vault::read::verify_structure::{self, StructureAt};
use holdfast_vault::read::{RecordKeys, changes, tree_layers};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::sync::Arc;

/// What an object costs of a call's bytes that is only looked at, or whose footer is opened: a request.
const LOOK: u64 = 64 << 10;

/// Where a verification stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "at", rename_all = "lowercase")]
pub enum Stage {
    /// Footers are compared with the manifest.
    Structure {
        /// The next segment.
        next: StructureAt,
    },
    /// Objects are looked at.
    Objects {
        /// The next object, by its place in the manifest.
        next: u32,
    },
    /// Layers are merged.
    Merge {
        /// The next stream, by its place in the manifest.
        next: u32,
    },
    /// Captured changes are read.
    Changes {
        /// The key of the last object that was read.
        after: Option<String>,
    },
    /// Backups that need what is damaged are marked.
    Dependents {
        /// The last backup that was looked at.
        before: Option<String>,
    },
}

impl Stage {
    /// With what a verification begins.
    pub(super) fn first(level: Level) -> Self {
        if level.compares_structure() {
            return Self::Structure { next: StructureAt::default() };
        }
        Self::Objects { next: 0 }
    }
}

impl Default for Stage {
    fn default() -> Self {
        Self::Structure { next: StructureAt::default() }
    }
}

/// How many bytes a call may still read.
pub(super) struct Budget(u64);

impl Budget {
    pub(super) fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    pub(super) fn take(&mut self, bytes: u64) {
        self.0 = self.0.saturating_sub(bytes);
    }

    pub(super) fn is_spent(&self) -> bool {
        self.0 == 0
    }

    /// How many looks are left, at least one.
    fn looks(&self) -> usize {
        usize::try_from(self.0 / LOOK).unwrap_or(usize::MAX).max(1)
    }
}

/// One verification of one backup.
pub(super) struct Verification<'a> {
    pub(super) services: &'a Services,
    pub(super) manifest: Arc<Manifest>,
    pub(super) level: Level,
    /// What a sample reads.
    pub(super) part: Option<Part>,
    /// Objects in quarantine: they are read whole at every level, so that one that was put right leaves it.
    pub(super) quarantined: HashSet<String>,
}

impl Verification<'_> {
    /// Works on a stage. Gives the next one, or where this one goes on; `None` at the end.
    pub(super) async fn step(
        &self,
        stage: Stage,
        budget: &mut Budget,
        findings: &mut Findings,
    ) -> Result<Option<Stage>> {
        let next = match stage {
            Stage::Structure { next } => self.structure(next, budget, findings).await?,
            Stage::Objects { next } => self.objects(next, budget, findings).await?,
            Stage::Merge { next } => self.merge(next, budget, findings).await?,
            Stage::Changes { after } => self.changes(after, budget, findings).await?,
            Stage::Dependents { before } => {
                let level = self.level.to_string();
                let before = self.finder(&level).mark(before.as_deref(), budget).await?;
                return Ok(before.map(|before| Stage::Dependents { before: Some(before) }));
            }
        };
        Ok(next.or_else(|| (!findings.valid()).then_some(Stage::Dependents { before: None })))
    }

    fn finder<'b>(&'b self, level: &'b str) -> Finder<'b> {
        let Manifest { id, resource, .. } = &*self.manifest;
        Finder { services: self.services, backup: id, resource, level }
    }

    /// What stands beside the objects: the vault's description and its keys.
    pub(super) async fn foundations(&self, findings: &mut Findings) -> Result<()> {
        let found = verify::foundations(&self.services.vault).await?;
        let is_damaged = |key: &&String| found.errors.iter().any(|error| error.object == **key);
        let beside = |key: &&String| *key == VAULT_KEY || key.starts_with("keys/");
        for whole in self.quarantined.iter().filter(beside).filter(|key| !is_damaged(key)) {
            self.services.jobs.clear_damaged(whole).await?;
        }
        self.take(findings, found).await
    }

    /// Adds findings, and puts what they name into quarantine.
    pub(super) async fn take(&self, findings: &mut Findings, more: Findings) -> Result<()> {
        let level = self.level.to_string();
        self.finder(&level).note(&more.errors, Some(&self.manifest)).await?;
        super::merge(findings, more);
        Ok(())
    }

    async fn structure(
        &self,
        at: StructureAt,
        budget: &mut Budget,
        findings: &mut Findings,
    ) -> Result<Option<Stage>> {
        let Services { vault, limits, .. } = self.services;
        let looks = budget.looks();
        let (found, next) =
            verify_structure::compare(vault, &self.manifest, at, looks, limits.objects_at_once).await?;
        self.take(findings, found).await?;
        let segments = self.manifest.streams.iter().flat_map(|stream| &stream.layers);
        let segments = segments.map(|layer| layer.segments.len() + layer.index.len()).sum::<usize>();
        budget.take(LOOK.saturating_mul(looks.min(segments) as u64));
        Ok(Some(next.map_or(Stage::Objects { next: 0 }, |next| Stage::Structure { next })))
    }

    async fn objects(
        &self,
        first: u32,
        budget: &mut Budget,
        findings: &mut Findings,
    ) -> Result<Option<Stage>> {
        let mut some: Vec<(u32, String, Depth)> = Vec::new();
        for (at, object) in (first..).zip(self.manifest.objects.iter().skip(first as usize)) {
            let key = object.key();
            let in_quarantine = self.quarantined.contains(&key);
            let depth = if in_quarantine { Depth::Full } else { self.level.depth(object.id.0, self.part) };
            some.push((at, key, depth));
            budget.take(if depth == Depth::Full { object.size.max(LOOK) } else { LOOK });
            if budget.is_spent() {
                break;
            }
        }
        let check = |(at, _, depth): &(u32, String, Depth)| {
            let (vault, manifest) = (self.services.vault.clone(), self.manifest.clone());
            let (at, depth) = (*at, *depth);
            // Spawned when its turn comes, so that no more objects are held than are looked at side by side.
            let look = async move { verify::object(&vault, &manifest, at, depth).await };
            async move { (at, tokio::spawn(look).await) }.boxed()
        };
        let checks: Vec<_> = some.iter().map(check).collect();
        // Reading keeps the processor busy, looking waits for the store.
        let reads = some.iter().any(|(_, _, depth)| *depth == Depth::Full);
        let at_once = self.services.limits.objects_at_once;
        let at_once = if reads { at_once.min(super::parallelism()) } else { at_once };
        // In no order: a large object would keep small ones that are done from making room for the next.
        let mut checked: Vec<(u32, Findings)> = stream::iter(checks)
            .buffer_unordered(at_once)
            .map(|(at, joined)| {
                let ended = |e| Error::new(Code::Internal, format!("a check ended early: {e}"));
                joined.map_err(ended)?.map(|found| (at, found))
            })
            .try_collect()
            .await?;
        checked.sort_unstable_by_key(|(at, _)| *at);
        for ((_, key, depth), (_, found)) in some.iter().zip(checked) {
            if found.valid() && *depth == Depth::Full && self.quarantined.contains(key) {
                self.services.jobs.clear_damaged(key).await?;
            }
            self.take(findings, found).await?;
        }
        let next = first + u32::try_from(some.len()).unwrap_or(u32::MAX);
        if (next as usize) < self.manifest.objects.len() {
            return Ok(Some(Stage::Objects { next }));
        }
        // What cannot be read cannot be merged.
        Ok((self.level == Level::Full && findings.valid()).then_some(Stage::Merge { next: 0 }))
    }

    /// Whether the layers of the next stream that has several merge to what the manifest says of it.
    async fn merge(&self, first: u32, budget: &mut Budget, findings: &mut Findings) -> Result<Option<Stage>> {
        let streams = (first..).zip(self.manifest.streams.iter().skip(first as usize));
        for (at, stream) in streams.filter(|(_, stream)| stream.layers.len() > 1) {
            budget.take(stream.layers.iter().flat_map(|layer| &layer.segments).map(|s| s.bytes).sum());
            match merges(self.services, &self.manifest, stream).await {
                Err(error) if error.code.class() == Class::Damage => {
                    let found =
                        Findings { data_integrity: false, errors: vec![error.into()], ..Findings::clean() };
                    self.take(findings, found).await?;
                }
                other => other?,
            }
            if budget.is_spent() {
                return Ok(Some(Stage::Merge { next: at + 1 }));
            }
        }
        Ok(Some(Stage::Changes { after: None }))
    }

    /// The changes that were captured since the backup began: with them it restores to any later moment. Only of the
    /// newest backup: those after an older one are needed only where the newer ones are gone.
    async fn changes(
        &self,
        after: Option<String>,
        budget: &mut Budget,
        findings: &mut Findings,
    ) -> Result<Option<Stage>> {
        let Manifest { id, resource, policy, started_at, .. } = &*self.manifest;
        let policy: Policy = serde_json::from_value(policy.clone()).unwrap_or_default();
        let Ok(started) = started_at.parse::<Timestamp>() else { return Ok(None) };
        if !policy.capture || !is_newest(self.services, resource, id).await? {
            return Ok(None);
        }
        let from = started.saturating_sub(CHANGES_BEFORE).unwrap_or(started).as_millisecond();
        let vault = &self.services.vault;
        for (name, size) in changes::list(vault, resource, from, i64::MAX).await? {
            let key = name.key();
            if after.as_ref().is_some_and(|after| key <= *after) {
                continue;
            }
            budget.take(size.max(LOOK));
            let found = verify::changes(vault, &name, size).await?;
            if found.valid() && self.quarantined.contains(&key) {
                self.services.jobs.clear_damaged(&key).await?;
            }
            // What was gathered into larger objects since it was listed is gone, and nothing is missing.
            let replaced = found.errors.iter().all(|error| error.code == Code::ObjectMissing.as_str());
            if found.valid() || !replaced {
                self.take(findings, found).await?;
            }
            if budget.is_spent() {
                return Ok(Some(Stage::Changes { after: Some(key) }));
            }
        }
        self.gone(resource, from, findings).await?;
        Ok(None)
    }

    /// Whether change objects are gone that others name.
    async fn gone(&self, resource: &str, from: i64, findings: &mut Findings) -> Result<()> {
        match capture::gone(self.services, resource, from).await {
            Ok(gone) => {
                let errors: Vec<Finding> = gone.into_iter().map(Finding::from).collect();
                let data_integrity = errors.is_empty();
                self.take(findings, Findings { data_integrity, errors, ..Findings::clean() }).await
            }
            // What is damaged was found above, or is older than the newest backup.
            Err(error) if error.code.class() == Class::Damage => Ok(()),
            Err(error) => Err(error),
        }
    }
}

async fn is_newest(services: &Services, resource: &str, id: &str) -> Result<bool> {
    let backups = services.jobs.jobs(JobKind::Backup, Some(resource)).page_size(8);
    Ok(backups.find(Job::is_restorable).await?.is_some_and(|newest| newest.id == id))
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

/// A manifest that cannot be opened, as a finding.
pub(super) fn unreadable(backup: &str, error: Error) -> Finding {
    Finding { object: manifest_key(backup), ..Finding::from(error) }
}
