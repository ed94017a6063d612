//! The footer of a sealed object: its blocks and what stands in them.

use super::header::Id;
use super::wire::{Reader, put_bytes, put_number, put_signed};
use crate::crypto::DigestSum;

/// Where a block is and how long it becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockInfo {
    /// Offset of the sealed block in the object.
    pub offset: u64,
    /// Bytes of the sealed block: codec byte, payload and tag.
    pub sealed_len: u32,
    /// Bytes of the plain data.
    pub plain_len: u32,
}

/// Some consecutive blocks with the first key of each, so that one can be found without reading the others.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BlockIndex {
    /// The number of the first block.
    pub first_block: u32,
    /// For each block: its first key (a path, or the hash of a record's key) and how many things it holds.
    pub fences: Vec<Fence>,
}

/// A block's first key, and how many things it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    /// The first path, or the first key hash (16 bytes).
    pub first: Vec<u8>,
    /// Entries, records or rows in the block.
    pub count: u32,
}

/// What a segment is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// Entries of a tree stream, in order (in a pack).
    Tree(TreeSegment),
    /// A run of records, in order of their key hashes (in a pack).
    Run(RunSegment),
    /// The chunk lists of the entries of a tree segment, in the same order (in an index object).
    Chunks(IndexSegment),
    /// The state rows of a run, in the same order (in an index object).
    State(IndexSegment),
    /// Captured changes, in order of their key hashes (in a change object).
    Changes(ChangeSegment),
}

/// What a delta does to the layers below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct DeltaCounts {
    /// Records or entries that the layers below do not hold.
    pub added: u64,
    /// Those that they hold otherwise.
    pub changed: u64,
    /// Tombstones: those that they hold and that are gone.
    pub deleted: u64,
}

impl std::ops::AddAssign for DeltaCounts {
    fn add_assign(&mut self, other: Self) {
        self.added += other.added;
        self.changed += other.changed;
        self.deleted += other.deleted;
    }
}

impl DeltaCounts {
    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Entries of a tree stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeSegment {
    /// Which task of the backup wrote it, and which of the task's segments it is.
    pub origin: Origin,
    /// Of a delta: what it does to the layers below; its entries may be tombstones.
    pub delta: Option<DeltaCounts>,
    /// The other packs that extents name, from number 1; number 0 is the pack itself.
    pub packs: Vec<Id>,
    /// Files, links and directories; of a file in several parts only the first part counts.
    pub files: u64,
    /// Bytes of content.
    pub bytes: u64,
    /// The sum of the entries' digests.
    pub digest: DigestSum,
    /// The last path.
    pub last: Vec<u8>,
    /// Blocks of entries; fences are paths.
    pub index: BlockIndex,
}

/// A run of records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunSegment {
    /// Which task of the backup wrote it, and which of the task's segments it is.
    pub origin: Origin,
    /// Of a delta: what it does to the layers below; its records may be tombstones.
    pub delta: Option<DeltaCounts>,
    /// Whether keys stand beside the values, because they cannot be read from them.
    pub stored_keys: bool,
    /// Bytes of all values.
    pub bytes: u64,
    /// The sum of the records' digests.
    pub digest: DigestSum,
    /// The last key hash.
    pub last: Vec<u8>,
    /// Blocks of records; fences are key hashes.
    pub index: BlockIndex,
}

/// What the next backup needs of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexSegment {
    /// The origin of the segment it belongs to.
    pub origin: Origin,
    /// Blocks of chunk lists or state rows.
    pub index: BlockIndex,
}

/// Captured changes of one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeSegment {
    /// The segment's number in its object; stream and task are 0.
    pub origin: Origin,
    /// JSON: which stream the changes are of, and what is known of their being complete ([`super::changes`]).
    pub description: Vec<u8>,
    /// When the earliest change was made, in milliseconds since 1970.
    pub from: i64,
    /// When the latest change was made.
    pub to: i64,
    /// The last key hash.
    pub last: Vec<u8>,
    /// Blocks of changes; fences are key hashes.
    pub index: BlockIndex,
}

/// Which task of the backup wrote a segment, and which of the task's segments it is: their order is the stream's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    /// The stream's number in the backup.
    pub stream: u32,
    /// The task's number.
    pub task: u32,
    /// The segment's number in the task.
    pub sequence: u32,
}

