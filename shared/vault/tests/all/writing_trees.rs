//! Trees as a writer lays them out: extents, blocks, packs and chunk lists, to the byte.

use crate::writing_objects::{blocks, counts, opened, ring};
use holdfast_vault::compress::Codec;
use holdfast_vault::crypto::{DigestSum, sha256};
use holdfast_vault::error::Code;
use holdfast_vault::format::entry::{Extent, TreeEntry};
use holdfast_vault::format::footer::{Origin, Segment, TreeSegment};
use holdfast_vault::format::header::{Id, ObjectKind};
use holdfast_vault::format::wire::Reader;
use holdfast_vault::keys::KeyRing;
use holdfast_vault::model::{EntryKind, EntryMeta, Part};
use holdfast_vault::write::{ChunkPlace, FinishedObject, TreeLimits, TreeWriter};
use std::collections::BTreeMap;

const FIRST: Origin = Origin { stream: 2, task: 3, sequence: 5 };
const LARGE: usize = 1 << 24;

fn limited(keys: &KeyRing, pack_bytes: usize, entry_bytes: usize, is_delta: bool) -> TreeWriter {
    let limits = TreeLimits { pack_bytes, entry_bytes };
    TreeWriter::on_base(keys, Codec::None, FIRST, limits, 1, is_delta).unwrap()
}

fn writer(keys: &KeyRing) -> TreeWriter {
    limited(keys, LARGE, LARGE, false)
}

fn meta(path: &str, size: usize) -> EntryMeta {
    EntryMeta {
        path: path.as_bytes().to_vec(),
        kind: if path.ends_with('/') { EntryKind::Directory } else { EntryKind::File },
        size: size as u64,
        mode: None,
        mtime: None,
        attributes: BTreeMap::new(),
    }
}

fn whole(size: usize) -> Part {
    Part { offset: 0, length: size as u64 }
}

fn put(writer: &mut TreeWriter, path: &str, content: &[u8]) {
    writer.begin(meta(path, content.len()), whole(content.len())).unwrap();
    writer.write(content).unwrap();
    writer.end().unwrap();
}

/// Bytes that do not compress, the same in every run.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(length).collect()
}

fn finished(mut writer: TreeWriter) -> Vec<FinishedObject> {
    writer.finish().unwrap();
    writer.take_finished()
}

/// The only tree segment of a pack, and its entries.
fn tree(keys: &KeyRing, pack: &FinishedObject) -> (TreeSegment, Vec<TreeEntry>) {
    let segments = opened(keys, pack).footer.segments;
    let [Segment::Tree(tree)] = &segments[..] else { panic!("{segments:?}") };
    let first = usize::try_from(tree.index.first_block).unwrap();
    let mut entries = Vec::new();
    for (block, fence) in blocks(keys, pack)[first..].iter().zip(&tree.index.fences) {
        let mut reader = Reader::new(block);
        entries.extend((0..fence.count).map(|_| TreeEntry::decode(&mut reader).unwrap()));
        assert!(reader.is_empty());
    }
    (tree.clone(), entries)
}

fn at(pack: u8, block: u32, offset: u32, length: u32) -> ChunkPlace {
    ChunkPlace { pack: Id([pack; 16]), block, offset, length }
}

fn extent(pack: u32, block: u32, offset: u32, length: u32) -> Extent {
    Extent { pack, block, offset, length }
}

/// Writes the entry of a number.
type PutEntry = fn(&mut TreeWriter, usize);

/// After which entry the first pack is finished.
fn entries_until_full(entry_bytes: usize, is_delta: bool, entry: PutEntry) -> usize {
    let mut writer = limited(&ring(1), LARGE, entry_bytes, is_delta);
    let ends = |number: &usize| {
        entry(&mut writer, *number);
        !writer.take_finished().is_empty()
    };
    (1..10).find(ends).unwrap_or(0)
}

