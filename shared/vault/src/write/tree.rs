//! Writes tree entries: content in chunks, chunks in blocks, entries in segments.

use super::{BLOCK_LEN, FinishedObject, ObjectWriter, PACK_LEN};
use crate::compress::{Codec, Compressor, looks_dense};
use crate::crypto::{DigestSum, Hasher, Namer, sha256};
use crate::error::{Code, Error, Result};
use crate::format::entry::{ChunkRef, Extent, TreeEntry, put_chunks};
use crate::format::footer::{BlockIndex, Fence, IndexSegment, Origin, Segment, TreeSegment};
use crate::format::header::{Id, ObjectKind};
use crate::keys::KeyRing;
use crate::model::{EntryKind, EntryMeta, Part};
use fastcdc::v2020::FastCDC;
use std::collections::HashMap;

/// Smallest chunk but for the last of a file.
pub const CHUNK_MIN: usize = 4 << 10;
/// Average chunk.
pub const CHUNK_AVERAGE: usize = 16 << 10;
/// Largest chunk.
pub const CHUNK_MAX: usize = 64 << 10;
/// How many chunks a writer remembers for deduplication: about 100 MiB of memory.
const KNOWN_MAX: usize = 1 << 20;

/// When a pack is full.
#[derive(Debug, Clone, Copy)]
pub struct TreeLimits {
    /// Bytes after which a pack is finished.
    pub pack_bytes: usize,
    /// Bytes of entries after which a pack is finished, however little content it has.
    pub entry_bytes: usize,
}

impl Default for TreeLimits {
    fn default() -> Self {
        Self { pack_bytes: PACK_LEN, entry_bytes: 8 << 20 }
    }
}

/// Where a chunk stands: in which pack of this writer, and in which of the pack's slots.
///
/// A slot is a block before it has its number: two blocks fill side by side, one for data that compresses and one for
/// data that does not, and a block is numbered when it is sealed.
#[derive(Debug, Clone, Copy)]
struct Place {
    pack: u32,
    slot: u32,
    offset: u32,
    length: u32,
}

#[derive(Default)]
struct OpenBlock {
    slot: Option<u32>,
    data: Vec<u8>,
}

struct OpenEntry {
    meta: EntryMeta,
    part: Part,
    received: u64,
    hasher: Hasher,
    places: Vec<Place>,
    chunks: Vec<ChunkRef>,
}

struct ClosedEntry {
    entry: TreeEntry,
    places: Vec<Place>,
    chunks: Vec<ChunkRef>,
}

/// Takes entries in byte order of their paths.
pub struct TreeWriter {
    keys: KeyRing,
    namer: Namer,
    limits: TreeLimits,
    compressor: Compressor,
    next: Origin,
    known: HashMap<[u8; 16], Place>,
    packs: Vec<Id>,
    /// For each pack: the block numbers of its slots.
    slots: Vec<Vec<u32>>,
    pack: Option<ObjectWriter>,
    index: Option<ObjectWriter>,
    plain: OpenBlock,
    dense: OpenBlock,
    pending: Vec<u8>,
    open: Option<OpenEntry>,
    closed: Vec<ClosedEntry>,
    closed_bytes: usize,
    last: Option<(Vec<u8>, u64)>,
    finished: Vec<FinishedObject>,
}

impl TreeWriter {
    /// A writer for one step of a task; `first` names its first segment.
    ///
    /// # Errors
    /// `KeyMissing`, or `Internal` if the codec cannot start.
    pub fn new(keys: &KeyRing, codec: Codec, first: Origin, limits: TreeLimits) -> Result<Self> {
        Ok(Self {
            keys: keys.clone(),
            namer: keys.chunk_namer(keys.newest_version())?,
            limits,
            compressor: Compressor::new(codec)?,
            next: first,
            known: HashMap::new(),
            packs: Vec::new(),
            slots: Vec::new(),
            pack: None,
            index: None,
            plain: OpenBlock::default(),
            dense: OpenBlock::default(),
            pending: Vec::new(),
            open: None,
            closed: Vec::new(),
            closed_bytes: 0,
            last: None,
            finished: Vec::new(),
        })
    }

    /// Begins an entry.
    ///
    /// # Errors
    /// `Internal` if it does not follow the one before, or that one was not ended.
    pub fn begin(&mut self, meta: EntryMeta, part: Part) -> Result<()> {
        let wrong = |why| Err(Error::new(Code::Internal, format!("tree entries out of order: {why}")));
        if self.open.is_some() {
            return wrong("the one before was not ended");
        }
        if self.last.as_ref().is_some_and(|(path, offset)| (path, *offset) >= (&meta.path, part.offset + 1)) {
            return wrong("a path does not follow the one before");
        }
        self.open = Some(OpenEntry {
            meta,
            part,
            received: 0,
            hasher: Hasher::default(),
            places: Vec::new(),
            chunks: Vec::new(),
        });
        Ok(())
    }

