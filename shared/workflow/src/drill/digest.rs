//! Digests of what a target holds: the sums that a manifest has, made anew from what stands in the target.
//!
//! Records are read through the connector's source and summed up as vault-format.md section 6 says; the order does not
//! count. The entries of a tree are read beside the manifest's own, path by path: the content of each is hashed in the
//! parts that the manifest has of it, and the entry is described anew out of what the target tells. What a target does not
//! keep is taken from the manifest: attributes always; mode and time unless the resource is a directory and was
//! restored into one. Nothing is taken from what the restore said.

use super::model::Tally;
use async_trait::async_trait;
use holdfast_connectors::{Flow, RecordBatch, RecordSink, TreeSink, Want};
use holdfast_vault::crypto::Hasher;
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::format::entry::TreeEntry;
use holdfast_vault::model::{EntryKind, EntryMeta, Part, Warning};
use holdfast_vault::read::{LiveEntry, MergedTree};
use holdfast_vault::write::records::{KeyStorage, record_digest};

/// Sums up the digests of records.
pub(super) struct RecordDigests {
    pub(super) storage: KeyStorage,
    pub(super) found: Tally,
    /// Bytes that this call may still read.
    pub(super) left: u64,
}

#[async_trait]
impl RecordSink for RecordDigests {
    async fn records(&mut self, batch: &RecordBatch) -> Result<Flow> {
        for record in batch.iter() {
            let bytes = record.value.len() as u64;
            self.found.digest.add(&record_digest(self.storage, record.key, record.value));
            self.found.records += 1;
            self.found.bytes += bytes;
            self.left = self.left.saturating_sub(bytes.max(1));
        }
        Ok(if self.left == 0 { Flow::Enough } else { Flow::More })
    }

    fn warn(&mut self, _: Warning) {}
}

/// Sums up the digests of a tree's entries, beside those of the manifest.
pub(super) struct TreeDigests {
    manifest: MergedTree,
    ahead: Option<TreeEntry>,
    with_times: bool,
    pub(super) found: Tally,
    /// Bytes that this call may still read.
    pub(super) left: u64,
    /// What the manifest has of the path that is being read. It stays while a source begins an entry again.
    matched: Option<Matched>,
    open: Option<Open>,
}

/// A path of the manifest, with all its parts.
struct Matched {
    path: Vec<u8>,
    parts: Vec<TreeEntry>,
}

/// An entry of the target that is being read.
struct Open {
    meta: EntryMeta,
    /// Hashes of the parts that were read whole.
    hashes: Vec<[u8; 32]>,
    hasher: Hasher,
    /// Bytes of the part that is being read.
    of_part: u64,
    read: u64,
}

impl TreeDigests {
    /// Goes on from what was found so far. `manifest` begins where the target's range or cursor does.
    pub(super) fn new(manifest: MergedTree, with_times: bool, found: Tally, left: u64) -> Self {
        Self { manifest, ahead: None, with_times, found, left, matched: None, open: None }
    }

    /// Counts what the manifest has behind all that the range of the target holds.
    pub(super) async fn drain(&mut self) -> Result<()> {
        self.forget_matched();
        while let Some(entry) = self.next().await? {
            self.miss(&entry).await?;
        }
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<TreeEntry>> {
        if let Some(entry) = self.ahead.take() {
            return Ok(Some(entry));
        }
        Ok(self.manifest.next().await?.map(|LiveEntry { entry, .. }| entry))
    }

    /// An entry that the target has not: once for all parts of it.
    async fn miss(&mut self, entry: &TreeEntry) -> Result<()> {
        self.found.missing += 1;
        self.parts_of(&entry.meta.path).await?;
        Ok(())
    }

    /// The entries of a path that follow.
    async fn parts_of(&mut self, path: &[u8]) -> Result<Vec<TreeEntry>> {
        let mut parts = Vec::new();
        while let Some(next) = self.next().await? {
            if next.meta.path != path {
                self.ahead = Some(next);
                break;
            }
            parts.push(next);
        }
        Ok(parts)
    }

    /// What was begun and never ended: it vanished while it was read.
    fn forget_matched(&mut self) {
        if self.matched.take().is_some() {
            self.found.missing += 1;
        }
    }

    /// Goes through the manifest up to a path.
    async fn reach(&mut self, path: &[u8]) -> Result<()> {
        if self.matched.as_ref().is_some_and(|matched| matched.path == path) {
            return Ok(());
        }
        self.forget_matched();
        while let Some(entry) = self.next().await? {
            if entry.meta.path.as_slice() < path {
                self.miss(&entry).await?;
                continue;
            }
            if entry.meta.path == path {
                let mut parts = vec![entry];
                parts.extend(self.parts_of(path).await?);
                self.matched = Some(Matched { path: path.to_vec(), parts });
            } else {
                self.ahead = Some(entry);
            }
            return Ok(());
        }
        Ok(())
    }

    /// Adds an entry that the manifest has too, as the target tells it.
    fn close(&mut self, open: &Open, matched: &Matched) {
        self.found.files += 1;
        self.found.bytes += open.meta.size;
        let mut same = matched.parts.first().is_some_and(|first| first.meta.size == open.meta.size);
        let hashed = open.hashes.iter().map(Some).chain(std::iter::repeat(None));
        for (expected, hash) in matched.parts.iter().zip(hashed) {
            let again = describe(expected, &open.meta, hash, self.with_times);
            let digest = again.digest();
            same &= digest == expected.digest();
            self.found.digest.add(&digest);
        }
        self.found.changed += u64::from(!same);
    }
}

impl Open {
    fn new(meta: EntryMeta) -> Self {
        Self { meta, hashes: Vec::new(), hasher: Hasher::default(), of_part: 0, read: 0 }
    }

