//! The engine over storage in memory: what is written is read, whatever the limits, the codec and the content.
#![allow(clippy::unwrap_used)] // Helpers of tests may panic as tests do.

use holdfast_vault::compress::Codec;
use holdfast_vault::crypto::{SecretKey, sha256};
use holdfast_vault::error::Code;
use holdfast_vault::format::FORMAT;
use holdfast_vault::format::entry::TreeEntry;
use holdfast_vault::format::footer::{Footer, Origin, Segment};
use holdfast_vault::format::header::{Header, Trailer};
use holdfast_vault::format::manifest::{
    Layer, LayerKind, Manifest, SegmentRef, StoredObject, StreamManifest,
};
use holdfast_vault::format::wire::Reader;
use holdfast_vault::memory::MemoryCloud;
use holdfast_vault::model::{EntryKind, EntryMeta, Mtime, Part, RecordEncoding, StreamInfo, StreamKind};
use holdfast_vault::read::vault::WrappingKey;
use holdfast_vault::read::{Fetch, PackReader, Vault, records, tree};
use holdfast_vault::storage::{Put, Storage};
use holdfast_vault::write::records::KeyStorage;
use holdfast_vault::write::{FinishedObject, RecordsWriter, RunLimits, TreeLimits, TreeWriter};
use proptest::prelude::*;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

pub(crate) const FIRST: Origin = Origin { stream: 0, task: 0, sequence: 0 };

pub(crate) fn wrapping(byte: u8) -> WrappingKey {
    WrappingKey { id: "k".to_owned(), secret: SecretKey::new([byte; 32]) }
}

async fn vault() -> Vault {
    let storage: Arc<dyn Storage> = Arc::new(MemoryCloud::default().store("vault"));
    Vault::create(storage, &wrapping(1)).await.unwrap()
}