    /// Takes the next bytes of the entry's part.
    ///
    /// # Errors
    /// `SourceChanged` if more come than the part has, or what sealing gives.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let entry =
            self.open.as_mut().ok_or_else(|| Error::new(Code::Internal, "content without an entry"))?;
        entry.received += bytes.len() as u64;
        if entry.received > entry.part.length {
            return Err(changed("grew"));
        }
        entry.hasher.update(bytes);
        self.pending.extend_from_slice(bytes);
        self.cut(false)
    }

    /// Ends the entry.
    ///
    /// # Errors
    /// `SourceChanged` if bytes are missing, or what sealing gives.
    pub fn end(&mut self) -> Result<()> {
        if self.open.as_ref().is_some_and(|entry| entry.received < entry.part.length) {
            return Err(changed("shrank"));
        }
        self.cut(true)?;
        let Some(mut open) = self.open.take() else {
            return Err(Error::new(Code::Internal, "an end without an entry"));
        };
        self.last = Some((open.meta.path.clone(), open.part.offset + 1));
        self.closed_bytes += 64 + open.meta.path.len() + open.places.len() * 8 + open.chunks.len() * 20;
        let sha256 = open.hasher.finish();
        let entry = TreeEntry { meta: open.meta, part: open.part, sha256, extents: Vec::new() };
        self.closed.push(ClosedEntry { entry, places: open.places, chunks: open.chunks });
        if self.closed_bytes >= self.limits.entry_bytes {
            self.finish_pack()?;
        }
        Ok(())
    }

    /// Forgets the entry that was begun.
    pub fn abandon(&mut self) {
        self.open = None;
        self.pending.clear();
    }

    /// Bytes in the pack that is being written, and held in memory.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.pack.as_ref().map_or(0, ObjectWriter::len) + self.plain.data.len() + self.dense.data.len()
    }

    /// The number that the next segment will have.
    #[must_use]
    pub fn next_sequence(&self) -> u32 {
        self.next.sequence
    }

    /// Finished objects since the last call; store them before going on, so that memory stays bounded.
    pub fn take_finished(&mut self) -> Vec<FinishedObject> {
        std::mem::take(&mut self.finished)
    }

    /// Writes what is held and ends the last objects; take them with [`Self::take_finished`].
    ///
    /// # Errors
    /// `Internal` if an entry is still open, or what sealing gives.
    pub fn finish(&mut self) -> Result<()> {
        if self.open.is_some() {
            return Err(Error::new(Code::Internal, "the last tree entry was not ended"));
        }
        self.finish_pack()?;
        if let Some(index) = self.index.take() {
            self.finished.push(index.finish()?);
        }
        Ok(())
    }

    fn cut(&mut self, at_end: bool) -> Result<()> {
        let pending = std::mem::take(&mut self.pending);
        let mut start = 0;
        while pending.len() - start >= CHUNK_MAX || (at_end && start < pending.len()) {
            let rest = &pending[start..];
            let length = FastCDC::new(rest, CHUNK_MIN, CHUNK_AVERAGE, CHUNK_MAX).cut(0, rest.len()).1;
            self.chunk(&rest[..length])?;
            start += length;
        }
        self.pending = pending;
        self.pending.drain(..start);
        Ok(())
    }

    fn chunk(&mut self, data: &[u8]) -> Result<()> {
        let name = self.namer.name(&sha256(data));
        let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let place = match self.known.get(&name) {
            Some(place) => *place,
            None => self.store(data, length)?,
        };
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
        }
        self.known.insert(name, place);
        let Some(entry) = &mut self.open else { return Ok(()) };
        entry.chunks.push(ChunkRef { name, length });
        match entry.places.last_mut() {
            Some(last)
                if last.pack == place.pack
                    && last.slot == place.slot
                    && last.offset + last.length == place.offset =>
            {
                last.length += place.length;
            }
            _ => entry.places.push(place),
        }
        Ok(())
    }

    fn store(&mut self, data: &[u8], length: u32) -> Result<Place> {
        if self.pending_bytes() >= self.limits.pack_bytes {
            self.finish_pack()?;
        }
        if self.pack.is_none() {
            let pack = ObjectWriter::new(&self.keys, ObjectKind::Pack)?;
            self.packs.push(pack.id());
            self.slots.push(Vec::new());
            self.pack = Some(pack);
        }
        let dense = looks_dense(data);
        if if dense { &self.dense } else { &self.plain }.data.len() >= BLOCK_LEN {
            self.seal_block(dense)?;
        }
        let pack = self.packs.len() - 1;
        let block = if dense { &mut self.dense } else { &mut self.plain };
        let slots = &mut self.slots[pack];
        let slot = *block.slot.get_or_insert_with(|| {
            slots.push(u32::MAX);
            index32(slots.len() - 1)
        });
        let offset = index32(block.data.len());
        block.data.extend_from_slice(data);
        Ok(Place { pack: index32(pack), slot, offset, length })
    }

    fn seal_block(&mut self, dense: bool) -> Result<()> {
        let block = if dense { &mut self.dense } else { &mut self.plain };
        let (Some(slot), Some(pack)) = (block.slot.take(), &mut self.pack) else { return Ok(()) };
        if let Some(number) = self.slots.last_mut().and_then(|slots| slots.get_mut(slot as usize)) {
            *number = pack.next_block();
        }
        if dense {
            pack.dense_block(&block.data)?;
        } else {
            pack.block(&mut self.compressor, &block.data)?;
        }
        block.data.clear();
        Ok(())
    }

    fn finish_pack(&mut self) -> Result<()> {
        self.seal_block(false)?;
        self.seal_block(true)?;
        if !self.closed.is_empty() {
            self.write_segment()?;
        }
        if let Some(pack) = self.pack.take() {
            self.finished.push(pack.finish()?);
        }
        if let Some(index) = self.index.take_if(|index| index.len() >= self.limits.pack_bytes) {
            self.finished.push(index.finish()?);
        }
        Ok(())
    }

    fn write_segment(&mut self) -> Result<()> {
        if self.pack.is_none() {
            let pack = ObjectWriter::new(&self.keys, ObjectKind::Pack)?;
            self.packs.push(pack.id());
            self.slots.push(Vec::new());
            self.pack = Some(pack);
        }
        let own = index32(self.packs.len() - 1);
        let mut table = PackTable { own, others: Vec::new() };
        let closed = std::mem::take(&mut self.closed);
        self.closed_bytes = 0;
        let (mut files, mut bytes, mut digest) = (0, 0, DigestSum::default());
        let mut entries = BlockBuilder::default();
        let mut chunks = BlockBuilder::default();
        let last = closed.last().map_or_else(Vec::new, |c| c.entry.meta.path.clone());
        for ClosedEntry { mut entry, places, chunks: names } in closed {
            entry.extents = places.iter().map(|place| table.extent(place, &self.slots)).collect();
            files += u64::from(entry.part.offset == 0);
            bytes += entry.part.length;
            digest.add(&entry.digest());
            entries.add(&entry.meta.path, |out| entry.encode(out));
            if matches!(entry.meta.kind, EntryKind::File) {
                chunks.add(&entry.meta.path, |out| put_chunks(out, &names));
            }
        }
        let origin = self.next;
        self.next.sequence += 1;
        let packs = table.others.iter().map(|at| self.packs[*at as usize]).collect();
        if let Some(pack) = &mut self.pack {
            let index = entries.write(pack, &mut self.compressor)?;
            pack.segment(Segment::Tree(TreeSegment {
                origin,
                delta: None,
                packs,
                files,
                bytes,
                digest,
                last,
                index,
            }));
        }
        let object = match &mut self.index {
            Some(object) => object,
            none => none.insert(ObjectWriter::new(&self.keys, ObjectKind::Index)?),
        };
        let index = chunks.write(object, &mut self.compressor)?;
        object.segment(Segment::Chunks(IndexSegment { origin, index }));
        Ok(())
    }
}

