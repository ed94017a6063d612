//! Record streams of several layers, merged: what a newer layer holds hides what stands under the same key below.

use super::pack::PackReader;
use super::records::{self, RecordBlock, Stored, block_of};
use super::shard::Shard;
use crate::crypto::Namer;
use crate::error::Result;
use crate::format::footer::RunSegment;
use crate::format::manifest::{Layer, SegmentRef, StreamManifest};
use std::collections::HashMap;

/// Reads the canonical key of a record out of its value.
pub type KeyOf<'a> = &'a (dyn Fn(&[u8]) -> Result<Vec<u8>> + Send + Sync);

/// How the records of a stream get their key hashes.
#[derive(Clone)]
pub struct RecordKeys<'a> {
    hasher: Namer,
    key_of: KeyOf<'a>,
}

impl<'a> RecordKeys<'a> {
    /// With the hasher of the manifest's `name_key_version`.
    #[must_use]
    pub fn new(hasher: Namer, key_of: KeyOf<'a>) -> Self {
        Self { hasher, key_of }
    }

    /// The canonical key of a record.
    ///
    /// # Errors
    /// What reading the key of a value gives.
    pub fn key(&self, stored_key: &[u8], value: &[u8]) -> Result<Vec<u8>> {
        if stored_key.is_empty() { (self.key_of)(value) } else { Ok(stored_key.to_vec()) }
    }

    /// The hash of a record's key.
    ///
    /// # Errors
    /// As [`Self::key`].
    pub fn hash(&self, stored_key: &[u8], value: &[u8]) -> Result<u128> {
        if stored_key.is_empty() {
            return Ok(self.hash_of(&(self.key_of)(value)?));
        }
        Ok(self.hash_of(stored_key))
    }

    /// The hash of a canonical key.
    #[must_use]
    pub fn hash_of(&self, key: &[u8]) -> u128 {
        u128::from_be_bytes(self.hasher.name(key))
    }
}

/// Which keys of a shard newer layers hold, and the newest that does. 32 bytes a key.
#[derive(Debug, Default)]
pub struct Overlay(HashMap<u128, u32>);

impl Overlay {
    /// Reads the deltas of a stream. What they hold need not be kept: only its hashes are.
    ///
    /// # Errors
    /// `ObjectMissing`, `ObjectDamaged`, `KeyMissing` or `Storage*`.
    pub async fn read(
        reader: &mut PackReader,
        stream: &StreamManifest,
        keys: &RecordKeys<'_>,
        shard: Shard,
    ) -> Result<Self> {
        let mut newest = HashMap::new();
        for (number, layer) in (0_u32..).zip(&stream.layers).skip(1) {
            for segment in &layer.segments {
                let run = records::run(reader, segment).await?;
                for at in blocks(&run, shard) {
                    records::block(reader, segment, &run, at).await?.each_stored(|stored| {
                        let hash = match stored {
                            Stored::Tombstone(hash) => hash,
                            Stored::Record { key, value } => keys.hash(key, value)?,
                        };
                        if shard.holds(hash) {
                            newest.insert(hash, number);
                        }
                        Ok(())
                    })?;
                }
            }
        }
        Ok(Self(newest))
    }

    /// Adds keys that something newer than all layers holds.
    pub fn hide(&mut self, hashes: impl IntoIterator<Item = u128>) {
        self.0.extend(hashes.into_iter().map(|hash| (hash, u32::MAX)));
    }

    /// Whether no newer layer holds anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a record of a layer stands in the merged stream.
    #[must_use]
    pub fn shows(&self, layer: u32, hash: u128) -> bool {
        self.0.get(&hash).is_none_or(|newest| *newest <= layer)
    }
}

/// The blocks of a run that may hold hashes of a shard.
#[must_use]
pub fn blocks(run: &RunSegment, shard: Shard) -> std::ops::Range<usize> {
    shard.blocks(run.index.fences.iter().map(|fence| fence.first.as_slice()))
}

/// Calls `each` with the stored key and the value of every record of a block that stands in the merged stream.
///
/// # Errors
/// As [`RecordBlock::each_stored`].
pub fn shown(
    block: &RecordBlock,
    layer: u32,
    overlay: &Overlay,
    shard: Shard,
    keys: &RecordKeys<'_>,
    mut each: impl FnMut(&[u8], &[u8]) -> Result<()>,
) -> Result<()> {
    let all = overlay.is_empty() && shard.is_all();
    block.each_stored(|stored| {
        let Stored::Record { key, value } = stored else { return Ok(()) };
        if !all {
            let hash = keys.hash(key, value)?;
            if !shard.holds(hash) || !overlay.shows(layer, hash) {
                return Ok(());
            }
        }
        each(key, value)
    })
}

/// A record as it was found: its canonical key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The canonical key.
    pub key: Vec<u8>,
    /// The value.
    pub value: Vec<u8>,
}

/// The records of these key hashes in the merged stream. Reads only blocks that may hold one of them, each once.
///
/// Memory: what is found. Hashes that the stream does not hold are not in the answer.
///
/// # Errors
/// `ObjectMissing`, `ObjectDamaged`, `KeyMissing` or `Storage*`.
pub async fn find(
    reader: &mut PackReader,
    stream: &StreamManifest,
    keys: &RecordKeys<'_>,
    wanted: &[u128],
) -> Result<HashMap<u128, Found>> {
    let mut open: Vec<u128> = wanted.to_vec();
    open.sort_unstable();
    open.dedup();
    let mut found = HashMap::new();
    for layer in stream.layers.iter().rev() {
        let mut settled = Vec::new();
        for segment in &layer.segments {
            find_in_run(reader, segment, keys, &open, &mut settled, &mut found).await?;
        }
        settled.sort_unstable();
        open.retain(|hash| settled.binary_search(hash).is_err());
        if open.is_empty() {
            break;
        }
    }
    Ok(found)
}

async fn find_in_run(
    reader: &mut PackReader,
    segment: &SegmentRef,
    keys: &RecordKeys<'_>,
    open: &[u128],
    settled: &mut Vec<u128>,
    found: &mut HashMap<u128, Found>,
) -> Result<()> {
    let within = |hash: &u128| {
        let hash = hex::encode(hash.to_be_bytes());
        segment.first <= hash && hash <= segment.last
    };
    if !open.iter().any(within) {
        return Ok(());
    }
    let run = records::run(reader, segment).await?;
    let mut at_blocks: Vec<usize> =
        open.iter().filter_map(|hash| block_of(&run, &hash.to_be_bytes())).collect();
    at_blocks.dedup();
    for at in at_blocks {
        let block = records::block(reader, segment, &run, at).await?;
        block.each_stored(|stored| {
            match stored {
                Stored::Tombstone(hash) => settled.extend(open.binary_search(&hash).ok().map(|_| hash)),
                Stored::Record { key, value } => {
                    let own = keys.key(key, value)?;
                    let hash = keys.hash_of(&own);
                    if open.binary_search(&hash).is_ok() {
                        settled.push(hash);
                        found.insert(hash, Found { key: own, value: value.to_vec() });
                    }
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// How many of the first layers of two streams are the same: what stands above them is all that can differ.
///
/// A backup writes one layer of a stream, so a layer is known by the backup that wrote it and its kind.
#[must_use]
pub fn shared_layers(one: &[Layer], other: &[Layer]) -> usize {
    let same = |(a, b): &(&Layer, &Layer)| a.backup == b.backup && a.kind == b.kind;
    one.iter().zip(other).take_while(same).count()
}