#[test]
fn a_pack_ends_with_the_entry_that_brings_its_entries_to_the_limit() {
    // About what an entry takes until it is written: 64 bytes, its path, 8 for an extent and 20 for a chunk.
    let file = |writer: &mut TreeWriter, number| put(writer, &format!("{number:03}"), &[7; 50]);
    let directory = |writer: &mut TreeWriter, number| put(writer, &format!("{number:02}/"), b"");
    let gone = |writer: &mut TreeWriter, number| writer.tombstone(format!("{number:03}").as_bytes()).unwrap();
    let kinds: [(&str, bool, usize, PutEntry); 3] = [
        ("files", false, 64 + 3 + 8 + 20, file),
        ("directories", false, 64 + 3, directory),
        ("tombstones", true, 64 + 3, gone),
    ];
    for (what, is_delta, size, entry) in kinds {
        for count in 1..5 {
            assert_eq!(entries_until_full(count * size, is_delta, entry), count, "{what}");
            assert_eq!(entries_until_full(count * size + 1, is_delta, entry), count + 1, "{what}");
        }
    }
}

#[test]
fn what_waits_is_what_is_sealed_and_what_is_held() {
    let mut writer = writer(&ring(1));
    assert_eq!((writer.pending_bytes(), writer.next_sequence()), (0, 5));
    put(&mut writer, "a", &[b'a'; 100]);
    assert_eq!(writer.pending_bytes(), 48 + 100, "the header of the pack, and a block that fills");
    put(&mut writer, "b", &noise(4_000));
    assert_eq!(writer.pending_bytes(), 48 + 100 + 4_000, "noise fills a block of its own");
    assert_eq!(writer.next_sequence(), 5, "no segment is written yet");
    writer.finish().unwrap();
    assert_eq!((writer.pending_bytes(), writer.next_sequence()), (0, 6));
}

#[test]
fn chunks_that_stand_side_by_side_are_one_extent() {
    let keys = ring(1);
    let mut writer = writer(&keys);
    let lines: Vec<String> = (0..50_000).map(|number: u32| number.to_string()).collect();
    let text = lines.join("\n");
    put(&mut writer, "a", b"before");
    put(&mut writer, "b", text.as_bytes());
    let objects = finished(writer);
    let (_, entries) = tree(&keys, &objects[0]);
    assert_eq!(entries[1].extents, [extent(0, 0, 6, u32::try_from(text.len()).unwrap())]);
    // Behind the list of the first file: a count, a name and a length.
    let chunks = blocks(&keys, &objects[1])[0][1 + 16 + 1];
    assert!(chunks > 3, "{chunks} chunks, of 64 KiB at most");
}

#[test]
fn an_entry_taken_over_refers_to_where_its_chunks_stand() {
    let keys = ring(1);
    let mut writer = writer(&keys);
    put(&mut writer, "a", b"new");
    let places = [
        at(1, 0, 0, 10),
        at(1, 0, 10, 5), // Follows.
        at(1, 1, 15, 5), // Of another block.
        at(2, 1, 20, 5), // Of another pack.
        at(2, 1, 26, 5), // Behind a gap.
        at(2, 1, 31, 1), // Follows.
        at(1, 1, 20, 9), // Of the first pack again.
    ];
    let size = places.iter().map(|place| place.length as usize).sum();
    let chunks: Vec<([u8; 16], ChunkPlace)> = (1..).zip(places).map(|(name, at)| ([name; 16], at)).collect();
    let extents = vec![extent(9, 9, 9, 9)];
    let old = TreeEntry { meta: meta("b", size), part: whole(size), sha256: [8; 32], extents };
    writer.copy(old.clone(), &chunks).unwrap();
    let again = writer.copy(old.clone(), &chunks).unwrap_err();
    assert_eq!(again.code, Code::Internal, "a path stands once");

    let objects = finished(writer);
    let (tree, entries) = tree(&keys, &objects[0]);
    assert_eq!(blocks(&keys, &objects[0])[0], b"new", "no content but the new file's is written");
    assert_eq!(tree.packs, [Id([1; 16]), Id([2; 16])]);
    let wanted = vec![
        extent(1, 0, 0, 15),
        extent(1, 1, 15, 5),
        extent(2, 1, 20, 5),
        extent(2, 1, 26, 6),
        extent(1, 1, 20, 9),
    ];
    assert_eq!(entries[1], TreeEntry { extents: wanted, ..old });
    let mut digest = DigestSum::default();
    for entry in &entries {
        digest.add(&entry.digest());
    }
    assert_eq!((tree.files, tree.bytes, tree.digest), (2, 3 + size as u64, digest));
    let mut list = vec![7];
    for (name, place) in &chunks {
        list.extend_from_slice(name);
        list.push(u8::try_from(place.length).unwrap());
    }
    assert_eq!(
        blocks(&keys, &objects[1])[0][1 + 16 + 1..],
        list,
        "its chunks stand behind those of the first"
    );
}

