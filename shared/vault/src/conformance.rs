//! What every adapter of the storage port must do, as one suite: [`check`] it in the adapter's tests.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a suite of assertions, for tests only"
)]

use crate::error::{Code, Result};
use crate::storage::{ByteRange, PART_SIZE, PartSum, Put, Storage, StoredSum, list_all};
use bytes::Bytes;
use sha2::{Digest, Sha256};

/// Runs the whole suite. Both stores are empty, of one kind, and `store` can copy from `staging`.
///
/// # Panics
/// Panics where an adapter does not do what the port promises.
pub async fn check(store: &dyn Storage, staging: &dyn Storage) {
    puts(store).await;
    races(store).await;
    inspections(store).await;
    ranges(store).await;
    deletes(store).await;
    locks(store).await;
    keys(store).await;
    lists(store).await;
    copies(store, staging).await;
    refused_copies(store, staging).await;
    copied_in_parts(store, staging).await;
}

fn code<T: std::fmt::Debug>(result: Result<T>) -> Code {
    result.expect_err("the call should be refused").code
}

/// The sums of a body, part by part, as a caller of [`Storage::copy_from`] keeps them.
#[must_use]
pub fn sums(body: &[u8]) -> Vec<PartSum> {
    let size = usize::try_from(PART_SIZE).unwrap_or(usize::MAX);
    let sum = |part: &[u8]| PartSum { size: part.len() as u64, sha256: hex::encode(Sha256::digest(part)) };
    if body.is_empty() { vec![sum(body)] } else { body.chunks(size).map(sum).collect() }
}

async fn puts(store: &dyn Storage) {
    let put = |key: &'static str, body: &'static [u8]| store.put_if_absent(key, Bytes::from_static(body));
    assert_eq!(put("puts/a", b"first").await.unwrap(), Put::Created);
    assert_eq!(put("puts/a", b"second").await.unwrap(), Put::Exists);
    assert_eq!(store.get("puts/a", ByteRange::All).await.unwrap(), "first");
    assert_eq!(store.head("puts/a").await.unwrap().size, 5);
    assert_eq!(store.head("puts/a").await.unwrap().key, "puts/a");

    assert_eq!(put("puts/empty", b"").await.unwrap(), Put::Created);
    assert_eq!(put("puts/empty", b"not empty").await.unwrap(), Put::Exists);
    assert_eq!(store.head("puts/empty").await.unwrap().size, 0);
    assert!(store.get("puts/empty", ByteRange::All).await.unwrap().is_empty());
    assert!(store.get("puts/empty", ByteRange::Last(8)).await.unwrap().is_empty());

    assert_eq!(code(store.head("puts/none").await), Code::ObjectMissing);
    assert_eq!(code(store.get("puts/none", ByteRange::All).await), Code::ObjectMissing);
    assert_eq!(code(store.get("puts/none", ByteRange::Last(8)).await), Code::ObjectMissing);
    assert_eq!(code(store.get("puts/none", ByteRange::Span { start: 0, end: 1 }).await), Code::ObjectMissing);
    // A part of a key is no key.
    assert_eq!(code(store.head("puts").await), Code::ObjectMissing);
    assert_eq!(code(store.get("puts", ByteRange::All).await), Code::ObjectMissing);
}

/// A store that keeps no checksums says so; one that keeps them is never wrong about them.
async fn inspections(store: &dyn Storage) {
    for (key, body) in [("inspected/a", b"content".as_slice()), ("inspected/empty", b"")] {
        store.put_if_absent(key, Bytes::from_static(body)).await.unwrap();
        let right: Vec<String> = sums(body).into_iter().map(|part| part.sha256).collect();
        let other: Vec<String> = sums(b"CONTENT").into_iter().map(|part| part.sha256).collect();
        let (same, differs) =
            (store.inspect(key, &right).await.unwrap(), store.inspect(key, &other).await.unwrap());
        assert_eq!((same.size, differs.size), (body.len() as u64, body.len() as u64));
        assert_ne!(same.sum, StoredSum::Differs);
        assert_ne!(differs.sum, StoredSum::Same);
    }
    assert_eq!(code(store.inspect("inspected/none", &[]).await), Code::ObjectMissing);
}

