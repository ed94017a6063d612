//! Reads the records of a run.

use super::pack::PackReader;
use crate::error::{Error, Result};
use crate::format::footer::{RunSegment, Segment};
use crate::format::manifest::SegmentRef;
use crate::format::wire::Reader;
use crate::write::records::{DELTA_RECORD, DELTA_TOMBSTONE, KeyStorage};
use bytes::Bytes;

/// A run's description.
///
/// # Errors
/// `ObjectDamaged` if the segment is no run, or what opening the object gives.
pub async fn run(reader: &mut PackReader, at: &SegmentRef) -> Result<RunSegment> {
    let key = reader.key(at.object)?;
    match reader.footer(at.object).await?.segments.get(at.segment as usize) {
        Some(Segment::Run(run)) => Ok(run.clone()),
        _ => Err(Error::damaged(key, format!("segment {} is no run of records", at.segment))),
    }
}

/// What stands in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored<'a> {
    /// A record: its stored key (empty where it is derived from the value) and its value.
    Record {
        /// The key.
        key: &'a [u8],
        /// The value.
        value: &'a [u8],
    },
    /// The hash of a key that is gone; in deltas only.
    Tombstone(u128),
}

/// A block of records.
#[derive(Debug, Clone)]
pub struct RecordBlock {
    plain: Bytes,
    keys: KeyStorage,
    delta: bool,
    /// How many records the block holds.
    pub count: u32,
    /// The object it stands in, for messages.
    pub object: String,
}

impl RecordBlock {
    /// Calls `each` with every record's stored key (empty where it is derived from the value) and value; tombstones are
    /// left out.
    ///
    /// # Errors
    /// `ObjectDamaged` if the block does not hold what its fence says, or what `each` gives.
    pub fn each(&self, mut each: impl FnMut(&[u8], &[u8]) -> Result<()>) -> Result<()> {
        self.each_stored(|stored| match stored {
            Stored::Record { key, value } => each(key, value),
            Stored::Tombstone(_) => Ok(()),
        })
    }

    /// Calls `each` with all that the block holds, in order of the key hashes.
    ///
    /// # Errors
    /// As [`Self::each`].
    pub fn each_stored(&self, mut each: impl FnMut(Stored<'_>) -> Result<()>) -> Result<()> {
        let mut reader = Reader::new(&self.plain);
        for _ in 0..self.count {
            let stored = self
                .next(&mut reader)
                .ok_or_else(|| Error::damaged(&self.object, "a block of records is malformed"))?;
            each(stored)?;
        }
        if !reader.is_empty() {
            return Err(Error::damaged(&self.object, "a block of records holds more than it says"));
        }
        Ok(())
    }

    fn next<'a>(&self, reader: &mut Reader<'a>) -> Option<Stored<'a>> {
        match if self.delta { reader.byte()? } else { DELTA_RECORD } {
            DELTA_RECORD => {}
            DELTA_TOMBSTONE => return Some(Stored::Tombstone(u128::from_be_bytes(reader.array()?))),
            _ => return None,
        }
        let key = match self.keys {
            KeyStorage::Derived => &[][..],
            KeyStorage::Stored => reader.bytes()?,
        };
        Some(Stored::Record { key, value: reader.bytes()? })
    }

    /// Bytes of the plain block.
    #[must_use]
    pub fn len(&self) -> usize {
        self.plain.len()
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.plain.is_empty()
    }
}

/// The `at`-th block of a run.
///
/// # Errors
/// As [`run`].
pub async fn block(
    reader: &mut PackReader,
    segment: &SegmentRef,
    run: &RunSegment,
    at: usize,
) -> Result<RecordBlock> {
    let object = reader.key(segment.object)?;
    let fence = run.index.fences.get(at).ok_or_else(|| Error::damaged(&object, "a run ends too early"))?;
    let number = run.index.first_block + u32::try_from(at).unwrap_or(u32::MAX);
    let plain = reader.block(segment.object, number).await?;
    let keys = if run.stored_keys { KeyStorage::Stored } else { KeyStorage::Derived };
    Ok(RecordBlock { plain, keys, delta: run.delta.is_some(), count: fence.count, object })
}

/// Which block of a run may hold a key hash.
#[must_use]
pub fn block_of(run: &RunSegment, hash: &[u8; 16]) -> Option<usize> {
    if run.last.as_slice() < hash.as_slice() {
        return None;
    }
    run.index.fences.partition_point(|fence| fence.first.as_slice() <= hash.as_slice()).checked_sub(1)
}
