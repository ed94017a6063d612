//! The inner parts, each alone: `cargo bench -p holdfast-bench`. What they are together is the case `engine`.
#![allow(clippy::unwrap_used)] // A part that fails has no time.

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use holdfast_vault::compress::{Codec, Compressor};
use holdfast_vault::crypto::SecretKey;
use holdfast_vault::format::FORMAT;
use holdfast_vault::format::footer::{DeltaCounts, Origin, Segment};
use holdfast_vault::format::header::{Header, Id, ObjectKind};
use holdfast_vault::format::manifest::{
    Layer, LayerKind, Manifest, SegmentRef, StoredObject, StreamManifest,
};
use holdfast_vault::keys::KeyRing;
use holdfast_vault::memory::MemoryStorage;
use holdfast_vault::model::{EntryKind, EntryMeta, Part, RecordEncoding, StreamInfo, StreamKind};
use holdfast_vault::read::layers::{Overlay, RecordKeys, blocks, shown};
use holdfast_vault::read::shard::Shard;
use holdfast_vault::read::{Fetch, PackReader, Vault, records};
use holdfast_vault::storage::Storage as _;
use holdfast_vault::write::records::{KeyStorage, RunsOptions};
use holdfast_vault::write::{FinishedObject, ObjectWriter, RecordsWriter, RunLimits, TreeLimits, TreeWriter};
use std::collections::BTreeMap;
use std::sync::Arc;

const FIRST: Origin = Origin { stream: 0, task: 0, sequence: 0 };
const BLOCK: usize = 1 << 20;
const VAULT: Id = Id([7; 16]);
const BACKUP: &str = "01JD0000000000000000000000";
const RECORDS: u64 = 20_000;

fn main() {
    divan::main();
}

fn keys() -> KeyRing {
    KeyRing::new(VAULT, BTreeMap::from([(1, SecretKey::new([1; 32]))])).unwrap()
}

/// Numbers that look random, of one seed.
fn numbers(seed: u64) -> impl Iterator<Item = u64> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (state ^ (state >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    })
}

/// Bytes that do not compress.
fn noise(length: usize) -> Vec<u8> {
    numbers(1).flat_map(u64::to_le_bytes).take(length).collect()
}

/// Text that does.
fn text(length: usize) -> Vec<u8> {
    let words = ["backup", "restore", "vault", "layer", "run", "chunk", "block", "pack", "stream", "tree"];
    let mut text = Vec::with_capacity(length + 16);
    for number in numbers(2).take(length) {
        text.extend_from_slice(words[usize::try_from(number % 10).unwrap()].as_bytes());
        text.extend_from_slice(format!(" {} ", number % 997).as_bytes());
        if text.len() >= length {
            break;
        }
    }
    text.truncate(length);
    text
}

/// Content that is known already: it is cut, hashed, named and looked up, and nothing is stored.
#[divan::bench]
fn chunking(bencher: Bencher<'_, '_>) {
    let content = noise(8 << 20);
    let mut writer = TreeWriter::new(&keys(), Codec::None, FIRST, TreeLimits::default()).unwrap();
    let mut number = 0_u64;
    let mut put = || {
        let size = content.len() as u64;
        let meta = EntryMeta {
            path: format!("{number:012}").into_bytes(),
            kind: EntryKind::File,
            size,
            mode: None,
            mtime: None,
            attributes: BTreeMap::new(),
        };
        number += 1;
        writer.begin(meta, Part { offset: 0, length: size }).unwrap();
        for piece in content.chunks(BLOCK) {
            writer.write(piece).unwrap();
        }
        writer.end().unwrap();
        writer.take_finished()
    };
    put();
    bencher.counter(BytesCount::new(content.len())).bench_local(put);
}

#[divan::bench]
fn sealing(bencher: Bencher<'_, '_>) {
    let header = Header { kind: ObjectKind::Pack, key_version: 1, vault: VAULT, object: Id([3; 16]) };
    let (sealer, block) = (keys().sealer(&header).unwrap(), noise(BLOCK));
    bencher
        .counter(BytesCount::new(BLOCK))
        .with_inputs(|| {
            let mut buffer = Vec::with_capacity(BLOCK + 64);
            buffer.extend_from_slice(&block);
            buffer
        })
        .bench_local_values(|mut buffer| {
            sealer.seal(1, b"additional", &mut buffer, 0).unwrap();
            buffer
        });
}