#[test]
fn an_entry_is_not_taken_over_without_all_of_its_chunks() {
    let keys = ring(1);
    let mut writer = limited(&keys, LARGE, LARGE, false);
    let old = TreeEntry { meta: meta("b", 10), part: whole(10), sha256: [8; 32], extents: vec![] };
    let chunk = |length| ([1; 16], at(1, 0, 0, length));
    for few in [vec![], vec![chunk(9)], vec![chunk(9), chunk(2)]] {
        let refused = writer.copy(old.clone(), &few).unwrap_err();
        assert_eq!(
            (refused.code, refused.hint.as_deref()),
            (Code::ObjectMissing, Some("make a full backup"))
        );
    }
    writer.copy(old, &[chunk(9), chunk(1)]).unwrap();
    let (tree, entries) = tree(&keys, &finished(writer)[0]);
    assert_eq!((tree.files, entries.len()), (1, 1), "what was refused leaves nothing");
}

#[test]
fn content_that_is_known_is_not_stored_again_until_it_is_forgotten() {
    // Chunks keep the names that the base gave them, although there is a newer version of the key.
    let keys = ring(2);
    let mut writer = limited(&keys, LARGE, LARGE, true);
    let name = |content: &[u8]| keys.chunk_namer(1).unwrap().name(&sha256(content));
    let (kept, forgotten) = ([b'k'; 3_000], [b'f'; 2_000]);
    writer.known_in_base(name(&kept), &at(1, 4, 50, 3_000));
    writer.known_in_base(name(&forgotten), &at(2, 6, 70, 2_000));
    put(&mut writer, "a", &kept);
    writer.forget_base();
    put(&mut writer, "b", &forgotten);

    let objects = finished(writer);
    let (tree, entries) = tree(&keys, &objects[0]);
    assert_eq!(tree.packs, [Id([1; 16])]);
    assert_eq!(entries[0].extents, [extent(1, 4, 50, 3_000)]);
    assert_eq!(entries[1].extents, [extent(0, 0, 0, 2_000)]);
    assert_eq!(blocks(&keys, &objects[0])[0], forgotten);
    let lists = &blocks(&keys, &objects[1])[0];
    assert_eq!(lists[1..17], name(&kept));
    assert_eq!(lists[20..36], name(&forgotten));
}

