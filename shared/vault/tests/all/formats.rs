//! Encodings by the byte, as `docs/vault-format.md` has them, and what a reader refuses of them.

use holdfast_vault::crypto::sha256;
use holdfast_vault::format::changes::{Change, ChangeName, Gap};
use holdfast_vault::format::entry::{Extent, TreeEntry};
use holdfast_vault::format::footer::DeltaCounts;
use holdfast_vault::format::header::{Header, Id, ObjectKind};
use holdfast_vault::format::wire::{Reader, put_number};
use holdfast_vault::model::{EntryKind, EntryMeta, Mtime, Part, RecordEncoding, StreamInfo, StreamKind};
use proptest::prelude::*;
use std::collections::BTreeMap;

#[test]
fn a_number_is_seven_bits_a_byte_and_at_most_ten_bytes() {
    for (number, bytes) in [
        (0, &[0][..]),
        (1, &[1]),
        (127, &[0x7f]),
        (128, &[0x80, 1]),
        (300, &[0xac, 2]),
        (16_384, &[0x80, 0x80, 1]),
        (1 << 63, &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1]),
        (u64::MAX, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
    ] {
        let mut out = Vec::new();
        put_number(&mut out, number);
        assert_eq!(out, bytes);
        assert_eq!(Reader::new(bytes).number(), Some(number));
    }
    // 2^64 and more.
    for last in [2, 3, 0x7f, 0x80, 0x81] {
        for low in [0x80, 0xff] {
            let mut bytes = [low; 10];
            bytes[9] = last;
            assert_eq!(Reader::new(&bytes).number(), None, "{bytes:x?}");
        }
    }
}

#[test]
fn a_reader_knows_what_is_left() {
    let mut reader = Reader::new(&[5, 0x80, 1, 9, 9]);
    for (left, number) in [(5, 5), (4, 128), (2, 9), (1, 9)] {
        assert_eq!((reader.remaining(), reader.is_empty()), (left, false));
        assert_eq!(reader.number(), Some(number));
    }
    assert_eq!((reader.remaining(), reader.is_empty(), reader.number()), (0, true, None));
}

#[test]
fn each_kind_of_object_has_its_number_and_no_other_number_is_one() {
    let (vault, object) = (Id([0xaa; 16]), Id([0xbb; 16]));
    let kinds = [ObjectKind::Pack, ObjectKind::Manifest, ObjectKind::Index, ObjectKind::Changes];
    for (number, kind) in (1..).zip(kinds) {
        let header = Header { kind, key_version: 0x0102_0304, vault, object };
        let mut bytes = b"HOLDFAST\x01".to_vec();
        bytes.extend([number, 0, 0, 4, 3, 2, 1]);
        bytes.extend([[0xaa; 16], [0xbb; 16]].concat());
        assert_eq!(header.encode(), bytes[..]);
        assert_eq!(Header::decode(&bytes), Ok(header));
        for other in [0, 5, 0xff] {
            bytes[9] = other;
            assert!(Header::decode(&bytes).is_err(), "kind {other}");
        }
    }
}

/// A change of this sequence, and its bytes with these flags.
fn change(sequence: &str, flags: u8) -> Vec<u8> {
    let mut bytes = vec![7; 16];
    bytes.push(3);
    bytes.push(u8::try_from(sequence.len()).unwrap());
    bytes.extend(sequence.as_bytes());
    bytes.extend([flags, 3]);
    bytes.extend(b"[1]");
    if flags & 1 != 0 {
        bytes.extend(b"\x01b");
    }
    if flags & 2 != 0 {
        bytes.extend(b"\x02aa");
    }
    bytes
}

#[test]
fn a_change_has_the_values_that_its_flags_tell() {
    for flags in 0..4 {
        let bytes = change("120", flags);
        let wanted = Change {
            hash: [7; 16],
            time: -2,
            sequence: "120".to_owned(),
            key: b"[1]".to_vec(),
            before: (flags & 1 != 0).then(|| b"b".to_vec()),
            after: (flags & 2 != 0).then(|| b"aa".to_vec()),
        };
        let mut reader = Reader::new(&bytes);
        assert_eq!(Change::decode(&mut reader).as_ref(), Some(&wanted));
        assert!(reader.is_empty());
        let mut out = Vec::new();
        wanted.encode(&mut out);
        assert_eq!(out, bytes);
    }
}

