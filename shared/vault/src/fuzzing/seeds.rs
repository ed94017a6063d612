//! Examples of every target's input, made by the real encoders.

use super::sealed::{OBJECT, VAULT, keys, now};
use crate::compress::{Codec, Compressor};
use crate::crypto::SecretKey;
use crate::format::changes::{Change, ChangeName, ChangesDescription, Gap};
use crate::format::entry::{ChunkRef, DeltaEntry, Extent, TreeEntry, put_chunks};
use crate::format::footer::{Footer, Origin, Segment};
use crate::format::header::{Header, ObjectKind, Trailer};
use crate::format::root::{VaultDescription, WrappedKey};
use crate::format::wire::{put_bytes, put_number, put_signed};
use crate::memory::MemoryStorage;
use crate::model::{EntryKind, EntryMeta, Mtime, Part, RecordEncoding};
use crate::read::{OpenObject, Vault};
use crate::write::changes::write_changes;
use crate::write::records::{DeltaKind, KeyStorage, RunsOptions};
use crate::write::{Change as TreeChange, FinishedObject, RecordsWriter, RunLimits, TreeLimits, TreeWriter};
use std::collections::BTreeMap;
use std::sync::Arc;

const FIRST: Origin = Origin { stream: 0, task: 0, sequence: 0 };

/// Examples of what a target takes; none if there is no such target.
#[must_use]
pub fn seeds(target: &str) -> Vec<Vec<u8>> {
    match target {
        "wire" => wire(),
        "frame" => frame(),
        "footer" => objects().iter().map(|object| object.footer.encode()).collect(),
        "manifest" => manifests(),
        "root" => root(),
        "entries" => entries(),
        "chunk_lists" => chunk_lists(),
        "changes" => changes(),
        "names" => names(),
        "expand" => blocks(),
        "sealed" => finished().into_iter().map(|object| object.bytes.to_vec()).collect(),
        "packs" => packs(),
        "change_objects" => change_objects(),
        _ => Vec::new(),
    }
}

fn wire() -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for number in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
        put_number(&mut out, number);
    }
    let mut signed = Vec::new();
    for number in [0, -1, 1, i64::MIN, i64::MAX] {
        put_signed(&mut signed, number);
    }
    let mut text = Vec::new();
    put_bytes(&mut text, "päth".as_bytes());
    put_bytes(&mut text, b"");
    vec![out, signed, text]
}

fn frame() -> Vec<Vec<u8>> {
    let kinds = [ObjectKind::Pack, ObjectKind::Manifest, ObjectKind::Index, ObjectKind::Changes];
    let header = |kind| Header { kind, key_version: 2, vault: VAULT, object: OBJECT }.encode().to_vec();
    let mut all: Vec<Vec<u8>> = kinds.into_iter().map(header).collect();
    all.push(Trailer { footer_len: 99, key_version: 2 }.encode().to_vec());
    all
}

fn meta(path: &str, kind: EntryKind, size: u64) -> EntryMeta {
    EntryMeta {
        path: path.as_bytes().to_vec(),
        kind,
        size,
        mode: Some(0o755),
        mtime: Some(Mtime { seconds: -1, nanos: 999_999_999 }),
        attributes: BTreeMap::from([("content-type".to_owned(), "text/plain".to_owned())]),
    }
}

/// Objects of every kind: a base and a delta of files and of records, with their indexes, and changes.
fn finished() -> Vec<FinishedObject> {
    let mut all = Vec::new();
    for delta in [false, true] {
        all.extend(tree(delta));
        all.extend(records(delta, KeyStorage::Derived));
        all.extend(records(delta, KeyStorage::Stored));
    }
    all.push(change_object().1);
    all
}

fn tree(delta: bool) -> Vec<FinishedObject> {
    let limits = TreeLimits::default();
    let mut writer = TreeWriter::on_base(&keys(), Codec::Zstd, FIRST, limits, 1, delta).unwrap();
    let put = |writer: &mut TreeWriter, path: &str, content: &[u8]| {
        let (size, length) = (content.len() as u64, content.len() as u64);
        let part = Part { offset: 0, length };
        writer.begin_as(TreeChange::Added, meta(path, EntryKind::File, size), part).unwrap();
        writer.write(content).unwrap();
        writer.end().unwrap();
    };
    put(&mut writer, "a", b"hello hello hello hello hello");
    writer.begin(meta("d/", EntryKind::Directory, 0), Part { offset: 0, length: 0 }).unwrap();
    writer.end().unwrap();
    put(&mut writer, "d/b", b"");
    if delta {
        writer.tombstone(b"gone").unwrap();
    }
    let link = meta("link", EntryKind::Symlink { target: b"a".to_vec() }, 0);
    writer.begin(link, Part { offset: 0, length: 0 }).unwrap();
    writer.end().unwrap();
    writer.finish().unwrap();
    writer.take_finished()
}

