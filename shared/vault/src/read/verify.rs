//! Proves that a backup can be restored: object by object, then the whole against its manifest.

use super::changes::ChangeObject;
use super::pack::{Fetch, PackReader};
use super::records;
use super::vault::Vault;
use super::verify_tree::tree_segment;
use crate::crypto::DigestSum;
use crate::error::{Class, Error, Result};
use crate::format::changes::ChangeName;
use crate::format::footer::{DeltaCounts, IndexSegment, RunSegment, Segment};
use crate::format::header::ObjectKind;
use crate::format::manifest::{Manifest, SegmentRef, StreamManifest, manifest_key};
use crate::write::records::{KeyStorage, STATE_ROW_LEN, record_digest};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How much of an object is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Depth {
    /// It is there and has its size.
    Quick,
    /// Every byte is read: checksums, seals, codecs, structure, and the digests of what it holds.
    Full,
}

/// What checking found. Findings of several objects are added up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// What is wrong, an object each.
    pub errors: Vec<Finding>,
    /// Sealed blocks opened.
    pub blocks_checked: u64,
    /// Bytes of stored objects looked at; of a quick check, of the objects found in place.
    pub bytes_checked: u64,
    /// Whether all sizes and checksums of stored bytes are right.
    pub checksum_valid: bool,
    /// Whether all seals, footers and encodings are right.
    pub structure_valid: bool,
    /// Whether all content has the digest it was backed up with.
    pub data_integrity: bool,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The object.
    pub object: String,
    /// The error's code.
    pub code: String,
    /// One sentence.
    pub message: String,
}

/// Which promise a finding breaks.
enum Aspect {
    Checksum,
    Structure,
    Integrity,
}

