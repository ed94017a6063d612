//! Compares a manifest with the footers of its objects, and reads nothing of what they hold: every segment is where the
//! manifest says, is what it says, and all of them add up.

use super::vault::Vault;
use super::verify::{Aspect, Findings};
use crate::crypto::DigestSum;
use crate::error::{Error, Result};
use crate::format::footer::{DeltaCounts, Footer, Segment};
use crate::format::manifest::{LayerKind, Manifest, SegmentRef, StreamManifest, manifest_key};
use crate::model::StreamKind;
use futures::{FutureExt, StreamExt, stream};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How far comparing is: the next segment, and what the segments of its stream added up to before it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StructureAt {
    /// The stream, by its place in the manifest.
    stream: u32,
    /// The segment, by its place among all of the stream.
    segment: u32,
    /// Whether a segment before it is damaged, so that nothing can add up.
    broken: bool,
    sum: Sum,
}

/// What the segments of a stream add up to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Sum {
    #[serde(with = "hexed")]
    digest: DigestSum,
    /// Of the base.
    things: u64,
    bytes: u64,
    delta: DeltaCounts,
}

/// A segment as the manifest tells it.
#[derive(Clone, Copy)]
struct Told<'a> {
    role: Role,
    at: &'a SegmentRef,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Tree { delta: bool },
    Run { delta: bool },
    Chunks,
    State,
}

/// Compares up to so many segments, from where the last call ended, and says where the next one begins; `None` after the
/// last. Footers are opened `at_once` at a time, with one or two requests each.
///
/// # Errors
/// Only what kept it from looking: `Storage*`. Damage is in the findings.
pub async fn compare(
    vault: &Vault,
    manifest: &Arc<Manifest>,
    mut at: StructureAt,
    segments: usize,
    at_once: usize,
) -> Result<(Findings, Option<StructureAt>)> {
    let (mut findings, mut left) = (Findings::clean(), segments.max(1));
    while let Some(stream) = manifest.streams.get(at.stream as usize) {
        let all = told(stream);
        let some: Vec<Told<'_>> = all.iter().skip(at.segment as usize).take(left).copied().collect();
        for (count, looked) in look(vault, manifest, &some, at_once).await {
            left = left.saturating_sub(count);
            match looked {
                Ok(sum) => at.sum.merge(&sum),
                Err(error) => {
                    at.broken = true;
                    findings.note(&Aspect::Structure, error)?;
                }
            }
        }
        at.segment += u32::try_from(some.len()).unwrap_or(u32::MAX);
        if (at.segment as usize) < all.len() {
            return Ok((findings, Some(at)));
        }
        if !at.broken && !at.sum.fits(stream) {
            let why = format!("stream {} does not add up to what it says", stream.info.name);
            findings.note(&Aspect::Integrity, Error::damaged(manifest_key(&manifest.id), why))?;
        }
        at = StructureAt { stream: at.stream + 1, ..StructureAt::default() };
        if left == 0 && (at.stream as usize) < manifest.streams.len() {
            return Ok((findings, Some(at)));
        }
    }
    Ok((findings, None))
}

/// All segments of a stream, the layers one after the other, with their index segments behind each.
fn told(stream: &StreamManifest) -> Vec<Told<'_>> {
    let is_tree = stream.info.shape == StreamKind::Tree;
    let of = |delta| if is_tree { Role::Tree { delta } } else { Role::Run { delta } };
    let index = if is_tree { Role::Chunks } else { Role::State };
    let layer = |layer: &'_ crate::format::manifest::Layer| of(layer.kind == LayerKind::Delta);
    let each = stream.layers.iter().flat_map(|one| {
        let content = one.segments.iter().map(move |at| Told { role: layer(one), at });
        content.chain(one.index.iter().map(move |at| Told { role: index, at }))
    });
    each.collect()
}

