//! State tables: which records a stream holds, by the hashes of their keys and their digests, without its records.

use super::pack::PackReader;
use super::shard::Shard;
use crate::error::{Code, Error, Result};
use crate::format::footer::{IndexSegment, Segment};
use crate::format::manifest::Layer;
use crate::write::records::{STATE_ROW_LEN, TOMBSTONE_DIGEST};
use std::collections::HashMap;

/// What a state table says of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct StateRow {
    /// The key's hash.
    pub hash: u128,
    /// The first half of the record's digest; zeros where the record is gone.
    pub digest: [u8; 16],
}

impl StateRow {
    /// Whether the record is gone.
    #[must_use]
    pub fn is_tombstone(&self) -> bool {
        self.digest == TOMBSTONE_DIGEST
    }
}

/// The rows of a shard of some layers, older ones first, merged: one row a key, the newest layer's, in order of the
/// hashes. Tombstones are among them.
///
/// # Errors
/// `ObjectMissing` or `ObjectDamaged` if a state table cannot be read or is not there, `KeyMissing`, `Storage*`.
pub async fn rows(reader: &mut PackReader, layers: &[Layer], shard: Shard) -> Result<Vec<StateRow>> {
    let mut all: Vec<(StateRow, u32)> = Vec::new();
    for (number, layer) in (0_u32..).zip(layers) {
        let (rows, listed) = listed_rows(reader, layer, shard).await?;
        // By what the tables say of themselves: a part of the hashes alone cannot tell that a table is not there.
        let expected: u64 = layer.segments.iter().map(|segment| segment.count).sum();
        if listed != expected {
            return Err(Error::new(
                Code::ObjectMissing,
                format!("a layer of backup {} has no whole state table", layer.backup),
            )
            .object(&layer.backup)
            .hint("make a full backup"));
        }
        all.extend(rows.into_iter().map(|row| (row, number)));
    }
    // Tables are sorted in themselves: a stable sort finds that out, and only merges them.
    all.sort_by(|(a, newer_a), (b, newer_b)| a.hash.cmp(&b.hash).then(newer_b.cmp(newer_a)));
    all.dedup_by_key(|(row, _)| row.hash);
    Ok(all.into_iter().map(|(row, _)| row).collect())
}

/// The same without the records that are gone.
///
/// # Errors
/// As [`rows`].
pub async fn live_rows(reader: &mut PackReader, layers: &[Layer], shard: Shard) -> Result<Vec<StateRow>> {
    let mut rows = rows(reader, layers, shard).await?;
    rows.retain(|row| !row.is_tombstone());
    Ok(rows)
}

/// The rows of a shard of one layer as they stand in its tables: sorted within each, and not merged.
///
/// # Errors
/// As [`rows`].
pub async fn table_rows(reader: &mut PackReader, layer: &Layer, shard: Shard) -> Result<Vec<StateRow>> {
    listed_rows(reader, layer, shard).await.map(|(rows, _)| rows)
}

/// The same, and how many rows the tables say that they hold in all shards.
async fn listed_rows(reader: &mut PackReader, layer: &Layer, shard: Shard) -> Result<(Vec<StateRow>, u64)> {
    let (mut rows, mut listed) = (Vec::new(), 0);
    for at in &layer.index {
        let key = reader.key(at.object)?;
        let Some(Segment::State(state)) = reader.footer(at.object).await?.segments.get(at.segment as usize)
        else {
            return Err(Error::damaged(key, format!("segment {} is no state table", at.segment)));
        };
        let state = state.clone();
        listed += state.index.fences.iter().map(|fence| u64::from(fence.count)).sum::<u64>();
        each_row(reader, at.object, &state, shard, |_, row| rows.push(row)).await?;
    }
    Ok((rows, listed))
}

