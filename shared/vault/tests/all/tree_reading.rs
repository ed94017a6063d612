//! Reading of trees: content from a place on, spans of paths, chunk lists, and what a stream says of its entries.

use crate::engine::FIRST;
use crate::layering::add_layer;
use crate::rotation::made;
use crate::tree_kit::{finished, manifest, meta, noise, put, sealed, sum_of, tree_writer, unsealed};
use crate::watched_storage::Watched;
use holdfast_vault::error::Code;
use holdfast_vault::format::entry::{ChunkRef, put_chunks, take_chunks};
use holdfast_vault::format::footer::{BlockIndex, Fence, IndexSegment, Segment};
use holdfast_vault::format::header::ObjectKind;
use holdfast_vault::format::manifest::Manifest;
use holdfast_vault::format::wire::Reader;
use holdfast_vault::model::{EntryMeta, Part, StreamKind};
use holdfast_vault::read::tree::EntryContent;
use holdfast_vault::read::{Fetch, MergedTree, PackReader, PathSpan, PathStart, Vault, tree_layers};
use holdfast_vault::storage::{ByteRange, StoredSum};
use holdfast_vault::write::{Change, FinishedObject};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A backup of one tree of one layer.
async fn backup(vault: &Vault, objects: Vec<FinishedObject>) -> Arc<Manifest> {
    let mut manifest = manifest(vault, &[("files", StreamKind::Tree)]);
    add_layer(vault, &mut manifest, 0, objects).await;
    Arc::new(manifest)
}

fn all(vault: &Vault, manifest: &Arc<Manifest>) -> MergedTree {
    MergedTree::new(vault, manifest, &manifest.streams[0], PathSpan::default())
}

fn after(path: &str) -> PathStart {
    PathStart::After(path.as_bytes().to_vec())
}

fn at(path: &str) -> PathStart {
    PathStart::At(path.as_bytes().to_vec())
}

fn span(start: PathStart, until: &str) -> PathSpan {
    PathSpan { start, until: (!until.is_empty()).then(|| until.as_bytes().to_vec()) }
}

/// The path of each entry, and where its part begins.
async fn entries(mut tree: MergedTree) -> String {
    let mut found = Vec::new();
    while let Some(live) = tree.next().await.unwrap() {
        let path = String::from_utf8(live.entry.meta.path).unwrap();
        found.push(format!("{path}{}", live.entry.part.offset));
    }
    found.join(" ")
}

#[tokio::test]
async fn content_is_read_on_from_any_place_where_reading_stopped() {
    let (_, vault) = made().await;
    let content = [noise(1, 150_000), vec![b'x'; 300_000], noise(2, 150_000)].concat();
    let mut writer = tree_writer(&vault, 8 << 20, false);
    put(&mut writer, Change::Added, "a", &content);
    let manifest = backup(&vault, finished(writer)).await;
    let live = all(&vault, &manifest).next().await.unwrap().unwrap();
    let pieces = live.entry.extents.len();
    assert!(pieces > 2, "what compresses and what does not stand apart");
    let mut reader = PackReader::new(&vault, &manifest, Fetch::Blocks);
    for stop in 0..=pieces {
        let mut read = Vec::new();
        let mut before = EntryContent::new(&mut reader, live.object, &live.segment, &live.entry);
        for _ in 0..stop {
            read.extend(before.next().await.unwrap().unwrap());
        }
        let place = before.place();
        let mut rest =
            EntryContent::resume(&mut reader, live.object, &live.segment, &live.entry, place.clone());
        while let Some(piece) = rest.next().await.unwrap() {
            read.extend(piece);
        }
        assert!(read == content, "after {stop} pieces");
    }
}