impl Findings {
    /// Nothing wrong yet.
    #[must_use]
    pub fn clean() -> Self {
        Self { checksum_valid: true, structure_valid: true, data_integrity: true, ..Self::default() }
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn valid(&self) -> bool {
        self.errors.is_empty()
    }

    /// Adds what another check found.
    pub fn merge(&mut self, other: Self) {
        self.errors.extend(other.errors);
        self.blocks_checked += other.blocks_checked;
        self.bytes_checked += other.bytes_checked;
        self.checksum_valid &= other.checksum_valid;
        self.structure_valid &= other.structure_valid;
        self.data_integrity &= other.data_integrity;
    }

    /// Notes damage; gives back what is no damage but a failure to look.
    fn note(&mut self, aspect: &Aspect, error: Error) -> Result<()> {
        if error.code.class() != Class::Damage {
            return Err(error);
        }
        match aspect {
            Aspect::Checksum => self.checksum_valid = false,
            Aspect::Structure => self.structure_valid = false,
            Aspect::Integrity => {}
        }
        self.data_integrity = false;
        self.errors.push(Finding {
            object: error.object.unwrap_or_default(),
            code: error.code.to_string(),
            message: error.message,
        });
        Ok(())
    }
}

/// Checks one object of a backup.
///
/// # Errors
/// Only what kept it from looking: `Storage*`. Damage is in the findings.
pub async fn object(vault: &Vault, manifest: &Arc<Manifest>, at: u32, depth: Depth) -> Result<Findings> {
    let mut findings = Findings::clean();
    let mut reader = PackReader::new(vault, manifest, Fetch::Whole);
    let stored = reader.stored(at)?.clone();
    if let Err(error) = size(vault, &stored.key(), stored.size).await {
        findings.note(&Aspect::Checksum, error)?;
        return Ok(findings);
    }
    findings.bytes_checked = stored.size;
    if depth == Depth::Quick {
        return Ok(findings);
    }
    if let Err(error) = contents(&mut reader, at, stored.kind).await {
        // Loading compares the checksums as well; only after a failure is it worth asking which of the two it was.
        let aspect = if vault.whole(&stored).await.is_err() { Aspect::Checksum } else { Aspect::Structure };
        findings.note(&aspect, error)?;
    }
    findings.blocks_checked = reader.blocks_read();
    Ok(findings)
}

/// Checks an object of captured changes in full.
///
/// # Errors
/// Only what kept it from looking: `Storage*`. Damage is in the findings.
pub async fn changes(vault: &Vault, name: &ChangeName, stored_size: u64) -> Result<Findings> {
    let mut findings = Findings::clean();
    if let Err(error) = size(vault, &name.key(), stored_size).await {
        findings.note(&Aspect::Checksum, error)?;
        return Ok(findings);
    }
    findings.bytes_checked = stored_size;
    let checked = match ChangeObject::open(vault, name, stored_size).await {
        Ok(object) => {
            let blocks = object.segments().iter().map(|(_, segment)| segment.index.fences.len() as u64);
            findings.blocks_checked = blocks.sum();
            object.check(vault, name).await
        }
        Err(error) => Err(error),
    };
    if let Err(error) = checked {
        findings.note(&Aspect::Structure, error)?;
    }
    Ok(findings)
}

async fn size(vault: &Vault, key: &str, expected: u64) -> Result<()> {
    let found = vault.storage().head(key).await?.size;
    if found == expected {
        return Ok(());
    }
    Err(Error::damaged(key, format!("{found} bytes instead of {expected}")))
}

async fn contents(reader: &mut PackReader, at: u32, kind: ObjectKind) -> Result<()> {
    let footer = reader.footer(at).await?.clone();
    let key = reader.key(at)?;
    for (number, segment) in footer.segments.iter().enumerate() {
        let place = SegmentRef {
            object: at,
            segment: u32::try_from(number).unwrap_or(u32::MAX),
            first: String::new(),
            last: String::new(),
            count: 0,
            bytes: 0,
        };
        match (kind, segment) {
            (ObjectKind::Pack, Segment::Tree(segment)) => tree_segment(reader, &place, segment).await?,
            (ObjectKind::Pack, Segment::Run(segment)) => run_segment(reader, &place, segment).await?,
            (ObjectKind::Index, Segment::State(segment)) => state_segment(reader, at, segment).await?,
            (ObjectKind::Index, Segment::Chunks(_)) => {}
            _ => return Err(Error::damaged(key, "it holds a segment that does not belong there")),
        }
    }
    // What no segment led to is opened too: content of a file that goes on in the next pack, chunk lists.
    for number in 0..footer.blocks.len() {
        reader.block_once(at, u32::try_from(number).unwrap_or(u32::MAX)).await?;
    }
    Ok(())
}

async fn run_segment(reader: &mut PackReader, place: &SegmentRef, segment: &RunSegment) -> Result<()> {
    let key = reader.key(place.object)?;
    let storage = if segment.stored_keys { KeyStorage::Stored } else { KeyStorage::Derived };
    let (mut digest, mut bytes, mut count, mut tombstones) = (DigestSum::default(), 0, 0, 0);
    for at in 0..segment.index.fences.len() {
        let block = records::block(reader, place, segment, at).await?;
        block.each_stored(|stored| {
            match stored {
                records::Stored::Tombstone(_) => tombstones += 1,
                records::Stored::Record { key: record_key, value } => {
                    digest.add(&record_digest(storage, record_key, value));
                    bytes += value.len() as u64;
                    count += 1;
                }
            }
            Ok(())
        })?;
    }
    let deleted = segment.delta.map_or(0, |delta| delta.deleted);
    if digest != segment.digest
        || bytes != segment.bytes
        || count != segment.records()
        || tombstones != deleted
    {
        return Err(Error::damaged(key, "its records do not add up to what its footer says"));
    }
    Ok(())
}

async fn state_segment(reader: &mut PackReader, object: u32, segment: &IndexSegment) -> Result<()> {
    let key = reader.key(object)?;
    let mut last: Option<[u8; 16]> = None;
    for (at, fence) in segment.index.fences.iter().enumerate() {
        let number = segment.index.first_block + u32::try_from(at).unwrap_or(u32::MAX);
        let plain = reader.block(object, number).await?;
        let rows = plain.chunks_exact(STATE_ROW_LEN);
        if !rows.remainder().is_empty() || rows.len() != fence.count as usize {
            return Err(Error::damaged(key, "a state table is malformed"));
        }
        for row in rows {
            let mut hash = [0_u8; 16];
            hash.copy_from_slice(&row[..16]);
            if last.is_some_and(|last| last >= hash) {
                return Err(Error::damaged(key, "a state table is out of order"));
            }
            last = Some(hash);
        }
    }
    Ok(())
}

/// Checks the manifest against the footers of its objects: every segment is where it should be, all of it adds up.
///
/// # Errors
/// Only what kept it from looking: `Storage*`. Damage is in the findings.
pub async fn totals(vault: &Vault, manifest: &Arc<Manifest>) -> Result<Findings> {
    let mut findings = Findings::clean();
    let mut reader = PackReader::new(vault, manifest, Fetch::Blocks);
    let manifest_object = manifest_key(&manifest.id);
    for stream in &manifest.streams {
        let (mut sum, mut broken) = (Sum::default(), false);
        for segment in stream.layers.iter().flat_map(|layer| &layer.segments) {
            match segment_totals(&mut reader, segment).await {
                Ok(of_segment) => sum.merge(&of_segment),
                Err(error) => {
                    broken = true;
                    findings.note(&Aspect::Structure, error)?;
                }
            }
        }
        if !broken && !sum.fits(stream) {
            let why = format!("stream {} does not add up to what it says", stream.info.name);
            findings.note(&Aspect::Integrity, Error::damaged(&manifest_object, why))?;
        }
    }
    Ok(findings)
}

/// What the segments of a stream add up to.
#[derive(Default)]
struct Sum {
    digest: DigestSum,
    /// Of the base.
    things: u64,
    bytes: u64,
    delta: DeltaCounts,
}

impl Sum {
    fn merge(&mut self, other: &Self) {
        self.digest.merge(&other.digest);
        self.things += other.things;
        self.bytes += other.bytes;
        self.delta += other.delta;
    }

    /// Of a stream with deltas only the count is known without merging: [`super::merged`] compares the rest.
    fn fits(&self, stream: &StreamManifest) -> bool {
        let things = stream.records + stream.files;
        if stream.layers.len() > 1 {
            return (self.things + self.delta.added).checked_sub(self.delta.deleted) == Some(things);
        }
        hex::encode(self.digest.to_bytes()) == stream.digest
            && self.things == things
            && self.bytes == stream.bytes
    }
}

async fn segment_totals(reader: &mut PackReader, at: &SegmentRef) -> Result<Sum> {
    let key = reader.key(at.object)?;
    let (digest, things, bytes, delta) =
        match reader.footer(at.object).await?.segments.get(at.segment as usize) {
            Some(Segment::Tree(tree)) => (tree.digest, tree.files, tree.bytes, tree.delta),
            Some(Segment::Run(run)) => (run.digest, run.records(), run.bytes, run.delta),
            _ => {
                return Err(Error::damaged(
                    key,
                    format!("segment {} is not what the manifest says", at.segment),
                ));
            }
        };
    let things = if delta.is_some() { 0 } else { things };
    Ok(Sum { digest, things, bytes, delta: delta.unwrap_or_default() })
}
