//! Captured changes: however they were batched, repeated, reordered and gathered, each is read once and in order.
#![allow(clippy::unwrap_used)] // Helpers of tests may panic as tests do.

use async_trait::async_trait;
use bytes::Bytes;
use holdfast_vault::compress::Codec;
use holdfast_vault::crypto::SecretKey;
use holdfast_vault::error::{Class, Result};
use holdfast_vault::format::changes::{Change, ChangeName, ChangesDescription, Gap, compare_sequences};
use holdfast_vault::format::wire::Reader;
use holdfast_vault::memory::{MemoryCloud, MemoryStorage};
use holdfast_vault::model::RecordEncoding;
use holdfast_vault::read::Vault;
use holdfast_vault::read::changes::{ALL_KEYS, ChangeObject, Window, changes, list};
use holdfast_vault::read::vault::WrappingKey;
use holdfast_vault::read::verify;
use holdfast_vault::storage::{ByteRange, Listing, ObjectInfo, PartSum, Put, Storage};
use holdfast_vault::write::changes::{write_changes, write_segments};
use proptest::prelude::*;
use std::cmp::Ordering;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering as Atomic};

/// Counts the requests that read.
#[derive(Debug)]
struct Counting(MemoryStorage, Arc<AtomicUsize>);

#[async_trait]
impl Storage for Counting {
    fn name(&self) -> &str {
        self.0.name()
    }
    async fn head(&self, key: &str) -> Result<ObjectInfo> {
        self.0.head(key).await
    }
    async fn get(&self, key: &str, range: ByteRange) -> Result<Bytes> {
        self.1.fetch_add(1, Atomic::Relaxed);
        self.0.get(key, range).await
    }
    async fn put_if_absent(&self, key: &str, body: Bytes) -> Result<Put> {
        self.0.put_if_absent(key, body).await
    }
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Listing> {
        self.0.list(prefix, after).await
    }
    async fn copy_from(&self, from: &str, key: &str, to: &str, parts: &[PartSum]) -> Result<Put> {
        self.0.copy_from(from, key, to, parts).await
    }
    async fn delete(&self, key: &str) -> Result<()> {
        self.0.delete(key).await
    }
}

struct Fixture {
    vault: Vault,
    memory: MemoryStorage,
    gets: Arc<AtomicUsize>,
}

impl Fixture {
    async fn new() -> Self {
        let memory = MemoryCloud::default().store("vault");
        let gets = Arc::new(AtomicUsize::new(0));
        let storage: Arc<dyn Storage> = Arc::new(Counting(memory.clone(), gets.clone()));
        let key = WrappingKey { id: "k".to_owned(), secret: SecretKey::new([1; 32]) };
        let vault = Vault::create(storage, &key).await.unwrap();
        gets.store(0, Atomic::Relaxed);
        Self { vault, memory, gets }
    }

    async fn put(&self, level: u8, said: &ChangesDescription, changes: Vec<Change>) -> (ChangeName, u64) {
        let keys = self.vault.keys();
        let folder = ChangeName::folder_of(keys, &said.resource).unwrap();
        let (name, object) = write_changes(keys, Codec::Zstd, folder, level, said, changes).unwrap();
        assert_eq!(ChangeName::parse(&name.key()), Some(name.clone()));
        let size = object.bytes.len() as u64;
        self.vault.storage().put_if_absent(&name.key(), object.bytes).await.unwrap();
        (name, size)
    }

    async fn read(&self, window: Window, shard: (u128, u128)) -> Result<Vec<Change>> {
        let from = window.after.saturating_add(1);
        let names = list(&self.vault, "orders", from, window.to).await.unwrap();
        changes(&self.vault, names, "t", window, shard).await
    }

    fn requests(&self) -> usize {
        self.gets.swap(0, Atomic::Relaxed)
    }
}

/// What is said of the changes of a resource's table `t`.
pub(crate) fn said(resource: &str) -> ChangesDescription {
    ChangesDescription {
        resource: resource.to_owned(),
        stream: "t".to_owned(),
        encoding: RecordEncoding::DynamodbJson,
        key: vec!["id".to_owned()],
        since: 0,
        gaps: Vec::new(),
        replaces: Vec::new(),
        follows: Vec::new(),
    }
}

fn change(key: u8, sequence: u64, time: i64) -> Change {
    Change {
        hash: [key; 16],
        time,
        sequence: format!("{:021}", u128::from(sequence) + 100_000_000_000_000_000_000),
        key: vec![key],
        before: (sequence > 0).then(|| format!("{key}-{}", sequence - 1).into_bytes()),
        after: Some(format!("{key}-{sequence}").into_bytes()),
    }
}

