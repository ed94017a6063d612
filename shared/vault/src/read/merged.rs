//! Proves that the layers of a record stream merge to what its manifest says.

use super::layers::{Overlay, RecordKeys, blocks, shown};
use super::pack::{Fetch, PackReader};
use super::records;
use super::shard::Shard;
use super::vault::Vault;
use crate::crypto::DigestSum;
use crate::error::{Error, Result};
use crate::format::manifest::{Manifest, StreamManifest, manifest_key};
use crate::write::records::{KeyStorage, record_digest};
use std::sync::Arc;

/// Keys of deltas in one shard, at most about: 32 bytes each in memory.
pub const OVERLAY_KEYS: u64 = 4 << 20;

/// In how many shards a stream is merged, so that the keys of its deltas fit memory.
#[must_use]
pub fn shards(stream: &StreamManifest, most: u64) -> u64 {
    let keys = stream.layers.iter().skip(1).flat_map(|layer| &layer.segments).map(|s| s.count).sum();
    Shard::count(keys, most)
}

/// Reads all of a stream, merges it and compares counts, bytes and digest with the manifest.
///
/// # Errors
/// `ObjectDamaged` naming the manifest if they differ, or what reading gives.
pub async fn check(
    vault: &Vault,
    manifest: &Arc<Manifest>,
    stream: &StreamManifest,
    keys: &RecordKeys<'_>,
) -> Result<()> {
    let mut reader = PackReader::new(vault, manifest, Fetch::Whole);
    let of = shards(stream, OVERLAY_KEYS);
    let (mut digest, mut count, mut bytes) = (DigestSum::default(), 0_u64, 0_u64);
    for number in 0..of {
        let shard = Shard::new(number, of);
        let overlay = Overlay::read(&mut reader, stream, keys, shard).await?;
        for (layer, segments) in (0_u32..).zip(stream.layers.iter().map(|layer| &layer.segments)) {
            for segment in segments {
                let run = records::run(&mut reader, segment).await?;
                let storage = if run.stored_keys { KeyStorage::Stored } else { KeyStorage::Derived };
                for at in blocks(&run, shard) {
                    let block = records::block(&mut reader, segment, &run, at).await?;
                    shown(&block, layer, &overlay, shard, keys, |key, value| {
                        digest.add(&record_digest(storage, key, value));
                        count += 1;
                        bytes += value.len() as u64;
                        Ok(())
                    })?;
                }
            }
        }
    }
    let right = hex::encode(digest.to_bytes()) == stream.digest;
    if right && count == stream.records && bytes == stream.bytes {
        return Ok(());
    }
    let why = format!("the layers of stream {} do not merge to what it says", stream.info.name);
    Err(Error::damaged(manifest_key(&manifest.id), why))
}