    /// Hashes the next bytes, part by part of what the manifest has.
    fn write(&mut self, mut bytes: &[u8], parts: &[TreeEntry]) {
        self.read += bytes.len() as u64;
        while !bytes.is_empty() {
            let Some(part) = parts.get(self.hashes.len()) else { return };
            let room = part.part.length.saturating_sub(self.of_part);
            let take = usize::try_from(room).map_or(bytes.len(), |room| room.min(bytes.len()));
            let (now, rest) = bytes.split_at(take);
            self.hasher.update(now);
            self.of_part += now.len() as u64;
            if self.of_part == part.part.length {
                self.hashes.push(self.hasher.finish());
                self.of_part = 0;
            }
            bytes = rest;
        }
    }
}

/// An entry of the manifest as the target tells it; `hash` is of the content that the target has for the part.
fn describe(expected: &TreeEntry, found: &EntryMeta, hash: Option<&[u8; 32]>, with_times: bool) -> TreeEntry {
    let of = &expected.meta;
    let (mode, mtime) = if with_times { (found.mode, found.mtime) } else { (of.mode, of.mtime) };
    let meta = EntryMeta {
        path: found.path.clone(),
        kind: kind_of(of, found),
        size: found.size,
        mode,
        mtime,
        attributes: of.attributes.clone(),
    };
    // Content that was not read is no content that was backed up.
    let sha256 = match hash {
        Some(hash) => *hash,
        None if expected.part.length == 0 => expected.sha256,
        None => [0; 32],
    };
    TreeEntry { meta, part: expected.part, sha256, extents: Vec::new() }
}

/// An empty object whose key ends with `/` is a directory in a file system.
fn kind_of(expected: &EntryMeta, found: &EntryMeta) -> EntryKind {
    let folder = expected.path.ends_with(b"/") && expected.size == 0 && expected.kind == EntryKind::File;
    if folder && found.kind == EntryKind::Directory { EntryKind::File } else { found.kind.clone() }
}

#[async_trait]
impl TreeSink for TreeDigests {
    async fn begin(&mut self, meta: EntryMeta, part: Part) -> Result<Want> {
        if meta.kind == EntryKind::File && (part.offset != 0 || part.length != meta.size) {
            return Err(Error::new(Code::Internal, "a file of a throw-away target was cut"));
        }
        self.reach(&meta.path).await?;
        let size = meta.size;
        let wanted = match &self.matched {
            Some(matched) => matched.parts.first().is_some_and(|first| first.meta.size == size) && size > 0,
            None => false,
        };
        self.open = Some(Open::new(meta));
        Ok(if wanted { Want::Content } else { Want::Nothing })
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.left = self.left.saturating_sub(bytes.len() as u64);
        if let (Some(open), Some(matched)) = (&mut self.open, &self.matched) {
            open.write(bytes, &matched.parts);
        }
        Ok(())
    }

    async fn finish(&mut self) -> Result<Flow> {
        let Some(open) = self.open.take() else { return Ok(Flow::More) };
        self.left = self.left.saturating_sub(1);
        match self.matched.take() {
            Some(matched) => self.close(&open, &matched),
            // A directory that holds objects is there because they are.
            None if open.meta.kind == EntryKind::Directory && !self.with_times => {}
            None => {
                self.found.files += 1;
                self.found.bytes += open.meta.size;
                self.found.unexpected += 1;
            }
        }
        Ok(if self.left == 0 { Flow::Enough } else { Flow::More })
    }

    fn abandon(&mut self) {
        self.open = None;
    }

    fn warn(&mut self, _: Warning) {}
}
