//! What differs between two backups of a stream. What both stand on is not read: only layers above it can differ.

use super::choice::StreamChoice;
use super::merge::{Candidate, Row, candidates};
use super::{Difference, Differences};
use holdfast_connectors::KeyFinder;
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::format::manifest::{Layer, Manifest, StreamManifest};
use holdfast_vault::model::{StreamInfo, StreamKind, Warning};
use holdfast_vault::read::layers::{self, shared_layers, shown};
use holdfast_vault::read::state::{self, StateRow};
use holdfast_vault::read::{Fetch, Overlay, PackReader, RecordKeys, Shard, Vault, records};
use holdfast_vault::write::records::{KeyStorage, record_digest};
use std::sync::Arc;

/// State rows of one side in memory, about: 48 bytes each.
const ROWS: u64 = 1 << 20;
/// Keys whose values are looked up together.
const TOGETHER: usize = 4_096;

/// Compares a stream of two backups and hands on what differs and is chosen.
///
/// # Errors
/// `InvalidInput` if the records of the two cannot be compared, or what reading and `out` give.
pub(super) async fn differences(
    vault: &Vault,
    (from, to): (&Arc<Manifest>, &Arc<Manifest>),
    info: &StreamInfo,
    choice: &mut StreamChoice<'_>,
    out: &mut dyn Differences,
) -> Result<Vec<Warning>> {
    let (old, new) = (records_of(from, info), records_of(to, info));
    let notes = comparable(info, &old, &new)?;
    let (old_finder, new_finder) = (KeyFinder::new(&old.info)?, KeyFinder::new(&new.info)?);
    let (old_key, new_key) = (|value: &[u8]| old_finder.key(value), |value: &[u8]| new_finder.key(value));
    let hasher = |manifest: &Manifest| vault.keys().key_hasher(manifest.name_key_version);
    let rehashed = from.name_key_version != to.name_key_version;
    let under = if rehashed { 0 } else { shared_layers(&old.layers, &new.layers) };
    let common = RecordKeys::new(hasher(to)?, &new_key);
    let mut old = Side::new(vault, from, old, RecordKeys::new(hasher(from)?, &old_key));
    let mut new = Side::new(vault, to, new, RecordKeys::new(hasher(to)?, &new_key));
    let of = Shard::count(old.rows_above(under).max(new.rows_above(under)), ROWS);
    for number in 0..of {
        let shard = Shard::new(number, of);
        let was = old.rows(under, shard, rehashed.then_some(&common)).await?;
        let is = new.rows(under, shard, None).await?;
        let found = candidates(&was, &is, under > 0);
        drop((was, is));
        for some in found.chunks(TOGETHER) {
            let differ = values(&mut old, &mut new, some, choice).await?;
            if !differ.is_empty() {
                out.take(info, differ).await?;
            }
        }
    }
    Ok(notes)
}

/// A stream's records as a backup holds them; none where it has no such stream.
fn records_of(manifest: &Manifest, info: &StreamInfo) -> StreamManifest {
    manifest.streams.iter().find(|stream| stream.info.name == info.name).cloned().unwrap_or_else(|| {
        StreamManifest {
            info: info.clone(),
            records: 0,
            files: 0,
            bytes: 0,
            digest: String::new(),
            layers: Vec::new(),
        }
    })
}

fn comparable(info: &StreamInfo, old: &StreamManifest, new: &StreamManifest) -> Result<Vec<Warning>> {
    let refuse = |why: &str| {
        Err(Error::new(Code::InvalidInput, format!("stream {} {why} between the two points", info.name))
            .object(&info.name)
            .hint("choose two points on one side of that"))
    };
    let (StreamKind::Records { encoding: a, key: ka }, StreamKind::Records { encoding: b, key: kb }) =
        (&old.info.shape, &new.info.shape)
    else {
        return refuse("changed between files and records");
    };
    if a != b {
        return refuse("changed its encoding");
    }
    if ka == kb {
        return Ok(Vec::new());
    }
    let message = format!(
        "stream {} has another key since: records are compared by the keys they have in each backup",
        info.name
    );
    Ok(vec![Warning::new("KeyChanged", message)])
}

