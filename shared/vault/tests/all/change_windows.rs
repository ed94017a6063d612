//! Captured changes by their times: which objects are missed, which are left unread, and how the rest is fetched.

use crate::changes::said;
use crate::engine::wrapping;
use crate::watched_storage::Watched;
use holdfast_vault::compress::Codec;
use holdfast_vault::error::{Code, Result};
use holdfast_vault::format::changes::{Change, ChangeName, ChangesDescription, Gap};
use holdfast_vault::format::footer::{BlockIndex, ChangeSegment, Fence, Origin, Segment};
use holdfast_vault::format::header::ObjectKind;
use holdfast_vault::memory::MemoryStorage;
use holdfast_vault::read::Vault;
use holdfast_vault::read::changes::{ALL_KEYS, ChangeObject, Unreplaced, Window, changes, gone, list};
use holdfast_vault::read::verify;
use holdfast_vault::storage::{ByteRange, Storage as _};
use holdfast_vault::write::ObjectWriter;
use holdfast_vault::write::changes::{write_changes, write_segments};
use std::sync::Arc;

struct Captured {
    vault: Vault,
    watched: Watched,
    folder: [u8; 16],
}

impl Captured {
    async fn new() -> Self {
        let watched = Watched::over(&MemoryStorage::new("vault"));
        let vault = Vault::create(Arc::new(watched.clone()), &wrapping(1)).await.unwrap();
        let folder = ChangeName::folder_of(vault.keys(), "orders").unwrap();
        Self { vault, watched, folder }
    }

    fn put(&self, level: u8, said: &ChangesDescription, changes: Vec<Change>) -> ChangeName {
        let (keys, folder) = (self.vault.keys(), self.folder);
        let (name, object) = write_changes(keys, Codec::Zstd, folder, level, said, changes).unwrap();
        self.watched.memory.overwrite(&name.key(), object.bytes);
        name
    }

    /// An object as it is captured, of one change at each of some times.
    fn at(&self, times: &[i64]) -> ChangeName {
        self.put(0, &said("orders"), times.iter().map(|time| change(1, *time, 1)).collect())
    }

    async fn lose(&self, name: &ChangeName) {
        self.watched.memory.delete(&name.key()).await.unwrap();
    }

    async fn open(&self, name: &ChangeName) -> ChangeObject {
        let size = self.watched.memory.head(&name.key()).await.unwrap().size;
        ChangeObject::open(&self.vault, name, size).await.unwrap()
    }

    async fn names(&self) -> Vec<(ChangeName, u64)> {
        list(&self.vault, "orders", i64::MIN, i64::MAX).await.unwrap()
    }

    async fn read(&self, stream: &str, window: Window, shard: (u128, u128)) -> Result<Vec<Change>> {
        changes(&self.vault, self.names().await, stream, window, shard).await
    }
}

fn keys<'a>(names: impl IntoIterator<Item = &'a ChangeName>) -> Vec<String> {
    names.into_iter().map(ChangeName::key).collect()
}

/// A change whose sequence is its time, of a value of so many bytes.
fn change(key: u8, time: i64, bytes: usize) -> Change {
    Change {
        hash: [key; 16],
        time,
        sequence: time.to_string(),
        key: vec![key],
        before: None,
        after: Some(vec![key; bytes]),
    }
}

fn length(change: &Change) -> u64 {
    let mut bytes = Vec::new();
    change.encode(&mut bytes);
    bytes.len() as u64
}

#[tokio::test]
async fn what_is_lost_is_missed_in_its_own_time_only() {
    let captured = Captured::new().await;
    let (early, late) = (captured.at(&[10, 20]), captured.at(&[60, 70]));
    let follows = keys([&early, &late]);
    captured.put(0, &ChangesDescription { follows, ..said("orders") }, vec![change(2, 80, 1)]);
    captured.lose(&early).await;
    captured.lose(&late).await;
    // A window begins after its first moment and holds its last one.
    for (after, to, missed) in [
        (0, 9, None),
        (0, 10, Some(&early)),
        (12, 15, Some(&early)),
        (19, 30, Some(&early)),
        (20, 59, None),
        (20, 60, Some(&late)),
        (69, 900, Some(&late)),
        (70, 900, None),
    ] {
        let read = captured.read("t", Window { after, to }, ALL_KEYS).await;
        match missed {
            None => assert!(read.is_ok(), "after {after} to {to}: {read:?}"),
            Some(name) => {
                let error = read.unwrap_err();
                assert_eq!((error.code, error.object), (Code::ObjectMissing, Some(name.key())));
                assert!(error.hint.is_some());
            }
        }
    }
}