#[divan::bench(args = [Codec::Zstd, Codec::Gzip])]
fn compressing(bencher: Bencher<'_, '_>, codec: Codec) {
    let (mut compressor, block) = (Compressor::new(codec).unwrap(), text(BLOCK));
    let mut out = Vec::with_capacity(2 * BLOCK);
    bencher.counter(BytesCount::new(BLOCK)).bench_local(|| {
        out.clear();
        compressor.append(&block, &mut out).unwrap();
        out.len()
    });
}

/// One block compressed and sealed into a pack, as writers do it.
#[divan::bench]
fn block_into_pack(bencher: Bencher<'_, '_>) {
    let (keys, block) = (keys(), text(BLOCK));
    let mut compressor = Compressor::new(Codec::Zstd).unwrap();
    bencher
        .counter(BytesCount::new(BLOCK))
        .with_inputs(|| ObjectWriter::with_room(&keys, ObjectKind::Pack, 2 * BLOCK).unwrap())
        .bench_local_values(|mut pack| {
            pack.block(&mut compressor, &block).unwrap();
            pack
        });
}

fn record(number: u64, version: u64) -> (Vec<u8>, Vec<u8>) {
    let key = format!("[\"{number:012}\"]");
    let value = format!(
        r#"{{"id":"{number:012}","version":{version},"title":"A record of the usual length","description":"{}"}}"#,
        "and what there is to say of it, ".repeat(12)
    );
    (key.into_bytes(), value.into_bytes())
}

/// The key of a record, which stands where `record` puts it.
fn key_of(value: &[u8]) -> Vec<u8> {
    [b"[".as_slice(), &value[6..20], b"]".as_slice()].concat()
}

fn options(delta: bool) -> RunsOptions {
    let (storage, limits) = (KeyStorage::Derived, RunLimits::default());
    RunsOptions { codec: Codec::None, storage, delta, name_version: 1, first: FIRST, limits }
}

/// Records in any order become one run: hashed, sorted, written with the state table, not compressed.
#[divan::bench]
fn run_sorting(bencher: Bencher<'_, '_>) {
    let (keys, all) = (keys(), (0..RECORDS).map(|number| record(number, 1)).collect::<Vec<_>>());
    bencher
        .counter(ItemsCount::new(all.len()))
        .with_inputs(|| RecordsWriter::with(&keys, options(false)).unwrap())
        .bench_local_values(|mut writer| {
            for (key, value) in &all {
                writer.push(key, value, 0).unwrap();
            }
            writer.finish().unwrap();
            writer.take_finished()
        });
}

/// A base and one delta over a hundredth of it, in memory, merged as a restore does.
#[divan::bench]
fn merge_of_layers(bencher: Bencher<'_, '_>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (vault, manifest) = runtime.block_on(layered());
    let hasher = keys().key_hasher(1).unwrap();
    let read_key = |value: &[u8]| Ok(key_of(value));
    let keys = RecordKeys::new(hasher, &read_key);
    bencher.counter(ItemsCount::new(RECORDS)).bench_local(|| {
        runtime.block_on(async {
            let mut reader = PackReader::new(&vault, &manifest, Fetch::Whole);
            let stream = &manifest.streams[0];
            let overlay = Overlay::read(&mut reader, stream, &keys, Shard::ALL).await.unwrap();
            let mut count = 0_u64;
            for (number, layer) in (0..).zip(&stream.layers) {
                for segment in &layer.segments {
                    let run = records::run(&mut reader, segment).await.unwrap();
                    for at in blocks(&run, Shard::ALL) {
                        let block = records::block(&mut reader, segment, &run, at).await.unwrap();
                        let each = |_: &[u8], _: &[u8]| {
                            count += 1;
                            Ok(())
                        };
                        shown(&block, number, &overlay, Shard::ALL, &keys, each).unwrap();
                    }
                }
            }
            assert_eq!(count, RECORDS);
        });
    });
}