/// Stores objects and describes them as one stream of a backup.
pub(crate) async fn store(vault: &Vault, shape: StreamKind, objects: Vec<FinishedObject>) -> Arc<Manifest> {
    let mut stored = Vec::new();
    let (mut data, mut index) = (Vec::new(), Vec::new());
    for (at, object) in (0_u32..).zip(objects) {
        let key = object.kind.object_key(object.id);
        assert_eq!(vault.storage().put_if_absent(&key, object.bytes.clone()).await.unwrap(), Put::Created);
        let size = object.bytes.len() as u64;
        let opened = vault.open_object(object.kind, object.id, size).await.unwrap();
        for (number, segment) in (0_u32..).zip(&opened.footer.segments) {
            let place = SegmentRef {
                object: at,
                segment: number,
                first: String::new(),
                last: String::new(),
                count: segment.index().total(),
                bytes: 0,
            };
            match segment {
                Segment::Tree(_) | Segment::Run(_) => data.push((segment.origin(), place)),
                Segment::Chunks(_) | Segment::State(_) | Segment::Changes(_) => index.push(place),
            }
        }
        let parts = object.parts.iter().map(|part| part.sha256.clone()).collect();
        stored.push(StoredObject { id: object.id, kind: object.kind, size, parts });
    }
    data.sort_by_key(|(origin, _)| *origin);
    let segments = data.into_iter().map(|(_, place)| place).collect();
    let layers = vec![Layer { kind: LayerKind::Base, backup: "B".to_owned(), delta: None, segments, index }];
    let info = StreamInfo { name: "s".to_owned(), shape, schema: serde_json::Value::Null };
    let stream = StreamManifest { info, records: 0, files: 0, bytes: 0, digest: String::new(), layers };
    Arc::new(Manifest {
        format: FORMAT,
        vault: vault.id(),
        id: "B".to_owned(),
        resource: "r".to_owned(),
        backup_type: "full".to_owned(),
        base: None,
        source: serde_json::Value::Null,
        policy: serde_json::Value::Null,
        started_at: "2026-11-21T00:00:00.000Z".to_owned(),
        completed_at: "2026-11-21T00:00:00.000Z".to_owned(),
        name_key_version: 1,
        objects: stored,
        own_objects: None,
        streams: vec![stream],
        warnings: Vec::new(),
    })
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

fn codec() -> impl Strategy<Value = Codec> {
    prop_oneof![Just(Codec::Zstd), Just(Codec::Gzip), Just(Codec::None)]
}

fn content() -> impl Strategy<Value = Vec<u8>> {
    let noise = prop::collection::vec(any::<u8>(), 0..3000);
    let text = ("[a-z ]{1,20}", 0..8000_usize).prop_map(|(word, times)| word.repeat(times).into_bytes());
    prop_oneof![noise, text]
}

fn meta(path: &str, size: u64) -> EntryMeta {
    EntryMeta {
        path: path.as_bytes().to_vec(),
        kind: EntryKind::File,
        size,
        mode: Some(0o644),
        mtime: Some(Mtime { seconds: -7, nanos: 9 }),
        attributes: BTreeMap::from([("content-type".to_owned(), "text/plain".to_owned())]),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_tree_is_read_as_it_was_written(
        files in prop::collection::btree_map("[a-z]{1,3}", content(), 0..12),
        codec in codec(),
        pack_bytes in 1_000_usize..200_000,
        part_bytes in 1_u64..60_000,
        fetch in prop_oneof![Just(Fetch::Whole), Just(Fetch::Blocks)],
    ) {
        runtime().block_on(async {
            let vault = vault().await;
            let limits = TreeLimits { pack_bytes, entry_bytes: 300 };
            let mut writer = TreeWriter::new(vault.keys(), codec, FIRST, limits).unwrap();
            for (path, bytes) in &files {
                let size = bytes.len() as u64;
                let mut offset = 0;
                loop {
                    let length = part_bytes.min(size - offset);
                    writer.begin(meta(path, size), Part { offset, length }).unwrap();
                    let place = |at| usize::try_from(at).unwrap();
                    let (from, to) = (place(offset), place(offset + length));
                    for piece in bytes[from..to].chunks(777) {
                        writer.write(piece).unwrap();
                    }
                    writer.end().unwrap();
                    offset += length;
                    if offset == size { break; }
                }
            }
            writer.finish().unwrap();
            let manifest = store(&vault, StreamKind::Tree, writer.take_finished()).await;
            let mut reader = PackReader::new(&vault, &manifest, fetch);
            let mut read: BTreeMap<String, Vec<u8>> = BTreeMap::new();
            for segment in &manifest.streams[0].layers[0].segments {
                let described = tree::segment(&mut reader, segment).await.unwrap();
                for block in 0..described.index.fences.len() {
                    for entry in tree::entries(&mut reader, segment, &described, block).await.unwrap() {
                        let path = String::from_utf8(entry.meta.path.clone()).unwrap();
                        assert_eq!(entry.meta, meta(&path, entry.meta.size));
                        let mut content = tree::EntryContent::new(&mut reader, segment.object, &described, &entry);
                        let file = read.entry(path).or_default();
                        while let Some(piece) = content.next().await.unwrap() {
                            file.extend_from_slice(&piece);
                        }
                    }
                }
            }
            assert_eq!(read, files);
        });
    }

    #[test]
    fn records_are_read_as_they_were_written(
        values in prop::collection::btree_map("[a-z0-9]{1,6}", "[ -~]{0,400}", 0..60),
        codec in codec(),
        stored: bool,
        run_bytes in 100_usize..20_000,
    ) {
        runtime().block_on(async {
            let vault = vault().await;
            let keys = if stored { KeyStorage::Stored } else { KeyStorage::Derived };
            let limits = RunLimits { run_bytes, pack_bytes: 3_000 };
            let mut writer = RecordsWriter::new(vault.keys(), codec, keys, FIRST, limits).unwrap();
            for (place, (key, value)) in (0..).zip(&values) {
                writer.push(key.as_bytes(), value.as_bytes(), place).unwrap();
            }
            writer.finish().unwrap();
            let encoding = RecordEncoding::Json;
            let shape = StreamKind::Records { encoding, key: vec!["/id".to_owned()] };
            let manifest = store(&vault, shape, writer.take_finished()).await;
            let mut reader = PackReader::new(&vault, &manifest, Fetch::Blocks);
            let hasher = vault.keys().key_hasher(1).unwrap();
            let mut read = Vec::new();
            for segment in &manifest.streams[0].layers[0].segments {
                let run = records::run(&mut reader, segment).await.unwrap();
                let mut last = [0_u8; 16];
                for at in 0..run.index.fences.len() {
                    let block = records::block(&mut reader, segment, &run, at).await.unwrap();
                    block.each(|key, value| {
                        if stored {
                            let hash = hasher.name(key);
                            assert!(hash > last, "a run is sorted by key hash");
                            assert_eq!(records::block_of(&run, &hash), Some(at), "the fences lead to it");
                            last = hash;
                        }
                        read.push((key.to_vec(), value.to_vec()));
                        Ok(())
                    }).unwrap();
                }
            }
            let expected = |(key, value): (&String, &String)| {
                (if stored { key.clone().into_bytes() } else { Vec::new() }, value.clone().into_bytes())
            };
            let mut wanted: Vec<_> = values.iter().map(expected).collect();
            wanted.sort();
            read.sort();
            assert_eq!(read, wanted);
        });
    }

    #[test]
    fn garbage_is_no_footer_header_trailer_or_entry(bytes: Vec<u8>) {
        let _ = Footer::decode(&bytes, 48);
        let _ = Header::decode(&bytes);
        let _ = Trailer::decode(&bytes);
        let mut reader = Reader::new(&bytes);
        while TreeEntry::decode(&mut reader).is_some() {}
    }
}

#[tokio::test]
async fn a_key_that_stands_twice_in_a_run_is_refused_with_both_places() {
    let vault = vault().await;
    let limits = RunLimits::default();
    let mut writer =
        RecordsWriter::new(vault.keys(), Codec::Zstd, KeyStorage::Derived, FIRST, limits).unwrap();
    for (key, place) in [("a", 3), ("b", 4), ("a", 9)] {
        writer.push(key.as_bytes(), b"{}", place).unwrap();
    }
    assert_eq!(writer.finish().unwrap_err().code, Code::SourceInvalid);
    let twice = writer.duplicate().unwrap();
    assert_eq!((twice.first, twice.second), (3, 9));
}

#[tokio::test]
async fn equal_content_is_stored_once_and_noise_is_not_compressed() {
    let vault = vault().await;
    let mut writer = TreeWriter::new(vault.keys(), Codec::Zstd, FIRST, TreeLimits::default()).unwrap();
    let mut state = 1_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    })
    .take(400_000)
    .collect();
    for path in ["a", "b", "c"] {
        writer.begin(meta(path, noise.len() as u64), Part { offset: 0, length: noise.len() as u64 }).unwrap();
        writer.write(&noise).unwrap();
        writer.end().unwrap();
    }
    writer.finish().unwrap();
    let stored: usize = writer.take_finished().iter().map(|object| object.bytes.len()).sum();
    assert!(stored > noise.len() && stored < noise.len() + 10_000, "{stored} bytes for one copy");
}