#[tokio::test]
async fn lost_objects_are_named_from_a_time_on() {
    let captured = Captured::new().await;
    let lost = [captured.at(&[10, 20]), captured.at(&[30]), captured.at(&[60, 70])];
    let newest = ChangesDescription { follows: keys(&lost), ..said("orders") };
    captured.put(0, &newest, vec![change(2, 80, 1)]);
    assert_eq!(gone(&captured.vault, "orders", 0).await.unwrap(), []);
    for name in &lost {
        captured.lose(name).await;
    }
    for (from, missed) in [(i64::MIN, &lost[..]), (20, &lost[..]), (21, &lost[1..]), (61, &lost[2..])] {
        assert_eq!(gone(&captured.vault, "orders", from).await.unwrap(), missed, "from {from}");
    }
    assert_eq!(gone(&captured.vault, "orders", 71).await.unwrap(), []);
    // What is told as a gap is known to be missing.
    let gap = Gap { from: 5, to: 35, reason: "lost".to_owned() };
    captured.put(0, &ChangesDescription { gaps: vec![gap], ..said("orders") }, vec![change(3, 90, 1)]);
    assert_eq!(gone(&captured.vault, "orders", 0).await.unwrap(), lost[2..]);
}

#[tokio::test]
async fn what_was_gathered_is_left_unread_and_not_missed() {
    let captured = Captured::new().await;
    let (one, other, single) = (captured.at(&[10]), captured.at(&[20]), captured.at(&[30]));
    let last = ChangesDescription { follows: keys([&one, &other, &single]), ..said("orders") };
    let last = captured.put(0, &last, vec![change(2, 40, 1)]);
    let gathered = ChangesDescription { replaces: keys([&one, &other]), ..said("orders") };
    let gathered = captured.put(1, &gathered, vec![change(1, 10, 1), change(1, 20, 1)]);
    for lost in [None, Some(&one)] {
        if let Some(name) = lost {
            captured.lose(name).await;
        }
        let mut objects = Unreplaced::new(&captured.vault, captured.names().await);
        let mut given = Vec::new();
        while let Some((name, size, object)) = objects.next().await.unwrap() {
            assert_eq!(captured.watched.memory.head(object.key()).await.unwrap().size, size);
            given.push(name);
        }
        assert_eq!(given, [gathered.clone(), single.clone(), last.clone()], "the gathered one first");
        for (name, replaced) in [(&one, true), (&other, true), (&single, false), (&gathered, false)] {
            assert_eq!(objects.is_replaced(name), replaced, "{}", name.key());
        }
        assert_eq!(objects.gone(Window::ALL).next(), None);
        let mut unfollowed: Vec<&String> = objects.unfollowed().collect();
        unfollowed.sort();
        assert_eq!(unfollowed, [&gathered.key(), &last.key()]);
        assert_eq!(captured.read("t", Window::ALL, ALL_KEYS).await.unwrap().len(), 4);
    }
}

/// Only what gathers holds what it replaces; to take the word of any other would hide changes.
#[tokio::test]
async fn an_object_as_it_was_captured_replaces_none() {
    let captured = Captured::new().await;
    let later = captured.at(&[50]);
    let replaces = ChangesDescription { replaces: keys([&later]), ..said("orders") };
    captured.put(0, &replaces, vec![change(1, 10, 1)]);
    let read = captured.read("t", Window::ALL, ALL_KEYS).await.unwrap();
    assert_eq!(read.iter().map(|change| change.time).collect::<Vec<_>>(), [10, 50]);
}

#[tokio::test]
async fn an_open_object_tells_its_key_and_what_it_unpacks_to() {
    let captured = Captured::new().await;
    // Two blocks of more than 1 MiB that compress to almost nothing, and one of a single change.
    let all: Vec<Change> = (1..=5).map(|key| change(key, 7, 600_000)).collect();
    let name = captured.put(0, &said("orders"), all.clone());
    let object = captured.open(&name).await;
    assert_eq!(object.key(), name.key());
    assert_eq!(object.segments()[0].1.index.fences.len(), 3);
    assert_eq!(object.plain_bytes(), all.iter().map(length).sum::<u64>());
    let empty = captured.put(0, &said("orders"), Vec::new());
    assert_eq!(captured.open(&empty).await.plain_bytes(), 0);
}

