//! Runs of records: where they are cut, what stands in packs and state tables, and what a writer tells while it writes.

use crate::writing_objects::{blocks, counts, opened, ring};
use holdfast_vault::compress::Codec;
use holdfast_vault::crypto::sha256;
use holdfast_vault::format::footer::{DeltaCounts, Origin, Segment};
use holdfast_vault::format::header::ObjectKind;
use holdfast_vault::keys::KeyRing;
use holdfast_vault::write::records::{DeltaKind, KeyStorage, RunsOptions, record_digest, state_digest};
use holdfast_vault::write::{FinishedObject, RecordsWriter, RunLimits};
use proptest::prelude::*;
use std::sync::LazyLock;

const FIRST: Origin = Origin { stream: 2, task: 3, sequence: 4 };
const LARGE: usize = 1 << 24;

fn writer(keys: &KeyRing, storage: KeyStorage, run_bytes: usize, pack_bytes: usize) -> RecordsWriter {
    RecordsWriter::new(keys, Codec::None, storage, FIRST, RunLimits { run_bytes, pack_bytes }).unwrap()
}

/// The key of a record: as long as it is told, but long enough to be the only one.
fn key(number: u64, length: usize) -> Vec<u8> {
    let mut key = number.to_be_bytes().to_vec();
    key.resize(length.max(8), b'k');
    key
}

/// How many records stand in each run, where records have keys and values of these lengths.
fn runs(storage: KeyStorage, run_bytes: usize, lengths: &[(usize, usize)]) -> Vec<usize> {
    let mut writer = writer(&ring(1), storage, run_bytes, LARGE);
    for (place, (in_key, in_value)) in (1..).zip(lengths) {
        writer.push(&key(place, *in_key), &vec![b'v'; *in_value], place).unwrap();
    }
    writer.finish().unwrap();
    let runs: Vec<Vec<u64>> = writer
        .take_origins()
        .into_iter()
        .map(|mut run| {
            run.places.sort_unstable();
            run.places
        })
        .collect();
    let all: Vec<u64> = (1..).take(lengths.len()).collect();
    assert_eq!(runs.concat(), all, "every record stands in a run, in the order in which they came");
    runs.iter().map(Vec::len).collect()
}

/// What a row takes in memory: the third of three empty records fits where two rows do.
static ROW: LazyLock<usize> = LazyLock::new(|| {
    let fits = |limit: &usize| runs(KeyStorage::Derived, *limit, &[(0, 0); 3]).len() == 1;
    let two = (1..2_000).find(fits).unwrap();
    assert!(two > 2 * 32, "a row is more than a hash and half a digest: {two}");
    assert_eq!(two % 2, 0, "both rows take as much");
    two / 2
});

/// The runs as they must be cut: before the record that would not fit, and never before the first.
fn expected(limit: usize, sizes: &[usize]) -> Vec<usize> {
    let (mut runs, mut held, mut bytes) = (Vec::new(), 0, 0);
    for size in sizes {
        if held > 0 && bytes + held * *ROW + size > limit {
            runs.push(held);
            (held, bytes) = (0, 0);
        }
        (held, bytes) = (held + 1, bytes + size);
    }
    runs.extend((held > 0).then_some(held));
    runs
}

#[test]
fn a_run_is_filled_to_the_last_byte_of_its_limit() {
    let (records, limit) = ([(0, 10); 12], 4 * *ROW + 50);
    assert_eq!(runs(KeyStorage::Derived, limit, &records), [5, 5, 2]);
    assert_eq!(runs(KeyStorage::Derived, limit - 1, &records), [4, 4, 4]);
    let (records, limit) = ([(20, 10); 7], 2 * *ROW + 90);
    assert_eq!(runs(KeyStorage::Stored, limit, &records), [3, 3, 1], "a key that is stored takes room too");
    assert_eq!(runs(KeyStorage::Stored, limit - 1, &records), [2, 2, 2, 1]);
    assert_eq!(runs(KeyStorage::Derived, 0, &[(0, 10); 3]), [1; 3], "what is too large stands alone");
}

proptest! {
    #[test]
    fn runs_are_cut_where_records_and_rows_outgrow_the_limit(
        lengths in prop::collection::vec((8_usize..60, 0_usize..300), 1..40),
        stored: bool,
        limit in 0_usize..3_000,
    ) {
        let storage = if stored { KeyStorage::Stored } else { KeyStorage::Derived };
        let size = |(key, value): &(usize, usize)| if stored { key + value } else { *value };
        let sizes: Vec<usize> = lengths.iter().map(size).collect();
        prop_assert_eq!(runs(storage, limit, &lengths), expected(limit, &sizes));
    }
}

