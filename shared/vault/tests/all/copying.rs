//! Copies of a vault: what is not there, whole backups only, nothing written over.
#![allow(clippy::unwrap_used)] // Helpers of tests may panic as tests do.

use crate::rotation::{back_up, made, opened, reads, take, wrap};
use bytes::Bytes;
use holdfast_vault::copy::{Copied, How, What, copy};
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::memory::{MemoryCloud, MemoryStorage};
use holdfast_vault::read::Vault;
use holdfast_vault::storage::{ByteRange, Listing, ObjectInfo, PartSum, Put, Storage, list_all};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const HOW: How = How { at_once: 3, verify: false, dry_run: false };

fn place() -> MemoryStorage {
    MemoryCloud::default().store("copy")
}

async fn to(vault: &Vault, place: &MemoryStorage, what: &What, how: How) -> Result<Copied> {
    copy(vault, Arc::new(place.clone()), what, how, &|_| ()).await
}

async fn names(place: &MemoryStorage) -> Vec<(String, u64)> {
    list_all(place, "").await.unwrap().into_iter().map(|object| (object.key, object.size)).collect()
}

#[tokio::test]
async fn a_copy_is_all_of_it_and_again_nothing() {
    let (storage, vault) = made().await;
    for id in ["A", "B"] {
        back_up(&vault, id, "r").await;
    }
    vault.make_version(2, wrap).await.unwrap();
    back_up(&vault, "C", "s").await;
    let place = place();
    let all = names(&storage).await;
    let bytes: u64 = all.iter().map(|(_, size)| size).sum();

    let planned = to(&vault, &place, &What::All, How { dry_run: true, ..HOW }).await.unwrap();
    assert!(names(&place).await.is_empty());
    let copied = to(&vault, &place, &What::All, HOW).await.unwrap();
    assert_eq!(planned, copied);
    assert_eq!((copied.backups_copied, copied.objects_copied), (3, all.len() as u64));
    assert_eq!((copied.bytes_copied, copied.objects_there, copied.errors.len()), (bytes, 0, 0));
    assert_eq!(names(&place).await, all);
    for verify in [false, true] {
        let again = to(&vault, &place, &What::All, How { verify, ..HOW }).await.unwrap();
        assert_eq!(
            (again.objects_copied, again.objects_there, again.bytes_there),
            (0, all.len() as u64, bytes)
        );
        assert_eq!((again.backups_copied, again.backups_there), (0, 3));
    }
    let restored = opened(&place).await;
    for id in ["A", "B", "C"] {
        reads(&restored, id).await;
    }
}

#[tokio::test]
async fn some_of_it_is_copied_and_the_rest_later() {
    let (_, vault) = made().await;
    back_up(&vault, "A", "r").await;
    back_up(&vault, "B", "s").await;
    back_up(&vault, "C", "r").await;
    let place = place();
    to(&vault, &place, &What::Backup("C".to_owned()), HOW).await.unwrap();
    assert_eq!(opened(&place).await.backups().await.unwrap(), ["C"]);
    to(&vault, &place, &What::Resource("r".to_owned()), HOW).await.unwrap();
    assert_eq!(opened(&place).await.backups().await.unwrap(), ["A", "C"]);
    let rest = to(&vault, &place, &What::All, HOW).await.unwrap();
    assert_eq!((rest.backups_copied, rest.backups_there), (1, 2));
    let nothing = to(&vault, &place, &What::Backup("D".to_owned()), HOW).await.unwrap_err();
    assert_eq!(nothing.code, Code::JobUnknown);
    let nothing = to(&vault, &place, &What::Resource("t".to_owned()), HOW).await.unwrap_err();
    assert_eq!(nothing.code, Code::ResourceUnknown);
}

#[tokio::test]
async fn another_vault_and_what_is_none_are_refused() {
    let (storage, vault) = made().await;
    back_up(&vault, "A", "r").await;
    let other = place();
    Vault::create(Arc::new(other.clone()), &crate::engine::wrapping(1)).await.unwrap();
    let before = names(&other).await;
    let error = to(&vault, &other, &What::All, HOW).await.unwrap_err();
    assert!(error.code == Code::InvalidInput && error.message.contains("another vault"), "{error}");
    assert_eq!(names(&other).await, before);
    let used = place();
    used.overwrite("notes.txt", "mine");
    assert_eq!(to(&vault, &used, &What::All, HOW).await.unwrap_err().code, Code::InvalidInput);
    assert_eq!(to(&vault, &storage, &What::All, HOW).await.unwrap_err().code, Code::InvalidInput);
}

