//! What an open vault reads, learns and asks for: other stores, newer keys, manifests and footers.

use crate::rotation::{back_up, made, opened, wrap};
use crate::tree_kit::{noise, sealed};
use crate::watched_storage::Watched;
use holdfast_vault::crypto::DigestSum;
use holdfast_vault::error::Code;
use holdfast_vault::format::footer::{BlockIndex, Origin, Segment, TreeSegment};
use holdfast_vault::format::header::{Id, ObjectKind, TRAILER_LEN};
use holdfast_vault::keys::KeyRing;
use holdfast_vault::memory::MemoryCloud;
use holdfast_vault::read::Vault;
use holdfast_vault::storage::{ByteRange, Put, Storage as _, StoredSum};
use holdfast_vault::write::ObjectWriter;
use std::sync::Arc;

#[tokio::test]
async fn a_vault_over_another_store_reads_and_writes_there() {
    let (storage, vault) = made().await;
    let manifest = back_up(&vault, "A", "r").await;
    let other = MemoryCloud::default().store("staging");
    let staging = vault.over(Arc::new(other.clone()));
    assert_eq!((vault.backups().await.unwrap().len(), staging.backups().await.unwrap().len()), (1, 0));
    assert_eq!(staging.manifest("A").await.unwrap_err().code, Code::ObjectMissing);
    assert_eq!(staging.put_manifest(&manifest).await.unwrap(), Put::Created);
    assert_eq!(staging.manifest("A").await.unwrap(), *manifest, "under the same keys");
    storage.delete("manifests/A").await.unwrap();
    assert_eq!(vault.manifest("A").await.unwrap_err().code, Code::ObjectMissing);
}

#[tokio::test]
async fn keys_that_were_made_since_are_learnt_when_asked() {
    let (storage, before) = made().await;
    let known = Vault::with_keys(
        Arc::new(storage.clone()),
        KeyRing::new(before.id(), before.keys().expose()).unwrap(),
    );
    opened(&storage).await.make_version(2, wrap).await.unwrap();
    assert_eq!(before.keys().versions(), [1]);
    before.refresh().await.unwrap();
    assert_eq!((before.keys().versions(), before.keys().newest_version()), (vec![1, 2], 2));
    known.refresh().await.unwrap();
    assert_eq!(known.keys().versions(), [1], "it has only what it was given");
    storage.overwrite("keys/00000003.json", "{}");
    assert_eq!(before.refresh().await.unwrap_err().object.as_deref(), Some("keys/00000003.json"));
}

/// The seal alone does not say what an object is: whoever has the key could put one in another's place.
#[tokio::test]
async fn only_what_was_sealed_as_a_manifest_of_this_vault_is_one() {
    let (storage, vault) = made().await;
    let manifest = back_up(&vault, "A", "r").await;
    let put = |keys: &KeyRing, kind| {
        let mut writer = ObjectWriter::new(keys, kind).unwrap();
        writer.dense_block(&manifest.encode().unwrap()).unwrap();
        storage.overwrite("manifests/A", writer.finish().unwrap().bytes);
    };
    put(vault.keys(), ObjectKind::Manifest);
    assert_eq!(vault.manifest("A").await.unwrap(), *manifest);
    let other_vault = KeyRing::new(Id([9; 16]), vault.keys().expose()).unwrap();
    for (keys, kind) in [
        (vault.keys(), ObjectKind::Pack),
        (vault.keys(), ObjectKind::Index),
        (vault.keys(), ObjectKind::Changes),
        (&other_vault, ObjectKind::Manifest),
    ] {
        put(keys, kind);
        let error = vault.manifest("A").await.unwrap_err();
        assert_eq!((error.code, error.object.as_deref()), (Code::ObjectDamaged, Some("manifests/A")));
    }
}

#[tokio::test]
async fn an_object_is_opened_with_one_request_or_two_where_its_footer_is_long() {
    let (storage, vault) = made().await;
    let watched = Watched::telling(&storage, StoredSum::NotKept);
    for (packs, is_long) in [(1_usize, false), (500, false), (3_000, false), (5_000, true)] {
        let id = |at: usize| Id(noise(at as u64, 16).try_into().unwrap());
        let segment = Segment::Tree(TreeSegment {
            origin: Origin { stream: 0, task: 0, sequence: 0 },
            delta: None,
            packs: (0..packs).map(id).collect(),
            files: 0,
            bytes: 0,
            digest: DigestSum::default(),
            last: Vec::new(),
            index: BlockIndex::default(),
        });
        let blocks = [noise(1, 100_000)];
        let object = sealed(&vault, ObjectKind::Pack, &blocks, vec![segment.clone()]);
        storage.overwrite(&object.kind.object_key(object.id), object.bytes.clone());
        let size = object.bytes.len() as u64;
        let open = vault.over(watched.clone()).open_object(object.kind, object.id, size).await.unwrap();
        assert_eq!(open.footer.segments, [segment]);
        let asked: Vec<ByteRange> = watched.gets().into_iter().map(|(_, range)| range).collect();
        let tail = size - open.footer.end_of_blocks(48);
        assert_eq!(is_long, tail > 64 << 10);
        let mut expected = vec![ByteRange::Last(64 << 10)];
        if is_long {
            expected.push(ByteRange::Last(tail));
        }
        assert_eq!(asked, expected, "{packs} packs, of {tail} bytes with the {TRAILER_LEN} of the trailer");
    }
}
