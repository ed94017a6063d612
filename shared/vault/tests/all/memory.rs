//! Storage in memory, on which all other tests stand: it keeps the promises of the port. The suite that every adapter passes
//! runs with the other adapters; here stands what the engine itself leans on.

use bytes::Bytes;
use holdfast_vault::error::{Code, Result};
use holdfast_vault::memory::{MemoryCloud, MemoryStorage};
use holdfast_vault::storage::{ByteRange, PART_SIZE, PartSum, Put, Storage as _};
use sha2::{Digest as _, Sha256};

fn code<T: std::fmt::Debug>(result: Result<T>) -> Code {
    result.unwrap_err().code
}

fn sum(part: &[u8]) -> PartSum {
    PartSum { size: part.len() as u64, sha256: hex::encode(Sha256::digest(part)) }
}

#[tokio::test]
async fn a_lock_lasts_as_long_as_the_longest_that_was_asked_for() {
    let cloud = MemoryCloud::new();
    let store = cloud.store("vault");
    store.lock_until("packs/a", 100);
    assert_eq!(store.locked_until("packs/a").await, Ok(Some(100)));
    for (until, then) in [(200, 200), (150, 200), (201, 201)] {
        store.keep_until("packs/a", until).await.unwrap();
        assert_eq!(cloud.store("vault").locked_until("packs/a").await, Ok(Some(then)));
    }
}

#[tokio::test]
async fn what_is_not_locked_gets_no_lock_by_being_kept() {
    let cloud = MemoryCloud::new();
    let store = cloud.store("vault");
    store.lock_until("packs/a", 100);
    store.keep_until("packs/b", 100).await.unwrap();
    assert_eq!(store.locked_until("packs/b").await, Ok(None));
    assert_eq!(cloud.store("other").locked_until("packs/a").await, Ok(None), "another store's");
    assert_eq!(code(store.locked_until("packs//a").await), Code::InvalidInput);
    assert_eq!(code(store.keep_until("packs//a", 1).await), Code::InvalidInput);
}

#[tokio::test]
async fn a_listing_goes_on_behind_a_key_wherever_that_key_stands() {
    let store = MemoryStorage::new("vault");
    for key in ["a/1", "a/2", "b/1", "b/2", "b/3", "c/1"] {
        store.overwrite(key, "");
    }
    for (after, wanted) in [
        (None, &["b/1", "b/2", "b/3"][..]),
        (Some("a/1"), &["b/1", "b/2", "b/3"]),
        (Some("b/"), &["b/1", "b/2", "b/3"]),
        (Some("b/1"), &["b/2", "b/3"]),
        (Some("b/15"), &["b/2", "b/3"]),
        (Some("b/3"), &[]),
        (Some("c/1"), &[]),
    ] {
        let listing = store.list("b/", after).await.unwrap();
        let found: Vec<_> = listing.objects.iter().map(|object| object.key.as_str()).collect();
        assert_eq!((found.as_slice(), listing.more), (wanted, false), "after {after:?}");
    }
}

#[tokio::test]
async fn a_page_of_a_listing_says_whether_more_follows() {
    let store = MemoryStorage::new("vault");
    for at in 0..1_000 {
        store.overwrite(&format!("many/{at:04}"), "");
    }
    let page = store.list("many/", None).await.unwrap();
    assert_eq!((page.objects.len(), page.more), (1_000, false));
    store.overwrite("many/1000", "");
    let page = store.list("many/", None).await.unwrap();
    assert_eq!((page.objects.len(), page.more), (1_000, true));
    let rest = store.list("many/", Some("many/0999")).await.unwrap();
    assert_eq!((rest.objects.len(), rest.more), (1, false));
}