#[test]
fn a_change_without_a_number_for_a_sequence_or_with_other_flags_is_refused() {
    let decoded = |sequence, flags| Change::decode(&mut Reader::new(&change(sequence, flags)));
    assert!(decoded("0", 3).is_some() && decoded("00000000000000000000000000000000000000012", 3).is_some());
    for sequence in ["", "a", "1a", "a1", "-1", "+1", "1 ", "1.0", "\u{661}"] {
        assert_eq!(decoded(sequence, 3), None, "{sequence:?}");
    }
    for flags in [4, 7, 8, 0x83, 0xff] {
        assert_eq!(decoded("1", flags), None, "flags {flags}");
    }
}

#[test]
fn changes_are_told_to_be_missing_only_by_a_gap_that_holds_all_their_times() {
    let name = |from, to| ChangeName { folder: [1; 16], from, to, level: 0, object: Id([2; 16]) };
    let gap = |from, to| Gap { from, to, reason: "why".to_owned() };
    for (from, to, told) in [
        (100, 200, true),
        (0, 300, true),
        (101, 200, false),
        (100, 199, false),
        (150, 160, false),
        (0, 50, false),
        (250, 300, false),
        (0, 100, false),
        (200, 300, false),
    ] {
        assert_eq!(name(100, 200).is_told(&[gap(from, to)]), told, "{from} to {to}");
    }
    assert!(!name(100, 200).is_told(&[]));
    assert!(name(100, 200).is_told(&[gap(0, 1), gap(90, 210), gap(300, 400)]), "one of several is enough");
    assert!(!name(100, 200).is_told(&[gap(90, 150), gap(150, 210)]), "but it is one that holds them all");
}

/// A part of a file with all that an entry may have.
fn part() -> TreeEntry {
    let meta = EntryMeta {
        path: b"d/f".to_vec(),
        kind: EntryKind::File,
        size: 1_000,
        mode: Some(0o644),
        mtime: Some(Mtime { seconds: -2, nanos: 200 }),
        attributes: BTreeMap::from([("n".to_owned(), "v".to_owned())]),
    };
    let extents = vec![
        Extent { pack: 0, block: 1, offset: 2, length: 3 },
        Extent { pack: 4, block: 300, offset: 0, length: 197 },
    ];
    TreeEntry { meta, part: Part { offset: 500, length: 200 }, sha256: [0xcd; 32], extents }
}

/// Its bytes without the extents.
fn identity() -> Vec<u8> {
    let mut bytes = vec![0x70, 3];
    bytes.extend(b"d/f");
    bytes.extend([0xa4, 3]);
    bytes.extend([3, 0xc8, 1]);
    bytes.extend(b"\x01\x01n\x01v");
    bytes.extend([0xe8, 7, 0xf4, 3, 0xc8, 1]);
    bytes.extend([0xcd; 32]);
    bytes
}

fn encoded(entry: &TreeEntry) -> Vec<u8> {
    let mut out = Vec::new();
    entry.encode(&mut out);
    out
}

#[test]
fn an_entry_is_these_bytes_and_its_digest_is_of_all_but_the_extents() {
    let entry = part();
    let extents = [2, 0, 1, 2, 3, 4, 0xac, 2, 0, 0xc5, 1];
    assert_eq!(encoded(&entry), [&identity()[..], &extents].concat());
    assert_eq!(TreeEntry::decode(&mut Reader::new(&encoded(&entry))), Some(entry.clone()));
    assert_eq!(entry.digest(), sha256(&identity()));
    let moved = TreeEntry { extents: vec![Extent { pack: 0, block: 0, offset: 0, length: 200 }], ..entry };
    assert_eq!(moved.digest(), sha256(&identity()), "wherever its bytes stand");
    let mut other = part();
    other.meta.mode = Some(0o600);
    assert_ne!(other.digest(), moved.digest());
}

#[test]
fn extents_stand_behind_every_entry_with_content_and_no_other() {
    let without = TreeEntry { extents: Vec::new(), ..part() };
    assert_eq!(encoded(&without), [&identity()[..], &[0]].concat());
    assert_eq!(TreeEntry::decode(&mut Reader::new(&encoded(&without))), None, "its content is nowhere");
    let mut empty = part();
    empty.meta.size = 0;
    empty.part = Part { offset: 0, length: 0 };
    (empty.extents, empty.sha256) = (Vec::new(), sha256(b""));
    let mut bytes = identity();
    bytes[0] = 0x30;
    bytes.truncate(bytes.len() - 32 - 6);
    bytes.push(0);
    assert_eq!(encoded(&empty), bytes);
    assert_eq!(TreeEntry::decode(&mut Reader::new(&bytes)), Some(empty));
}