/// The footer of a pack or an index object. A manifest's has blocks and no segments.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Footer {
    /// The blocks, in order and without gaps from the header to the footer.
    pub blocks: Vec<BlockInfo>,
    /// What stands in them.
    pub segments: Vec<Segment>,
}

const TREE: u8 = 1;
const RUN: u8 = 2;
const CHUNKS: u8 = 3;
const STATE: u8 = 4;
const DELTA_TREE: u8 = 5;
const DELTA_RUN: u8 = 6;
const CHANGES: u8 = 7;
/// Reserved in a run: a reader that does not know tombstones must not take one for a record.
const NO_TOMBSTONES: u64 = 0;

impl Footer {
    /// The footer's bytes, before it is compressed and sealed.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_number(&mut out, self.blocks.len() as u64);
        for block in &self.blocks {
            put_number(&mut out, u64::from(block.sealed_len));
            put_number(&mut out, u64::from(block.plain_len));
        }
        put_number(&mut out, self.segments.len() as u64);
        for segment in &self.segments {
            segment.encode(&mut out);
        }
        out
    }

    /// A footer from its bytes; `None` if they are none. `start` is where the first block begins.
    #[must_use]
    pub fn decode(bytes: &[u8], start: u64) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let mut offset = start;
        let count = reader.count()?;
        // Room for no more than the bytes that are left can hold: two a block and a fence, six a segment.
        let mut blocks = Vec::with_capacity(count.min(reader.remaining() / 2));
        for _ in 0..count {
            let block = BlockInfo { offset, sealed_len: reader.number32()?, plain_len: reader.number32()? };
            offset = offset.checked_add(u64::from(block.sealed_len))?;
            blocks.push(block);
        }
        let count = reader.count()?;
        let mut segments = Vec::with_capacity(count.min(reader.remaining() / 6));
        for _ in 0..count {
            let segment = Segment::decode(&mut reader)?;
            let index = segment.index();
            let end = usize::try_from(index.first_block).ok()?.checked_add(index.fences.len())?;
            if end > blocks.len() {
                return None;
            }
            segments.push(segment);
        }
        reader.is_empty().then_some(Self { blocks, segments })
    }

    /// Where the footer begins: behind the last block.
    #[must_use]
    pub fn end_of_blocks(&self, start: u64) -> u64 {
        self.blocks.last().map_or(start, |b| b.offset + u64::from(b.sealed_len))
    }
}

impl Segment {
    /// Which task wrote it.
    #[must_use]
    pub fn origin(&self) -> Origin {
        match self {
            Self::Tree(s) => s.origin,
            Self::Run(s) => s.origin,
            Self::Changes(s) => s.origin,
            Self::Chunks(s) | Self::State(s) => s.origin,
        }
    }