#[tokio::test]
async fn a_key_of_a_later_block_is_found_in_a_small_object() {
    let captured = Captured::new().await;
    let other = ChangesDescription { stream: "u".to_owned(), ..said("orders") };
    let all: Vec<Change> = (1..=9).map(|key| change(key, 7, 600_000)).collect();
    let segments = vec![(other, all.clone()), (said("orders"), all.clone())];
    let (name, object) =
        write_segments(captured.vault.keys(), Codec::Zstd, captured.folder, 0, segments).unwrap();
    captured.watched.memory.overwrite(&name.key(), object.bytes);
    captured.watched.gets();
    for stream in ["t", "u"] {
        for wanted in &all {
            let hash = u128::from_be_bytes(wanted.hash);
            let found = captured.read(stream, Window::ALL, (hash, hash)).await.unwrap();
            assert_eq!(found, std::slice::from_ref(wanted));
            assert_eq!(captured.watched.gets(), [(name.key(), ByteRange::All)]);
        }
    }
}

#[tokio::test]
async fn a_large_object_is_read_in_pieces_of_at_most_eight_mib() {
    let captured = Captured::new().await;
    let other = ChangesDescription { stream: "s".to_owned(), ..said("orders") };
    // Each change is a block of its own, and does not compress.
    let all: Vec<Change> = (1..=17).map(|key| change(key, 7, 1 << 20)).collect();
    let segments = vec![(other, all[..3].to_vec()), (said("orders"), all.clone())];
    let (name, object) =
        write_segments(captured.vault.keys(), Codec::None, captured.folder, 0, segments).unwrap();
    captured.watched.memory.overwrite(&name.key(), object.bytes);
    captured.watched.gets();
    assert_eq!(captured.read("t", Window::ALL, ALL_KEYS).await.unwrap(), all);
    let lengths: Vec<u64> =
        captured.watched.gets().into_iter().filter_map(|(_, range)| span(range)).collect();
    // A sealed block has a byte for its codec and 16 of tag.
    let sealed: u64 = all.iter().map(|change| length(change) + 17).sum();
    assert_eq!(lengths.iter().sum::<u64>(), sealed, "each byte once, and none of the other stream");
    assert!(lengths.iter().all(|length| *length <= 8 << 20), "{lengths:?}");
    assert_eq!(lengths.len(), 3, "as many blocks with one request as fit");
}

fn span(range: ByteRange) -> Option<u64> {
    match range {
        ByteRange::Span { start, end } => Some(end - start),
        _ => None,
    }
}

/// An object of two changes, at 10 and 20, whose footer tells these times and this last hash.
fn told(captured: &Captured, (from, to): (i64, i64), last: u8) -> ChangeName {
    let mut writer = ObjectWriter::new(captured.vault.keys(), ObjectKind::Changes).unwrap();
    let mut plain = Vec::new();
    for change in [change(1, 10, 1), change(2, 20, 1)] {
        change.encode(&mut plain);
    }
    writer.dense_block(&plain).unwrap();
    writer.segment(Segment::Changes(ChangeSegment {
        origin: Origin { stream: 0, task: 0, sequence: 0 },
        description: serde_json::to_vec(&said("orders")).unwrap(),
        from,
        to,
        last: vec![last; 16],
        index: BlockIndex { first_block: 0, fences: vec![Fence { first: vec![1; 16], count: 2 }] },
    }));
    let object = writer.finish().unwrap();
    let name = ChangeName { folder: captured.folder, from, to, level: 0, object: object.id };
    captured.watched.memory.overwrite(&name.key(), object.bytes);
    name
}

#[tokio::test]
async fn a_footer_that_tells_other_times_or_another_last_key_is_found() {
    let captured = Captured::new().await;
    for (times, last, right) in [
        ((10, 20), 2, true),
        ((9, 20), 2, false),
        ((10, 21), 2, false),
        ((10, 20), 3, false),
        ((9, 21), 3, false),
    ] {
        let name = told(&captured, times, last);
        let size = captured.watched.memory.head(&name.key()).await.unwrap().size;
        let findings = verify::changes(&captured.vault, &name, size).await.unwrap();
        assert_eq!(findings.valid(), right, "{times:?} and {last}: {:?}", findings.errors);
        assert_eq!((findings.structure_valid, findings.blocks_checked), (right, 1));
        for error in &findings.errors {
            assert_eq!((error.object.as_str(), error.code.as_str()), (&*name.key(), "ObjectDamaged"));
        }
    }
}
