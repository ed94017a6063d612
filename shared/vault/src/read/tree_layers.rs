//! Tree streams of one or several layers, merged by path: what a newer layer holds of a path hides it below.

use super::pack::{Fetch, PackReader};
use super::tree_cursor::LayerCursor;
use super::vault::Vault;
use crate::crypto::DigestSum;
use crate::error::{Error, Result};
use crate::format::entry::{ChunkRef, DeltaEntry, Extent, TreeEntry};
use crate::format::footer::TreeSegment;
use crate::format::header::Id;
use crate::format::manifest::{Manifest, StreamManifest, manifest_key};
use crate::model::EntryKind;
use crate::write::ChunkPlace;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Where a span of paths begins.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum PathStart {
    /// With the first path.
    #[default]
    Beginning,
    /// Behind a path.
    After(Vec<u8>),
    /// With a path, if it is there.
    At(Vec<u8>),
}

/// Some paths that follow one another.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PathSpan {
    /// Where it begins.
    pub start: PathStart,
    /// The last path, if it is there; none for all that follow.
    pub until: Option<Vec<u8>>,
}

impl PathSpan {
    /// Whether a path is in the span.
    #[must_use]
    pub fn holds(&self, path: &[u8]) -> bool {
        let begun = match &self.start {
            PathStart::Beginning => true,
            PathStart::After(after) => path > after.as_slice(),
            PathStart::At(first) => path >= first.as_slice(),
        };
        begun && !self.ends_before(path)
    }

    pub(super) fn ends_before(&self, path: &[u8]) -> bool {
        self.until.as_deref().is_some_and(|until| path > until)
    }

    /// Whether what stands before a path is outside the span.
    pub(super) fn begins_behind(&self, path: &[u8]) -> bool {
        match &self.start {
            PathStart::Beginning => false,
            PathStart::After(after) => path <= after.as_slice(),
            // Parts of the first path may stand in several blocks, of which each but the first begins with it.
            PathStart::At(first) => path < first.as_slice(),
        }
    }

    /// Whether a segment of these first and last paths, in hex, may hold paths of the span.
    pub(super) fn reaches(&self, first: &str, last: &str) -> bool {
        let begun = match &self.start {
            PathStart::Beginning => true,
            PathStart::After(after) => last > hex::encode(after).as_str(),
            PathStart::At(from) => last >= hex::encode(from).as_str(),
        };
        begun && self.until.as_deref().is_none_or(|until| first <= hex::encode(until).as_str())
    }
}

/// An entry that stands in the merged stream, and where it was found.
#[derive(Debug, Clone)]
pub struct LiveEntry {
    /// The entry.
    pub entry: TreeEntry,
    /// The object that holds it, by its place in the manifest.
    pub object: u32,
    /// The segment that holds it.
    pub segment: Arc<TreeSegment>,
    layer: usize,
    files_before: u64,
}

impl LiveEntry {
    /// The pack that an extent of the entry stands in; `own` is the object that holds the entry. `None` if the entry's
    /// segment does not list it.
    #[must_use]
    pub fn pack_of(&self, extent: &Extent, own: Id) -> Option<Id> {
        match extent.pack.checked_sub(1) {
            None => Some(own),
            Some(other) => self.segment.packs.get(other as usize).copied(),
        }
    }
}

/// The entries of a tree stream in byte order of their paths, parts of a file in order of their offsets.
///
/// Memory: one block of entries a layer, and the footers of the objects that are read.
pub struct MergedTree {
    reader: PackReader,
    /// The newest first.
    layers: Vec<LayerCursor>,
    span: PathSpan,
    counted: bool,
}

impl MergedTree {
    /// The entries of a span of a stream of a backup.
    #[must_use]
    pub fn new(vault: &Vault, manifest: &Arc<Manifest>, stream: &StreamManifest, span: PathSpan) -> Self {
        let layers: Vec<LayerCursor> =
            stream.layers.iter().rev().map(|layer| LayerCursor::new(layer, &span)).collect();
        let room = 2 * layers.len() + 2;
        let reader = PackReader::new(vault, manifest, Fetch::Blocks).with_room(room, 0);
        Self { reader, layers, span, counted: false }
    }

    /// Makes [`Self::chunks`] known too. Reads each segment from its beginning.
    #[must_use]
    pub fn with_chunks(mut self) -> Self {
        self.counted = true;
        self
    }

    /// Whether content of an entry that this tree gave stands in one of these packs.
    ///
    /// # Errors
    /// `ObjectDamaged` naming the manifest if it does not list the object that holds the entry.
    pub fn stands_in(&self, live: &LiveEntry, packs: &BTreeSet<Id>) -> Result<bool> {
        let own = self.reader.stored(live.object)?.id;
        let stands = |extent: &Extent| live.pack_of(extent, own).is_some_and(|pack| packs.contains(&pack));
        Ok(live.entry.extents.iter().any(stands))
    }

