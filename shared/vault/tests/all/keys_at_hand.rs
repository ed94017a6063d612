//! Which backups the keys at hand open, and which versions of the vault key keep it closed.

use crate::engine::wrapping;
use crate::rotation::{back_up, made, wrap};
use crate::watched_storage::Watched;
use async_trait::async_trait;
use holdfast_vault::crypto::SecretKey;
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::format::header::{Id, ObjectKind};
use holdfast_vault::format::manifest::StoredObject;
use holdfast_vault::format::root::WrappedKey;
use holdfast_vault::memory::MemoryStorage;
use holdfast_vault::read::key_check::{KeyUse, check};
use holdfast_vault::read::{Unwrap, Vault};
use holdfast_vault::storage::{ByteRange, Storage as _, list_all};
use holdfast_vault::write::ObjectWriter;
use std::sync::{Arc, Mutex};

async fn watched(storage: &MemoryStorage) -> (Watched, Vault) {
    let watched = Watched::over(storage);
    let vault = Vault::open(Arc::new(watched.clone()), &wrapping(1)).await.unwrap();
    (watched, vault)
}

/// Stores an object of changes under a name that is made of its id.
fn sealed(vault: &Vault, storage: &MemoryStorage, name: impl Fn(Id) -> String) -> String {
    let mut writer = ObjectWriter::new(vault.keys(), ObjectKind::Changes).unwrap();
    writer.dense_block(b"something").unwrap();
    let object = writer.finish().unwrap();
    let key = name(object.id);
    storage.overwrite(&key, object.bytes);
    key
}

fn captured(vault: &Vault, storage: &MemoryStorage) -> String {
    let (folder, time) = ("0".repeat(32), "0".repeat(15));
    sealed(vault, storage, |id| format!("changes/{folder}/{time}-{time}-0-{id}"))
}

fn undone(vault: &Vault, storage: &MemoryStorage) -> String {
    sealed(vault, storage, |id| format!("undos/01ARZ3NDEKTSV4RRFFQ69G5FAV/000000-{id}"))
}

/// What is stored below some prefixes.
async fn stored(storage: &MemoryStorage, prefixes: &[&str]) -> KeyUse {
    let mut all = KeyUse::default();
    for prefix in prefixes {
        for object in list_all(storage, prefix).await.unwrap() {
            all.objects += 1;
            all.bytes += object.size;
        }
    }
    all
}

#[tokio::test]
async fn all_that_is_sealed_is_counted_under_the_version_that_opens_it() {
    let (storage, vault) = made().await;
    back_up(&vault, "A", "r").await;
    captured(&vault, &storage);
    let old = stored(&storage, &["packs/", "index/", "manifests/", "changes/"]).await;
    vault.make_version(2, wrap).await.unwrap();
    undone(&vault, &storage);
    let new = stored(&storage, &["undos/"]).await;
    let seen = Mutex::new(Vec::new());
    let found = check(&vault, 2, &|count| seen.lock().unwrap().push(count)).await.unwrap();
    assert_eq!(found.versions.into_iter().collect::<Vec<_>>(), [(1, old), (2, new)]);
    assert_eq!((found.backups, found.unopened, found.others), (1, vec![], vec![]));
    assert_eq!((old.objects, new.objects), (4, 1));
    assert_eq!(*seen.lock().unwrap(), [1]);
}

#[tokio::test]
async fn a_change_or_an_undo_that_does_not_open_is_told() {
    let (storage, vault) = made().await;
    back_up(&vault, "A", "r").await;
    let keys = [captured(&vault, &storage), undone(&vault, &storage)];
    for key in &keys {
        let mut bytes = storage.get(key, ByteRange::All).await.unwrap().to_vec();
        let at = bytes.len() - 20;
        bytes[at] ^= 1;
        storage.overwrite(key, bytes);
    }
    let found = check(&vault, 2, &|_| ()).await.unwrap();
    let told: Vec<_> = found.others.iter().map(|one| (one.object.clone(), one.code.as_str())).collect();
    assert_eq!(told, keys.map(|key| (key, "ObjectDamaged")));
    assert_eq!(found.unopened, []);
    let opened = stored(&storage, &["packs/", "index/", "manifests/"]).await;
    assert_eq!(found.versions.into_iter().collect::<Vec<_>>(), [(1, opened)]);
}