/// The packs that the extents of one segment name: 0 is the segment's own.
struct PackTable {
    own: u32,
    others: Vec<u32>,
}

impl PackTable {
    fn extent(&mut self, place: &Place, slots: &[Vec<u32>]) -> Extent {
        let pack = if place.pack == self.own {
            0
        } else {
            let at = self.others.iter().position(|other| *other == place.pack).unwrap_or_else(|| {
                self.others.push(place.pack);
                self.others.len() - 1
            });
            index32(at + 1)
        };
        let block = slots[place.pack as usize][place.slot as usize];
        Extent { pack, block, offset: place.offset, length: place.length }
    }
}

/// Gathers encoded things into blocks with fences.
#[derive(Default)]
struct BlockBuilder {
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

    fn write(self, object: &mut ObjectWriter, compressor: &mut Compressor) -> Result<BlockIndex> {
        let mut index = BlockIndex { first_block: object.next_block(), fences: Vec::new() };
        for (fence, data) in self.blocks {
            object.block(compressor, &data)?;
            index.fences.push(fence);
        }
        Ok(index)
    }
}

/// Counts of blocks and packs in memory are far below 4 billion: memory would end first.
fn index32(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn changed(how: &str) -> Error {
    Error::new(Code::SourceChanged, format!("a file {how} while it was read"))
}
