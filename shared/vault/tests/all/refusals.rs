//! What a reader refuses though it is sealed right: what the format says that it must.

use crate::changes::said;
use holdfast_vault::compress::{Codec, Compressor, expand};
use holdfast_vault::crypto::{DigestSum, SecretKey};
use holdfast_vault::error::Code;
use holdfast_vault::format::changes::{Change, ChangeName};
use holdfast_vault::format::entry::TreeEntry;
use holdfast_vault::format::footer::{BlockIndex, DeltaCounts, Footer, Origin, RunSegment, Segment};
use holdfast_vault::format::header::{Id, ObjectKind};
use holdfast_vault::format::wire::{Reader, put_bytes, put_number, put_signed};
use holdfast_vault::memory::MemoryStorage;
use holdfast_vault::read::Vault;
use holdfast_vault::read::changes::{ALL_KEYS, Window, changes, list};
use holdfast_vault::read::vault::WrappingKey;
use holdfast_vault::storage::{ByteRange, Storage};
use holdfast_vault::write::ObjectWriter;
use holdfast_vault::write::changes::write_changes;
use std::sync::Arc;

/// A directory's entry with these flags and nanoseconds.
fn directory(flags: u8, nanos: u64) -> Option<TreeEntry> {
    let mut bytes = vec![1 | flags];
    put_bytes(&mut bytes, b"d/");
    if flags & 0x20 != 0 {
        put_signed(&mut bytes, 0);
        put_number(&mut bytes, nanos);
    }
    put_number(&mut bytes, 0);
    TreeEntry::decode(&mut Reader::new(&bytes))
}

#[test]
fn only_files_have_parts_and_nanoseconds_are_less_than_a_second() {
    assert!(directory(0, 0).is_some() && directory(0x20, 999_999_999).is_some());
    assert_eq!(directory(0x40, 0), None);
    assert_eq!(directory(0x20, 1_000_000_000), None);
    assert_eq!(directory(0x80, 0), None);
}

#[test]
fn a_run_whose_counts_add_up_to_nothing_is_refused() {
    let footer = |added, changed| {
        let run = RunSegment {
            origin: Origin { stream: 0, task: 0, sequence: 0 },
            delta: Some(DeltaCounts { added, changed, deleted: 0 }),
            stored_keys: false,
            bytes: 0,
            digest: DigestSum::default(),
            last: Vec::new(),
            index: BlockIndex::default(),
        };
        Footer { blocks: Vec::new(), segments: vec![Segment::Run(run)] }.encode()
    };
    assert!(Footer::decode(&footer(u64::MAX, 0), 48).is_some());
    assert_eq!(Footer::decode(&footer(u64::MAX, 1), 48), None);
}

#[test]
fn a_name_has_one_digit_for_its_level() {
    let name = ChangeName { folder: [1; 16], from: 1, to: 2, level: 7, object: Id([2; 16]) };
    let key = name.key();
    assert_eq!(ChangeName::parse(&key), Some(name));
    for other in ["-07-", "-+7-", "-10-", "--", "-a-"] {
        assert_eq!(ChangeName::parse(&key.replace("-7-", other)), None, "{other}");
    }
}

#[test]
fn a_block_that_cannot_be_so_long_is_refused_before_memory_is_taken() {
    for codec in [Codec::Zstd, Codec::Gzip] {
        let zeros = vec![0; 4 << 20];
        let mut block = Vec::new();
        Compressor::new(codec).unwrap().append(&zeros, &mut block).unwrap();
        assert!(block.len() < zeros.len() / 500, "{codec:?} becomes very short");
        assert_eq!(expand(block.clone(), zeros.len()).as_ref(), Some(&zeros));
        assert_eq!(expand(block[..9].to_vec(), u32::MAX as usize), None);
        assert_eq!(expand(block, zeros.len() - 1), None);
    }
    assert_eq!(expand(vec![0; 9], 9), None);
}

async fn vault() -> (Vault, MemoryStorage) {
    let storage = MemoryStorage::new("vault");
    let key = WrappingKey { id: "k".to_owned(), secret: SecretKey::new([1; 32]) };
    (Vault::create(Arc::new(storage.clone()), &key).await.unwrap(), storage)
}

/// Names are not sealed: a copy under another resource, or of another time, is not read.
#[tokio::test]
async fn captured_changes_under_another_name_are_refused() {
    let (vault, storage) = vault().await;
    let folder = |name: &str| ChangeName::folder_of(vault.keys(), name).unwrap();
    let change = Change {
        hash: [3; 16],
        time: 500,
        sequence: "1".to_owned(),
        key: b"[1]".to_vec(),
        before: None,
        after: Some(b"{}".to_vec()),
    };
    let (name, object) =
        write_changes(vault.keys(), Codec::Zstd, folder("shop"), 0, &said("shop"), vec![change.clone()])
            .unwrap();
    storage.overwrite(&name.key(), object.bytes.clone());
    let read = async |resource: &str| {
        let names = list(&vault, resource, i64::MIN, i64::MAX).await.unwrap();
        changes(&vault, names, "t", Window::ALL, ALL_KEYS).await
    };
    assert_eq!(read("shop").await.unwrap(), [change]);
    let others = [
        ChangeName { folder: folder("other"), ..name.clone() },
        ChangeName { from: 0, ..name.clone() },
        ChangeName { to: 501, ..name.clone() },
    ];
    for other in others {
        storage.overwrite(&other.key(), object.bytes.clone());
        let resource = if other.folder == name.folder { "shop" } else { "other" };
        assert_eq!(read(resource).await.unwrap_err().code, Code::ObjectDamaged);
        storage.delete(&other.key()).await.unwrap();
    }
}

/// Else an operator would look for a key that never was.
#[tokio::test]
async fn a_damaged_trailer_is_damage_and_no_missing_key() {
    let (vault, storage) = vault().await;
    let mut writer = ObjectWriter::new(vault.keys(), ObjectKind::Pack).unwrap();
    writer.dense_block(b"content").unwrap();
    let object = writer.finish().unwrap();
    let (key, size) = (object.kind.object_key(object.id), object.bytes.len());
    for version in [0, 2, 0xff] {
        let mut bytes = object.bytes.to_vec();
        bytes[size - 12] = version;
        storage.overwrite(&key, bytes);
        let error = vault.open_object(object.kind, object.id, size as u64).await.err().unwrap();
        assert_eq!((error.code, error.object.as_deref()), (Code::ObjectDamaged, Some(key.as_str())));
    }
    // Where the header asks for it too, the key is missing.
    let mut bytes = object.bytes.to_vec();
    (bytes[12], bytes[size - 12]) = (2, 2);
    storage.overwrite(&key, bytes);
    let error = vault.open_object(object.kind, object.id, size as u64).await.err().unwrap();
    assert_eq!(error.code, Code::KeyMissing);
    assert!(storage.get(&key, ByteRange::All).await.is_ok());
}