    /// Its blocks.
    #[must_use]
    pub fn index(&self) -> &BlockIndex {
        match self {
            Self::Tree(s) => &s.index,
            Self::Run(s) => &s.index,
            Self::Changes(s) => &s.index,
            Self::Chunks(s) | Self::State(s) => &s.index,
        }
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Tree(TreeSegment { delta: None, .. }) => TREE,
            Self::Tree(_) => DELTA_TREE,
            Self::Run(RunSegment { delta: None, .. }) => RUN,
            Self::Run(_) => DELTA_RUN,
            Self::Chunks(_) => CHUNKS,
            Self::State(_) => STATE,
            Self::Changes(_) => CHANGES,
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.kind());
        let origin = self.origin();
        for number in [origin.stream, origin.task, origin.sequence] {
            put_number(out, u64::from(number));
        }
        match self {
            Self::Tree(tree) => {
                put_number(out, tree.packs.len() as u64);
                for pack in &tree.packs {
                    out.extend_from_slice(&pack.0);
                }
                match &tree.delta {
                    None => put_number(out, tree.files),
                    Some(delta) => delta.encode(out),
                }
                put_number(out, tree.bytes);
                out.extend_from_slice(&tree.digest.to_bytes());
                put_bytes(out, &tree.last);
            }
            Self::Run(run) => {
                out.push(u8::from(run.stored_keys));
                match &run.delta {
                    None => put_number(out, NO_TOMBSTONES),
                    Some(delta) => delta.encode(out),
                }
                put_number(out, run.bytes);
                out.extend_from_slice(&run.digest.to_bytes());
                put_bytes(out, &run.last);
            }
            Self::Changes(changes) => {
                put_bytes(out, &changes.description);
                put_signed(out, changes.from);
                put_signed(out, changes.to);
                put_bytes(out, &changes.last);
            }
            Self::Chunks(_) | Self::State(_) => {}
        }
        self.index().encode(out);
    }

    fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        let kind = reader.byte()?;
        let origin =
            Origin { stream: reader.number32()?, task: reader.number32()?, sequence: reader.number32()? };
        Some(match kind {
            TREE | DELTA_TREE => Self::Tree(TreeSegment::decode(reader, origin, kind == DELTA_TREE)?),
            RUN | DELTA_RUN => Self::Run(RunSegment::decode(reader, origin, kind == DELTA_RUN)?),
            CHUNKS => Self::Chunks(IndexSegment { origin, index: BlockIndex::decode(reader)? }),
            STATE => Self::State(IndexSegment { origin, index: BlockIndex::decode(reader)? }),
            CHANGES => Self::Changes(ChangeSegment {
                origin,
                description: reader.bytes()?.to_vec(),
                from: reader.signed()?,
                to: reader.signed()?,
                last: reader.bytes()?.to_vec(),
                index: BlockIndex::decode(reader)?,
            }),
            _ => return None,
        })
    }
}

impl DeltaCounts {
    fn encode(&self, out: &mut Vec<u8>) {
        for number in [self.added, self.changed, self.deleted] {
            put_number(out, number);
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        Some(Self { added: reader.number()?, changed: reader.number()?, deleted: reader.number()? })
    }
}

impl TreeSegment {
    fn decode(reader: &mut Reader<'_>, origin: Origin, is_delta: bool) -> Option<Self> {
        let count = reader.count()?;
        let mut packs = Vec::with_capacity(count.min(reader.remaining() / 16));
        for _ in 0..count {
            packs.push(Id(reader.array()?));
        }
        let delta = if is_delta { Some(DeltaCounts::decode(reader)?) } else { None };
        let files = match &delta {
            None => reader.number()?,
            Some(delta) => delta.added.checked_add(delta.changed)?,
        };
        Some(Self {
            origin,
            delta,
            packs,
            files,
            bytes: reader.number()?,
            digest: DigestSum::from_bytes(&reader.array()?),
            last: reader.bytes()?.to_vec(),
            index: BlockIndex::decode(reader)?,
        })
    }
}

impl RunSegment {
    fn decode(reader: &mut Reader<'_>, origin: Origin, is_delta: bool) -> Option<Self> {
        let stored_keys = match reader.byte()? {
            0 => false,
            1 => true,
            _ => return None,
        };
        let delta = if is_delta {
            let delta = DeltaCounts::decode(reader)?;
            delta.added.checked_add(delta.changed)?;
            Some(delta)
        } else {
            (reader.number()? == NO_TOMBSTONES).then_some(())?;
            None
        };
        Some(Self {
            origin,
            delta,
            stored_keys,
            bytes: reader.number()?,
            digest: DigestSum::from_bytes(&reader.array()?),
            last: reader.bytes()?.to_vec(),
            index: BlockIndex::decode(reader)?,
        })
    }

    /// Records in the run; tombstones are none.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.delta.map_or_else(|| self.index.total(), |delta| delta.added + delta.changed)
    }
}

impl BlockIndex {
    /// How many things all blocks hold.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.fences.iter().map(|f| u64::from(f.count)).sum()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        put_number(out, u64::from(self.first_block));
        put_number(out, self.fences.len() as u64);
        for fence in &self.fences {
            put_bytes(out, &fence.first);
            put_number(out, u64::from(fence.count));
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        let first_block = reader.number32()?;
        let count = reader.count()?;
        let mut fences = Vec::with_capacity(count.min(reader.remaining() / 2));
        for _ in 0..count {
            fences.push(Fence { first: reader.bytes()?.to_vec(), count: reader.number32()? });
        }
        Some(Self { first_block, fences })
    }
}