async fn races(store: &dyn Storage) {
    for round in 0..8_u8 {
        let key = format!("races/{round}");
        let bodies = [vec![b'x'; 100_000], vec![b'y'; 200_000]];
        let [one, two] = bodies.clone().map(|body| store.put_if_absent(&key, Bytes::from(body)));
        let (one, two) = futures::join!(one, two);
        let winner = match (one.unwrap(), two.unwrap()) {
            (Put::Created, Put::Exists) => &bodies[0],
            (Put::Exists, Put::Created) => &bodies[1],
            both => panic!("of two writers one creates and one finds, not {both:?}"),
        };
        assert_eq!(store.get(&key, ByteRange::All).await.unwrap(), *winner);
    }
}

async fn ranges(store: &dyn Storage) {
    let body: Vec<u8> = (0..=255).collect();
    store.put_if_absent("ranges/a", Bytes::from(body.clone())).await.unwrap();
    let get = |range| store.get("ranges/a", range);
    let span = |start, end| get(ByteRange::Span { start, end });
    assert_eq!(get(ByteRange::All).await.unwrap(), body);
    assert_eq!(span(0, 256).await.unwrap(), body);
    assert_eq!(span(10, 20).await.unwrap(), body[10..20]);
    assert_eq!(span(255, 256).await.unwrap(), body[255..]);
    assert!(span(17, 17).await.unwrap().is_empty());
    assert!(span(256, 256).await.unwrap().is_empty());
    assert_eq!(get(ByteRange::Last(6)).await.unwrap(), body[250..]);
    assert_eq!(get(ByteRange::Last(256)).await.unwrap(), body);
    assert_eq!(get(ByteRange::Last(1_000)).await.unwrap(), body);
    assert!(get(ByteRange::Last(0)).await.unwrap().is_empty());

    assert_eq!(code(span(250, 257).await), Code::ObjectDamaged);
    assert_eq!(code(span(256, 300).await), Code::ObjectDamaged);
    assert_eq!(code(span(300, 310).await), Code::ObjectDamaged);
    assert_eq!(code(span(300, 300).await), Code::ObjectDamaged);
}

async fn deletes(store: &dyn Storage) {
    store.put_if_absent("deletes/a/b", Bytes::from_static(b"1")).await.unwrap();
    store.delete("deletes/a/b").await.unwrap();
    assert_eq!(code(store.head("deletes/a/b").await), Code::ObjectMissing);
    store.delete("deletes/a/b").await.unwrap();
    store.delete("deletes/never/was").await.unwrap();
    assert_eq!(
        store.put_if_absent("deletes/a/b", Bytes::from_static(b"22")).await.unwrap(),
        Put::Created,
        "a deleted key is free again"
    );
    assert_eq!(store.get("deletes/a/b", ByteRange::All).await.unwrap(), "22");
}

/// What has no lock gets none and can be deleted, whether the store knows locks or not.
async fn locks(store: &dyn Storage) {
    store.put_if_absent("locks/a", Bytes::from_static(b"1")).await.unwrap();
    assert_eq!(store.locked_until("locks/a").await.unwrap(), None);
    store.keep_until("locks/a", 4_102_444_800).await.unwrap();
    assert_eq!(
        store.locked_until("locks/a").await.unwrap(),
        None,
        "what is not locked is not locked by this"
    );
    assert_eq!(store.locked_until("locks/none").await.unwrap(), None);
    store.keep_until("locks/none", 4_102_444_800).await.unwrap();
    assert_eq!(code(store.locked_until("locks//a").await), Code::InvalidInput);
    assert_eq!(code(store.keep_until("locks//a", 1).await), Code::InvalidInput);
    store.delete("locks/a").await.unwrap();
    assert_eq!(code(store.head("locks/a").await), Code::ObjectMissing);
}

