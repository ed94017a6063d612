//! Tree entries, and the chunk lists beside them.

use super::wire::{Reader, put_bytes, put_number, put_signed};
use crate::crypto::sha256;
use crate::model::{EntryKind, EntryMeta, Mtime, Part};
use std::collections::BTreeMap;

/// Some bytes of a block of file content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Which pack, by its number in the tree segment: 0 is the segment's own.
    pub pack: u32,
    /// Which block of the pack.
    pub block: u32,
    /// Where in the plain block.
    pub offset: u32,
    /// How many bytes; at least 1.
    pub length: u32,
}

/// An entry as it is stored: what it is, which part of the content it holds, and where that stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeEntry {
    /// What it is.
    pub meta: EntryMeta,
    /// Which bytes of the content it holds; all of them unless the file is large.
    pub part: Part,
    /// SHA-256 of the part's content; of nothing for directories and links.
    pub sha256: [u8; 32],
    /// The content, piece by piece.
    pub extents: Vec<Extent>,
}

const FILE: u8 = 0;
const DIRECTORY: u8 = 1;
const SYMLINK: u8 = 2;
/// Of delta trees only: the path is gone.
const TOMBSTONE: u8 = 3;
const HAS_MODE: u8 = 0x10;
const HAS_MTIME: u8 = 0x20;
const IS_PART: u8 = 0x40;
/// Nanoseconds in a second.
const NANOS: u32 = 1_000_000_000;

/// What stands in a delta tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeltaEntry {
    /// An entry that is new, or that hides the one below.
    Entry(TreeEntry),
    /// The path of an entry below that is gone.
    Tombstone(Vec<u8>),
}

impl DeltaEntry {
    /// The path it is about.
    #[must_use]
    pub fn path(&self) -> &[u8] {
        match self {
            Self::Entry(entry) => &entry.meta.path,
            Self::Tombstone(path) => path,
        }
    }

    /// Appends its bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Entry(entry) => entry.encode(out),
            Self::Tombstone(path) => {
                out.push(TOMBSTONE);
                put_bytes(out, path);
            }
        }
    }

    /// The next one; `None` if the bytes are malformed.
    pub fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        let mut ahead = *reader;
        if ahead.byte()? != TOMBSTONE {
            return TreeEntry::decode(reader).map(Self::Entry);
        }
        let path = ahead.bytes()?.to_vec();
        *reader = ahead;
        Some(Self::Tombstone(path))
    }
}

