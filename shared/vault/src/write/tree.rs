//! Writes tree entries: content in chunks, chunks in blocks, entries in segments.

mod places;
mod segment;

pub use places::ChunkPlace;
pub use segment::Change;

use super::{BLOCK_LEN, FinishedObject, ObjectWriter, PACK_LEN};
use crate::compress::{Codec, Compressor, looks_dense};
use crate::crypto::{Hasher, Namer, sha256};
use crate::error::{Code, Error, Result};
use crate::format::entry::{ChunkRef, TreeEntry};
use crate::format::footer::{IndexSegment, Origin, Segment};
use crate::format::header::ObjectKind;
use crate::keys::KeyRing;
use crate::model::{EntryMeta, Part};
use fastcdc::v2020::FastCDC;
use places::{Packs, Place};
use segment::{Closed, ClosedEntry, SegmentBuilder};
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

#[derive(Default)]
struct OpenBlock {
    slot: Option<u32>,
    data: Vec<u8>,
}

struct OpenPack {
    number: u32,
    object: ObjectWriter,
}

struct OpenEntry {
    meta: EntryMeta,
    part: Part,
    change: Change,
    received: u64,
    hasher: Hasher,
    places: Vec<Place>,
    chunks: Vec<ChunkRef>,
}

/// How an entry ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// The entry's digest.
    pub digest: [u8; 32],
    /// Whether it is written: not if it is what was known.
    pub written: bool,
}

/// Takes entries, and of a delta tombstones, in byte order of their paths.
pub struct TreeWriter {
    keys: KeyRing,
    namer: Namer,
    limits: TreeLimits,
    compressor: Compressor,
    next: Origin,
    is_delta: bool,
    known: HashMap<[u8; 16], Place>,
    /// Chunks of earlier backups, as the caller told them.
    base: HashMap<[u8; 16], Place>,
    packs: Packs,
    pack: Option<OpenPack>,
    index: Option<ObjectWriter>,
    plain: OpenBlock,
    dense: OpenBlock,
    pending: Vec<u8>,
    open: Option<OpenEntry>,
    closed: Vec<Closed>,
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
            is_delta: false,
            known: HashMap::new(),
            base: HashMap::new(),
            packs: Packs::default(),
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