#[test]
fn a_span_holds_its_last_path_and_its_first_only_where_it_begins_with_it() {
    let held = |span: &PathSpan| {
        let paths = ["a", "b", "b/", "c", "c0"];
        paths.into_iter().filter(|path| span.holds(path.as_bytes())).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(held(&PathSpan::default()), "a b b/ c c0");
    assert_eq!(held(&span(PathStart::Beginning, "b/")), "a b b/");
    assert_eq!(held(&span(after("b"), "")), "b/ c c0");
    assert_eq!(held(&span(at("b"), "c")), "b b/ c");
    assert_eq!(held(&span(after("b"), "b")), "");
}

/// Entries so long that blocks begin with a, b, c, c, d and e. The first of c's three parts stands behind b.
fn long_entries(vault: &Vault) -> Vec<FinishedObject> {
    let mut writer = tree_writer(vault, 8 << 20, false);
    for (path, parts, note) in
        [("a", 1, 270_000), ("b", 1, 1), ("c", 3, 270_000), ("d", 1, 270_000), ("e", 1, 270_000)]
    {
        for offset in 0..parts {
            let attributes = BTreeMap::from([("note".to_owned(), "n".repeat(note))]);
            let meta = EntryMeta { attributes, ..meta(path, parts) };
            writer.begin(meta, Part { offset, length: 1 }).unwrap();
            writer.write(b"x").unwrap();
            writer.end().unwrap();
        }
    }
    finished(writer)
}

#[tokio::test]
async fn a_span_reads_only_the_blocks_that_may_hold_it() {
    let (storage, vault) = made().await;
    let manifest = backup(&vault, long_entries(&vault)).await;
    let watched = Watched::telling(&storage, StoredSum::NotKept);
    let vault = vault.over(watched.clone());
    // The span, what is in it, and in how many of the six blocks it is looked for.
    let cases = [
        (PathSpan::default(), "a0 b0 c0 c1 c2 d0 e0", 6),
        (span(after("a"), ""), "b0 c0 c1 c2 d0 e0", 6),
        (span(after("c"), ""), "d0 e0", 3),
        (span(after("d"), "e"), "e0", 2),
        (span(after("e"), ""), "", 0),
        (span(at("a"), ""), "a0 b0 c0 c1 c2 d0 e0", 6),
        (span(at("c"), ""), "c0 c1 c2 d0 e0", 5),
        (span(at("c"), "c"), "c0 c1 c2", 3),
        (span(at("d"), "d"), "d0", 2),
        (span(PathStart::Beginning, "a"), "a0", 1),
        (span(PathStart::Beginning, "b"), "a0 b0", 2),
        (span(PathStart::Beginning, "d"), "a0 b0 c0 c1 c2 d0", 5),
    ];
    let blocks = || {
        let asked = watched.gets();
        asked.iter().filter(|(_, range)| matches!(range, ByteRange::Span { .. })).count()
    };
    for (span, wanted, most) in cases {
        let tree = MergedTree::new(&vault, &manifest, &manifest.streams[0], span.clone());
        assert_eq!(entries(tree).await, wanted, "{span:?}");
        assert_eq!(blocks(), most, "{span:?}");
    }
    // To tell chunk lists apart, all files before must be counted.
    let tree = MergedTree::new(&vault, &manifest, &manifest.streams[0], span(at("d"), "d")).with_chunks();
    assert_eq!(entries(tree).await, "d0");
    assert_eq!(blocks(), 5);
}

#[tokio::test]
async fn a_span_opens_only_the_packs_that_it_reaches() {
    let (storage, vault) = made().await;
    let mut writer = tree_writer(&vault, 100, false);
    for path in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        put(&mut writer, Change::Added, path, b"");
    }
    let manifest = backup(&vault, finished(writer)).await;
    assert_eq!(manifest.streams[0].layers[0].segments.len(), 4, "two entries each");
    let watched = Watched::telling(&storage, StoredSum::NotKept);
    let vault = vault.over(watched.clone());
    let cases: [(PathSpan, &str, &[u32]); 9] = [
        (PathSpan::default(), "a0 b0 c0 d0 e0 f0 g0 h0", &[0, 1, 2, 3]),
        (span(after("b"), ""), "c0 d0 e0 f0 g0 h0", &[1, 2, 3]),
        (span(at("b"), ""), "b0 c0 d0 e0 f0 g0 h0", &[0, 1, 2, 3]),
        (span(at("bb"), ""), "c0 d0 e0 f0 g0 h0", &[1, 2, 3]),
        (span(after("b"), "c"), "c0", &[1]),
        (span(at("d"), "e"), "d0 e0", &[1, 2]),
        (span(PathStart::Beginning, "b"), "a0 b0", &[0]),
        (span(PathStart::Beginning, "c"), "a0 b0 c0", &[0, 1]),
        (span(after("h"), ""), "", &[]),
    ];
    for (span, wanted, packs) in cases {
        let tree = MergedTree::new(&vault, &manifest, &manifest.streams[0], span.clone());
        assert_eq!(entries(tree).await, wanted, "{span:?}");
        let asked: BTreeSet<String> = watched.gets().into_iter().map(|(key, _)| key).collect();
        let reached = packs.iter().map(|at| manifest.objects[*at as usize].key()).collect();
        assert_eq!(asked, reached, "{span:?}");
    }
}

