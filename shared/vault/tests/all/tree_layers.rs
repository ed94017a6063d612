//! Trees of several layers: after any edits, in any number of deltas, the layers merge to the tree as it is.
#![allow(clippy::unwrap_used)] // Helpers of tests may panic as tests do.

use crate::layering::add_layer;
use holdfast_vault::compress::Codec;
use holdfast_vault::crypto::{DigestSum, SecretKey, sha256};
use holdfast_vault::format::FORMAT;
use holdfast_vault::format::footer::Origin;
use holdfast_vault::format::manifest::{Manifest, StreamManifest};
use holdfast_vault::memory::MemoryCloud;
use holdfast_vault::model::{EntryKind, EntryMeta, Part, StreamInfo, StreamKind};
use holdfast_vault::read::tree::EntryContent;
use holdfast_vault::read::vault::WrappingKey;
use holdfast_vault::read::verify::{self, Depth};
use holdfast_vault::read::{Fetch, MergedTree, PackReader, PathSpan, PathStart, Vault, tree_layers};
use holdfast_vault::storage::Storage;
use holdfast_vault::write::{Change, FinishedObject, TreeLimits, TreeWriter};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

async fn vault() -> Vault {
    let storage: Arc<dyn Storage> = Arc::new(MemoryCloud::default().store("vault"));
    let key = WrappingKey { id: "k".to_owned(), secret: SecretKey::new([1; 32]) };
    Vault::create(storage, &key).await.unwrap()
}

fn empty(vault: &Vault) -> Manifest {
    let info = StreamInfo { name: "s".to_owned(), shape: StreamKind::Tree, schema: serde_json::Value::Null };
    let stream =
        StreamManifest { info, records: 0, files: 0, bytes: 0, digest: String::new(), layers: Vec::new() };
    serde_json::from_value(serde_json::json!({
        "format": FORMAT, "vault": vault.id(), "id": "B", "resource": "r", "type": "full", "source": null,
        "policy": null, "started_at": "2026-11-21T00:00:00.000Z", "completed_at": "2026-11-21T00:00:00.000Z",
        "name_key_version": 1, "objects": [], "streams": [stream], "warnings": [],
    }))
    .unwrap()
}

fn meta(path: &[u8], content: &[u8]) -> EntryMeta {
    EntryMeta {
        path: path.to_vec(),
        kind: if path.ends_with(b"/") { EntryKind::Directory } else { EntryKind::File },
        size: content.len() as u64,
        mode: Some(0o644),
        mtime: None,
        attributes: BTreeMap::new(),
    }
}

fn put(writer: &mut TreeWriter, change: Change, path: &[u8], content: &[u8], part: u64) {
    let size = content.len() as u64;
    let mut offset = 0;
    loop {
        let length = part.min(size - offset);
        writer.begin_as(change, meta(path, content), Part { offset, length }).unwrap();
        let at = |place: u64| usize::try_from(place).unwrap();
        writer.write(&content[at(offset)..at(offset + length)]).unwrap();
        writer.end().unwrap();
        offset += length;
        if offset == size {
            break;
        }
    }
}

/// Stores what a writer finished as one more layer.
async fn layered(vault: &Vault, before: &Manifest, objects: Vec<FinishedObject>, now: &Model) -> Manifest {
    let mut manifest = before.clone();
    add_layer(vault, &mut manifest, 0, objects).await;
    let stream = &mut manifest.streams[0];
    for (at, layer) in stream.layers.iter().enumerate() {
        assert_eq!(layer.delta.is_some(), at > 0);
    }
    stream.files = now.len() as u64;
    stream.bytes = now.values().map(|content| content.len() as u64).sum();
    manifest
}

/// The paths and contents of a span, and the sum of digests.
async fn read(vault: &Vault, manifest: &Arc<Manifest>, span: PathSpan, chunks: bool) -> (Model, DigestSum) {
    let mut tree = MergedTree::new(vault, manifest, &manifest.streams[0], span);
    if chunks {
        tree = tree.with_chunks();
    }
    let mut reader = PackReader::new(vault, manifest, Fetch::Blocks).with_room(4, 4);
    let namer = vault.keys().chunk_namer(1).unwrap();
    let (mut model, mut digest) = (Model::new(), DigestSum::default());
    let mut last: Option<(Vec<u8>, u64)> = None;
    while let Some(live) = tree.next().await.unwrap() {
        let place = (live.entry.meta.path.clone(), live.entry.part.offset);
        assert!(last.as_ref().is_none_or(|last| *last < place), "in order, each once");
        digest.add(&live.entry.digest());
        let mut content = EntryContent::new(&mut reader, live.object, &live.segment, &live.entry);
        let mut bytes = Vec::new();
        while let Some(piece) = content.next().await.unwrap() {
            bytes.extend_from_slice(&piece);
        }
        assert_eq!(bytes.len() as u64, live.entry.part.length);
        if chunks && live.entry.part.length > 0 {
            let mut at = 0;
            for (name, chunk) in tree.chunk_places(&live).await.unwrap() {
                let object = reader.object_of(chunk.pack).unwrap();
                let block = reader.block(object, chunk.block).await.unwrap();
                let (from, length) = (chunk.offset as usize, chunk.length as usize);
                assert_eq!(block[from..from + length], bytes[at..at + length]);
                assert_eq!(namer.name(&sha256(&bytes[at..at + length])), name);
                at += length;
            }
            assert_eq!(at, bytes.len(), "the chunks are all of the part");
        }
        let whole = model.entry(place.0.clone()).or_default();
        assert_eq!(whole.len() as u64, place.1);
        whole.extend_from_slice(&bytes);
        last = Some(place);
    }
    (model, digest)
}