/// One of the two backups.
struct Side<'a> {
    reader: PackReader,
    stream: StreamManifest,
    keys: RecordKeys<'a>,
}

impl<'a> Side<'a> {
    fn new(vault: &Vault, manifest: &Arc<Manifest>, stream: StreamManifest, keys: RecordKeys<'a>) -> Self {
        Self { reader: PackReader::new(vault, manifest, Fetch::Blocks), stream, keys }
    }

    fn rows_above(&self, under: usize) -> u64 {
        let above = self.stream.layers.iter().skip(under);
        above.flat_map(|layer: &Layer| &layer.segments).map(|segment| segment.count).sum()
    }

    /// The newest row of each key of the layers above the shared ones. A backup can do without its state tables, so
    /// where one is gone the records themselves are read; and where keys are hashed otherwise on the other side.
    async fn rows(&mut self, under: usize, shard: Shard, as_by: Option<&RecordKeys<'_>>) -> Result<Vec<Row>> {
        if let Some(common) = as_by {
            return self.rows_read(shard, common).await;
        }
        let own = |state: StateRow| Row { state, own: state.hash };
        match state::rows(&mut self.reader, &self.stream.layers[under..], shard).await {
            Ok(rows) => Ok(rows.into_iter().map(own).collect()),
            Err(error) if error.code == Code::ObjectMissing && under == 0 => {
                let keys = self.keys.clone();
                self.rows_read(shard, &keys).await
            }
            Err(error) => Err(error),
        }
    }

    async fn rows_read(&mut self, shard: Shard, common: &RecordKeys<'_>) -> Result<Vec<Row>> {
        let overlay = Overlay::read(&mut self.reader, &self.stream, &self.keys, Shard::ALL).await?;
        let mut rows = Vec::new();
        for (number, layer) in (0_u32..).zip(&self.stream.layers) {
            for segment in &layer.segments {
                let run = records::run(&mut self.reader, segment).await?;
                let storage = if run.stored_keys { KeyStorage::Stored } else { KeyStorage::Derived };
                for at in 0..run.index.fences.len() {
                    let block = records::block(&mut self.reader, segment, &run, at).await?;
                    shown(&block, number, &overlay, Shard::ALL, &self.keys, |stored, value| {
                        let key = self.keys.key(stored, value)?;
                        let hash = common.hash_of(&key);
                        if shard.holds(hash) {
                            let mut digest = [0; 16];
                            digest.copy_from_slice(&record_digest(storage, &key, value)[..16]);
                            rows.push(Row { state: StateRow { hash, digest }, own: self.keys.hash_of(&key) });
                        }
                        Ok(())
                    })?;
                }
            }
        }
        rows.sort_unstable_by_key(|row| row.state.hash);
        Ok(rows)
    }
}

async fn values(
    old: &mut Side<'_>,
    new: &mut Side<'_>,
    some: &[Candidate],
    choice: &mut StreamChoice<'_>,
) -> Result<Vec<Difference>> {
    let (from, to): (Vec<u128>, Vec<u128>) = some.iter().map(|found| (found.from, found.to)).unzip();
    let mut was = layers::find(&mut old.reader, &old.stream, &old.keys, &from).await?;
    let mut is = layers::find(&mut new.reader, &new.stream, &new.keys, &to).await?;
    let mut differ = Vec::new();
    for candidate in some {
        let (before, after) = (was.remove(&candidate.from), is.remove(&candidate.to));
        let Some(key) = before.as_ref().or(after.as_ref()).map(|found| found.key.clone()) else { continue };
        let (before, after) = (before.map(|found| found.value), after.map(|found| found.value));
        let difference = Difference { key, before, after };
        if difference.before != difference.after && choice.takes(&difference)? {
            differ.push(difference);
        }
    }
    Ok(differ)
}