async fn keys(store: &dyn Storage) {
    for key in ["", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "a/./b", "a\\b", "a b", "a\nb", "é", "a\0b"]
    {
        assert_eq!(code(store.head(key).await), Code::InvalidInput, "{key:?}");
        assert_eq!(code(store.get(key, ByteRange::All).await), Code::InvalidInput, "{key:?}");
        let put = store.put_if_absent(key, Bytes::from_static(b"x")).await;
        assert_eq!(code(put), Code::InvalidInput, "{key:?}");
        assert_eq!(code(store.copy_from("x", "a", key, &sums(b"x")).await), Code::InvalidInput, "{key:?}");
        assert_eq!(code(store.delete(key).await), Code::InvalidInput, "{key:?}");
    }
}

async fn lists(store: &dyn Storage) {
    // In byte order `-` and `.` come before `/`, which comes before digits and letters.
    let ordered =
        ["lists/a-/b", "lists/a-b", "lists/a.b", "lists/a/-", "lists/a/b/c", "lists/a/c", "lists/a0"];
    for key in ordered.iter().rev() {
        store.put_if_absent(key, Bytes::copy_from_slice(key.as_bytes())).await.unwrap();
    }
    let names = |listing: &[crate::storage::ObjectInfo]| -> Vec<String> {
        listing.iter().map(|object| object.key.clone()).collect()
    };
    let all = store.list("lists/", None).await.unwrap();
    assert_eq!(names(&all.objects), ordered);
    assert!(!all.more);
    assert!(all.objects.iter().all(|object| object.size == object.key.len() as u64));
    assert_eq!(names(&store.list("lists/a/", None).await.unwrap().objects), &ordered[3..6]);
    // A prefix need not end at a segment.
    assert_eq!(names(&store.list("lists/a-", None).await.unwrap().objects), &ordered[..2]);
    assert_eq!(names(&store.list("lists/a", Some("lists/a.b")).await.unwrap().objects), &ordered[3..]);
    assert_eq!(names(&store.list("lists/a/", Some("lists/a/a")).await.unwrap().objects), &ordered[4..6]);
    assert_eq!(names(&store.list("lists/a/", Some("a")).await.unwrap().objects), &ordered[3..6]);
    assert!(store.list("lists/a/", Some("lists/b")).await.unwrap().objects.is_empty());
    assert_eq!(store.list("lists/none", None).await.unwrap(), crate::storage::Listing::default());

    let many: Vec<String> = (0..1_234).map(|at| format!("many/{:02}/{at:04}", at / 50)).collect();
    for key in &many {
        store.put_if_absent(key, Bytes::new()).await.unwrap();
    }
    let first = store.list("many/", None).await.unwrap();
    assert!(first.more);
    assert!(!first.objects.is_empty() && first.objects.len() <= 1_000);
    assert_eq!(names(&list_all(store, "many/").await.unwrap()), many);
    assert_eq!(list_all(store, "many/0").await.unwrap().len(), 500);
    assert!(list_all(store, "").await.unwrap().is_sorted_by(|a, b| a.key < b.key));
}

async fn copies(store: &dyn Storage, staging: &dyn Storage) {
    let body = Bytes::from_static(b"exported");
    staging.put_if_absent("copies/a", body.clone()).await.unwrap();
    let copy = |to| store.copy_from(staging.name(), "copies/a", to, &[]);
    assert_eq!(code(copy("copies/no-parts").await), Code::StagingDamaged);
    let parts = sums(&body);
    let copy = |to| store.copy_from(staging.name(), "copies/a", to, &parts);
    assert_eq!(copy("copies/to").await.unwrap(), Put::Created);
    assert_eq!(store.get("copies/to", ByteRange::All).await.unwrap(), body);
    assert_eq!(copy("copies/to").await.unwrap(), Put::Exists);

    store.put_if_absent("copies/taken", Bytes::from_static(b"other")).await.unwrap();
    assert_eq!(copy("copies/taken").await.unwrap(), Put::Exists);
    assert_eq!(store.get("copies/taken", ByteRange::All).await.unwrap(), "other");
    assert_eq!(staging.get("copies/a", ByteRange::All).await.unwrap(), body, "a copy leaves its source");

    staging.put_if_absent("copies/empty", Bytes::new()).await.unwrap();
    let empty = store.copy_from(staging.name(), "copies/empty", "copies/empty", &sums(b"")).await;
    assert_eq!(empty.unwrap(), Put::Created);
    assert_eq!(store.head("copies/empty").await.unwrap().size, 0);
}

