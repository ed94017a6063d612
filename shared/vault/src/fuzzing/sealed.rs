//! Whole objects: any bytes, and what a broken writer could have sealed.

use crate::compress::Codec;
use crate::crypto::SecretKey;
use crate::error::{Class, Result};
use crate::format::FORMAT;
use crate::format::changes::ChangeName;
use crate::format::header::{FOOTER_NUMBER, HEADER_LEN, Header, Id, ObjectKind, Trailer};
use crate::format::manifest::{Layer, LayerKind, Manifest, SegmentRef, StoredObject, StreamManifest};
use crate::format::wire::put_number;
use crate::keys::KeyRing;
use crate::memory::MemoryStorage;
use crate::model::{RecordEncoding, StreamInfo, StreamKind};
use crate::read::changes::{ALL_KEYS, ChangeObject};
use crate::read::layers::{blocks, shown};
use crate::read::tree::EntryContent;
use crate::read::verify::{self, Depth};
use crate::read::{
    Fetch, MergedTree, Overlay, PackReader, PathSpan, RecordKeys, Shard, Vault, merged, records, state,
    tree_layers,
};
use crate::write::object::{aad, part_sums};
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

pub(super) const VAULT: Id = Id([7; 16]);
pub(super) const OBJECT: Id = Id([9; 16]);
pub(super) const BACKUP: &str = "01AAAAAAAAAAAAAAAAAAAAAAAA";

/// What a future gives that waits for nobody: storage in memory never lets anybody wait.
pub fn now<T>(future: impl Future<Output = T>) -> T {
    let mut context = Context::from_waker(Waker::noop());
    let mut future = pin!(future);
    for _ in 0..1_000 {
        if let Poll::Ready(done) = future.as_mut().poll(&mut context) {
            return done;
        }
    }
    panic!("storage in memory lets somebody wait");
}

pub(super) fn keys() -> KeyRing {
    KeyRing::new(VAULT, BTreeMap::from([(1, SecretKey::new([3; 32]))])).unwrap()
}

fn vault() -> (Vault, MemoryStorage) {
    let storage = MemoryStorage::new("vault");
    (Vault::with_keys(Arc::new(storage.clone()), keys()), storage)
}

/// Nothing but damage may be found of an object that is there.
fn told<T>(result: Result<T>) -> Option<T> {
    result.map_err(|error| assert_eq!(error.code.class(), Class::Damage, "{error:?}")).ok()
}

/// Any bytes under the names of objects of every kind.
pub(super) fn any_object(data: &[u8]) {
    let (vault, storage) = vault();
    storage.overwrite(&format!("manifests/{BACKUP}"), data.to_vec());
    if let Some(manifest) = told(now(vault.manifest(BACKUP))) {
        assert_eq!(manifest.id, BACKUP);
    }
    let size = data.len() as u64;
    for kind in [ObjectKind::Pack, ObjectKind::Index] {
        storage.overwrite(&kind.object_key(OBJECT), data.to_vec());
        if let Some(object) = told(now(vault.open_object(kind, OBJECT, size))) {
            for number in 0..object.footer.blocks.len() {
                told(object.block_of(data, number));
                told(object.block_range(number));
            }
        }
    }
    let name = ChangeName { folder: [1; 16], from: 0, to: 0, level: 0, object: OBJECT };
    storage.overwrite(&name.key(), data.to_vec());
    told(now(ChangeObject::open(&vault, &name, size)));
}

/// Takes input apart: counts and lengths first, then what they say.
pub(super) struct Input<'a>(pub(super) &'a [u8]);

