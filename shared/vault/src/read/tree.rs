//! Reads the entries of a tree and their content.

use super::pack::PackReader;
use crate::crypto::Hasher;
use crate::error::{Error, Result};
use crate::format::entry::{DeltaEntry, TreeEntry};
use crate::format::footer::{Segment, TreeSegment};
use crate::format::manifest::SegmentRef;
use crate::format::wire::Reader;
use bytes::Bytes;

/// A tree segment's description.
///
/// # Errors
/// `ObjectDamaged` if the segment is no tree, or what opening the object gives.
pub async fn segment(reader: &mut PackReader, at: &SegmentRef) -> Result<TreeSegment> {
    let key = reader.key(at.object)?;
    match reader.footer(at.object).await?.segments.get(at.segment as usize) {
        Some(Segment::Tree(tree)) => Ok(tree.clone()),
        _ => Err(Error::damaged(key, format!("segment {} holds no tree entries", at.segment))),
    }
}

/// The entries of the `at`-th block of a tree segment that is no delta.
///
/// # Errors
/// As [`segment`].
pub async fn entries(
    reader: &mut PackReader,
    segment: &SegmentRef,
    tree: &TreeSegment,
    at: usize,
) -> Result<Vec<TreeEntry>> {
    decode_block(reader, segment, tree, at, TreeEntry::decode).await
}

/// The entries and tombstones of the `at`-th block of a tree segment; tombstones only if it is a delta.
///
/// # Errors
/// As [`segment`].
pub async fn delta_entries(
    reader: &mut PackReader,
    segment: &SegmentRef,
    tree: &TreeSegment,
    at: usize,
) -> Result<Vec<DeltaEntry>> {
    if tree.delta.is_some() {
        return decode_block(reader, segment, tree, at, DeltaEntry::decode).await;
    }
    Ok(entries(reader, segment, tree, at).await?.into_iter().map(DeltaEntry::Entry).collect())
}

async fn decode_block<T>(
    reader: &mut PackReader,
    segment: &SegmentRef,
    tree: &TreeSegment,
    at: usize,
    decode: fn(&mut Reader<'_>) -> Option<T>,
) -> Result<Vec<T>> {
    let object = reader.key(segment.object)?;
    let malformed = || Error::damaged(&object, "a block of tree entries is malformed");
    let fence = tree.index.fences.get(at).ok_or_else(malformed)?;
    let number = tree.index.first_block + u32::try_from(at).unwrap_or(u32::MAX);
    let plain = reader.block(segment.object, number).await?;
    let mut bytes = Reader::new(&plain);
    let mut entries = Vec::with_capacity((fence.count as usize).min(plain.len()));
    for _ in 0..fence.count {
        entries.push(decode(&mut bytes).ok_or_else(malformed)?);
    }
    if bytes.is_empty() { Ok(entries) } else { Err(malformed()) }
}

/// How far the content of an entry has been read.
#[derive(Clone, Default)]
pub struct ContentPlace {
    next: usize,
    hasher: Hasher,
}

/// The content of one entry, piece by piece. The last piece comes only if the whole has the SHA-256 of the entry.
pub struct EntryContent<'a> {
    reader: &'a mut PackReader,
    object: u32,
    tree: &'a TreeSegment,
    entry: &'a TreeEntry,
    place: ContentPlace,
}

impl<'a> EntryContent<'a> {
    /// The content of an entry of a segment in an object of the manifest.
    pub fn new(reader: &'a mut PackReader, object: u32, tree: &'a TreeSegment, entry: &'a TreeEntry) -> Self {
        Self::resume(reader, object, tree, entry, ContentPlace::default())
    }

    /// The content from a place on that [`Self::place`] gave.
    pub fn resume(
        reader: &'a mut PackReader,
        object: u32,
        tree: &'a TreeSegment,
        entry: &'a TreeEntry,
        place: ContentPlace,
    ) -> Self {
        Self { reader, object, tree, entry, place }
    }

    /// How far it has been read.
    #[must_use]
    pub fn place(self) -> ContentPlace {
        self.place
    }

    /// The next piece, `None` at the end.
    ///
    /// # Errors
    /// `ObjectMissing`, `ObjectDamaged` or `Storage*`. Pieces handed out before are authentic, but not all there is.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        let Some(extent) = self.entry.extents.get(self.place.next) else { return Ok(None) };
        let own = self.reader.key(self.object)?;
        let object = match extent.pack.checked_sub(1) {
            None => self.object,
            Some(other) => {
                self.tree.packs.get(other as usize).and_then(|id| self.reader.object_of(*id)).ok_or_else(
                    || Error::damaged(&own, "an entry names a pack that the backup does not list"),
                )?
            }
        };
        let block = self.reader.block(object, extent.block).await?;
        let (start, length) = (extent.offset as usize, extent.length as usize);
        if start.checked_add(length).is_none_or(|end| end > block.len()) {
            return Err(Error::damaged(own, "an entry reaches past its block"));
        }
        let piece = block.slice(start..start + length);
        self.place.hasher.update(&piece);
        self.place.next += 1;
        if self.place.next == self.entry.extents.len() && self.place.hasher.finish() != self.entry.sha256 {
            return Err(Error::damaged(own, "the content of a file is not what was backed up"));
        }
        Ok(Some(piece))
    }
}
