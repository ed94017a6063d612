//! Builds a tree segment and the chunk lists beside it.

use super::places::{PackTable, Packs, Place};
use crate::compress::Compressor;
use crate::crypto::DigestSum;
use crate::error::Result;
use crate::format::entry::{ChunkRef, DeltaEntry, TreeEntry, put_chunks};
use crate::format::footer::{BlockIndex, DeltaCounts, Fence, Origin, Segment, TreeSegment};
use crate::model::EntryKind;
use crate::write::{BLOCK_LEN, ObjectWriter};

/// What an entry of a delta is to the layers below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// They hold nothing of its path.
    Added,
    /// They hold something else there.
    Changed,
}

/// What waits for its segment.
pub(super) enum Closed {
    Entry(Box<ClosedEntry>),
    Tombstone(Vec<u8>),
}

pub(super) struct ClosedEntry {
    pub(super) entry: TreeEntry,
    pub(super) digest: [u8; 32],
    pub(super) change: Change,
    pub(super) places: Vec<Place>,
    pub(super) chunks: Vec<ChunkRef>,
}

pub(super) struct SegmentBuilder {
    table: PackTable,
    files: u64,
    counts: DeltaCounts,
    bytes: u64,
    digest: DigestSum,
    last: Vec<u8>,
    entries: BlockBuilder,
    /// The chunk lists of the files, in the order of the entries.
    pub(super) chunks: BlockBuilder,
}

impl SegmentBuilder {
    /// A segment of the pack of this number.
    pub(super) fn new(own: u32) -> Self {
        Self {
            table: PackTable::new(own),
            files: 0,
            counts: DeltaCounts::default(),
            bytes: 0,
            digest: DigestSum::default(),
            last: Vec::new(),
            entries: BlockBuilder::default(),
            chunks: BlockBuilder::default(),
        }
    }

    pub(super) fn add(&mut self, closed: Closed, packs: &Packs) {
        let stored = match closed {
            Closed::Tombstone(path) => {
                self.counts.deleted += 1;
                DeltaEntry::Tombstone(path)
            }
            Closed::Entry(closed) => {
                let ClosedEntry { mut entry, digest, change, places, chunks } = *closed;
                entry.extents = places.iter().map(|place| self.table.extent(place, packs)).collect();
                let first = u64::from(entry.part.offset == 0);
                self.files += first;
                match change {
                    Change::Added => self.counts.added += first,
                    Change::Changed => self.counts.changed += first,
                }
                self.bytes += entry.part.length;
                self.digest.add(&digest);
                if matches!(entry.meta.kind, EntryKind::File) {
                    self.chunks.add(&entry.meta.path, |out| put_chunks(out, &chunks));
                }
                DeltaEntry::Entry(entry)
            }
        };
        self.entries.add(stored.path(), |out| stored.encode(out));
        self.last = stored.path().to_vec();
    }

    /// Writes the entries into their pack; gives back the chunk lists.
    pub(super) fn write(
        self,
        origin: Origin,
        is_delta: bool,
        packs: &Packs,
        object: &mut ObjectWriter,
        compressor: &mut Compressor,
    ) -> Result<BlockBuilder> {
        let index = self.entries.write(object, compressor)?;
        object.segment(Segment::Tree(TreeSegment {
            origin,
            delta: is_delta.then_some(self.counts),
            packs: self.table.ids(packs),
            files: self.files,
            bytes: self.bytes,
            digest: self.digest,
            last: self.last,
            index,
        }));
        Ok(self.chunks)
    }
}

/// Gathers encoded things into blocks with fences.
#[derive(Default)]
pub(super) struct BlockBuilder {
    blocks: Vec<(Fence, Vec<u8>)>,
}

impl BlockBuilder {
    fn add(&mut self, path: &[u8], encode: impl FnOnce(&mut Vec<u8>)) {
        if self.blocks.last().is_none_or(|(_, data)| data.len() >= BLOCK_LEN / 4) {
            self.blocks.push((Fence { first: path.to_vec(), count: 0 }, Vec::new()));
        }
        if let Some((fence, data)) = self.blocks.last_mut() {
            fence.count += 1;
            encode(data);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    pub(super) fn write(self, object: &mut ObjectWriter, compressor: &mut Compressor) -> Result<BlockIndex> {
        let mut index = BlockIndex { first_block: object.next_block(), fences: Vec::new() };
        for (fence, data) in self.blocks {
            object.block(compressor, &data)?;
            index.fences.push(fence);
        }
        Ok(index)
    }
}