/// Opens the objects of some segments, those that follow one another in an object together, and compares them.
async fn look(
    vault: &Vault,
    manifest: &Arc<Manifest>,
    segments: &[Told<'_>],
    at_once: usize,
) -> Vec<(usize, Result<Sum>)> {
    let opening: Vec<_> = segments
        .chunk_by(|one, next| one.at.object == next.at.object)
        .map(|together| in_one(vault, manifest, together).boxed())
        .collect();
    stream::iter(opening).buffered(at_once.max(1)).collect().await
}

async fn in_one(vault: &Vault, manifest: &Manifest, together: &[Told<'_>]) -> (usize, Result<Sum>) {
    let looked = async {
        let mut sum = Sum::default();
        let Some(first) = together.first() else { return Ok(sum) };
        let stored = manifest.objects.get(first.at.object as usize).ok_or_else(|| {
            Error::damaged(manifest_key(&manifest.id), "it names an object that it does not list")
        })?;
        let object = vault.open_object(stored.kind, stored.id, stored.size).await?;
        for told in together {
            sum.merge(&told.found_in(&object.key, &object.footer)?);
        }
        Ok(sum)
    };
    (together.len(), looked.await)
}

impl Told<'_> {
    /// What the segment adds to its stream, if the footer has it as it is told.
    fn found_in(&self, key: &str, footer: &Footer) -> Result<Sum> {
        let wrong =
            || Error::damaged(key, format!("segment {} is not what the manifest says", self.at.segment));
        let segment = footer.segments.get(self.at.segment as usize).ok_or_else(wrong)?;
        let (last, bytes, sum) = match (self.role, segment) {
            (Role::Tree { delta }, Segment::Tree(tree)) if tree.delta.is_some() == delta => {
                (tree.last.as_slice(), tree.bytes, Sum::of(tree.digest, tree.files, tree.bytes, tree.delta))
            }
            (Role::Run { delta }, Segment::Run(run)) if run.delta.is_some() == delta => {
                (run.last.as_slice(), run.bytes, Sum::of(run.digest, run.records(), run.bytes, run.delta))
            }
            (Role::Chunks, Segment::Chunks(_)) | (Role::State, Segment::State(_)) => {
                (&[][..], 0, Sum::default())
            }
            _ => return Err(wrong()),
        };
        let index = segment.index();
        let first = index.fences.first().map_or(&[][..], |fence| fence.first.as_slice());
        let same = self.at.first == hex::encode(first)
            && self.at.last == hex::encode(last)
            && (self.at.count, self.at.bytes) == (index.total(), bytes);
        if same { Ok(sum) } else { Err(wrong()) }
    }
}

impl Sum {
    fn of(digest: DigestSum, things: u64, bytes: u64, delta: Option<DeltaCounts>) -> Self {
        let things = if delta.is_some() { 0 } else { things };
        Self { digest, things, bytes, delta: delta.unwrap_or_default() }
    }

    fn merge(&mut self, other: &Self) {
        self.digest.merge(&other.digest);
        self.things += other.things;
        self.bytes += other.bytes;
        self.delta += other.delta;
    }

    /// Of a stream with deltas only the count is known without merging: [`super::merged`] compares the rest.
    fn fits(&self, stream: &StreamManifest) -> bool {
        let things = stream.records + stream.files;
        if stream.layers.len() > 1 {
            let mut said = DeltaCounts::default();
            for delta in stream.layers.iter().filter_map(|layer| layer.delta) {
                said += delta;
            }
            let merged = (self.things + self.delta.added).checked_sub(self.delta.deleted);
            return said == self.delta && merged == Some(things);
        }
        hex::encode(self.digest.to_bytes()) == stream.digest
            && self.things == things
            && self.bytes == stream.bytes
    }
}

/// A sum of digests as the manifest writes it.
mod hexed {
    use super::DigestSum;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "the form that serde calls")]
    pub(super) fn serialize<S: Serializer>(sum: &DigestSum, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex::encode(sum.to_bytes()))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<DigestSum, D::Error> {
        let text = String::deserialize(from)?;
        let bytes = hex::decode(text).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        let bytes = bytes.ok_or_else(|| D::Error::custom("a sum of digests has 64 hex digits"))?;
        Ok(DigestSum::from_bytes(&bytes))
    }
}