#[tokio::test]
async fn no_two_objects_share_an_id_and_no_plain_text_shows() {
    let vault = vault().await;
    let mut ids = HashSet::new();
    for _ in 0..20 {
        let limits = TreeLimits::default();
        let mut writer = TreeWriter::new(vault.keys(), Codec::None, FIRST, limits).unwrap();
        writer.begin(meta("secret-name", 11), Part { offset: 0, length: 11 }).unwrap();
        writer.write(b"plain-words").unwrap();
        writer.end().unwrap();
        writer.finish().unwrap();
        for object in writer.take_finished() {
            assert!(ids.insert(object.id), "an id is used twice");
            for word in [&b"secret-name"[..], b"plain-words", &sha256(b"plain-words")] {
                assert!(!object.bytes.windows(word.len()).any(|window| window == word));
            }
        }
    }
}

#[tokio::test]
async fn a_vault_opens_with_its_own_key_only() {
    let cloud = MemoryCloud::default();
    let storage: Arc<dyn Storage> = Arc::new(cloud.store("vault"));
    let made = Vault::create(storage.clone(), &wrapping(1)).await.unwrap();
    assert_eq!(Vault::create(storage.clone(), &wrapping(1)).await.unwrap().id(), made.id(), "made once");
    assert_eq!(Vault::open(storage.clone(), &wrapping(2)).await.unwrap_err().code, Code::KeyWrong);
    let empty: Arc<dyn Storage> = Arc::new(cloud.store("other"));
    assert_eq!(Vault::open(empty, &wrapping(1)).await.unwrap_err().code, Code::HomeInvalid);
}