/// An index object of the tree's chunk lists, in blocks of so many.
fn lists_in_blocks(vault: &Vault, blocks: &[(&str, &[Vec<ChunkRef>])]) -> FinishedObject {
    let (mut plain, mut fences) = (Vec::new(), Vec::new());
    for (first, lists) in blocks {
        let mut block = Vec::new();
        for list in *lists {
            put_chunks(&mut block, list);
        }
        plain.push(block);
        let count = u32::try_from(lists.len()).unwrap();
        fences.push(Fence { first: first.as_bytes().to_vec(), count });
    }
    let index = BlockIndex { first_block: 0, fences };
    sealed(vault, ObjectKind::Index, &plain, vec![Segment::Chunks(IndexSegment { origin: FIRST, index })])
}

#[tokio::test]
async fn chunk_lists_are_found_however_their_blocks_divide() {
    let (_, vault) = made().await;
    let content = |path: &str| match path {
        "c/" => Vec::new(),
        _ => noise(u64::from(path.as_bytes()[0]), 150_000 + 10_000 * usize::from(path.as_bytes()[0] & 7)),
    };
    let mut writer = tree_writer(&vault, 8 << 20, false);
    for path in ["a", "b", "c", "c/", "d", "e"] {
        put(&mut writer, Change::Added, path, &content(path));
    }
    let [pack, index] = <[FinishedObject; 2]>::try_from(finished(writer)).unwrap();
    let (blocks, _) = unsealed(&vault, &index).await;
    let mut reader = Reader::new(&blocks[0]);
    let lists: Vec<Vec<ChunkRef>> = (0..5).map(|_| take_chunks(&mut reader).unwrap()).collect();
    assert!(reader.is_empty() && lists.iter().all(|list| list.len() > 2));
    let other = [("a", &lists[..2]), ("c", &lists[2..3]), ("d", &lists[3..])];
    let divided = lists_in_blocks(&vault, &other);
    let manifest = backup(&vault, vec![pack, divided]).await;
    let named: BTreeMap<&str, &Vec<ChunkRef>> = ["a", "b", "c", "d", "e"].into_iter().zip(&lists).collect();
    for asked in [&["a", "b", "c", "c/", "d", "e"][..], &["b", "d"], &["c", "e"], &["e"]] {
        let mut tree = all(&vault, &manifest).with_chunks();
        let mut blocks = PackReader::new(&vault, &manifest, Fetch::Blocks);
        while let Some(live) = tree.next().await.unwrap() {
            let path = std::str::from_utf8(&live.entry.meta.path).unwrap();
            if !asked.contains(&path) {
                continue;
            }
            assert_eq!(tree.chunks(&live).await.unwrap().as_ref(), named.get(path).copied(), "{path}");
            let mut whole = Vec::new();
            for (name, place) in tree.chunk_places(&live).await.unwrap() {
                let chunk = ChunkRef { name, length: place.length };
                assert!(named[path].contains(&chunk), "{path}");
                let block = blocks.block(blocks.object_of(place.pack).unwrap(), place.block).await.unwrap();
                whole.extend_from_slice(&block[place.offset as usize..][..place.length as usize]);
            }
            assert!(whole == content(path), "the chunks of {path} stand where they are said to");
        }
    }
}