impl<'a> Input<'a> {
    pub(super) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    pub(super) fn number(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    pub(super) fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

/// An object whose seals are right, whatever its blocks and segments hold.
///
/// Input: a byte of how many blocks, for each two bytes of length and that much, and then the footer's segments.
pub(super) fn seal(kind: ObjectKind, mut input: Input<'_>) -> Vec<u8> {
    let header = Header { kind, key_version: 1, vault: VAULT, object: OBJECT };
    let start = header.encode();
    let sealer = keys().sealer(&header).unwrap();
    let (mut out, mut lengths) = (start.to_vec(), Vec::new());
    for number in 0..u64::from(input.byte() % 8) {
        let length = usize::from(input.number());
        let plain = input.take(length);
        let from = out.len();
        out.push(Codec::None as u8);
        out.extend_from_slice(plain);
        sealer.seal(number, &aad(&start, number), &mut out, from).unwrap();
        lengths.push((out.len() - from, plain.len()));
    }
    let mut footer = Vec::new();
    put_number(&mut footer, lengths.len() as u64);
    for (sealed, plain) in lengths {
        put_number(&mut footer, sealed as u64);
        put_number(&mut footer, plain as u64);
    }
    footer.extend_from_slice(input.0);
    let from = out.len();
    out.push(Codec::None as u8);
    out.extend_from_slice(&footer);
    sealer.seal(FOOTER_NUMBER, &aad(&start, FOOTER_NUMBER), &mut out, from).unwrap();
    let footer_len = u32::try_from(out.len() - from).unwrap();
    out.extend_from_slice(&Trailer { footer_len, key_version: 1 }.encode());
    debug_assert!(out.len() > HEADER_LEN);
    out
}

/// A pack and an index object that a broken writer sealed, in a backup of three streams that all point to its segments.
pub(super) fn hostile_pack(data: &[u8]) {
    let (vault, storage) = vault();
    let mut input = Input(data);
    let shape = input.byte();
    let kind = if shape & 1 == 0 { ObjectKind::Pack } else { ObjectKind::Index };
    let bytes = seal(kind, Input(input.0));
    storage.overwrite(&kind.object_key(OBJECT), bytes.clone());
    let manifest = Arc::new(describe(kind, &bytes, u32::from(shape >> 1 & 3), shape & 8 != 0));
    let objects = now(verify::object(&vault, &manifest, 0, Depth::Full)).unwrap();
    let totals = now(verify::totals(&vault, &manifest)).unwrap();
    assert_eq!(objects.valid(), objects.data_integrity);
    let _ = totals.valid();
    for stream in &manifest.streams {
        if stream.info.shape == StreamKind::Tree {
            told(now(read_tree(&vault, &manifest, stream)));
            told(now(tree_layers::check(&vault, &manifest, stream)));
        } else {
            told(now(read_records(&vault, &manifest, stream)));
        }
    }
}

#[allow(clippy::unnecessary_wraps, reason = "keys are read by functions that may fail")]
fn key_of(value: &[u8]) -> Result<Vec<u8>> {
    Ok(value.iter().take(4).copied().collect())
}

async fn read_records(vault: &Vault, manifest: &Arc<Manifest>, stream: &StreamManifest) -> Result<()> {
    let keys = RecordKeys::new(vault.keys().key_hasher(1)?, &key_of);
    let mut reader = PackReader::new(vault, manifest, Fetch::Whole);
    told(state::rows(&mut reader, &stream.layers, Shard::ALL).await);
    told(state::live_rows(&mut reader, &stream.layers, Shard::new(1, 3)).await);
    told(merged::check(vault, manifest, stream, &keys).await);
    let shard = Shard::new(0, 2);
    let overlay = Overlay::read(&mut reader, stream, &keys, shard).await?;
    for segment in stream.layers.iter().flat_map(|layer| &layer.segments) {
        let run = records::run(&mut reader, segment).await?;
        for at in blocks(&run, shard) {
            let block = records::block(&mut reader, segment, &run, at).await?;
            shown(&block, 0, &overlay, shard, &keys, |_, _| Ok(()))?;
        }
    }
    Ok(())
}

async fn read_tree(vault: &Vault, manifest: &Arc<Manifest>, stream: &StreamManifest) -> Result<()> {
    let mut tree = MergedTree::new(vault, manifest, stream, PathSpan::default()).with_chunks();
    let mut reader = PackReader::new(vault, manifest, Fetch::Blocks);
    while let Some(live) = tree.next().await? {
        told(tree.chunk_places(&live).await);
        let mut content = EntryContent::new(&mut reader, live.object, &live.segment, &live.entry);
        let mut length = 0;
        let whole = loop {
            match told(content.next().await) {
                Some(Some(piece)) => length += piece.len() as u64,
                end => break end.is_some(),
            }
        };
        assert!(!whole || length == live.entry.part.length);
    }
    Ok(())
}

fn describe(kind: ObjectKind, bytes: &[u8], segments: u32, layered: bool) -> Manifest {
    let segment = |segment| SegmentRef {
        object: 0,
        segment,
        first: String::new(),
        last: "ff".repeat(16),
        count: 1,
        bytes: 0,
    };
    let layer = |kind, numbers: std::ops::Range<u32>| Layer {
        kind,
        backup: BACKUP.to_owned(),
        delta: None,
        segments: numbers.clone().map(segment).collect(),
        index: numbers.map(segment).collect(),
    };
    let mut layers = vec![layer(LayerKind::Base, 0..segments)];
    if layered {
        layers.push(layer(LayerKind::Delta, segments..segments + 2));
    }
    let shapes = [
        StreamKind::Tree,
        StreamKind::Records { encoding: RecordEncoding::Json, key: vec!["/id".to_owned()] },
    ];
    let stream = |shape| StreamManifest {
        info: StreamInfo { name: "s".to_owned(), shape, schema: serde_json::Value::Null },
        records: 1,
        files: 0,
        bytes: 0,
        digest: "00".repeat(32),
        layers: layers.clone(),
    };
    let parts = part_sums(bytes).into_iter().map(|part| part.sha256).collect();
    Manifest {
        format: FORMAT,
        vault: VAULT,
        id: BACKUP.to_owned(),
        resource: "r".to_owned(),
        backup_type: "full".to_owned(),
        base: None,
        source: serde_json::Value::Null,
        policy: serde_json::Value::Null,
        started_at: "2026-11-21T00:00:00.000Z".to_owned(),
        completed_at: "2026-11-21T00:00:01.000Z".to_owned(),
        name_key_version: 1,
        objects: vec![StoredObject { id: OBJECT, kind, size: bytes.len() as u64, parts }],
        own_objects: None,
        streams: shapes.into_iter().map(stream).collect(),
        warnings: Vec::new(),
    }
}

/// A change object that a broken writer sealed; its name is what the first segment says.
pub(super) fn hostile_changes(data: &[u8]) {
    let (vault, storage) = vault();
    let mut input = Input(data);
    let (from, to) = (i64::from(input.number()), i64::from(input.number()));
    let bytes = seal(ObjectKind::Changes, Input(input.0));
    let folder = ChangeName::folder_of(vault.keys(), "r").unwrap();
    let name = ChangeName { folder, from, to, level: 0, object: OBJECT };
    storage.overwrite(&name.key(), bytes.clone());
    let size = bytes.len() as u64;
    let sound = now(verify::changes(&vault, &name, size)).unwrap().valid();
    let Some(object) = told(now(ChangeObject::open(&vault, &name, size))) else {
        assert!(!sound);
        return;
    };
    let _ = object.plain_bytes();
    for (_, segment) in object.segments() {
        for shard in [ALL_KEYS, (1 << 120, 1 << 126)] {
            let read = now(object.each(&vault, segment, shard, |change| {
                let hash = u128::from_be_bytes(change.hash);
                assert!(shard.0 <= hash && hash <= shard.1);
                Ok(())
            }));
            assert!(told(read).is_some() || !sound, "what is sound can be read");
        }
    }
}