    /// A writer of a delta, or of a new base made of an old one; chunks are named as in the base that there is, by its
    /// `name_key_version`.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn on_base(
        keys: &KeyRing,
        codec: Codec,
        first: Origin,
        limits: TreeLimits,
        name_key_version: u32,
        is_delta: bool,
    ) -> Result<Self> {
        let namer = keys.chunk_namer(name_key_version)?;
        Ok(Self { namer, is_delta, ..Self::new(keys, codec, first, limits)? })
    }

    /// Takes an entry over as an earlier backup stored it, with the places of its chunks; its extents do not count.
    ///
    /// # Errors
    /// `ObjectMissing` if the chunks are not all of its content, as where a backup keeps no chunk lists; `Internal` if it
    /// does not follow the one before; what sealing gives.
    pub fn copy(&mut self, entry: TreeEntry, chunks: &[([u8; 16], ChunkPlace)]) -> Result<()> {
        if chunks.iter().map(|(_, at)| u64::from(at.length)).sum::<u64>() != entry.part.length {
            return Err(Error::new(Code::ObjectMissing, "a file of the base has no whole chunk list")
                .hint("make a full backup"));
        }
        self.begin(entry.meta, entry.part)?;
        for (name, at) in chunks {
            let place = self.packs.older(at);
            self.refer(*name, place);
        }
        let Some(open) = self.open.take() else { return Ok(()) };
        self.close(open, entry.sha256, None).map(|_| ())
    }

    /// Tells where an earlier backup stored a chunk: content that holds it refers there. About 50 bytes of memory each.
    pub fn known_in_base(&mut self, name: [u8; 16], at: &ChunkPlace) {
        let place = self.packs.older(at);
        self.base.insert(name, place);
    }

    /// Forgets what [`Self::known_in_base`] told.
    pub fn forget_base(&mut self) {
        self.base.clear();
    }

    /// Says that a path of the layers below is gone.
    ///
    /// # Errors
    /// `Internal` if it does not follow the path before, or this is no delta.
    pub fn tombstone(&mut self, path: &[u8]) -> Result<()> {
        if !self.is_delta || self.open.is_some() {
            return Err(Error::new(Code::Internal, "a tombstone out of place"));
        }
        self.follows(path, 0)?;
        self.last = Some((path.to_vec(), u64::MAX));
        self.closed_bytes += 64 + path.len();
        self.closed.push(Closed::Tombstone(path.to_vec()));
        self.finish_full_pack()
    }

    fn follows(&self, path: &[u8], offset: u64) -> Result<()> {
        let behind = |(last, next): &(Vec<u8>, u64)| (last.as_slice(), *next) >= (path, offset + 1);
        if self.last.as_ref().is_some_and(behind) {
            return Err(Error::new(
                Code::Internal,
                "tree entries out of order: a path does not follow the one before",
            ));
        }
        Ok(())
    }

    /// Begins an entry; of a delta, one of a path that the layers below do not hold.
    ///
    /// # Errors
    /// `Internal` if it does not follow the one before, or that one was not ended.
    pub fn begin(&mut self, meta: EntryMeta, part: Part) -> Result<()> {
        self.begin_as(Change::Added, meta, part)
    }

    /// Begins an entry of a delta. All parts of a file are the same change.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub fn begin_as(&mut self, change: Change, meta: EntryMeta, part: Part) -> Result<()> {
        if self.open.is_some() {
            return Err(Error::new(
                Code::Internal,
                "tree entries out of order: the one before was not ended",
            ));
        }
        self.follows(&meta.path, part.offset)?;
        self.open = Some(OpenEntry {
            meta,
            part,
            change,
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
        self.end_unless(None).map(|_| ())
    }

    /// Ends the entry, and forgets it if its digest is the one that is known.
    ///
    /// # Errors
    /// As [`Self::end`].
    pub fn end_unless(&mut self, known: Option<&[u8; 32]>) -> Result<Ended> {
        if self.open.as_ref().is_some_and(|entry| entry.received < entry.part.length) {
            return Err(changed("shrank"));
        }
        self.cut(true)?;
        let Some(mut open) = self.open.take() else {
            return Err(Error::new(Code::Internal, "an end without an entry"));
        };
        let sha256 = open.hasher.finish();
        self.close(open, sha256, known)
    }

    fn close(&mut self, open: OpenEntry, sha256: [u8; 32], known: Option<&[u8; 32]>) -> Result<Ended> {
        self.last = Some((open.meta.path.clone(), open.part.offset + 1));
        let entry = TreeEntry { meta: open.meta, part: open.part, sha256, extents: Vec::new() };
        let digest = entry.digest();
        if known == Some(&digest) {
            return Ok(Ended { digest, written: false });
        }
        self.closed_bytes += 64 + entry.meta.path.len() + open.places.len() * 8 + open.chunks.len() * 20;
        let (change, places, chunks) = (open.change, open.places, open.chunks);
        let closed = ClosedEntry { entry, digest, change, places, chunks };
        self.closed.push(Closed::Entry(Box::new(closed)));
        self.finish_full_pack()?;
        Ok(Ended { digest, written: true })
    }

    fn finish_full_pack(&mut self) -> Result<()> {
        if self.closed_bytes >= self.limits.entry_bytes { self.finish_pack() } else { Ok(()) }
    }

    /// Forgets the entry that was begun.
    pub fn abandon(&mut self) {
        self.open = None;
        self.pending.clear();
    }

    /// Bytes in the pack that is being written, and held in memory.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.pack.as_ref().map_or(0, |pack| pack.object.len()) + self.plain.data.len() + self.dense.data.len()
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
        let place = match self.known.get(&name).or_else(|| self.base.get(&name)) {
            Some(place) => *place,
            None => self.store(data, length)?,
        };
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
        }
        self.known.insert(name, place);
        self.refer(name, place);
        Ok(())
    }

    /// Adds a chunk to the entry that is open.
    fn refer(&mut self, name: [u8; 16], place: Place) {
        let Some(entry) = &mut self.open else { return };
        entry.chunks.push(ChunkRef { name, length: place.length });
        match entry.places.last_mut() {
            Some(last) if last.is_followed_by(&place) => last.length += place.length,
            _ => entry.places.push(place),
        }
    }

    fn store(&mut self, data: &[u8], length: u32) -> Result<Place> {
        if self.pending_bytes() >= self.limits.pack_bytes {
            self.finish_pack()?;
        }
        let dense = looks_dense(data);
        if if dense { &self.dense } else { &self.plain }.data.len() >= BLOCK_LEN {
            self.seal_block(dense)?;
        }
        let pack = self.open_pack()?.number;
        let block = if dense { &mut self.dense } else { &mut self.plain };
        let slot = *block.slot.get_or_insert_with(|| self.packs.reserve(pack));
        let offset = index32(block.data.len());
        block.data.extend_from_slice(data);
        Ok(Place { pack, slot, offset, length })
    }

    /// The pack that is being written.
    fn open_pack(&mut self) -> Result<&mut OpenPack> {
        let pack = if let Some(pack) = self.pack.take() {
            pack
        } else {
            let room = self.limits.pack_bytes + self.limits.entry_bytes + 3 * BLOCK_LEN;
            let object = ObjectWriter::with_room(&self.keys, ObjectKind::Pack, room)?;
            OpenPack { number: self.packs.begin(object.id()), object }
        };
        Ok(self.pack.insert(pack))
    }

    fn seal_block(&mut self, dense: bool) -> Result<()> {
        let block = if dense { &mut self.dense } else { &mut self.plain };
        let (Some(slot), Some(pack)) = (block.slot.take(), &mut self.pack) else { return Ok(()) };
        self.packs.seal(pack.number, slot, pack.object.next_block());
        if dense {
            pack.object.dense_block(&block.data)?;
        } else {
            pack.object.block(&mut self.compressor, &block.data)?;
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
            self.finished.push(pack.object.finish()?);
        }
        if let Some(index) = self.index.take_if(|index| index.len() >= self.limits.pack_bytes) {
            self.finished.push(index.finish()?);
        }
        Ok(())
    }

    fn write_segment(&mut self) -> Result<()> {
        let mut segment = SegmentBuilder::new(self.open_pack()?.number);
        self.closed_bytes = 0;
        for closed in std::mem::take(&mut self.closed) {
            segment.add(closed, &self.packs);
        }
        let origin = self.next;
        self.next.sequence += 1;
        let Some(OpenPack { object, .. }) = &mut self.pack else { return Ok(()) };
        let chunks = segment.write(origin, self.is_delta, &self.packs, object, &mut self.compressor)?;
        if chunks.is_empty() {
            return Ok(());
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

/// Counts of blocks and packs in memory are far below 4 billion: memory would end first.
fn index32(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn changed(how: &str) -> Error {
    Error::new(Code::SourceChanged, format!("a file {how} while it was read"))
}
