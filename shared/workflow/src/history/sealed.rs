//! Sealed objects of before and after: what an undo keeps in staging while it works, and in the vault for good.

use holdfast_vault::compress::{Codec, Compressor};
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::format::changes::Change;
use holdfast_vault::format::footer::{BlockIndex, ChangeSegment, Fence, Origin, Segment};
use holdfast_vault::format::header::{HEADER_LEN, Header, Id, ObjectKind};
use holdfast_vault::format::wire::Reader;
use holdfast_vault::keys::KeyRing;
use holdfast_vault::read::{OpenObject, Vault};
use holdfast_vault::storage::{ByteRange, Storage};
use holdfast_vault::write::{BLOCK_LEN, FinishedObject, ObjectWriter};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Under which version of the vault key the keys of changes are hashed.
const HASHER: u32 = 1;

/// Some changes of a record's value, and what is said of them all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Section<T> {
    /// What is said of them.
    pub(crate) description: T,
    /// The changes, in the order of their key hashes; each key once.
    pub(crate) changes: Vec<Change>,
}

/// Makes changes of one moment.
pub(crate) struct Recorder {
    hasher: holdfast_vault::crypto::Namer,
    time: i64,
}

impl Recorder {
    /// For changes at a time in milliseconds since 1970.
    pub(crate) fn new(keys: &KeyRing, time: i64) -> Result<Self> {
        Ok(Self { hasher: keys.key_hasher(HASHER)?, time })
    }

    /// A change of a record.
    pub(crate) fn change(&self, key: &[u8], before: Option<Vec<u8>>, after: Option<Vec<u8>>) -> Change {
        Change {
            hash: self.hasher.name(key),
            time: self.time,
            sequence: "0".to_owned(),
            key: key.to_vec(),
            before,
            after,
        }
    }
}

/// Seals sections into one object, a segment each.
pub(crate) fn seal<T: Serialize>(keys: &KeyRing, sections: Vec<Section<T>>) -> Result<FinishedObject> {
    let mut object = ObjectWriter::new(keys, ObjectKind::Changes)?;
    let mut compressor = Compressor::new(Codec::Zstd)?;
    for (number, Section { description, mut changes }) in (0_u32..).zip(sections) {
        changes.sort_by(Change::order);
        let mut index = BlockIndex { first_block: object.next_block(), fences: Vec::new() };
        let mut block = Vec::new();
        for change in &changes {
            if block.len() >= BLOCK_LEN {
                object.block(&mut compressor, &block)?;
                block.clear();
            }
            if block.is_empty() {
                index.fences.push(Fence { first: change.hash.to_vec(), count: 0 });
            }
            change.encode(&mut block);
            if let Some(fence) = index.fences.last_mut() {
                fence.count += 1;
            }
        }
        if !block.is_empty() {
            object.block(&mut compressor, &block)?;
        }
        let description = serde_json::to_vec(&description)
            .map_err(|e| Error::new(Code::Internal, format!("a description has no JSON form: {e}")))?;
        let times = || changes.iter().map(|change| change.time);
        object.segment(Segment::Changes(ChangeSegment {
            origin: Origin { stream: 0, task: 0, sequence: number },
            description,
            from: times().min().unwrap_or_default(),
            to: times().max().unwrap_or_default(),
            last: changes.last().map(|change| change.hash.to_vec()).unwrap_or_default(),
            index,
        }));
    }
    object.finish()
}

/// A sealed object as it was read.
pub(crate) struct Unsealed<T> {
    /// The object's id.
    pub(crate) id: Id,
    /// All its bytes, as they are stored.
    pub(crate) bytes: bytes::Bytes,
    /// What it holds.
    pub(crate) sections: Vec<Section<T>>,
}

/// Opens a sealed object; `None` if there is none of that key. What it is must be told by its descriptions.
pub(crate) async fn open<T: DeserializeOwned>(
    vault: &Vault,
    storage: &dyn Storage,
    key: &str,
) -> Result<Option<Unsealed<T>>> {
    let bytes = match storage.get(key, ByteRange::All).await {
        Ok(bytes) => bytes,
        Err(error) if error.code == Code::ObjectMissing => return Ok(None),
        Err(error) => return Err(error),
    };
    let damaged = |why: &str| Error::damaged(key, why);
    let header = bytes
        .get(..HEADER_LEN)
        .ok_or("it is shorter than a header")
        .and_then(Header::decode)
        .map_err(damaged)?;
    let expected = Header { kind: ObjectKind::Changes, vault: vault.id(), ..header };
    vault.need(expected.key_version).await?;
    let object = OpenObject::from_bytes(vault, key, &expected, &bytes)?;
    let mut sections = Vec::new();
    for segment in &object.footer.segments {
        let Segment::Changes(segment) = segment else { return Err(damaged("it holds other things")) };
        let description = serde_json::from_slice(&segment.description)
            .map_err(|e| damaged(&format!("a description is unreadable: {e}")))?;
        let mut changes = Vec::new();
        for (at, fence) in segment.index.fences.iter().enumerate() {
            let plain = object.block_of(&bytes, segment.index.first_block as usize + at)?;
            let mut reader = Reader::new(&plain);
            for _ in 0..fence.count {
                changes.push(Change::decode(&mut reader).ok_or_else(|| damaged("a change is malformed"))?);
            }
            if !reader.is_empty() {
                return Err(damaged("a block of changes holds more than it says"));
            }
        }
        sections.push(Section { description, changes });
    }
    Ok(Some(Unsealed { id: header.object, bytes, sections }))
}