/// A vault of one stream with a base and a delta.
async fn layered() -> (Vault, Arc<Manifest>) {
    let (storage, keys) = (MemoryStorage::new("vault"), keys());
    let (mut objects, mut layers) = (Vec::new(), Vec::new());
    for (delta, every) in [(false, 1), (true, 100)] {
        let mut writer = RecordsWriter::with(&keys, options(delta)).unwrap();
        for number in (0..RECORDS).filter(|number| number.is_multiple_of(every)) {
            let (key, value) = record(number, every);
            writer.push(&key, &value, 0).unwrap();
        }
        writer.finish().unwrap();
        let mut segments = Vec::new();
        for object in writer.take_finished() {
            storage.put_if_absent(&object.kind.object_key(object.id), object.bytes.clone()).await.unwrap();
            if object.kind == ObjectKind::Pack {
                segments.extend(segments_of(&keys, &object, u32::try_from(objects.len()).unwrap()).await);
            }
            objects.push(stored(&object));
        }
        let kind = if delta { LayerKind::Delta } else { LayerKind::Base };
        let delta = delta.then(DeltaCounts::default);
        layers.push(Layer { kind, backup: BACKUP.to_owned(), delta, segments, index: Vec::new() });
    }
    (Vault::with_keys(Arc::new(storage), keys), Arc::new(manifest(objects, layers)))
}

async fn segments_of(keys: &KeyRing, object: &FinishedObject, at: u32) -> Vec<SegmentRef> {
    let storage = MemoryStorage::new("one");
    storage.put_if_absent(&object.kind.object_key(object.id), object.bytes.clone()).await.unwrap();
    let vault = Vault::with_keys(Arc::new(storage), keys.clone());
    let opened = vault.open_object(object.kind, object.id, object.bytes.len() as u64).await.unwrap();
    let runs = (0..).zip(&opened.footer.segments).filter(|(_, segment)| matches!(segment, Segment::Run(_)));
    runs.map(|(number, segment)| reference(at, number, segment.index().total())).collect()
}

fn reference(object: u32, segment: u32, count: u64) -> SegmentRef {
    let (first, last) = (hex(0), hex(u128::MAX));
    SegmentRef { object, segment, first, last, count, bytes: count * 500 }
}

fn hex(hash: u128) -> String {
    format!("{hash:032x}")
}

fn stored(object: &FinishedObject) -> StoredObject {
    let parts = object.parts.iter().map(|part| part.sha256.clone()).collect();
    StoredObject { id: object.id, kind: object.kind, size: object.bytes.len() as u64, parts }
}

fn manifest(objects: Vec<StoredObject>, layers: Vec<Layer>) -> Manifest {
    let shape = StreamKind::Records { encoding: RecordEncoding::Json, key: vec!["/id".to_owned()] };
    let info = StreamInfo { name: "orders".to_owned(), shape, schema: serde_json::Value::Null };
    let stream = StreamManifest { info, records: RECORDS, files: 0, bytes: 0, digest: hex(0), layers };
    Manifest {
        format: FORMAT,
        vault: VAULT,
        id: BACKUP.to_owned(),
        resource: "orders".to_owned(),
        backup_type: "incremental".to_owned(),
        base: None,
        source: serde_json::Value::Null,
        policy: serde_json::Value::Null,
        started_at: "2026-11-21T00:00:00.000Z".to_owned(),
        completed_at: "2026-11-21T00:00:00.000Z".to_owned(),
        name_key_version: 1,
        objects,
        own_objects: None,
        streams: vec![stream],
        warnings: Vec::new(),
    }
}

/// A manifest of 3,000 packs and as many segments: a stream of about 100 GB.
fn large() -> Manifest {
    let object = |number: u32| {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&number.to_be_bytes());
        let parts = vec![hex(u128::from(number)).repeat(2); 4];
        StoredObject { id: Id(id), kind: ObjectKind::Pack, size: 33 << 20, parts }
    };
    let segments = (0..3_000).map(|number| reference(number, 0, 30_000)).collect();
    let layer =
        Layer { kind: LayerKind::Base, backup: BACKUP.to_owned(), delta: None, segments, index: Vec::new() };
    manifest((0..3_000).map(object).collect(), vec![layer])
}

#[divan::bench]
fn manifest_encoding(bencher: Bencher<'_, '_>) {
    let manifest = large();
    bencher.counter(ItemsCount::new(manifest.objects.len())).bench_local(|| manifest.encode().unwrap());
}

#[divan::bench]
fn manifest_decoding(bencher: Bencher<'_, '_>) {
    let manifest = large();
    let bytes = manifest.encode().unwrap();
    bencher
        .counter(ItemsCount::new(manifest.objects.len()))
        .bench_local(|| Manifest::decode(&bytes, VAULT, BACKUP).unwrap());
}