#[tokio::test]
async fn what_is_deleted_while_it_is_looked_at_is_no_fault() {
    let (storage, vault) = made().await;
    back_up(&vault, "A", "r").await;
    let left = stored(&storage, &["packs/", "index/", "manifests/"]).await;
    back_up(&vault, "B", "r").await;
    let key = captured(&vault, &storage);
    let (watched, vault) = watched(&storage).await;
    watched.refuse("manifests/B", Code::ObjectMissing);
    watched.refuse(&key, Code::ObjectMissing);
    let found = check(&vault, 2, &|_| ()).await.unwrap();
    assert_eq!((found.unopened, found.others, found.missing.len()), (vec![], vec![], 0));
    assert_eq!(found.versions.into_iter().collect::<Vec<_>>(), [(1, left)]);
}

#[tokio::test]
async fn what_cannot_be_looked_at_ends_the_check() {
    let (storage, vault) = made().await;
    let manifest = back_up(&vault, "A", "r").await;
    let other = [captured(&vault, &storage), undone(&vault, &storage), "manifests/A".to_owned()];
    let (watched, vault) = watched(&storage).await;
    for key in manifest.objects.iter().map(StoredObject::key).chain(other) {
        watched.refuse(&key, Code::StorageDenied);
        let error = check(&vault, 2, &|_| ()).await.unwrap_err();
        assert_eq!((error.code, error.object), (Code::StorageDenied, Some(key)));
        watched.relent();
    }
    assert_eq!(check(&vault, 2, &|_| ()).await.unwrap().unopened, []);
}

/// Opens what the key of the vault opens, and goes on without the rest.
struct Easy(Mutex<Vec<Error>>);

#[async_trait]
impl Unwrap for Easy {
    async fn unwrap(&self, wrapped: &WrappedKey) -> Result<SecretKey> {
        wrapped.unwrap_local(&wrapping(1).secret)
    }

    fn unopened(&self, error: Error) -> Result<()> {
        self.0.lock().unwrap().push(error);
        Ok(())
    }
}

#[tokio::test]
async fn a_version_that_does_not_open_may_be_left_out_but_not_one_that_may_open_later() {
    let (storage, vault) = made().await;
    vault.make_version(2, wrap).await.unwrap();
    let fresh = SecretKey::new([9; 32]);
    let by_another = WrappedKey::wrap(vault.id(), 3, "k", &wrapping(2).secret, &fresh).unwrap();
    storage.overwrite("keys/00000003.json", serde_json::to_vec(&by_another).unwrap());
    let strict = Vault::open(Arc::new(storage.clone()), &wrapping(1)).await.unwrap_err();
    assert_eq!((strict.code, strict.object.as_deref()), (Code::KeyWrong, Some("keys/00000003.json")));

    let easy = Arc::new(Easy(Mutex::default()));
    let watched = Watched::over(&storage);
    let open = async || Vault::open_with(Arc::new(watched.clone()), easy.clone()).await;
    assert_eq!(open().await.unwrap().keys().versions(), [1, 2]);
    let left_out = std::mem::take(&mut *easy.0.lock().unwrap());
    assert_eq!(left_out, [strict]);

    watched.refuse("keys/00000002.json", Code::StorageThrottled);
    assert_eq!(open().await.unwrap_err().code, Code::StorageThrottled);
    assert_eq!(*easy.0.lock().unwrap(), [], "nobody was asked to do without it");
    watched.relent();
    watched.refuse("keys/00000002.json", Code::StorageDenied);
    assert_eq!(open().await.unwrap().keys().versions(), [1]);
    assert_eq!(easy.0.lock().unwrap().len(), 2);
}
