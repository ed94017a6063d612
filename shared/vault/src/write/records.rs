//! Writes records as sorted runs, with a state table beside them; a delta's with tombstones among them.

use super::{BLOCK_LEN, FinishedObject, ObjectWriter, PACK_LEN};
use crate::compress::{Codec, Compressor};
use crate::crypto::{DigestSum, Hasher, Namer};
use crate::error::{Code, Error, Result};
use crate::format::footer::{BlockIndex, DeltaCounts, Fence, IndexSegment, Origin, RunSegment, Segment};
use crate::format::header::ObjectKind;
use crate::format::wire::{put_bytes, put_number};
use crate::keys::KeyRing;

/// Bytes of a row of a state table: 16 of key hash, 16 of value digest.
pub const STATE_ROW_LEN: usize = 32;
/// Rows in a block of a state table.
const STATE_ROWS: usize = 8192;

/// When a run is sorted and written, and when a pack is full.
#[derive(Debug, Clone, Copy)]
pub struct RunLimits {
    /// Bytes of records and their rows held in memory for one run.
    pub run_bytes: usize,
    /// Bytes after which a pack is finished.
    pub pack_bytes: usize,
}

impl Default for RunLimits {
    fn default() -> Self {
        Self { run_bytes: 32 << 20, pack_bytes: PACK_LEN }
    }
}

/// Whether the keys of a stream's records can be read from their values, or stand beside them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyStorage {
    /// In the value: not stored again.
    Derived,
    /// Beside the value.
    Stored,
}

/// What a delta says of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeltaKind {
    /// The layers below do not hold it.
    Added,
    /// They hold another value.
    Changed,
}

/// What a row stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RowKind {
    Record(DeltaKind),
    Tombstone,
}

/// The digest in the state row of a tombstone.
pub const TOMBSTONE_DIGEST: [u8; 16] = [0; 16];
/// What stands in front of a record in a delta run.
pub(crate) const DELTA_RECORD: u8 = 0;
/// What stands in front of a tombstone in a delta run.
pub(crate) const DELTA_TOMBSTONE: u8 = 1;

/// How a writer's runs are made.
#[derive(Debug, Clone, Copy)]
pub struct RunsOptions {
    /// How blocks are compressed.
    pub codec: Codec,
    /// Whether keys are stored.
    pub storage: KeyStorage,
    /// Whether the runs are of a delta.
    pub delta: bool,
    /// The version of the vault key under which keys are hashed; the manifest's `name_key_version`.
    pub name_version: u32,
    /// The first run.
    pub first: Origin,
    /// How runs and packs are cut.
    pub limits: RunLimits,
}

struct Row {
    hash: u128,
    kind: RowKind,
    digest: [u8; 16],
    start: u32,
    key_len: u32,
    value_len: u32,
    origin: u64,
}

/// Two records with the same key, by their places in the range that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DuplicateKey {
    /// One record's place.
    pub first: u64,
    /// The other's.
    pub second: u64,
}

/// The places of a run's records in the range that was read, in the order of the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunOrigins {
    /// The run.
    pub run: Origin,
    /// A place for each record.
    pub places: Vec<u64>,
}

/// Takes records in any order and writes runs sorted by key hash.
pub struct RecordsWriter {
    keys: KeyRing,
    hasher: Namer,
    options: RunsOptions,
    compressor: Compressor,
    next: Origin,
    data: Vec<u8>,
    rows: Vec<Row>,
    digest: DigestSum,
    value_bytes: u64,
    counts: DeltaCounts,
    pack: Option<ObjectWriter>,
    index: Option<ObjectWriter>,
    finished: Vec<FinishedObject>,
    origins: Vec<RunOrigins>,
    duplicate: Option<DuplicateKey>,
}

impl RecordsWriter {
    /// A writer of a base for one step of a task; `first` names its first run.
    ///
    /// # Errors
    /// `KeyMissing`, or `Internal` if the codec cannot start.
    pub fn new(
        keys: &KeyRing,
        codec: Codec,
        storage: KeyStorage,
        first: Origin,
        limits: RunLimits,
    ) -> Result<Self> {
        let name_version = keys.newest_version();
        Self::with(keys, RunsOptions { codec, storage, delta: false, name_version, first, limits })
    }

    /// A writer of a base or a delta for one step of a task.
    ///
    /// # Errors
    /// `KeyMissing`, or `Internal` if the codec cannot start.
    pub fn with(keys: &KeyRing, options: RunsOptions) -> Result<Self> {
        Ok(Self {
            keys: keys.clone(),
            hasher: keys.key_hasher(options.name_version)?,
            compressor: Compressor::new(options.codec)?,
            next: options.first,
            options,
            data: Vec::new(),
            rows: Vec::new(),
            digest: DigestSum::default(),
            value_bytes: 0,
            counts: DeltaCounts::default(),
            pack: None,
            index: None,
            finished: Vec::new(),
            origins: Vec::new(),
            duplicate: None,
        })
    }