/// Calls `each` with the rows of a shard of one table, in order, and with the place of each in the table.
///
/// # Errors
/// As [`rows`].
pub async fn each_row(
    reader: &mut PackReader,
    object: u32,
    state: &IndexSegment,
    shard: Shard,
    mut each: impl FnMut(u32, StateRow),
) -> Result<()> {
    let fences = &state.index.fences;
    let range = shard.blocks(fences.iter().map(|fence| fence.first.as_slice()));
    let mut place = fences[..range.start].iter().map(|fence| fence.count).sum::<u32>();
    for at in range {
        let number = state.index.first_block + u32::try_from(at).unwrap_or(u32::MAX);
        let block = reader.block(object, number).await?;
        let rows = block.chunks_exact(STATE_ROW_LEN);
        if !rows.remainder().is_empty() || rows.len() != fences[at].count as usize {
            return Err(Error::damaged(reader.key(object)?, "a state table is malformed"));
        }
        for row in rows {
            let (mut hash, mut digest) = ([0_u8; 16], [0_u8; 16]);
            hash.copy_from_slice(&row[..16]);
            digest.copy_from_slice(&row[16..]);
            let hash = u128::from_be_bytes(hash);
            if shard.holds(hash) {
                each(place, StateRow { hash, digest });
            }
            place += 1;
        }
    }
    Ok(())
}

/// Finds the row of a hash among rows in order. Hashes are spread evenly, so the place is guessed and then corrected.
#[must_use]
pub fn position(rows: &[StateRow], hash: u128) -> Option<usize> {
    let (mut low, mut high) = (0, rows.len());
    // Each guess leaves about the square root of what was left; a few suffice, and halving ends it in any case.
    for _ in 0..4 {
        if high - low < 16 {
            break;
        }
        let (first, last) = (rows[low].hash, rows[high - 1].hash);
        if hash < first || hash > last {
            return None;
        }
        let span = ((last - first) >> 64) as u64;
        let ahead = ((hash - first) >> 64) as u64;
        let guess = u128::from(ahead) * (high - low - 1) as u128 / u128::from(span.max(1));
        let guess = (low + usize::try_from(guess).unwrap_or(0)).min(high - 1);
        // A guess is wrong by about the square root of what was left: so far behind it the other end closes in too.
        let reach = (high - low).isqrt();
        if rows[guess].hash <= hash {
            low = guess;
            if guess + reach < high && rows[guess + reach].hash > hash {
                high = guess + reach;
            }
        } else {
            high = guess;
            if low + reach <= guess && rows[guess - reach].hash <= hash {
                low = guess - reach;
            }
        }
    }
    rows[low..high].binary_search_by_key(&hash, |row| row.hash).ok().map(|at| low + at)
}

/// The places of rows by their digests.
#[derive(Debug)]
pub struct ByDigest(HashMap<[u8; 16], u32>);

impl ByDigest {
    /// The places in these rows, which are fewer than 2^32.
    #[must_use]
    pub fn of(rows: &[StateRow]) -> Self {
        // Whole digests, so that no row has to be read to compare them.
        Self((0_u32..).zip(rows).map(|(at, row)| (row.digest, at)).collect())
    }

    /// The place of a row of this digest.
    #[must_use]
    pub fn find(&self, digest: [u8; 16]) -> Option<usize> {
        self.0.get(&digest).map(|at| *at as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn positions_are_those_of_a_search(mut hashes: Vec<u128>, spread: bool, other: u128) {
            if !spread {
                for hash in &mut hashes {
                    *hash >>= 70;
                }
            }
            hashes.sort_unstable();
            hashes.dedup();
            let rows: Vec<StateRow> =
                hashes.iter().map(|hash| StateRow { hash: *hash, digest: [1; 16] }).collect();
            for (at, hash) in hashes.iter().enumerate() {
                prop_assert_eq!(position(&rows, *hash), Some(at));
            }
            prop_assert_eq!(position(&rows, other), hashes.binary_search(&other).ok());
        }

        #[test]
        fn rows_are_found_by_their_digests(digests: Vec<[u8; 16]>, other: [u8; 16]) {
            let row = |digest: &[u8; 16]| StateRow { hash: 0, digest: *digest };
            let rows: Vec<StateRow> = digests.iter().map(row).collect();
            let by_digest = ByDigest::of(&rows);
            for digest in &digests {
                prop_assert_eq!(by_digest.find(*digest).map(|at| rows[at].digest), Some(*digest));
            }
            let at = by_digest.find(other);
            prop_assert_eq!(at.map(|at| rows[at].digest), digests.contains(&other).then_some(other));
        }
    }
}