#[tokio::test]
async fn chunk_lists_are_of_files_and_only_where_they_are_asked_for() {
    let (_, vault) = made().await;
    let mut writer = tree_writer(&vault, 8 << 20, false);
    for (path, content) in [("a/", &b""[..]), ("b", b"some content"), ("c/", b"")] {
        put(&mut writer, Change::Added, path, content);
    }
    let manifest = backup(&vault, finished(writer)).await;
    for asked in [false, true] {
        let mut tree = all(&vault, &manifest);
        if asked {
            tree = tree.with_chunks();
        }
        while let Some(live) = tree.next().await.unwrap() {
            let is_listed = asked && live.entry.meta.path == b"b";
            assert_eq!(tree.chunks(&live).await.unwrap().is_some(), is_listed);
            assert_eq!(tree.chunk_places(&live).await.unwrap().len(), usize::from(is_listed));
        }
    }
}

/// Offsets and lengths of a file's chunks, or the error's code and object.
type Places = Result<Vec<(u32, u32)>, (Code, String)>;

#[tokio::test]
async fn chunk_lists_that_are_not_those_of_their_files_are_refused() {
    let (_, vault) = made().await;
    let mut writer = tree_writer(&vault, 8 << 20, false);
    put(&mut writer, Change::Added, "a", &[b'x'; 4_000]);
    put(&mut writer, Change::Added, "b", &[b'y'; 10]);
    let [pack, _] = <[FinishedObject; 2]>::try_from(finished(writer)).unwrap();
    let list = |lengths: &[u32]| -> Vec<ChunkRef> {
        lengths.iter().map(|length| ChunkRef { name: [7; 16], length: *length }).collect()
    };
    let read = async |lists: &[Vec<ChunkRef>]| {
        let manifest = backup(&vault, vec![pack.clone(), lists_in_blocks(&vault, &[("a", lists)])]).await;
        let mut tree = all(&vault, &manifest).with_chunks();
        let mut places: Vec<Places> = Vec::new();
        while let Some(live) = tree.next().await.unwrap() {
            let found = tree.chunk_places(&live).await;
            let found = found.map(|places| places.iter().map(|(_, at)| (at.offset, at.length)).collect());
            places.push(found.map_err(|error| (error.code, error.object.unwrap())));
        }
        (places, manifest.objects[1].key())
    };
    let damaged = (Code::ObjectDamaged, pack.kind.object_key(pack.id));
    // Both files stand in one block, b behind a.
    let (sound, _) = read(&[list(&[1_000, 3_000]), list(&[10])]).await;
    assert_eq!(sound, [Ok(vec![(0, 1_000), (1_000, 3_000)]), Ok(vec![(4_000, 10)])]);
    for wrong in [&[4_001][..], &[3_000, 1_001], &[1_000, 3_000, 1], &[1_000, 2_999], &[]] {
        let (places, _) = read(&[list(wrong), list(&[10])]).await;
        assert_eq!(places, [Err(damaged.clone()), Ok(vec![(4_000, 10)])], "{wrong:?}");
    }
    let (few, index) = read(&[list(&[4_000])]).await;
    assert_eq!(few, [Ok(vec![(0, 4_000)]), Err((Code::ObjectDamaged, index))]);
}