#[test]
fn what_waits_is_what_is_sealed_and_what_is_held() {
    let keys = ring(1);
    let mut derived = writer(&keys, KeyStorage::Derived, 0, LARGE);
    assert_eq!(derived.pending_bytes(), 0);
    derived.push(b"key", b"ten bytes.", 1).unwrap();
    assert_eq!(derived.pending_bytes(), 10, "the key can be read from the value");
    derived.push(b"other", b"four", 2).unwrap();
    // The first run is sealed: a header, and a codec, a length, the value and a tag.
    assert_eq!(derived.pending_bytes(), 48 + (1 + 1 + 10 + 16) + 4);
    derived.finish().unwrap();
    assert_eq!(derived.pending_bytes(), 0);
    let mut stored = writer(&keys, KeyStorage::Stored, LARGE, LARGE);
    stored.push(b"key", b"ten bytes.", 1).unwrap();
    assert_eq!(stored.pending_bytes(), 13);
}

/// The origins of the segments in the objects of a kind, object by object.
fn origins(keys: &KeyRing, objects: &[FinishedObject], kind: ObjectKind) -> Vec<Vec<Origin>> {
    let of = |object| opened(keys, object).footer.segments.iter().map(Segment::origin).collect();
    objects.iter().filter(|object| object.kind == kind).map(of).collect()
}

#[test]
fn runs_share_a_pack_and_a_state_object_until_these_are_full() {
    let keys = ring(1);
    let run = |sequence| Origin { sequence, ..FIRST };
    let together = vec![vec![run(4), run(5), run(6)]];
    let apart = vec![vec![run(4)], vec![run(5)], vec![run(6)]];
    for (pack_bytes, wanted) in [(LARGE, together), (1, apart)] {
        let mut writer = writer(&keys, KeyStorage::Derived, 0, pack_bytes);
        for (key, begun) in [("a", 4), ("b", 5), ("c", 6)] {
            writer.push(key.as_bytes(), b"{}", 0).unwrap();
            assert_eq!(writer.next_sequence(), begun, "a run is written when the next one begins");
        }
        let early = writer.take_finished();
        assert_eq!(early.is_empty(), pack_bytes == LARGE);
        writer.finish().unwrap();
        assert_eq!(writer.next_sequence(), 7);
        let objects = [early, writer.take_finished()].concat();
        assert_eq!(origins(&keys, &objects, ObjectKind::Pack), wanted);
        assert_eq!(origins(&keys, &objects, ObjectKind::Index), wanted);
    }
}

#[test]
fn a_writer_tells_which_records_stand_in_which_run() {
    let keys = ring(1);
    let mut writer = writer(&keys, KeyStorage::Derived, LARGE, LARGE);
    for (key, place) in [("a", 11), ("b", 12), ("c", 13)] {
        writer.push(key.as_bytes(), b"{}", place).unwrap();
    }
    writer.finish().unwrap();
    let namer = keys.key_hasher(1).unwrap();
    let mut hashed: Vec<([u8; 16], u64)> =
        [("a", 11), ("b", 12), ("c", 13)].map(|(key, place)| (namer.name(key.as_bytes()), place)).to_vec();
    hashed.sort_unstable();
    let told = writer.take_origins();
    assert_eq!((told.len(), told[0].run), (1, FIRST));
    assert_eq!(told[0].places, hashed.iter().map(|(_, place)| *place).collect::<Vec<_>>(), "in run order");
    assert_eq!(writer.take_origins(), [], "once");
}

#[test]
fn nothing_is_told_of_places_that_the_source_does_not_give() {
    let mut writer = writer(&ring(1), KeyStorage::Derived, LARGE, LARGE);
    for key in ["a", "b"] {
        writer.push(key.as_bytes(), b"{}", 0).unwrap();
    }
    writer.finish().unwrap();
    assert_eq!(writer.take_origins(), []);
}