    /// Takes one record. `place` tells where it stood, for reporting duplicates.
    ///
    /// # Errors
    /// `SourceInvalid` if two records of a run have the same key (see [`Self::duplicate`]), or what sealing gives.
    pub fn push(&mut self, key: &[u8], value: &[u8], place: u64) -> Result<()> {
        let identity = self.identify(key, value);
        self.push_identified(&identity, DeltaKind::Added, key, value, place)
    }

    /// The key hash and the digest of a record, as state tables hold them.
    #[must_use]
    pub fn identify(&self, key: &[u8], value: &[u8]) -> Identity {
        Identity {
            hash: u128::from_be_bytes(self.hasher.name(key)),
            digest: record_digest(self.options.storage, key, value),
        }
    }

    /// The digest of a record by its value alone. `None` where keys are stored, since then it is of the key too.
    #[must_use]
    pub fn digest_of(&self, value: &[u8]) -> Option<[u8; 32]> {
        let storage = self.options.storage;
        (storage == KeyStorage::Derived).then(|| record_digest(storage, &[], value))
    }

    /// Takes one record whose identity is known.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn push_identified(
        &mut self,
        identity: &Identity,
        kind: DeltaKind,
        key: &[u8],
        value: &[u8],
        place: u64,
    ) -> Result<()> {
        let stored_key = if self.options.storage == KeyStorage::Stored { key } else { &[] };
        self.make_room(stored_key.len() + value.len())?;
        self.digest.add(&identity.digest);
        self.value_bytes += value.len() as u64;
        match kind {
            DeltaKind::Added => self.counts.added += 1,
            DeltaKind::Changed => self.counts.changed += 1,
        }
        self.rows.push(Row {
            hash: identity.hash,
            kind: RowKind::Record(kind),
            digest: identity.state_digest(),
            start: u32::try_from(self.data.len()).map_err(too_long)?,
            key_len: u32::try_from(stored_key.len()).map_err(too_long)?,
            value_len: u32::try_from(value.len()).map_err(too_long)?,
            origin: place,
        });
        if self.data.capacity() == 0 {
            self.data.reserve_exact(self.options.limits.run_bytes);
        }
        self.data.extend_from_slice(stored_key);
        self.data.extend_from_slice(value);
        Ok(())
    }

    /// Takes the hash of a key that is gone; only a delta has such.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn push_tombstone(&mut self, hash: u128) -> Result<()> {
        if !self.options.delta {
            return Err(Error::new(Code::Internal, "a base has no tombstones"));
        }
        self.make_room(0)?;
        self.counts.deleted += 1;
        let start = u32::try_from(self.data.len()).map_err(too_long)?;
        self.rows.push(Row {
            hash,
            kind: RowKind::Tombstone,
            digest: TOMBSTONE_DIGEST,
            start,
            key_len: 0,
            value_len: 0,
            origin: 0,
        });
        Ok(())
    }

    fn make_room(&mut self, bytes: usize) -> Result<()> {
        let full = self.data.len() + self.rows.len() * size_of::<Row>() + bytes;
        if !self.rows.is_empty() && full > self.options.limits.run_bytes {
            self.seal_run()?;
        }
        Ok(())
    }

    /// The duplicate for which [`Self::push`] or [`Self::finish`] failed.
    #[must_use]
    pub fn duplicate(&self) -> Option<DuplicateKey> {
        self.duplicate
    }

    /// Bytes sealed so far and not yet taken, and held in memory.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.pack.as_ref().map_or(0, ObjectWriter::len) + self.data.len()
    }

    /// Finished objects since the last call; store them before going on, so that memory stays bounded.
    pub fn take_finished(&mut self) -> Vec<FinishedObject> {
        std::mem::take(&mut self.finished)
    }

    /// The places of the records of the runs written since the last call. Empty where the source gives none.
    pub fn take_origins(&mut self) -> Vec<RunOrigins> {
        std::mem::take(&mut self.origins)
    }

    /// The number that the next run will have.
    #[must_use]
    pub fn next_sequence(&self) -> u32 {
        self.next.sequence
    }

    /// Writes what is held and ends the last objects; take them with [`Self::take_finished`].
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn finish(&mut self) -> Result<()> {
        self.seal_run()?;
        self.finish_pack()?;
        if let Some(index) = self.index.take() {
            self.finished.push(index.finish()?);
        }
        Ok(())
    }

    fn seal_run(&mut self) -> Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        self.rows.sort_unstable_by_key(|row| row.hash);
        if let Some(pair) = self.rows.windows(2).find(|pair| pair[0].hash == pair[1].hash) {
            self.duplicate = Some(DuplicateKey {
                first: pair[0].origin.min(pair[1].origin),
                second: pair[0].origin.max(pair[1].origin),
            });
            return Err(Error::new(Code::SourceInvalid, "two records have the same key"));
        }
        let index = self.write_records()?;
        self.write_state()?;
        let last = self.rows.last().map_or_else(Vec::new, |row| row.hash.to_be_bytes().to_vec());
        if let Some(pack) = &mut self.pack {
            pack.segment(Segment::Run(RunSegment {
                origin: self.next,
                delta: self.options.delta.then_some(self.counts),
                stored_keys: self.options.storage == KeyStorage::Stored,
                bytes: self.value_bytes,
                digest: self.digest,
                last,
                index,
            }));
        }
        if self.rows.iter().any(|row| row.origin != 0) {
            let places = self.rows.iter().map(|row| row.origin).collect();
            self.origins.push(RunOrigins { run: self.next, places });
        }
        self.next.sequence += 1;
        self.rows.clear();
        self.data.clear();
        self.digest = DigestSum::default();
        self.value_bytes = 0;
        self.counts = DeltaCounts::default();
        if self.pack.as_ref().is_some_and(|pack| pack.len() >= self.options.limits.pack_bytes) {
            self.finish_pack()?;
        }
        Ok(())
    }

    fn write_records(&mut self) -> Result<BlockIndex> {
        let pack = match &mut self.pack {
            Some(pack) => pack,
            none => {
                // A pack is full when a run has ended, and a run may not compress.
                let room = self.options.limits.pack_bytes + self.options.limits.run_bytes + BLOCK_LEN;
                none.insert(ObjectWriter::with_room(&self.keys, ObjectKind::Pack, room)?)
            }
        };
        let mut index = BlockIndex { first_block: pack.next_block(), fences: Vec::new() };
        let mut block = Vec::with_capacity(BLOCK_LEN + (64 << 10));
        let mut fence: Option<Fence> = None;
        for row in &self.rows {
            let start = row.start as usize;
            let value_at = start + row.key_len as usize;
            if self.options.delta {
                block.push(if row.kind == RowKind::Tombstone { DELTA_TOMBSTONE } else { DELTA_RECORD });
            }
            if row.kind == RowKind::Tombstone {
                block.extend_from_slice(&row.hash.to_be_bytes());
            } else {
                if self.options.storage == KeyStorage::Stored {
                    put_bytes(&mut block, &self.data[start..value_at]);
                }
                put_bytes(&mut block, &self.data[value_at..value_at + row.value_len as usize]);
            }
            fence.get_or_insert_with(|| Fence { first: row.hash.to_be_bytes().to_vec(), count: 0 }).count +=
                1;
            if block.len() >= BLOCK_LEN {
                pack.block(&mut self.compressor, &block)?;
                index.fences.extend(fence.take());
                block.clear();
            }
        }
        if !block.is_empty() {
            pack.block(&mut self.compressor, &block)?;
            index.fences.extend(fence.take());
        }
        Ok(index)
    }

    fn write_state(&mut self) -> Result<()> {
        let object = match &mut self.index {
            Some(object) => object,
            none => none.insert(ObjectWriter::new(&self.keys, ObjectKind::Index)?),
        };
        let mut index = BlockIndex { first_block: object.next_block(), fences: Vec::new() };
        for rows in self.rows.chunks(STATE_ROWS) {
            let mut block = Vec::with_capacity(rows.len() * STATE_ROW_LEN);
            for row in rows {
                block.extend_from_slice(&row.hash.to_be_bytes());
                block.extend_from_slice(&row.digest);
            }
            index.fences.push(Fence {
                first: rows[0].hash.to_be_bytes().to_vec(),
                count: u32::try_from(rows.len()).unwrap_or(u32::MAX),
            });
            object.dense_block(&block)?;
        }
        object.segment(Segment::State(IndexSegment { origin: self.next, index }));
        if object.len() >= self.options.limits.pack_bytes
            && let Some(object) = self.index.take()
        {
            self.finished.push(object.finish()?);
        }
        Ok(())
    }

    fn finish_pack(&mut self) -> Result<()> {
        if let Some(pack) = self.pack.take() {
            self.finished.push(pack.finish()?);
        }
        Ok(())
    }
}

fn too_long<E>(_: E) -> Error {
    Error::new(Code::SourceInvalid, "a record is longer than 4 GiB")
}

/// What a state table says of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The hash of its key.
    pub hash: u128,
    /// Its digest.
    pub digest: [u8; 32],
}

impl Identity {
    /// The part of the digest that state tables hold.
    #[must_use]
    pub fn state_digest(&self) -> [u8; 16] {
        state_digest(&self.digest)
    }
}

/// The part of a record's digest that state tables hold: its first half.
#[must_use]
pub fn state_digest(digest: &[u8; 32]) -> [u8; 16] {
    let mut half = [0_u8; 16];
    half.copy_from_slice(&digest[..16]);
    half
}

/// The digest of a record: SHA-256 of its value, behind its length-prefixed key where keys are stored.
#[must_use]
pub fn record_digest(storage: KeyStorage, key: &[u8], value: &[u8]) -> [u8; 32] {
    let mut hasher = Hasher::default();
    if storage == KeyStorage::Stored {
        let mut length = Vec::with_capacity(10);
        put_number(&mut length, key.len() as u64);
        hasher.update(&length);
        hasher.update(key);
    }
    hasher.update(value);
    hasher.finish()
}
