//! Copies of captured changes and of records of undos: opened on their way, whatever is gathered meanwhile.

use crate::changes::said;
use crate::copying_again::{DRY, HOW, VERIFY, Witness, delete, names, over, place, to};
use crate::rotation::{back_up, made, opened, take};
use bytes::Bytes;
use holdfast_vault::compress::Codec;
use holdfast_vault::copy::What;
use holdfast_vault::error::{Code, Result};
use holdfast_vault::format::changes::{Change, ChangeName};
use holdfast_vault::memory::MemoryStorage;
use holdfast_vault::read::Vault;
use holdfast_vault::read::changes::{ALL_KEYS, Window, changes, list};
use holdfast_vault::storage::{ByteRange, Storage as _};
use holdfast_vault::write::changes::write_changes;
use std::sync::atomic::{AtomicI64, Ordering};

fn change(time: i64) -> Change {
    Change {
        hash: [7; 16],
        time,
        sequence: time.to_string(),
        key: b"[1]".to_vec(),
        before: None,
        after: Some(b"{\"id\":1}".to_vec()),
    }
}

/// A change object of a resource with the changes of these times, under its name.
fn sealed(vault: &Vault, resource: &str, level: u8, times: &[i64]) -> (String, Bytes) {
    let folder = ChangeName::folder_of(vault.keys(), resource).unwrap();
    let all = times.iter().map(|time| change(*time)).collect();
    let (name, object) =
        write_changes(vault.keys(), Codec::Zstd, folder, level, &said(resource), all).unwrap();
    (name.key(), object.bytes)
}

/// Puts such an object and tells its key.
fn capture(vault: &Vault, storage: &MemoryStorage, resource: &str, times: &[i64]) -> String {
    let (key, bytes) = sealed(vault, resource, 0, times);
    storage.overwrite(&key, bytes);
    key
}

/// An object that stands where records of undos do.
fn undo(vault: &Vault, storage: &MemoryStorage) -> String {
    let (name, bytes) = sealed(vault, "r", 0, &[3]);
    let id = name.rsplit('-').next().unwrap();
    let key = format!("undos/01JD0000000000000000000000/000000-{id}");
    storage.overwrite(&key, bytes);
    key
}

async fn times(vault: &Vault, resource: &str) -> Vec<i64> {
    let names = list(vault, resource, i64::MIN, i64::MAX).await.unwrap();
    let found = changes(vault, names, "t", Window::ALL, ALL_KEYS).await.unwrap();
    found.into_iter().map(|change| change.time).collect()
}

async fn holds(place: &MemoryStorage, key: &str) -> bool {
    place.head(key).await.is_ok()
}

#[tokio::test]
async fn captured_changes_are_copied_with_what_they_are_of() {
    let (storage, vault) = made().await;
    back_up(&vault, "A", "r").await;
    let keys = [
        capture(&vault, &storage, "r", &[1, 2]),
        capture(&vault, &storage, "s", &[4]),
        undo(&vault, &storage),
    ];
    for (what, wanted) in [
        (What::All, [true, true, true]),
        (What::Resource("r".to_owned()), [true, false, false]),
        (What::Backup("A".to_owned()), [false, false, false]),
    ] {
        let place = place();
        let planned = to(&vault, &place, &what, DRY).await.unwrap();
        assert!(names(&place).await.is_empty());
        let copied = to(&vault, &place, &what, HOW).await.unwrap();
        assert_eq!(planned, copied, "{what:?}");
        let bytes: u64 = names(&place).await.iter().map(|(_, size)| size).sum();
        assert_eq!(
            (copied.objects_copied, copied.bytes_copied),
            (names(&place).await.len() as u64, bytes),
            "{what:?}"
        );
        for (key, wanted) in keys.iter().zip(wanted) {
            assert_eq!(holds(&place, key).await, wanted, "{key} of {what:?}");
        }
        let read = times(&opened(&place).await, "r").await;
        assert_eq!(read, if wanted[0] { vec![1, 2] } else { Vec::new() });
        for how in [HOW, VERIFY, DRY] {
            let again = to(&vault, &place, &what, how).await.unwrap();
            assert_eq!((again.objects_copied, again.objects_there), (0, copied.objects_copied));
            assert_eq!((again.bytes_there, again.errors.len()), (bytes, 0), "{what:?}");
        }
    }
}

#[tokio::test]
async fn captured_changes_are_counted_and_not_read_where_nothing_is_to_be_written() {
    let (storage, vault) = made().await;
    capture(&vault, &storage, "r", &[1]);
    undo(&vault, &storage);
    let source = Witness::of(&storage);
    let place = place();
    let planned = to(&over(&vault, &source), &place, &What::All, DRY).await.unwrap();
    assert_eq!(planned.objects_copied, names(&storage).await.len() as u64);
    assert_eq!((source.asked("get changes/"), source.asked("get undos/")), (0, 0));
    to(&over(&vault, &source), &place, &What::All, HOW).await.unwrap();
    to(&over(&vault, &source), &place, &What::All, HOW).await.unwrap();
    assert_eq!((source.asked("get changes/"), source.asked("get undos/")), (1, 1), "once it is copied");
}

#[tokio::test]
async fn all_pages_of_captured_changes_are_copied() {
    let (storage, vault) = made().await;
    for time in 0..7 {
        capture(&vault, &storage, "r", &[time]);
    }
    for (page, pages) in [(1, 7), (3, 3), (7, 1), (1_000, 1)] {
        let source = Witness::of(&storage).pages_of(page);
        let place = place();
        let copied = to(&over(&vault, &source), &place, &What::All, HOW).await.unwrap();
        assert_eq!(copied.objects_copied, names(&storage).await.len() as u64, "{page}");
        assert_eq!(names(&place).await, names(&storage).await);
        assert_eq!(source.asked("list changes/"), pages, "each page is asked for once");
    }
}

