//! Chooses the backup that an increment builds on, and how each stream is stored on it.

use crate::config::Compaction;
use crate::services::Services;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use holdfast_common::jobs::{BackupType, Job, JobKind};
use holdfast_vault::error::{Class, Code, Error, Result};
use holdfast_vault::format::manifest::{Layer, Manifest, SegmentRef, StreamManifest};
use holdfast_vault::model::{StreamInfo, StreamKind, Warning};
use holdfast_vault::read::{Fetch, PackReader, Shard, state, tree_layers};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How a stream is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// As a base of its own.
    #[default]
    Whole,
    /// As a delta: the base's state table fits a worker's memory, and each task joins what it reads with it.
    Joined,
    /// As a delta: what the tasks read is sorted, stays in staging, and is joined shard by shard of the key hash.
    Sorted,
}

/// How a stream is stored, and whether its layers become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StreamPlan {
    /// How it is stored.
    pub way: Way,
    /// Whether the layers of the base and what changed since are merged into a new base.
    #[serde(default)]
    pub compact: bool,
    /// Packs of the base that hold little that is needed: what they hold is read and stored again.
    #[serde(default, skip_serializing_if = "is_none")]
    pub worn: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
const fn is_none(packs: &u32) -> bool {
    *packs == 0
}

/// The backup that an increment builds on.
pub(super) enum Base {
    /// It stands alone: that was asked for.
    None,
    /// It was to build on another, and cannot.
    Unusable(Warning),
    /// This one.
    Backup(Arc<Manifest>),
}

/// Finds the backup to build on and proves that it can be: all of its objects are there, its state tables and tree entries open.
pub(super) async fn choose(services: &Services, job: &Job, backup_type: BackupType) -> Result<Base> {
    if backup_type == BackupType::Full {
        return Ok(Base::None);
    }
    let Some(found) = latest(services, job, backup_type).await? else {
        let what = if backup_type == BackupType::Differential { "full backup" } else { "backup" };
        let message =
            format!("there is no completed {what} of {} to build on, so this is a full one", job.resource);
        return Ok(Base::Unusable(Warning::new("NoBase", message)));
    };
    let unusable = |why: &str| {
        let message = format!("backup {} cannot be built on, so this is a full one: {why}", found.id);
        Ok(Base::Unusable(Warning::new("BaseUnusable", message)))
    };
    if found.verified.as_ref().is_some_and(|verified| !verified.valid) {
        return unusable("its verification found damage");
    }
    match open(services, &found.id).await {
        Ok(manifest) => Ok(Base::Backup(manifest)),
        Err(error) if error.code.class() == Class::Damage => unusable(&error.message),
        Err(error) => Err(error),
    }
}

async fn latest(services: &Services, job: &Job, backup_type: BackupType) -> Result<Option<Job>> {
    let fits = |found: &Job| {
        found.can_be_built_on()
            && found.id != job.id
            && (backup_type == BackupType::Incremental || found.backup_type == Some(BackupType::Full))
    };
    services.jobs.jobs(JobKind::Backup, Some(&job.resource)).find(fits).await
}

async fn open(services: &Services, id: &str) -> Result<Arc<Manifest>> {
    let manifest = Arc::new(services.vault.manifest(id).await?);
    let storage = services.vault.storage();
    let looks: Vec<_> = manifest
        .objects
        .iter()
        .map(|object| {
            let (storage, key, size) = (storage.clone(), object.key(), object.size);
            async move {
                let found = storage.head(&key).await?.size;
                if found == size {
                    return Ok(());
                }
                Err(Error::damaged(&key, format!("{found} bytes instead of {size}")))
            }
            .boxed()
        })
        .collect();
    stream::iter(looks).buffer_unordered(services.limits.objects_at_once).try_collect::<()>().await?;
    let mut reader = PackReader::new(&services.vault, &manifest, Fetch::Blocks);
    for stream in manifest.streams.iter().filter(|s| matches!(s.info.shape, StreamKind::Records { .. })) {
        let of = Shard::count(rows(&stream.layers), services.limits.shard_rows);
        for number in 0..of {
            state::rows(&mut reader, &stream.layers, Shard::new(number, of)).await?;
        }
    }
    for stream in manifest.streams.iter().filter(|s| s.info.shape == StreamKind::Tree) {
        tree_layers::check(&services.vault, &manifest, stream).await?;
    }
    Ok(manifest)
}

fn rows(layers: &[Layer]) -> u64 {
    layers.iter().flat_map(|layer| &layer.segments).map(|segment| segment.count).sum()
}

/// How the streams that the source has now are stored on the base, with what is worth saying.
pub(super) fn ways(
    services: &Services,
    base: &Manifest,
    streams: &[StreamInfo],
    compaction: Compaction,
    warnings: &mut Vec<Warning>,
) -> Vec<StreamPlan> {
    for gone in base.streams.iter().filter(|old| streams.iter().all(|now| now.name != old.info.name)) {
        warnings.push(stream_gone(&gone.info.name));
    }
    let plan = |now: &StreamInfo| {
        let Some(old) = base.streams.iter().find(|old| old.info.name == now.name) else {
            let message = format!("stream {} is new, so all of it is stored", now.name);
            warnings.push(Warning::new("StreamNew", message));
            return StreamPlan::default();
        };
        if old.info.shape != now.shape {
            let message = format!("stream {} has another key or kind, so all of it is stored", now.name);
            warnings.push(Warning::new("StreamKeyChanged", message));
            return StreamPlan::default();
        }
        on_base(services, old, compaction)
    };
    streams.iter().map(plan).collect()
}

/// What is said of a stream of the base that the source has no more.
pub(crate) fn stream_gone(name: &str) -> Warning {
    Warning::new("StreamGone", format!("the source has no stream {name} any more"))
}

fn on_base(services: &Services, old: &StreamManifest, compaction: Compaction) -> StreamPlan {
    let compact = compaction.is_due(old);
    if old.layers.is_empty() {
        return StreamPlan::default();
    }
    match old.info.shape {
        StreamKind::Tree => StreamPlan { way: Way::Joined, compact, worn: 0 },
        StreamKind::Records { .. } if rows(&old.layers) <= services.limits.broadcast_rows => {
            StreamPlan { way: Way::Joined, compact, worn: 0 }
        }
        StreamKind::Records { .. } => StreamPlan { way: Way::Sorted, compact, worn: 0 },
    }
}

impl Compaction {
    /// Whether one more layer would be too many, or the deltas too large.
    #[must_use]
    pub fn is_due(self, stream: &StreamManifest) -> bool {
        let is_tree = stream.info.shape == StreamKind::Tree;
        // A delta of a tree refers to content below, whose bytes say nothing of what merging costs.
        let size = |segment: &SegmentRef| if is_tree { segment.count } else { segment.bytes };
        let sum = |layers: &[Layer]| layers.iter().flat_map(|layer| &layer.segments).map(size).sum::<u64>();
        let Some((base, deltas)) = stream.layers.split_first() else { return false };
        let allowed = sum(std::slice::from_ref(base)).saturating_mul(u64::from(self.delta_percent));
        stream.layers.len() >= self.layers.max(1) as usize || sum(deltas).saturating_mul(100) > allowed
    }
}

/// The stream of the base under an increment's stream.
///
/// # Errors
/// `Internal` if the base has none, which the plan ruled out.
pub fn base_stream<'a>(base: &'a Manifest, name: &str) -> Result<&'a StreamManifest> {
    base.streams
        .iter()
        .find(|stream| stream.info.name == name)
        .ok_or_else(|| Error::new(Code::Internal, format!("backup {} has no stream {name}", base.id)))
}
