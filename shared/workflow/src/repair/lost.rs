//! What of a backup cannot be restored without what is damaged, told by segments: at most so much.

use crate::services::Services;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use holdfast_common::jobs::StreamShape;
use holdfast_vault::error::{Class, Error, Result};
use holdfast_vault::format::footer::{Footer, Segment};
use holdfast_vault::format::header::{Id, ObjectKind};
use holdfast_vault::format::manifest::{Manifest, SegmentRef, StreamManifest};
use holdfast_vault::model::StreamKind;
use serde::Serialize;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// What of a stream cannot be restored, at most: the damaged part of a segment is not known without reading it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lost {
    /// The stream's name.
    pub stream: String,
    /// Its shape.
    pub kind: StreamShape,
    /// Segments that cannot be read, or hold entries whose content cannot.
    pub segments: u64,
    /// Records or paths in them, at most.
    pub at_most: u64,
    /// All that the stream holds.
    pub of: u64,
}

/// What of each stream of a backup cannot be restored without the objects of these keys; only streams that lose something.
pub(super) async fn lost(
    services: &Services,
    manifest: &Arc<Manifest>,
    damaged: &HashSet<String>,
) -> Result<Vec<Lost>> {
    let objects = manifest.objects.iter().zip(0_u32..);
    let gone: HashMap<u32, Id> = objects
        .filter(|(object, _)| object.kind == ObjectKind::Pack && damaged.contains(&object.key()))
        .map(|(object, at)| (at, object.id))
        .collect();
    if gone.is_empty() {
        return Ok(Vec::new());
    }
    let ids: HashSet<Id> = gone.values().copied().collect();
    let mut all = Vec::new();
    for stream in &manifest.streams {
        let segments: Vec<&SegmentRef> = stream.layers.iter().flat_map(|layer| &layer.segments).collect();
        let mut hit: Vec<&SegmentRef> =
            segments.iter().copied().filter(|at| gone.contains_key(&at.object)).collect();
        if stream.info.shape == StreamKind::Tree {
            let whole = segments.iter().copied().filter(|at| !gone.contains_key(&at.object));
            hit.extend(pointing(services, manifest, whole.collect(), &ids).await?);
        }
        if !hit.is_empty() {
            all.push(told(stream, &hit));
        }
    }
    Ok(all)
}

fn told(stream: &StreamManifest, hit: &[&SegmentRef]) -> Lost {
    let of = stream.records + stream.files;
    Lost {
        stream: stream.info.name.clone(),
        kind: match stream.info.shape {
            StreamKind::Tree => StreamShape::Tree,
            StreamKind::Records { .. } => StreamShape::Records,
        },
        segments: hit.len() as u64,
        at_most: hit.iter().map(|segment| segment.count).sum::<u64>().min(of),
        of,
    }
}

/// The segments of a tree whose entries have content in packs of these ids.
async fn pointing<'a>(
    services: &Services,
    manifest: &Manifest,
    segments: Vec<&'a SegmentRef>,
    ids: &HashSet<Id>,
) -> Result<Vec<&'a SegmentRef>> {
    let places: HashSet<u32> = segments.iter().map(|at| at.object).collect();
    let opening: Vec<_> = places
        .into_iter()
        .filter_map(|place| Some((place, manifest.objects.get(place as usize)?.clone())))
        .map(|(place, object)| {
            let vault = services.vault.clone();
            async move {
                match vault.open_object(object.kind, object.id, object.size).await {
                    Ok(object) => Ok::<_, Error>((place, object.footer)),
                    // Damage that no verification has found yet: the next one will.
                    Err(error) if error.code.class() == Class::Damage => Ok((place, Footer::default())),
                    Err(error) => Err(error),
                }
            }
            .boxed()
        })
        .collect();
    let opened = stream::iter(opening).buffer_unordered(services.limits.objects_at_once.max(1));
    let footers: HashMap<u32, Footer> = opened.try_collect().await?;
    let points = |at: &&SegmentRef| {
        let segment = footers.get(&at.object).and_then(|footer| footer.segments.get(at.segment as usize));
        matches!(segment, Some(Segment::Tree(tree)) if tree.packs.iter().any(|id| ids.contains(id)))
    };
    Ok(segments.into_iter().filter(points).collect())
}