#[tokio::test]
async fn damaged_changes_are_told_and_not_copied() {
    let (storage, vault) = made().await;
    let whole = capture(&vault, &storage, "r", &[1]);
    let bad = capture(&vault, &storage, "r", &[2]);
    let bytes = take(&storage, &bad).await;
    // Of the block, of the footer, of the end.
    for at in [60, bytes.len() - 20, bytes.len() - 1] {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        storage.overwrite(&bad, flipped);
        let place = place();
        let copied = to(&vault, &place, &What::All, HOW).await.unwrap();
        assert_eq!((copied.errors.len(), copied.errors[0].object.as_str()), (1, bad.as_str()), "byte {at}");
        assert!(holds(&place, &whole).await && !holds(&place, &bad).await);
    }
    // What only looks like a record of an undo cannot be checked, so that it is not copied either.
    storage.overwrite(&bad, bytes);
    storage.overwrite("undos/notes.txt", "mine");
    let place = place();
    let copied = to(&vault, &place, &What::All, HOW).await.unwrap();
    assert_eq!((copied.errors.len(), copied.errors[0].object.as_str()), (1, "undos/notes.txt"));
    assert!(!holds(&place, "undos/notes.txt").await);
}

#[tokio::test]
async fn damaged_changes_in_the_copy_are_found_and_left_alone() {
    let (storage, vault) = made().await;
    let key = capture(&vault, &storage, "r", &[1]);
    let place = place();
    to(&vault, &place, &What::All, HOW).await.unwrap();
    let whole = take(&place, &key).await;
    let mut flipped = whole.clone();
    flipped[60] ^= 1;
    for (body, how, found) in [
        (whole.clone(), VERIFY, 0),
        (flipped.clone(), HOW, 0),
        (flipped, VERIFY, 1),
        (whole[..100].to_vec(), HOW, 1),
        (whole[..100].to_vec(), DRY, 1),
        (whole[..100].to_vec(), VERIFY, 1),
    ] {
        place.overwrite(&key, body.clone());
        let copied = to(&vault, &place, &What::All, how).await.unwrap();
        assert_eq!((copied.errors.len(), copied.objects_there), (found, 3 - found as u64));
        for error in &copied.errors {
            assert_eq!((error.object.as_str(), error.code.as_str()), (key.as_str(), "ObjectDamaged"));
            assert!(error.message.starts_with("in the copy: "), "{}", error.message);
        }
        assert_eq!(place.get(&key, ByteRange::All).await.unwrap(), body, "nothing is written over");
    }
}

/// Gathers two objects into a larger one as soon as somebody reads one of them.
fn gathered(storage: &MemoryStorage, small: [String; 2], large: (String, Bytes)) -> Witness {
    Witness::of(storage).before_each_get(move |storage, key| {
        if small.iter().any(|one| one == key) {
            storage.overwrite(&large.0, large.1.clone());
            for one in &small {
                delete(storage, one);
            }
        }
        Ok(())
    })
}

#[tokio::test]
async fn what_is_gathered_while_it_is_copied_is_copied_gathered() {
    let (storage, vault) = made().await;
    let place = place();
    capture(&vault, &storage, "r", &[1]);
    to(&vault, &place, &What::All, HOW).await.unwrap();
    capture(&vault, &storage, "r", &[9]);
    let small = [capture(&vault, &storage, "r", &[5]), capture(&vault, &storage, "r", &[6])];
    // All was listed before the larger one was there.
    let source = gathered(&storage, small, sealed(&vault, "r", 1, &[5, 6]));
    let copied = to(&over(&vault, &source), &place, &What::All, HOW).await.unwrap();
    assert_eq!(names(&place).await, names(&storage).await);
    assert_eq!(times(&opened(&place).await, "r").await, [1, 5, 6, 9]);
    // What was there is counted once though all was listed twice: description, key, the first object.
    assert_eq!((copied.objects_copied, copied.objects_there, copied.errors.len()), (2, 3, 0));
    let bytes = copied.bytes_there + copied.bytes_copied;
    assert_eq!(bytes, names(&storage).await.iter().map(|(_, size)| size).sum::<u64>());
}

#[tokio::test]
async fn changes_that_never_stand_still_end_the_copy_as_a_thing_to_try_again() {
    let (storage, vault) = made().await;
    capture(&vault, &storage, "r", &[1]);
    let (writer, time) = (vault.clone(), AtomicI64::new(2));
    let source = Witness::of(&storage).before_each_get(move |storage, key| -> Result<()> {
        if key.starts_with("changes/") {
            delete(storage, key);
            capture(&writer, storage, "r", &[time.fetch_add(1, Ordering::SeqCst)]);
        }
        Ok(())
    });
    let error = to(&over(&vault, &source), &place(), &What::All, HOW).await.unwrap_err();
    assert!(error.code == Code::StorageUnavailable && error.code.retryable(), "{error}");
    assert_eq!(error.object.as_deref(), Some("changes/"));
    assert_eq!(source.asked("list changes/"), 5);
}

#[tokio::test]
async fn changes_that_cannot_be_read_for_now_end_the_copy() {
    let (storage, vault) = made().await;
    capture(&vault, &storage, "r", &[1]);
    let source = Witness::of(&storage).failing("changes/");
    let place = place();
    let error = to(&over(&vault, &source), &place, &What::All, HOW).await.unwrap_err();
    assert_eq!(error.code, Code::StorageUnavailable);
    assert_eq!(source.asked("list changes/"), 1, "it is not gone, so that nothing is listed again");
}
