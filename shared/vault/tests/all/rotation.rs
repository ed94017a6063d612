//! Versions of the vault key: made one after the other, met by those who opened the vault before.
#![allow(clippy::unwrap_used)] // Helpers of tests may panic as tests do.

use crate::engine::{FIRST, store, wrapping};
use holdfast_vault::compress::Codec;
use holdfast_vault::crypto::SecretKey;
use holdfast_vault::error::{Code, Result};
use holdfast_vault::format::header::Id;
use holdfast_vault::format::manifest::Manifest;
use holdfast_vault::format::root::{WrappedKey, Wrapping, version_of, wrapped_key_name};
use holdfast_vault::memory::{MemoryCloud, MemoryStorage};
use holdfast_vault::model::{RecordEncoding, StreamKind};
use holdfast_vault::read::key_check::{KeyUse, check};
use holdfast_vault::read::{Fetch, PackReader, Vault};
use holdfast_vault::storage::{ByteRange, Put, Storage as _};
use holdfast_vault::write::records::KeyStorage;
use holdfast_vault::write::{RecordsWriter, RunLimits};
use std::sync::Arc;

pub(crate) async fn wrap(vault: Id, version: u32, fresh: &SecretKey) -> Result<WrappedKey> {
    let by = wrapping(1);
    WrappedKey::wrap(vault, version, &by.id, &by.secret, fresh)
}

pub(crate) async fn opened(storage: &MemoryStorage) -> Vault {
    Vault::open(Arc::new(storage.clone()), &wrapping(1)).await.unwrap()
}

pub(crate) async fn made() -> (MemoryStorage, Vault) {
    let storage = MemoryCloud::default().store("vault");
    Vault::create(Arc::new(storage.clone()), &wrapping(1)).await.unwrap();
    let vault = opened(&storage).await;
    (storage, vault)
}

/// A backup of a few records, with its manifest in the vault.
pub(crate) async fn back_up(vault: &Vault, id: &str, resource: &str) -> Arc<Manifest> {
    let limits = RunLimits::default();
    let mut writer =
        RecordsWriter::new(vault.keys(), Codec::Zstd, KeyStorage::Derived, FIRST, limits).unwrap();
    for number in 0..50 {
        let key = format!("[{number}]");
        writer.push(key.as_bytes(), format!("{{\"id\":{number}}}").as_bytes(), 0).unwrap();
    }
    writer.finish().unwrap();
    let shape = StreamKind::Records { encoding: RecordEncoding::Json, key: vec!["/id".to_owned()] };
    let mut manifest = Manifest::clone(&*store(vault, shape, writer.take_finished()).await);
    id.clone_into(&mut manifest.id);
    resource.clone_into(&mut manifest.resource);
    manifest.name_key_version = vault.keys().newest_version();
    assert_eq!(vault.put_manifest(&manifest).await.unwrap(), Put::Created);
    Arc::new(manifest)
}

/// Takes an object away.
pub(crate) async fn take(storage: &MemoryStorage, key: &str) -> Vec<u8> {
    let bytes = storage.get(key, ByteRange::All).await.unwrap();
    storage.delete(key).await.unwrap();
    bytes.to_vec()
}