#[tokio::test]
async fn what_is_damaged_here_is_not_copied_and_all_else_is() {
    let (storage, vault) = made().await;
    let bad = back_up(&vault, "A", "r").await;
    back_up(&vault, "B", "r").await;
    let key = bad.objects[0].key();
    let mut bytes = take(&storage, &key).await;
    bytes[60] ^= 1;
    storage.overwrite(&key, bytes);
    let place = place();
    let copied = to(&vault, &place, &What::All, HOW).await.unwrap();
    assert_eq!((copied.errors.len(), copied.errors[0].object.as_str()), (1, key.as_str()));
    assert_eq!(opened(&place).await.backups().await.unwrap(), ["B"]);
    assert_eq!(place.head(&key).await.unwrap_err().code, Code::ObjectMissing);
}

#[tokio::test]
async fn what_is_damaged_there_is_found_and_left_alone() {
    let (_, vault) = made().await;
    let manifest = back_up(&vault, "A", "r").await;
    let place = place();
    to(&vault, &place, &What::All, HOW).await.unwrap();
    let key = manifest.objects[0].key();
    let mut flipped = place.get(&key, ByteRange::All).await.unwrap().to_vec();
    flipped[60] ^= 1;
    place.overwrite(&key, flipped.clone());
    assert!(to(&vault, &place, &What::All, HOW).await.unwrap().errors.is_empty(), "its size is right");
    let found = to(&vault, &place, &What::All, How { verify: true, ..HOW }).await.unwrap();
    assert!(found.errors.len() == 1 && found.errors[0].message.starts_with("in the copy: "), "{found:?}");
    assert_eq!(place.get(&key, ByteRange::All).await.unwrap(), flipped, "nothing is written over");
    place.overwrite(&key, flipped[..100].to_vec());
    assert_eq!(to(&vault, &place, &What::All, HOW).await.unwrap().errors.len(), 1);
    place.overwrite("keys/00000001.json", "{}");
    assert_eq!(to(&vault, &place, &What::All, HOW).await.unwrap_err().code, Code::InvalidInput);
}

/// A place that takes so many objects and no more.
#[derive(Debug)]
struct Full {
    inner: MemoryStorage,
    left: AtomicUsize,
}

#[async_trait::async_trait]
impl Storage for Full {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn head(&self, key: &str) -> Result<ObjectInfo> {
        self.inner.head(key).await
    }

    async fn get(&self, key: &str, range: ByteRange) -> Result<Bytes> {
        self.inner.get(key, range).await
    }

    async fn put_if_absent(&self, key: &str, body: Bytes) -> Result<Put> {
        let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if left.is_err() {
            return Err(Error::new(Code::StorageFull, "it is full"));
        }
        self.inner.put_if_absent(key, body).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Listing> {
        self.inner.list(prefix, after).await
    }

    async fn copy_from(&self, from: &str, key: &str, to: &str, parts: &[PartSum]) -> Result<Put> {
        self.inner.copy_from(from, key, to, parts).await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.inner.delete(key).await
    }
}

#[tokio::test]
async fn a_copy_that_is_cut_anywhere_holds_whole_backups_and_is_taken_up_again() {
    let (storage, vault) = made().await;
    for id in ["A", "B", "C"] {
        back_up(&vault, id, "r").await;
    }
    let all = names(&storage).await;
    for puts in 0..all.len() {
        let place = place();
        let full = Full { inner: place.clone(), left: AtomicUsize::new(puts) };
        let error = copy(&vault, Arc::new(full), &What::All, HOW, &|_| ()).await.unwrap_err();
        assert_eq!(error.code, Code::StorageFull);
        assert_eq!(names(&place).await.len(), puts);
        if puts >= 2 {
            let cut = opened(&place).await;
            for id in cut.backups().await.unwrap() {
                reads(&cut, &id).await;
            }
        }
        to(&vault, &place, &What::All, HOW).await.unwrap();
        assert_eq!(names(&place).await, all);
    }
}