impl TreeEntry {
    /// Appends the entry's bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.encode_identity(out);
        if !self.extents.is_empty() || self.part.length > 0 {
            put_number(out, self.extents.len() as u64);
            for extent in &self.extents {
                for number in [extent.pack, extent.block, extent.offset, extent.length] {
                    put_number(out, u64::from(number));
                }
            }
        }
    }

    /// SHA-256 of all but the extents: two backups of the same file have the same digest wherever its bytes stand.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut out = Vec::with_capacity(128 + self.meta.path.len());
        self.encode_identity(&mut out);
        sha256(&out)
    }

    fn encode_identity(&self, out: &mut Vec<u8>) {
        let meta = &self.meta;
        let whole = self.part.offset == 0 && self.part.length == meta.size;
        let kind = match meta.kind {
            EntryKind::File => FILE,
            EntryKind::Directory => DIRECTORY,
            EntryKind::Symlink { .. } => SYMLINK,
        };
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        out.push(
            kind | flag(meta.mode.is_some(), HAS_MODE)
                | flag(meta.mtime.is_some(), HAS_MTIME)
                | flag(!whole, IS_PART),
        );
        put_bytes(out, &meta.path);
        if let Some(mode) = meta.mode {
            put_number(out, u64::from(mode));
        }
        if let Some(mtime) = meta.mtime {
            put_signed(out, mtime.seconds);
            put_number(out, u64::from(mtime.nanos));
        }
        put_number(out, meta.attributes.len() as u64);
        for (name, value) in &meta.attributes {
            put_bytes(out, name.as_bytes());
            put_bytes(out, value.as_bytes());
        }
        match &meta.kind {
            EntryKind::File => {
                put_number(out, meta.size);
                if !whole {
                    put_number(out, self.part.offset);
                    put_number(out, self.part.length);
                }
                if self.part.length > 0 {
                    out.extend_from_slice(&self.sha256);
                }
            }
            EntryKind::Directory => {}
            EntryKind::Symlink { target } => put_bytes(out, target),
        }
    }

    /// The next entry; `None` if the bytes are malformed.
    pub fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        let flags = reader.byte()?;
        let of_kind = if flags & 3 == FILE { IS_PART } else { 0 };
        if flags & !(HAS_MODE | HAS_MTIME | of_kind | 3) != 0 {
            return None;
        }
        let path = reader.bytes()?.to_vec();
        let mode = if flags & HAS_MODE == 0 { None } else { Some(reader.number32()?) };
        let mtime = if flags & HAS_MTIME == 0 {
            None
        } else {
            let (seconds, nanos) = (reader.signed()?, reader.number32()?);
            Some(Mtime { seconds, nanos: Some(nanos).filter(|nanos| *nanos < NANOS)? })
        };
        let mut attributes = BTreeMap::new();
        for _ in 0..reader.count()? {
            attributes.insert(reader.text()?.to_owned(), reader.text()?.to_owned());
        }
        let (mut size, mut part, mut hash) = (0, Part { offset: 0, length: 0 }, sha256(&[]));
        let kind = match flags & 3 {
            FILE => {
                size = reader.number()?;
                part.length = size;
                if flags & IS_PART != 0 {
                    part = Part { offset: reader.number()?, length: reader.number()? };
                }
                if part.offset.checked_add(part.length)? > size {
                    return None;
                }
                if part.length > 0 {
                    hash = reader.array()?;
                }
                EntryKind::File
            }
            DIRECTORY => EntryKind::Directory,
            SYMLINK => EntryKind::Symlink { target: reader.bytes()?.to_vec() },
            _ => return None,
        };
        let extents = Self::decode_extents(reader, part)?;
        let meta = EntryMeta { path, kind, size, mode, mtime, attributes };
        Some(Self { meta, part, sha256: hash, extents })
    }

    fn decode_extents(reader: &mut Reader<'_>, part: Part) -> Option<Vec<Extent>> {
        let mut extents = Vec::new();
        let mut length = 0_u64;
        if part.length > 0 {
            for _ in 0..reader.count()? {
                let extent = Extent {
                    pack: reader.number32()?,
                    block: reader.number32()?,
                    offset: reader.number32()?,
                    length: reader.number32()?,
                };
                length += u64::from(extent.length);
                extents.push(extent);
            }
        }
        (length == part.length && extents.iter().all(|e| e.length > 0)).then_some(extents)
    }
}

/// A chunk's name and length, as the chunk list of an entry gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkRef {
    /// The keyed hash of its content.
    pub name: [u8; 16],
    /// Bytes.
    pub length: u32,
}

/// Appends the chunk list of one entry.
pub fn put_chunks(out: &mut Vec<u8>, chunks: &[ChunkRef]) {
    put_number(out, chunks.len() as u64);
    for chunk in chunks {
        out.extend_from_slice(&chunk.name);
        put_number(out, u64::from(chunk.length));
    }
}

/// The chunk list of the next entry; `None` if the bytes are malformed.
pub fn take_chunks(reader: &mut Reader<'_>) -> Option<Vec<ChunkRef>> {
    let count = reader.count()?;
    let mut chunks = Vec::with_capacity(count.min(reader.remaining() / 17));
    for _ in 0..count {
        chunks.push(ChunkRef { name: reader.array()?, length: reader.number32()? });
    }
    Some(chunks)
}