/// Histories: of each key some changes, at times that grow.
fn histories() -> impl Strategy<Value = Vec<Change>> {
    prop::collection::vec((any::<u8>(), 0_u64..6, 0_i64..50), 0..60).prop_map(|writes| {
        let mut all: Vec<Change> = writes
            .into_iter()
            .map(|(key, sequence, jitter)| {
                change(key % 20, sequence, i64::try_from(sequence).unwrap() * 100 + jitter)
            })
            .collect();
        all.sort_by(Change::order);
        all.dedup_by(|next, kept| next.order(kept) == Ordering::Equal);
        all
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn every_change_is_read_once_and_in_order(
        history in histories(),
        batches in prop::collection::vec(prop::collection::vec(any::<prop::sample::Index>(), 0..12), 0..12),
        gathered in 0_usize..8,
        removed: bool,
        (after, length) in (-10_i64..700, 0_i64..700),
        (one, other) in (any::<u128>(), any::<u128>()),
    ) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
            let fixture = Fixture::new().await;
            let mut given: Vec<Vec<Change>> = batches.iter().map(|batch| {
                batch.iter().filter(|_| !history.is_empty()).map(|at| at.get(&history).clone()).collect()
            }).collect();
            // Whatever the batches hold, all of it was delivered at least once.
            given.push(history.clone());
            let mut names = Vec::new();
            for batch in &given {
                names.push(fixture.put(0, &said("orders"), batch.clone()).await.0);
            }
            let some = gathered.min(given.len());
            if some > 0 {
                let replaced = names[..some].iter().map(ChangeName::key).collect();
                fixture.put(1, &ChangesDescription { replaces: replaced, ..said("orders") }, given[..some].concat()).await;
                if removed {
                    for name in &names[..some] {
                        fixture.memory.delete(&name.key()).await.unwrap();
                    }
                }
            }
            assert_eq!(fixture.read(Window::ALL, ALL_KEYS).await.unwrap(), history);
            let window = Window { after, to: after + length };
            let shard = (one.min(other), one.max(other));
            let wanted: Vec<Change> = history.iter().filter(|change| {
                let hash = u128::from_be_bytes(change.hash);
                after < change.time && change.time <= window.to && shard.0 <= hash && hash <= shard.1
            }).cloned().collect();
            assert_eq!(fixture.read(window, shard).await.unwrap(), wanted);
            for (name, size) in list(&fixture.vault, "orders", i64::MIN, i64::MAX).await.unwrap() {
                let findings = verify::changes(&fixture.vault, &name, size).await.unwrap();
                assert!(findings.valid(), "{:?}", findings.errors);
            }
        });
    }

    #[test]
    fn garbage_is_no_change_and_sequences_are_numbers(bytes: Vec<u8>, one: u64, other: u64, zeros in 0_usize..5) {
        let mut reader = Reader::new(&bytes);
        while Change::decode(&mut reader).is_some() {}
        let padded = format!("{}{one}", "0".repeat(zeros));
        prop_assert_eq!(compare_sequences(&padded, &other.to_string()), one.cmp(&other));
        let key = String::from_utf8_lossy(&bytes).into_owned();
        let _ = ChangeName::parse(&key);
    }
}

/// Changes with values that do not compress, so that an object has many blocks.
fn large(keys: u8, each: u64) -> Vec<Change> {
    let mut state = 1_u64;
    let mut noise = || {
        let next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state.to_be_bytes()[0]
        };
        std::iter::repeat_with(next).take(50_000).collect::<Vec<u8>>()
    };
    let all = (0..keys).flat_map(|key| (0..each).map(move |sequence| (key, sequence)));
    all.map(|(key, sequence)| Change { after: Some(noise()), ..change(key, sequence, 5) }).collect()
}

#[tokio::test]
async fn a_key_is_found_in_a_large_object_with_few_requests() {
    let fixture = Fixture::new().await;
    // 64 changes of 50 KB each of 20 keys; those of a key span several blocks of 1 MiB.
    let all = large(20, 64);
    fixture.put(0, &said("orders"), all.clone()).await;
    for key in [0, 7, 19] {
        let hash = u128::from_be_bytes([key; 16]);
        fixture.requests();
        let found = fixture.read(Window::ALL, (hash, hash)).await.unwrap();
        assert_eq!(found.len(), 64);
        assert!(found.iter().all(|change| change.key == [key]));
        assert!(fixture.requests() <= 2, "the footer, and the blocks of the key in one range");
    }
    assert_eq!(fixture.read(Window::ALL, ALL_KEYS).await.unwrap(), all);
    let between = u128::from_be_bytes([7; 16]) + 1;
    assert_eq!(fixture.read(Window::ALL, (between, between)).await.unwrap(), []);
}