#[test]
fn extents_hold_just_the_content_and_each_some_of_it() {
    let lengths = |lengths: &[u32]| {
        let extent = |length: &u32| Extent { pack: 0, block: 0, offset: 0, length: *length };
        let entry = TreeEntry { extents: lengths.iter().map(extent).collect(), ..part() };
        TreeEntry::decode(&mut Reader::new(&encoded(&entry))).is_some()
    };
    assert!(lengths(&[200]) && lengths(&[1, 198, 1]));
    for wrong in [&[199][..], &[201], &[100, 101], &[200, 0], &[0, 200], &[100, 0, 100], &[u32::MAX, 200]] {
        assert!(!lengths(wrong), "{wrong:?}");
    }
}

fn entries() -> impl Strategy<Value = TreeEntry> {
    let kind = prop_oneof![
        Just(EntryKind::File),
        Just(EntryKind::Directory),
        any::<Vec<u8>>().prop_map(|target| EntryKind::Symlink { target }),
    ];
    let mtime = (any::<i64>(), 0_u32..1_000_000_000).prop_map(|(seconds, nanos)| Mtime { seconds, nanos });
    let length = prop_oneof![Just(0), Just(1), any::<u32>()];
    let around = (prop_oneof![Just(0), 0..u64::MAX / 4], prop_oneof![Just(0), 0..u64::MAX / 4]);
    let rest = (any::<[u32; 3]>(), any::<[u8; 32]>(), prop::collection::btree_map(".*", ".*", 0..3));
    (any::<Vec<u8>>(), kind, any::<Option<u32>>(), prop::option::of(mtime), (length, around), rest).prop_map(
        |(path, kind, mode, mtime, (length, (before, after)), ([pack, block, offset], hash, attributes))| {
            let is_file = kind == EntryKind::File;
            let length = if is_file { length } else { 0 };
            let part = Part { offset: if is_file { before } else { 0 }, length: u64::from(length) };
            let size = if is_file { before + part.length + after } else { 0 };
            let extents = if length > 0 { vec![Extent { pack, block, offset, length }] } else { Vec::new() };
            let sha256 = if length > 0 { hash } else { sha256(b"") };
            let meta = EntryMeta { path, kind, size, mode, mtime, attributes };
            TreeEntry { meta, part, sha256, extents }
        },
    )
}

proptest! {
    #[test]
    fn entries_come_back_one_after_the_other_and_none_that_is_cut(
        all in prop::collection::vec(entries(), 0..4), cut: prop::sample::Index,
    ) {
        let mut bytes = Vec::new();
        for entry in &all {
            entry.encode(&mut bytes);
        }
        let mut reader = Reader::new(&bytes);
        for entry in &all {
            let decoded = TreeEntry::decode(&mut reader);
            prop_assert_eq!(decoded.as_ref(), Some(entry));
        }
        prop_assert!(reader.is_empty());
        for entry in &all {
            let whole = encoded(entry);
            prop_assert_eq!(TreeEntry::decode(&mut Reader::new(&whole[..cut.index(whole.len())])), None);
        }
    }
}

#[test]
fn counts_of_deltas_add_up_one_by_one() {
    let mut sum = DeltaCounts::default();
    assert!(sum.is_empty());
    for (added, changed, deleted) in [(1, 0, 0), (0, 2, 0), (0, 3, 5), (10, 20, 30)] {
        let counts = DeltaCounts { added, changed, deleted };
        assert!(!counts.is_empty());
        sum += counts;
    }
    assert_eq!(sum, DeltaCounts { added: 11, changed: 25, deleted: 35 });
}

#[test]
fn keys_are_stored_where_no_place_in_the_record_tells_them() {
    let stored = |shape| {
        let info = StreamInfo { name: "s".to_owned(), shape, schema: serde_json::Value::Null };
        info.keys_are_stored()
    };
    let encoding = RecordEncoding::Json;
    assert!(stored(StreamKind::Records { encoding, key: Vec::new() }));
    assert!(!stored(StreamKind::Records { encoding, key: vec!["/id".to_owned()] }));
    assert!(!stored(StreamKind::Tree));
}