/// Every block of a backup opens.
pub(crate) async fn reads(vault: &Vault, id: &str) {
    let manifest = Arc::new(vault.manifest(id).await.unwrap());
    for fetch in [Fetch::Whole, Fetch::Blocks] {
        let mut reader = PackReader::new(vault, &manifest, fetch);
        for object in (0_u32..).take(manifest.objects.len()) {
            let blocks = u32::try_from(reader.footer(object).await.unwrap().blocks.len()).unwrap();
            for number in 0..blocks {
                reader.block(object, number).await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn a_new_version_seals_what_is_new_and_the_old_one_opens_what_is_old() {
    let (storage, vault) = made().await;
    back_up(&vault, "A", "r").await;
    assert_eq!(vault.next_version().await.unwrap(), (2, Some(Wrapping::Local { key: "k".to_owned() })));
    assert_eq!(vault.make_version(2, wrap).await.unwrap(), Put::Created);
    assert_eq!((vault.keys().newest_version(), vault.keys().versions()), (2, vec![1, 2]));
    back_up(&vault, "B", "r").await;
    for vault in [&vault, &opened(&storage).await] {
        reads(vault, "A").await;
        reads(vault, "B").await;
    }
    let found = check(&vault, 4, &|_| ()).await.unwrap();
    assert_eq!((found.backups, found.unopened.len(), found.missing.len()), (2, 0, 0));
    assert_eq!(found.versions.keys().copied().collect::<Vec<_>>(), [1, 2]);
    assert!(found.versions.values().all(|of| of.objects >= 2 && of.bytes > 0));
}

#[tokio::test]
async fn whoever_opened_the_vault_before_reads_what_was_written_after() {
    let (storage, before) = made().await;
    let staging = before.over(Arc::new(storage.clone()));
    let after = opened(&storage).await;
    after.make_version(2, wrap).await.unwrap();
    let manifest = back_up(&after, "B", "r").await;
    assert_eq!(before.keys().newest_version(), 1, "nobody has told it");
    reads(&before, "B").await;
    assert_eq!(before.keys().newest_version(), 2);
    assert_eq!(staging.keys().versions(), [1, 2], "what one of them learns all of them know");

    // What one process opens first may also be a pack, or what waits in staging.
    let old = Vault::open(Arc::new(storage.clone()), &wrapping(1)).await.unwrap();
    after.make_version(3, wrap).await.unwrap();
    let later = back_up(&after, "C", "r").await;
    let object = &later.objects[0];
    assert!(
        old.over(Arc::new(storage.clone())).open_object(object.kind, object.id, object.size).await.is_ok()
    );
    assert_eq!(old.keys().newest_version(), 3);
    assert_eq!((manifest.name_key_version, later.name_key_version), (2, 3));
}

#[tokio::test]
async fn two_that_rotate_at_once_make_one_version() {
    let (storage, one) = made().await;
    let other = opened(&storage).await;
    let (a, b) = futures::join!(one.make_version(2, wrap), other.make_version(2, wrap));
    let mut made = [a.unwrap() == Put::Created, b.unwrap() == Put::Created];
    made.sort_unstable();
    assert_eq!(made, [false, true]);
    back_up(&one, "A", "r").await;
    back_up(&other, "B", "r").await;
    let fresh = opened(&storage).await;
    reads(&fresh, "A").await;
    reads(&fresh, "B").await;
    // One version after the other, and none twice.
    assert_eq!(one.make_version(2, wrap).await.unwrap(), Put::Exists);
    let error = one.make_version(9, wrap).await.unwrap_err();
    assert_eq!((error.code, error.object.as_deref()), (Code::InvalidInput, Some("keys/00000009.json")));
    assert_eq!(one.next_version().await.unwrap().0, 3);
}

#[tokio::test]
async fn a_version_that_does_not_come_out_again_is_not_made() {
    let (storage, vault) = made().await;
    let by_another = async |vault, version, fresh: &SecretKey| {
        WrappedKey::wrap(vault, version, "k", &wrapping(2).secret, fresh)
    };
    assert_eq!(vault.make_version(2, by_another).await.unwrap_err().code, Code::KeyWrong);
    let another = async |vault, version, _: &SecretKey| wrap(vault, version, &SecretKey::new([7; 32])).await;
    assert_eq!(vault.make_version(2, another).await.unwrap_err().code, Code::KeyWrong);
    assert_eq!(opened(&storage).await.keys().versions(), [1]);
}

#[tokio::test]
async fn a_version_that_is_missing_is_told_by_its_name() {
    let (storage, vault) = made().await;
    back_up(&vault, "A", "r").await;
    vault.make_version(2, wrap).await.unwrap();
    back_up(&vault, "B", "r").await;
    take(&storage, "keys/00000002.json").await;
    let vault = opened(&storage).await;
    let error = vault.manifest("B").await.unwrap_err();
    assert_eq!((error.code, error.object.as_deref()), (Code::KeyMissing, Some("keys/00000002.json")));
    reads(&vault, "A").await;
    let found = check(&vault, 4, &|_| ()).await.unwrap();
    assert_eq!((found.backups, found.unopened.len()), (2, 1));
    assert_eq!((found.unopened[0].backup.as_str(), found.unopened[0].why.code.as_str()), ("B", "KeyMissing"));
    assert!(found.unopened[0].why.message.contains("keys/00000002.json"));
    assert!(matches!(found.missing.get(&2), Some(KeyUse { objects: 1, .. })));
    assert_eq!(found.versions.keys().copied().collect::<Vec<_>>(), [1]);
}

#[tokio::test]
async fn a_backup_of_which_one_object_does_not_open_is_told_with_every_other_that_needs_it() {
    let (storage, vault) = made().await;
    let manifest = back_up(&vault, "A", "r").await;
    let mut second = Manifest::clone(&manifest);
    "B".clone_into(&mut second.id);
    vault.put_manifest(&second).await.unwrap();
    let key = manifest.objects[0].key();
    let mut bytes = take(&storage, &key).await;
    let at = bytes.len() - 20;
    bytes[at] ^= 1;
    storage.overwrite(&key, bytes);
    let found = check(&vault, 1, &|_| ()).await.unwrap();
    let told: Vec<_> = found.unopened.iter().map(|one| (one.backup.as_str(), one.objects)).collect();
    assert_eq!(told, [("A", 1), ("B", 1)]);
    assert_eq!(found.unopened[0].why.object, key);
    assert!(found.unopened[0].why.message.contains("version 1 of the vault key"));
}

#[test]
fn only_a_name_of_a_version_is_one() {
    for version in [1, 2, 99_999_999] {
        assert_eq!(version_of(&wrapped_key_name(version)), Some(version));
    }
    for name in ["keys/1.json", "keys/00000001", "keys/+0000001.json", "00000001.json", "keys/0000000a.json"]
    {
        assert_eq!(version_of(name), None, "{name}");
    }
}