fn path() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "[ab]{1,2}".prop_map(String::into_bytes),
        "[ab]/[ab]?".prop_map(String::into_bytes),
        prop::collection::vec(1_u8.., 1..3),
    ]
}

fn content() -> impl Strategy<Value = Vec<u8>> {
    let text = ("[a-z]{1,9}", 0..3_000_usize).prop_map(|(word, times)| word.repeat(times).into_bytes());
    prop_oneof![Just(Vec::new()), prop::collection::vec(any::<u8>(), 0..300), text]
}

/// Path and new content, `None` for a deletion.
fn edits() -> impl Strategy<Value = Vec<(Vec<u8>, Option<Vec<u8>>)>> {
    prop::collection::vec((path(), prop_oneof![1 => Just(None), 2 => content().prop_map(Some)]), 0..14)
}

fn apply(model: &Model, edits: Vec<(Vec<u8>, Option<Vec<u8>>)>) -> Model {
    let mut next = model.clone();
    for (path, content) in edits {
        match content {
            Some(content) => {
                let content = if path.ends_with(b"/") { Vec::new() } else { content };
                next.insert(path, content);
            }
            None => drop(next.remove(&path)),
        }
    }
    next
}

async fn write_layer(
    vault: &Vault,
    before: &Arc<Manifest>,
    old: &Model,
    new: &Model,
    limits: TreeLimits,
    part: u64,
) -> Manifest {
    let first = Origin { stream: 0, task: 0, sequence: 0 };
    let is_base = before.streams[0].layers.is_empty();
    let mut writer = TreeWriter::on_base(vault.keys(), Codec::Zstd, first, limits, 1, !is_base).unwrap();
    let mut base = MergedTree::new(vault, before, &before.streams[0], PathSpan::default()).with_chunks();
    while let Some(live) = base.next().await.unwrap() {
        if live.entry.part.length > 0 {
            for (name, at) in base.chunk_places(&live).await.unwrap() {
                writer.known_in_base(name, &at);
            }
        }
    }
    let paths: BTreeSet<&Vec<u8>> = old.keys().chain(new.keys()).collect();
    for path in paths {
        match (old.get(path), new.get(path)) {
            (Some(_), None) => writer.tombstone(path).unwrap(),
            (None, Some(content)) => put(&mut writer, Change::Added, path, content, part),
            (Some(was), Some(is)) if was != is || is_base => {
                put(&mut writer, Change::Changed, path, is, part);
            }
            _ => {}
        }
    }
    writer.finish().unwrap();
    layered(vault, before, writer.take_finished(), new).await
}

async fn check_all(
    vault: &Vault,
    manifest: Manifest,
    model: &Model,
    bounds: &[(Vec<u8>, Vec<u8>)],
) -> Manifest {
    let mut manifest = Arc::new(manifest);
    let (all, digest) = read(vault, &manifest, PathSpan::default(), true).await;
    assert_eq!(all, *model);
    Arc::make_mut(&mut manifest).streams[0].digest = hex::encode(digest.to_bytes());
    tree_layers::check(vault, &manifest, &manifest.streams[0]).await.unwrap();
    let findings = verify::totals(vault, &manifest).await.unwrap();
    assert!(findings.valid(), "{:?}", findings.errors);
    for at in 0..u32::try_from(manifest.objects.len()).unwrap() {
        let findings = verify::object(vault, &manifest, at, Depth::Full).await.unwrap();
        assert!(findings.valid(), "{:?}", findings.errors);
    }
    for (at, (from, to)) in bounds.iter().enumerate() {
        let start = match at % 3 {
            0 => PathStart::After(from.clone()),
            1 => PathStart::At(from.clone()),
            _ => PathStart::Beginning,
        };
        let span = PathSpan { start, until: (at % 4 != 3).then(|| to.clone()) };
        let wanted: Model =
            model.iter().filter(|(p, _)| span.holds(p)).map(|(p, c)| (p.clone(), c.clone())).collect();
        assert_eq!(read(vault, &manifest, span, at % 2 == 0).await.0, wanted);
    }
    Arc::unwrap_or_clone(manifest)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn layers_merge_to_the_tree_as_it_is(
        history in prop::collection::vec(edits(), 1..5),
        bounds in prop::collection::vec((path(), path()), 6),
        pack_bytes in 500_usize..50_000,
        entry_bytes in 100_usize..3_000,
        part in 500_u64..20_000,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let vault = vault().await;
            let limits = TreeLimits { pack_bytes, entry_bytes };
            let mut manifest = empty(&vault);
            let mut model = Model::new();
            for edits in history {
                let next = apply(&model, edits);
                let before = Arc::new(manifest);
                manifest = write_layer(&vault, &before, &model, &next, limits, part).await;
                model = next;
                manifest = check_all(&vault, manifest, &model, &bounds).await;
            }
        });
    }
}

#[tokio::test]
async fn a_tombstone_needs_a_delta_and_its_place() {
    let vault = vault().await;
    let first = Origin { stream: 0, task: 0, sequence: 0 };
    let mut base = TreeWriter::new(vault.keys(), Codec::Zstd, first, TreeLimits::default()).unwrap();
    assert!(base.tombstone(b"a").is_err());
    let limits = TreeLimits::default();
    let mut delta = TreeWriter::on_base(vault.keys(), Codec::Zstd, first, limits, 1, true).unwrap();
    delta.tombstone(b"b").unwrap();
    assert!(delta.tombstone(b"b").is_err() && delta.tombstone(b"a").is_err());
    assert!(delta.begin(meta(b"b", b""), Part { offset: 0, length: 0 }).is_err(), "it is gone");
    put(&mut delta, Change::Added, b"c", b"x", 10);
    assert!(delta.tombstone(b"c").is_err());
}
