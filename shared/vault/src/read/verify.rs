//! Proves that a backup can be restored: object by object, then the whole against its manifest.

use super::changes::ChangeObject;
use super::pack::{Fetch, PackReader};
use super::records;
use super::vault::{Vault, describe};
use super::verify_structure::{self, StructureAt};
use super::verify_tree::tree_segment;
use crate::crypto::DigestSum;
use crate::error::{Class, Error, Result};
use crate::format::changes::ChangeName;
use crate::format::footer::{IndexSegment, RunSegment, Segment};
use crate::format::header::ObjectKind;
use crate::format::manifest::{Manifest, SegmentRef};
use crate::format::root::{VAULT_KEY, WrappedKey, wrapped_key_name};
use crate::storage::{ByteRange, StoredSum};
use crate::write::records::{KeyStorage, STATE_ROW_LEN, record_digest};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How much of an object is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Depth {
    /// It is there, and has its size and the checksum that the store keeps of it, where it keeps one.
    Quick,
    /// Every byte is read: checksums, seals, codecs, structure, and the digests of what it holds.
    Full,
}

/// What checking found. Findings of several objects are added up.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// What is wrong, an object each.
    pub errors: Vec<Finding>,
    /// Objects found in place.
    #[serde(default)]
    pub objects_checked: u64,
    /// Those of them whose checksum, as the store keeps it, was compared. Of the others the store keeps none.
    #[serde(default)]
    pub sums_compared: u64,
    /// Those of them of which every byte was read.
    #[serde(default)]
    pub objects_read: u64,
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
pub(super) enum Aspect {
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
        self.objects_checked += other.objects_checked;
        self.sums_compared += other.sums_compared;
        self.objects_read += other.objects_read;
        self.blocks_checked += other.blocks_checked;
        self.bytes_checked += other.bytes_checked;
        self.checksum_valid &= other.checksum_valid;
        self.structure_valid &= other.structure_valid;
        self.data_integrity &= other.data_integrity;
    }

    /// Notes damage; gives back what is no damage but a failure to look.
    pub(super) fn note(&mut self, aspect: &Aspect, error: Error) -> Result<()> {
        if error.code.class() != Class::Damage {
            return Err(error);
        }
        match aspect {
            Aspect::Checksum => self.checksum_valid = false,
            Aspect::Structure => self.structure_valid = false,
            Aspect::Integrity => {}
        }
        self.data_integrity = false;
        self.errors.push(Finding::from(error));
        Ok(())
    }
}

impl From<Error> for Finding {
    fn from(error: Error) -> Self {
        Self {
            object: error.object.unwrap_or_default(),
            code: error.code.to_string(),
            message: error.message,
        }
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
    match in_place(vault, &stored.key(), stored.size, &stored.parts).await {
        Ok(sum) => findings.sums_compared = u64::from(sum == StoredSum::Same),
        Err(error) => {
            findings.note(&Aspect::Checksum, error)?;
            return Ok(findings);
        }
    }
    (findings.objects_checked, findings.bytes_checked) = (1, stored.size);
    if depth == Depth::Quick {
        return Ok(findings);
    }
    findings.objects_read = 1;
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
    if let Err(error) = in_place(vault, &name.key(), stored_size, &[]).await {
        findings.note(&Aspect::Checksum, error)?;
        return Ok(findings);
    }
    (findings.objects_checked, findings.objects_read, findings.bytes_checked) = (1, 1, stored_size);
    let checked = match ChangeObject::open(vault, name, stored_size).await {
        Ok(object) => {
            let blocks = object.segments().iter().map(|(_, segment)| segment.index.fences.len() as u64);
            findings.blocks_checked = blocks.sum();
            object.check(vault).await
        }
        Err(error) => Err(error),
    };
    if let Err(error) = checked {
        findings.note(&Aspect::Structure, error)?;
    }
    Ok(findings)
}

/// That an object is there and has its size and, where the store keeps one, the checksum of these parts.
async fn in_place(vault: &Vault, key: &str, size: u64, parts: &[String]) -> Result<StoredSum> {
    let found = vault.storage().inspect(key, parts).await?;
    if found.size != size {
        return Err(Error::damaged(key, format!("{} bytes instead of {size}", found.size)));
    }
    if found.sum == StoredSum::Differs && !parts.is_empty() {
        return Err(Error::damaged(key, "the store keeps another checksum of it than the manifest"));
    }
    Ok(found.sum)
}

/// Checks what every backup needs beside its objects: the vault's description, and each version of its key.
///
/// # Errors
/// Only what kept it from looking: `Storage*`. Damage is in the findings.
pub async fn foundations(vault: &Vault) -> Result<Findings> {
    let mut findings = Findings::clean();
    if let Err(error) = description(vault).await {
        findings.note(&Aspect::Structure, error)?;
    }
    for version in vault.keys().versions() {
        if let Err(error) = wrapped_key(vault, version).await {
            findings.note(&Aspect::Structure, error)?;
        }
    }
    Ok(findings)
}

async fn description(vault: &Vault) -> Result<()> {
    // A format or a description that cannot be is damage here: the vault is open, so there was a right one.
    let found = describe(vault.storage().as_ref()).await.map_err(|error| match error.code.class() {
        Class::BadInput => Error::damaged(VAULT_KEY, error.message),
        _ => error,
    })?;
    if found.vault == vault.id() { Ok(()) } else { Err(Error::damaged(VAULT_KEY, "it names another vault")) }
}

async fn wrapped_key(vault: &Vault, version: u32) -> Result<()> {
    let key = wrapped_key_name(version);
    let bytes = vault.storage().get(&key, ByteRange::All).await?;
    let found: WrappedKey = serde_json::from_slice(&bytes).map_err(|e| Error::damaged(&key, e))?;
    if (found.vault, found.version) == (vault.id(), version) {
        return Ok(());
    }
    Err(Error::damaged(&key, "it belongs to another vault or version"))
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

/// Checks the manifest against the footers of all of its objects: every segment is where it should be, all of it adds up.
///
/// # Errors
/// Only what kept it from looking: `Storage*`. Damage is in the findings.
pub async fn totals(vault: &Vault, manifest: &Arc<Manifest>) -> Result<Findings> {
    let at = StructureAt::default();
    Ok(verify_structure::compare(vault, manifest, at, usize::MAX, 1).await?.0)
}