async fn refused_copies(store: &dyn Storage, staging: &dyn Storage) {
    let body = b"exported";
    staging.put_if_absent("refused/a", Bytes::from_static(body)).await.unwrap();
    let other = sums(b"Exported");
    let short = sums(&body[..7]);
    let long = sums(b"exported.");
    let more = [sums(body), sums(b"")].concat();
    let split = [sums(&body[..4]), sums(&body[4..])].concat();
    for parts in [other, short, long, more, split] {
        let copy = store.copy_from(staging.name(), "refused/a", "refused/to", &parts).await;
        assert_eq!(code(copy), Code::StagingDamaged, "{parts:?}");
        assert_eq!(code(store.head("refused/to").await), Code::ObjectMissing, "{parts:?}");
    }
    let missing = store.copy_from(staging.name(), "refused/none", "refused/to", &sums(body)).await;
    assert_eq!(code(missing), Code::StagingDamaged);
    assert!(store.list("refused/", None).await.unwrap().objects.is_empty(), "nothing is left behind");
}

async fn copied_in_parts(store: &dyn Storage, staging: &dyn Storage) {
    let size = usize::try_from(PART_SIZE).unwrap() + 1_000;
    let body: Vec<u8> = (0..size).map(|at| u8::try_from(at % 251).unwrap()).collect();
    staging.put_if_absent("parts/a", Bytes::from(body.clone())).await.unwrap();
    let good = sums(&body);
    assert_eq!(good.len(), 2);
    for at in 0..2 {
        let mut bad = good.clone();
        bad[at].sha256 = hex::encode([0; 32]);
        let copy = store.copy_from(staging.name(), "parts/a", "parts/to", &bad).await;
        assert_eq!(code(copy), Code::StagingDamaged);
        assert_eq!(code(store.head("parts/to").await), Code::ObjectMissing);
    }
    let copy = |parts| store.copy_from(staging.name(), "parts/a", "parts/to", parts);
    assert_eq!(code(copy(&good[..1]).await), Code::StagingDamaged);
    assert_eq!(copy(&good).await.unwrap(), Put::Created);
    assert_eq!(copy(&good).await.unwrap(), Put::Exists);
    assert_eq!(store.get("parts/to", ByteRange::All).await.unwrap(), body);
    let all = list_all(store, "parts/").await.unwrap();
    assert_eq!(all.len(), 1, "nothing but the copy is left behind");
}

#[cfg(test)]
mod tests {
    use crate::memory::MemoryCloud;
    use crate::storage::Storage as _;

    #[tokio::test]
    async fn memory_conforms() {
        let cloud = MemoryCloud::new();
        super::check(&cloud.store("vault"), &cloud.store("staging")).await;
    }

    #[tokio::test]
    async fn a_lock_in_memory_is_extended_and_never_shortened() {
        let store = MemoryCloud::new().store("vault");
        store.lock_until("packs/a", 100);
        assert_eq!(store.locked_until("packs/a").await, Ok(Some(100)));
        store.keep_until("packs/a", 200).await.unwrap();
        store.keep_until("packs/a", 150).await.unwrap();
        assert_eq!(store.locked_until("packs/a").await, Ok(Some(200)));
        assert_eq!(store.locked_until("packs/b").await, Ok(None));
    }
}