#[tokio::test]
async fn a_chunk_stands_in_one_piece() {
    let (_, vault) = made().await;
    let content = [noise(1, 150_000), vec![b'x'; 300_000], noise(2, 150_000)].concat();
    let mut writer = tree_writer(&vault, 8 << 20, false);
    put(&mut writer, Change::Added, "a", &content);
    let [pack, _] = <[FinishedObject; 2]>::try_from(finished(writer)).unwrap();
    let whole = vec![ChunkRef { name: [7; 16], length: 600_000 }];
    let manifest = backup(&vault, vec![pack, lists_in_blocks(&vault, &[("a", &[whole])])]).await;
    let mut tree = all(&vault, &manifest).with_chunks();
    let live = tree.next().await.unwrap().unwrap();
    assert!(live.entry.extents.len() > 1);
    assert_eq!(tree.chunk_places(&live).await.unwrap_err().code, Code::ObjectDamaged);
}

#[tokio::test]
async fn an_entry_stands_in_the_packs_of_its_content() {
    let (_, vault) = made().await;
    let mut writer = tree_writer(&vault, 100, false);
    for (path, content) in [("a", "one"), ("b", "two"), ("c", "one"), ("d", ""), ("e", "three")] {
        put(&mut writer, Change::Added, path, content.as_bytes());
    }
    let manifest = backup(&vault, finished(writer)).await;
    let segments = &manifest.streams[0].layers[0].segments;
    let packs: Vec<_> = segments.iter().map(|at| manifest.objects[at.object as usize].id).collect();
    assert_eq!(packs.len(), 3, "a and b, c and d, e");
    let stand = async |of: &[usize]| {
        let packs: BTreeSet<_> = of.iter().map(|at| packs[*at]).collect();
        let mut tree = all(&vault, &manifest);
        let mut found = String::new();
        while let Some(live) = tree.next().await.unwrap() {
            if tree.stands_in(&live, &packs).unwrap() {
                found.push(char::from(live.entry.meta.path[0]));
            }
        }
        found
    };
    assert_eq!(stand(&[]).await, "");
    assert_eq!(stand(&[0]).await, "abc", "the entry of c stands in another pack than its content");
    assert_eq!(stand(&[1]).await, "");
    assert_eq!(stand(&[2]).await, "e");
    assert_eq!(stand(&[0, 1, 2]).await, "abce");
}

#[tokio::test]
async fn a_tree_that_merges_to_something_else_than_its_stream_says_is_damage() {
    let (_, vault) = made().await;
    let mut base = tree_writer(&vault, 100, false);
    let kept = put(&mut base, Change::Added, "a", b"kept");
    put(&mut base, Change::Added, "b", b"old");
    put(&mut base, Change::Added, "c", b"gone");
    let mut delta = tree_writer(&vault, 100, true);
    let changed = put(&mut delta, Change::Changed, "b", b"new!!");
    delta.tombstone(b"c").unwrap();
    let mut sound = manifest(&vault, &[("files", StreamKind::Tree)]);
    add_layer(&vault, &mut sound, 0, finished(base)).await;
    add_layer(&vault, &mut sound, 0, finished(delta)).await;
    let stream = &mut sound.streams[0];
    (stream.files, stream.bytes, stream.digest) = (2, 9, sum_of([&kept, &changed]));
    let check = async |manifest: &Manifest| {
        let manifest = Arc::new(manifest.clone());
        tree_layers::check(&vault, &manifest, &manifest.streams[0]).await
    };
    assert_eq!(check(&sound).await, Ok(()));
    let wrong: [fn(&mut Manifest); 3] = [
        |manifest| manifest.streams[0].files += 1,
        |manifest| manifest.streams[0].bytes -= 1,
        |manifest| manifest.streams[0].digest = "01".repeat(32),
    ];
    for (number, change) in wrong.into_iter().enumerate() {
        let mut manifest = sound.clone();
        change(&mut manifest);
        let error = check(&manifest).await.unwrap_err();
        let told = (error.code, error.object.as_deref());
        assert_eq!(told, (Code::ObjectDamaged, Some("manifests/B")), "{number}");
    }
}