#[test]
fn parts_of_a_file_follow_one_another_byte_by_byte() {
    let keys = ring(1);
    let mut writer = writer(&keys);
    for (offset, byte) in (0..).zip(b"abc") {
        writer.begin(meta("f", 3), Part { offset, length: 1 }).unwrap();
        writer.write(&[*byte]).unwrap();
        writer.end().unwrap();
    }
    for (path, offset) in [("f", 2), ("f", 0), ("e", 5)] {
        let refused = writer.begin(meta(path, 3), Part { offset, length: 1 }).unwrap_err();
        assert_eq!(refused.code, Code::Internal, "{path} at {offset} is out of order");
    }
    let (tree, entries) = tree(&keys, &finished(writer)[0]);
    assert_eq!((tree.files, tree.bytes), (1, 3));
    assert_eq!(entries.iter().map(|entry| entry.part.offset).collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn a_file_that_shrinks_or_grows_while_it_is_read_is_refused() {
    let mut writer = writer(&ring(1));
    writer.begin(meta("f", 5), whole(5)).unwrap();
    writer.write(b"four").unwrap();
    assert_eq!(writer.end().unwrap_err().code, Code::SourceChanged, "a byte is missing");
    assert_eq!(writer.write(b"xy").unwrap_err().code, Code::SourceChanged, "a byte too many");
}

#[test]
fn an_entry_that_was_abandoned_leaves_nothing() {
    let keys = ring(1);
    let mut writer = writer(&keys);
    writer.begin(meta("f", 50), whole(50)).unwrap();
    writer.write(b"half of it").unwrap();
    writer.abandon();
    put(&mut writer, "f", b"another");
    let objects = finished(writer);
    let (tree, entries) = tree(&keys, &objects[0]);
    assert_eq!((tree.files, tree.bytes, entries.len()), (1, 7, 1));
    assert_eq!(entries[0].sha256, sha256(b"another"));
    assert_eq!(blocks(&keys, &objects[0])[0], b"another");
}

#[test]
fn small_files_share_a_block_of_content_one_of_entries_and_one_of_chunk_lists() {
    let keys = ring(1);
    let mut writer = writer(&keys);
    for path in ["a", "b", "c", "d", "e"] {
        put(&mut writer, path, path.as_bytes());
    }
    let objects = finished(writer);
    let (pack, index) = (opened(&keys, &objects[0]).footer, opened(&keys, &objects[1]).footer);
    assert_eq!((pack.blocks.len(), counts(&pack.segments[0])), (2, vec![5]));
    assert_eq!((index.blocks.len(), counts(&index.segments[0])), (1, vec![5]));
    assert_eq!(blocks(&keys, &objects[0])[0], b"abcde");
}

#[test]
fn a_block_of_entries_ends_with_a_quarter_of_a_mebibyte() {
    let keys = ring(1);
    let mut writer = writer(&keys);
    for path in ["a", "b", "c"] {
        let attributes = BTreeMap::from([("long".to_owned(), "x".repeat(140_000))]);
        writer.begin(EntryMeta { attributes, ..meta(path, 0) }, whole(0)).unwrap();
        writer.end().unwrap();
    }
    let pack = opened(&keys, &finished(writer)[0]).footer;
    assert_eq!(counts(&pack.segments[0]), [2, 1]);
    let firsts: Vec<&[u8]> = pack.segments[0].index().fences.iter().map(|fence| &fence.first[..]).collect();
    assert_eq!(firsts, [b"a", b"c"]);
}

#[test]
fn chunk_lists_share_an_object_until_it_is_full() {
    let keys = ring(1);
    for (pack_bytes, wanted) in [(LARGE, vec![vec![5, 6, 7]]), (1, vec![vec![5], vec![6], vec![7]])] {
        // A limit of nothing ends a pack with every entry.
        let mut writer = limited(&keys, pack_bytes, 0, false);
        for path in ["a", "b", "c"] {
            put(&mut writer, path, path.as_bytes());
        }
        let objects = finished(writer);
        let sequences = |kind| -> Vec<Vec<u32>> {
            let of = |object| {
                let segments = opened(&keys, object).footer.segments;
                segments.iter().map(|segment| segment.origin().sequence).collect()
            };
            objects.iter().filter(|object| object.kind == kind).map(of).collect()
        };
        assert_eq!(sequences(ObjectKind::Index), wanted);
        assert_eq!(sequences(ObjectKind::Pack), [[5], [6], [7]]);
    }
}

#[test]
fn what_has_no_files_has_no_chunk_lists() {
    let keys = ring(1);
    let mut writer = limited(&keys, LARGE, LARGE, true);
    put(&mut writer, "a/", b"");
    writer.tombstone(b"b").unwrap();
    let objects = finished(writer);
    assert_eq!(objects.iter().map(|object| object.kind).collect::<Vec<_>>(), [ObjectKind::Pack]);
}