fn records(delta: bool, storage: KeyStorage) -> Vec<FinishedObject> {
    let limits = RunLimits { run_bytes: 300, pack_bytes: 100_000 };
    let options = RunsOptions { codec: Codec::Zstd, storage, delta, name_version: 1, first: FIRST, limits };
    let mut writer = RecordsWriter::with(&keys(), options).unwrap();
    for number in 0..5 {
        let (key, value) = (format!("[{number}]"), format!(r#"{{"id":{number},"text":"some text"}}"#));
        let identity = writer.identify(key.as_bytes(), value.as_bytes());
        let kind = if number == 2 { DeltaKind::Changed } else { DeltaKind::Added };
        writer.push_identified(&identity, kind, key.as_bytes(), value.as_bytes(), 0).unwrap();
    }
    if delta {
        writer.push_tombstone(42 << 100).unwrap();
    }
    writer.finish().unwrap();
    writer.take_finished()
}

fn description() -> ChangesDescription {
    ChangesDescription {
        resource: "r".to_owned(),
        stream: "t".to_owned(),
        encoding: RecordEncoding::DynamodbJson,
        key: vec!["id".to_owned()],
        since: -5,
        gaps: vec![Gap { from: 1, to: 2, reason: "trimmed".to_owned() }],
        replaces: vec!["changes/x".to_owned()],
        follows: vec!["changes/y".to_owned()],
    }
}

fn some_changes() -> Vec<Change> {
    let change = |byte: u8, time: i64, before: Option<&[u8]>, after: Option<&[u8]>| Change {
        hash: [byte; 16],
        time,
        sequence: format!("{time:021}"),
        key: vec![b'[', byte, b']'],
        before: before.map(<[u8]>::to_vec),
        after: after.map(<[u8]>::to_vec),
    };
    vec![
        change(1, 5, None, Some(b"{\"a\":1}")),
        change(1, 900, Some(b"{\"a\":1}"), None),
        change(0xee, 700, Some(b"x"), Some(b"y")),
    ]
}

fn change_object() -> (ChangeName, FinishedObject) {
    let folder = ChangeName::folder_of(&keys(), "r").unwrap();
    write_changes(&keys(), Codec::Zstd, folder, 0, &description(), some_changes()).unwrap()
}

fn opened(object: &FinishedObject) -> OpenObject {
    let vault = Vault::with_keys(Arc::new(MemoryStorage::new("vault")), keys());
    now(vault.open_bytes("object", object.kind, object.id, &object.bytes)).unwrap()
}

fn objects() -> Vec<OpenObject> {
    finished().iter().map(opened).collect()
}

/// The input of [`super::sealed::seal`] that makes an object with the same blocks and segments.
fn unsealed(object: &FinishedObject, mut out: Vec<u8>) -> Vec<u8> {
    let open = opened(object);
    out.push(u8::try_from(open.footer.blocks.len()).unwrap());
    for number in 0..open.footer.blocks.len() {
        let plain = open.block_of(&object.bytes, number).unwrap();
        out.extend_from_slice(&u16::try_from(plain.len()).unwrap().to_le_bytes());
        out.extend_from_slice(&plain);
    }
    let segments = Footer { blocks: Vec::new(), segments: open.footer.segments };
    out.extend_from_slice(&segments.encode()[1..]);
    out
}

fn packs() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for object in finished().iter().filter(|object| object.kind != ObjectKind::Changes) {
        let open = opened(object);
        let delta = open.footer.segments.iter().any(|segment| match segment {
            Segment::Tree(tree) => tree.delta.is_some(),
            Segment::Run(run) => run.delta.is_some(),
            _ => false,
        });
        let segments = u8::try_from(open.footer.segments.len().min(3)).unwrap();
        let shape = u8::from(object.kind == ObjectKind::Index) | segments << 1 | u8::from(delta) << 3;
        all.push(unsealed(object, vec![shape]));
    }
    all
}

fn change_objects() -> Vec<Vec<u8>> {
    let (name, object) = change_object();
    let time = |time: i64| u16::try_from(time).unwrap().to_le_bytes();
    vec![unsealed(&object, [time(name.from), time(name.to)].concat())]
}

fn manifests() -> Vec<Vec<u8>> {
    let manifest = serde_json::json!({
        "format": 1, "vault": VAULT, "id": "01AAAAAAAAAAAAAAAAAAAAAAAA", "resource": "shop",
        "type": "incremental", "base": "01AAAAAAAAAAAAAAAAAAAAAAA0", "source": {"type": "files", "path": "/x"},
        "policy": {"codec": "zstd"}, "started_at": "2026-11-21T00:00:00Z",
        "completed_at": "2026-11-21T00:00:01Z", "name_key_version": 1,
        "objects": [{"id": OBJECT, "kind": "pack", "size": 5, "parts": ["00"]},
                    {"id": VAULT, "kind": "index", "size": 6, "parts": ["01"]}],
        "own_objects": 1,
        "streams": [
            {"name": "files", "kind": "tree", "schema": null, "records": 0, "files": 3, "bytes": 9,
             "digest": "ab", "layers": [{"kind": "base", "backup": "B", "segments": [
                {"object": 0, "segment": 0, "first": "61", "last": "62", "count": 2, "bytes": 9}],
                "index": [{"object": 1, "segment": 0, "first": "61", "last": "", "count": 2, "bytes": 0}]}]},
            {"name": "orders", "kind": "records", "encoding": "dynamodb-json", "key": ["id"],
             "schema": {"a": [1, {}]}, "records": 1, "files": 0, "bytes": 9, "digest": "ab", "layers": [
                {"kind": "base", "backup": "B", "segments": [], "index": []},
                {"kind": "delta", "backup": "C", "added": 1, "changed": 2, "deleted": 3,
                 "segments": [], "index": []}]}],
        "warnings": [{"code": "SourceChanged", "message": "2 files"}],
    });
    vec![serde_json::to_vec(&manifest).unwrap()]
}

fn root() -> Vec<Vec<u8>> {
    let description = VaultDescription { format: 1, vault: VAULT };
    let secret = || SecretKey::new([1; 32]);
    let local = WrappedKey::wrap(VAULT, 1, "k", &secret(), &secret()).unwrap();
    let kms = WrappedKey::wrapped_by_kms(VAULT, 2, "arn:aws:kms:eu-central-1:1:key/mrk-1", b"ciphertext");
    let json = |wrapped: &WrappedKey| serde_json::to_vec(wrapped).unwrap();
    vec![serde_json::to_vec(&description).unwrap(), json(&local), json(&kms)]
}

fn entries() -> Vec<Vec<u8>> {
    let extents = vec![
        Extent { pack: 0, block: 1, offset: 2, length: 3 },
        Extent { pack: 2, block: 0, offset: 0, length: 4 },
    ];
    let entry = |meta, part, extents| {
        DeltaEntry::Entry(TreeEntry { meta, part, sha256: crate::crypto::sha256(b""), extents })
    };
    let nothing = Part { offset: 0, length: 0 };
    let all = [
        entry(meta("a", EntryKind::File, 20), Part { offset: 13, length: 7 }, extents.clone()),
        entry(meta("b", EntryKind::File, 7), Part { offset: 0, length: 7 }, extents),
        entry(meta("d/", EntryKind::Directory, 0), nothing, Vec::new()),
        DeltaEntry::Tombstone(b"gone".to_vec()),
        entry(meta("l", EntryKind::Symlink { target: b"a".to_vec() }, 0), nothing, Vec::new()),
    ];
    let encoded = |entry: &DeltaEntry| {
        let mut out = Vec::new();
        entry.encode(&mut out);
        out
    };
    let mut seeds: Vec<Vec<u8>> = all.iter().map(encoded).collect();
    seeds.push(seeds.concat());
    seeds
}

fn chunk_lists() -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    put_chunks(
        &mut out,
        &[ChunkRef { name: [1; 16], length: 16_384 }, ChunkRef { name: [2; 16], length: 9 }],
    );
    put_chunks(&mut out, &[]);
    vec![out]
}

fn changes() -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for change in some_changes() {
        change.encode(&mut out);
    }
    vec![out, serde_json::to_vec(&description()).unwrap()]
}

fn names() -> Vec<Vec<u8>> {
    let name = ChangeName { folder: [1; 16], from: 5, to: 1_700_000_000_000, level: 1, object: OBJECT };
    let keys = [name.key(), ObjectKind::Pack.object_key(OBJECT), OBJECT.to_string(), "a/../b".to_owned()];
    keys.into_iter().map(String::into_bytes).collect()
}

fn blocks() -> Vec<Vec<u8>> {
    let plain = b"some text, some text, some text, some text, some text, some text, some text".repeat(3);
    let mut all = Vec::new();
    for (number, codec) in [(0, Codec::None), (1, Codec::Zstd), (2, Codec::Gzip)] {
        let mut out = u32::try_from(plain.len()).unwrap().to_le_bytes().to_vec();
        out.push(number);
        Compressor::new(codec).unwrap().append(&plain, &mut out).unwrap();
        all.push(out);
    }
    all
}