#[test]
fn records_share_a_block_until_it_holds_a_mebibyte() {
    let keys = ring(1);
    // A length of three bytes stands before a value of this size.
    let just = (1 << 20) - 3;
    let cases: [(&[usize], &[u32]); 4] =
        [(&[9; 5], &[5]), (&[400_000; 4], &[3, 1]), (&[just; 2], &[1, 1]), (&[just - 1; 2], &[2])];
    for (values, wanted) in cases {
        let mut writer = writer(&keys, KeyStorage::Derived, LARGE, LARGE);
        for (number, value) in (1..).zip(values) {
            writer.push(&key(number, 0), &vec![b'v'; *value], 0).unwrap();
        }
        writer.finish().unwrap();
        let objects = writer.take_finished();
        let footer = opened(&keys, &objects[0]).footer;
        assert_eq!(counts(&footer.segments[0]), wanted);
        assert_eq!(footer.blocks.len(), wanted.len());
    }
}

#[test]
fn a_digest_is_of_the_value_and_of_a_key_that_is_stored() {
    let keys = ring(1);
    let (key, value) = ([b'k'; 200], b"value");
    let derived = sha256(value);
    // 200 takes two bytes: its low seven bits with the high bit set, then the rest.
    let stored = sha256(&[&[0xc8, 0x01][..], &key, value].concat());
    assert_eq!(record_digest(KeyStorage::Derived, &key, value), derived);
    assert_eq!(record_digest(KeyStorage::Stored, &key, value), stored);
    let hash = u128::from_be_bytes(keys.key_hasher(1).unwrap().name(&key));
    for (storage, digest, alone) in
        [(KeyStorage::Derived, derived, Some(derived)), (KeyStorage::Stored, stored, None)]
    {
        let writer = writer(&keys, storage, LARGE, LARGE);
        let identity = writer.identify(&key, value);
        assert_eq!((identity.hash, identity.digest), (hash, digest));
        assert_eq!(identity.state_digest(), digest[..16]);
        assert_eq!(state_digest(&digest), digest[..16]);
        assert_eq!(writer.digest_of(value), alone, "by its value alone");
    }
}

#[test]
fn a_pack_holds_the_records_and_a_state_table_their_hashes_and_half_their_digests() {
    let keys = ring(1);
    let limits = RunLimits { run_bytes: LARGE, pack_bytes: LARGE };
    let (codec, storage) = (Codec::None, KeyStorage::Stored);
    let options = RunsOptions { codec, storage, delta: true, name_version: 1, first: FIRST, limits };
    let mut writer = RecordsWriter::with(&keys, options).unwrap();
    let hasher = keys.key_hasher(1).unwrap();
    // What must stand in the pack and in the state table, by key hash.
    let mut wanted = Vec::new();
    for (key, value, kind) in
        [("a", "one", DeltaKind::Added), ("b", "two", DeltaKind::Added), ("c", "three", DeltaKind::Changed)]
    {
        let (key, value) = (key.as_bytes(), value.as_bytes());
        writer.push_identified(&writer.identify(key, value), kind, key, value, 0).unwrap();
        let prefixed = |bytes: &[u8]| [&[u8::try_from(bytes.len()).unwrap()], bytes].concat();
        let record = [vec![0], prefixed(key), prefixed(value)].concat();
        let digest = sha256(&[prefixed(key), value.to_vec()].concat());
        wanted.push((hasher.name(key), record, digest[..16].to_vec()));
    }
    let gone = hasher.name(b"gone");
    writer.push_tombstone(u128::from_be_bytes(gone)).unwrap();
    wanted.push((gone, [&[1][..], &gone].concat(), vec![0; 16]));
    wanted.sort();
    writer.finish().unwrap();

    let objects = writer.take_finished();
    assert_eq!(
        objects.iter().map(|object| object.kind).collect::<Vec<_>>(),
        [ObjectKind::Pack, ObjectKind::Index]
    );
    let records: Vec<u8> = wanted.iter().flat_map(|(_, record, _)| record.clone()).collect();
    assert_eq!(blocks(&keys, &objects[0]), [records]);
    let rows: Vec<u8> = wanted.iter().flat_map(|(hash, _, digest)| [hash, &digest[..]].concat()).collect();
    assert_eq!(blocks(&keys, &objects[1]), [rows]);
    let Segment::Run(run) = opened(&keys, &objects[0]).footer.segments.remove(0) else { panic!("no run") };
    assert_eq!(run.delta, Some(DeltaCounts { added: 2, changed: 1, deleted: 1 }));
    assert_eq!((run.bytes, run.last, run.stored_keys), (11, wanted[3].0.to_vec(), true));
    let state = opened(&keys, &objects[1]).footer.segments.remove(0);
    assert!(matches!(state, Segment::State(_)));
    assert_eq!((state.origin(), counts(&state)), (FIRST, vec![4]));
}