#[tokio::test]
async fn a_small_object_takes_one_request_and_what_is_out_of_time_none() {
    let fixture = Fixture::new().await;
    fixture.put(0, &said("orders"), vec![change(1, 1, 100), change(2, 2, 200)]).await;
    assert_eq!(fixture.read(Window::ALL, ALL_KEYS).await.unwrap().len(), 2);
    assert_eq!(fixture.requests(), 1);
    assert_eq!(fixture.read(Window { after: 200, to: 900 }, ALL_KEYS).await.unwrap(), []);
    assert_eq!(fixture.requests(), 0);
    assert_eq!(fixture.read(Window { after: 100, to: 200 }, ALL_KEYS).await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_object_without_changes_tells_of_its_gaps() {
    let fixture = Fixture::new().await;
    let gap = Gap { from: 50, to: 90, reason: "why".to_owned() };
    let (name, size) =
        fixture.put(0, &ChangesDescription { gaps: vec![gap], ..said("orders") }, Vec::new()).await;
    assert_eq!((name.from, name.to), (50, 90));
    let object = ChangeObject::open(&fixture.vault, &name, size).await.unwrap();
    assert_eq!(object.descriptions().next().unwrap().gaps.len(), 1);
    assert!(verify::changes(&fixture.vault, &name, size).await.unwrap().valid());
    assert_eq!(fixture.read(Window::ALL, ALL_KEYS).await.unwrap(), []);
}

#[tokio::test]
async fn streams_are_kept_apart() {
    let fixture = Fixture::new().await;
    let keys = fixture.vault.keys();
    let folder = ChangeName::folder_of(keys, "orders").unwrap();
    let other = ChangesDescription { stream: "u".to_owned(), ..said("orders") };
    let segments =
        vec![(said("orders"), vec![change(1, 1, 10)]), (other, vec![change(1, 2, 20), change(2, 1, 30)])];
    let (name, object) = write_segments(keys, Codec::None, folder, 0, segments).unwrap();
    let size = object.bytes.len() as u64;
    fixture.memory.overwrite(&name.key(), object.bytes);
    assert!(verify::changes(&fixture.vault, &name, size).await.unwrap().valid());
    let names = list(&fixture.vault, "orders", 0, 100).await.unwrap();
    for (stream, count) in [("t", 1), ("u", 2), ("v", 0)] {
        let found = changes(&fixture.vault, names.clone(), stream, Window::ALL, ALL_KEYS).await.unwrap();
        assert_eq!(found.len(), count, "{stream}");
    }
    assert!(list(&fixture.vault, "another", 0, 100).await.unwrap().is_empty());
}

#[tokio::test]
async fn any_change_of_a_byte_is_found() {
    let fixture = Fixture::new().await;
    let (name, size) = fixture.put(0, &said("orders"), vec![change(1, 1, 10), change(2, 1, 20)]).await;
    let whole = fixture.memory.get(&name.key(), ByteRange::All).await.unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.to_vec();
        bytes[at] ^= 1 << (at % 8);
        fixture.memory.overwrite(&name.key(), bytes);
        let findings = verify::changes(&fixture.vault, &name, size).await.unwrap();
        assert!(!findings.valid() && findings.errors[0].object == name.key(), "byte {at}");
        let error = fixture.read(Window::ALL, ALL_KEYS).await.unwrap_err();
        assert_eq!(error.code.class(), Class::Damage, "byte {at}");
    }
    for cut in [0, 10, whole.len() - 1] {
        fixture.memory.overwrite(&name.key(), whole.slice(..cut));
        assert!(!verify::changes(&fixture.vault, &name, size).await.unwrap().valid(), "{cut} bytes");
        assert!(fixture.read(Window::ALL, ALL_KEYS).await.is_err());
    }
}

#[tokio::test]
async fn an_object_under_another_name_is_found() {
    let fixture = Fixture::new().await;
    let (name, size) = fixture.put(0, &said("orders"), vec![change(1, 1, 10), change(2, 1, 20)]).await;
    let whole = fixture.memory.get(&name.key(), ByteRange::All).await.unwrap();
    let other_folder = ChangeName::folder_of(fixture.vault.keys(), "other").unwrap();
    let other = fixture.put(0, &said("orders"), Vec::new()).await.0.object;
    for wrong in [
        ChangeName { from: 5, ..name.clone() },
        ChangeName { to: 999, ..name.clone() },
        ChangeName { folder: other_folder, ..name.clone() },
        ChangeName { object: other, ..name.clone() },
    ] {
        fixture.memory.overwrite(&wrong.key(), whole.clone());
        assert!(!verify::changes(&fixture.vault, &wrong, size).await.unwrap().valid(), "{}", wrong.key());
    }
}