#[tokio::test]
async fn bytes_that_an_object_has_not_are_damage() {
    let store = MemoryStorage::new("vault");
    store.overwrite("a", "0123456789");
    let span = |start, end| store.get("a", ByteRange::Span { start, end });
    for (start, end, wanted) in [(0, 10, "0123456789"), (3, 5, "34"), (4, 4, ""), (10, 10, "")] {
        assert_eq!(span(start, end).await.unwrap(), wanted);
    }
    for (start, end) in [(0, 11), (9, 11), (10, 11), (11, 11), (11, 12), (5, 4), (11, 10)] {
        assert_eq!(code(span(start, end).await), Code::ObjectDamaged, "{start} to {end}");
    }
    for (last, wanted) in [(0, ""), (3, "789"), (10, "0123456789"), (11, "0123456789")] {
        assert_eq!(store.get("a", ByteRange::Last(last)).await.unwrap(), wanted);
    }
}

#[tokio::test]
async fn what_is_exported_is_taken_over_only_if_it_is_what_its_sums_say() {
    let cloud = MemoryCloud::new();
    let (store, staging) = (cloud.store("vault"), cloud.store("staging"));
    let body = b"exported";
    staging.overwrite("s", &body[..]);
    let refused = [
        vec![],
        vec![sum(b"Exported")],
        vec![sum(&body[..7])],
        vec![sum(b"exported.")],
        vec![sum(body), sum(b"")],
        // All parts but the last are full.
        vec![sum(&body[..4]), sum(&body[4..])],
        vec![PartSum { size: 7, ..sum(body) }],
        vec![PartSum { size: u64::MAX, ..sum(body) }],
    ];
    for parts in refused {
        assert_eq!(code(store.copy_from("staging", "s", "to", &parts).await), Code::StagingDamaged);
        assert_eq!(code(store.head("to").await), Code::ObjectMissing, "{parts:?}");
    }
    let right = [sum(body)];
    for missing in [("staging", "none"), ("none", "s")] {
        let copied = store.copy_from(missing.0, missing.1, "to", &right).await;
        assert_eq!(code(copied), Code::StagingDamaged, "{missing:?}");
    }
    assert_eq!(store.copy_from("staging", "s", "to", &right).await, Ok(Put::Created));
    assert_eq!(store.get("to", ByteRange::All).await.unwrap(), &body[..]);
    staging.overwrite("s", "Exported");
    assert_eq!(store.copy_from("staging", "s", "to", &[sum(b"Exported")]).await, Ok(Put::Exists));
    assert_eq!(store.get("to", ByteRange::All).await.unwrap(), &body[..], "nothing is written over");
}

#[tokio::test]
async fn a_large_object_is_taken_over_part_by_part() {
    let cloud = MemoryCloud::new();
    let (store, staging) = (cloud.store("vault"), cloud.store("staging"));
    let part = usize::try_from(PART_SIZE).unwrap();
    let body = Bytes::from([vec![7; part], vec![8; part], vec![9]].concat());
    staging.overwrite("s", body.clone());
    let right: Vec<PartSum> = body.chunks(part).map(sum).collect();
    for at in 0..right.len() {
        let mut wrong = right.clone();
        wrong[at].sha256 = sum(b"other").sha256;
        let error = store.copy_from("staging", "s", "to", &wrong).await.unwrap_err();
        assert_eq!(error.code, Code::StagingDamaged);
        assert!(error.message.contains(&format!("part {} of", at + 1)), "{}", error.message);
    }
    for few in 0..right.len() {
        let copied = store.copy_from("staging", "s", "to", &right[..few]).await;
        assert_eq!(code(copied), Code::StagingDamaged, "{few} parts");
    }
    let (longer, rest) = body.split_at(part + 1);
    let shifted = [sum(longer), sum(rest)];
    assert_eq!(code(store.copy_from("staging", "s", "to", &shifted).await), Code::StagingDamaged);
    assert_eq!(store.copy_from("staging", "s", "to", &right).await, Ok(Put::Created));
    assert_eq!(store.get("to", ByteRange::All).await.unwrap(), body);
    // The last part may be full too.
    staging.overwrite("two", body.slice(..2 * part));
    assert_eq!(store.copy_from("staging", "two", "two", &right[..2]).await, Ok(Put::Created));
}