    /// The next entry, `None` at the end of the span.
    ///
    /// # Errors
    /// `ObjectMissing`, `ObjectDamaged`, `KeyMissing` or `Storage*`.
    pub async fn next(&mut self) -> Result<Option<LiveEntry>> {
        loop {
            for layer in &mut self.layers {
                layer.fill(&mut self.reader, &self.span, self.counted).await?;
            }
            let heads = self.layers.iter().enumerate().filter_map(|(at, layer)| Some((layer.path()?, at)));
            // Of one path the first layer wins, which is the newest.
            let Some((path, winner)) = heads.min() else { return Ok(None) };
            let path = path.to_vec();
            for hidden in &mut self.layers[winner + 1..] {
                while hidden.path() == Some(&path) {
                    hidden.pop();
                    hidden.fill(&mut self.reader, &self.span, self.counted).await?;
                }
            }
            let Some(head) = self.layers[winner].pop() else { return Ok(None) };
            if let DeltaEntry::Entry(entry) = head.stored {
                let (object, segment, files_before) = (head.object, head.segment, head.files_before);
                return Ok(Some(LiveEntry { entry, object, segment, layer: winner, files_before }));
            }
        }
    }

    /// The chunk list of a file that this tree gave, asked for in the order in which it gave them; `None` if it is no
    /// file, the backup keeps none, or chunk lists were not asked for ([`Self::with_chunks`]).
    ///
    /// # Errors
    /// As [`Self::next`].
    pub async fn chunks(&mut self, live: &LiveEntry) -> Result<Option<Vec<ChunkRef>>> {
        let is_listed = self.counted && matches!(live.entry.meta.kind, EntryKind::File);
        let Some(layer) = self.layers.get_mut(live.layer).filter(|_| is_listed) else { return Ok(None) };
        layer.chunks(&mut self.reader, live.segment.origin, live.files_before).await
    }

    /// Where the chunks of a file stand: their names and places. Empty where the backup keeps no chunk list of it.
    ///
    /// # Errors
    /// As [`Self::next`], and `ObjectDamaged` if the list does not make up the file.
    pub async fn chunk_places(&mut self, live: &LiveEntry) -> Result<Vec<([u8; 16], ChunkPlace)>> {
        let Some(chunks) = self.chunks(live).await? else { return Ok(Vec::new()) };
        let own = self.reader.stored(live.object)?;
        let damaged = |why: &str| Error::damaged(own.key(), why);
        let mut places = Vec::with_capacity(chunks.len());
        let mut extents = live.entry.extents.iter();
        let (mut extent, mut used) = (extents.next(), 0);
        if chunks.iter().map(|chunk| u64::from(chunk.length)).sum::<u64>() != live.entry.part.length {
            return Err(damaged("the chunks of a file are not as long as the file"));
        }
        for chunk in chunks {
            if extent.is_some_and(|extent| extent.length == used) {
                (extent, used) = (extents.next(), 0);
            }
            let Some(at) = extent.filter(|extent| extent.length - used >= chunk.length) else {
                return Err(damaged("the chunks of a file are not those of its list"));
            };
            let pack = live
                .pack_of(at, own.id)
                .ok_or_else(|| damaged("an entry names a pack that its segment does not list"))?;
            let place = ChunkPlace { pack, block: at.block, offset: at.offset + used, length: chunk.length };
            places.push((chunk.name, place));
            used += chunk.length;
        }
        Ok(places)
    }
}

/// Reads the entries of all of a tree stream, merges its layers and compares counts, bytes and digest with the
/// manifest.
///
/// # Errors
/// `ObjectDamaged` naming the manifest if they differ, or what reading gives.
pub async fn check(vault: &Vault, manifest: &Arc<Manifest>, stream: &StreamManifest) -> Result<()> {
    let mut tree = MergedTree::new(vault, manifest, stream, PathSpan::default());
    let (mut digest, mut files, mut bytes) = (DigestSum::default(), 0_u64, 0_u64);
    while let Some(LiveEntry { entry, .. }) = tree.next().await? {
        digest.add(&entry.digest());
        files += u64::from(entry.part.offset == 0);
        bytes += entry.part.length;
    }
    if hex::encode(digest.to_bytes()) == stream.digest && (files, bytes) == (stream.files, stream.bytes) {
        return Ok(());
    }
    let why = format!("the layers of stream {} do not merge to what it says", stream.info.name);
    Err(Error::damaged(manifest_key(&manifest.id), why))
}
