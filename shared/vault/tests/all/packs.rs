//! Reading the blocks of packs: what is fetched, what is kept, and what is told of it.

use crate::rotation::made;
use crate::watched_storage::Watched;
use holdfast_vault::error::Code;
use holdfast_vault::format::FORMAT;
use holdfast_vault::format::header::ObjectKind;
use holdfast_vault::format::manifest::{Manifest, StoredObject};
use holdfast_vault::read::verify::{self, Depth};
use holdfast_vault::read::{Fetch, PackReader, Vault};
use holdfast_vault::storage::ByteRange;
use holdfast_vault::write::ObjectWriter;
use std::sync::Arc;

/// A manifest of packs, each of blocks of these plain lengths.
async fn packs(blocks: &[&[usize]]) -> (Watched, Vault, Arc<Manifest>) {
    let (memory, vault) = made().await;
    let mut objects = Vec::new();
    for lengths in blocks {
        let mut writer = ObjectWriter::new(vault.keys(), ObjectKind::Pack).unwrap();
        for (number, length) in (0_u8..).zip(lengths.iter()) {
            writer.dense_block(&vec![number; *length]).unwrap();
        }
        let object = writer.finish().unwrap();
        let stored = StoredObject {
            id: object.id,
            kind: object.kind,
            size: object.bytes.len() as u64,
            parts: object.parts.iter().map(|part| part.sha256.clone()).collect(),
        };
        memory.overwrite(&stored.key(), object.bytes);
        objects.push(stored);
    }
    let manifest = serde_json::from_value(serde_json::json!({
        "format": FORMAT, "vault": vault.id(), "id": "B", "resource": "r", "type": "full", "source": null,
        "policy": null, "started_at": "", "completed_at": "", "name_key_version": 1, "objects": objects,
        "streams": [], "warnings": [],
    }));
    let watched = Watched::over(&memory);
    let vault = vault.over(Arc::new(watched.clone()));
    (watched, vault, Arc::new(manifest.unwrap()))
}

/// More than what is fetched with one request.
const LARGE: &[usize] = &[300_000; 7];

async fn read(reader: &mut PackReader, object: u32, blocks: impl IntoIterator<Item = u32>) {
    for number in blocks {
        let plain = reader.block(object, number).await.unwrap();
        assert!(plain.iter().all(|byte| u32::from(*byte) == number), "block {number}");
    }
}

#[tokio::test]
async fn a_reader_tells_how_many_blocks_it_opened_and_of_how_many_bytes() {
    let (_, vault, manifest) = packs(&[&[10, 200, 3_000], &[40_000]]).await;
    let mut reader = PackReader::new(&vault, &manifest, Fetch::Whole);
    assert_eq!((reader.blocks_read(), reader.bytes_read()), (0, 0));
    read(&mut reader, 0, [0, 2, 0, 2]).await;
    assert_eq!((reader.blocks_read(), reader.bytes_read()), (2, 3_010));
    read(&mut reader, 1, [0]).await;
    assert_eq!((reader.blocks_read(), reader.bytes_read()), (3, 43_010));
    let findings = verify::object(&vault, &manifest, 0, Depth::Full).await.unwrap();
    assert!(findings.valid(), "{:?}", findings.errors);
    assert_eq!((findings.blocks_checked, findings.objects_checked), (3, 1));
}

#[tokio::test]
async fn a_block_is_opened_once_where_once_is_asked_for() {
    let (watched, vault, manifest) = packs(&[LARGE]).await;
    let mut reader = PackReader::new(&vault, &manifest, Fetch::Blocks);
    for number in 0..7 {
        reader.block_once(0, number).await.unwrap();
    }
    assert_eq!((reader.blocks_read(), reader.bytes_read()), (7, 2_100_000));
    watched.gets();
    // The first of them is not kept any more, and yet not fetched again.
    for number in 0..7 {
        reader.block_once(0, number).await.unwrap();
    }
    assert_eq!(watched.gets(), []);
    assert_eq!(reader.bytes_read(), 2_100_000);
    let error = reader.block_once(0, 7).await.unwrap_err();
    assert_eq!((error.code, error.object), (Code::ObjectDamaged, Some(manifest.objects[0].key())));
}

#[tokio::test]
async fn a_block_that_nothing_leads_to_is_verified_too() {
    let (watched, vault, manifest) = packs(&[&[100, 100]]).await;
    let key = manifest.objects[0].key();
    let mut objects = Manifest::clone(&manifest);
    let mut bytes = vault.storage().get(&key, ByteRange::All).await.unwrap().to_vec();
    // The last byte of the second block, with the sums that the damaged object has: only its seal can tell.
    bytes[48 + 2 * (1 + 100 + 16) - 1] ^= 1;
    objects.objects[0].parts =
        holdfast_vault::write::object::part_sums(&bytes).into_iter().map(|part| part.sha256).collect();
    watched.memory.overwrite(&key, bytes);
    let findings = verify::object(&vault, &Arc::new(objects), 0, Depth::Full).await.unwrap();
    assert_eq!((findings.errors.len(), findings.blocks_checked), (1, 1));
    assert!(findings.checksum_valid && !findings.structure_valid);
    assert_eq!(
        (findings.errors[0].object.as_str(), findings.errors[0].code.as_str()),
        (&*key, "ObjectDamaged")
    );
}

#[tokio::test]
async fn the_last_six_blocks_are_kept() {
    let (watched, vault, manifest) = packs(&[LARGE]).await;
    let mut reader = PackReader::new(&vault, &manifest, Fetch::Blocks);
    read(&mut reader, 0, 0..6).await;
    watched.gets();
    read(&mut reader, 0, 0..6).await;
    assert_eq!(watched.gets(), [], "all six are kept");
    read(&mut reader, 0, [6]).await;
    assert_eq!(watched.gets().len(), 1);
    read(&mut reader, 0, 1..7).await;
    assert_eq!(watched.gets(), [], "the one that was not asked for longest made room");
    read(&mut reader, 0, [0]).await;
    assert_eq!(watched.gets().len(), 1);
    let mut roomy = PackReader::new(&vault, &manifest, Fetch::Blocks).with_room(2, 7);
    read(&mut roomy, 0, 0..7).await;
    watched.gets();
    read(&mut roomy, 0, 0..7).await;
    assert_eq!(watched.gets(), []);
}

#[tokio::test]
async fn two_packs_that_are_read_by_turns_are_fetched_once_each() {
    let (watched, vault, manifest) = packs(&[&[10; 4], &[10; 4], &[10; 4]]).await;
    let mut reader = PackReader::new(&vault, &manifest, Fetch::Whole);
    for number in 0..2 {
        read(&mut reader, 0, [number]).await;
        read(&mut reader, 1, [number]).await;
    }
    let whole = |at: usize| (manifest.objects[at].key(), ByteRange::All);
    assert_eq!(watched.gets(), [whole(0), whole(1)]);
    read(&mut reader, 2, [0]).await;
    read(&mut reader, 1, [2]).await;
    assert_eq!(watched.gets(), [whole(2)], "the older of the two made room");
    read(&mut reader, 0, [2]).await;
    assert_eq!(watched.gets(), [whole(0)]);
}

#[tokio::test]
async fn only_of_a_large_pack_blocks_are_fetched_alone() {
    let (watched, vault, manifest) = packs(&[&[10, 10], LARGE]).await;
    let key = |at: usize| manifest.objects[at].key();
    let mut blocks = PackReader::new(&vault, &manifest, Fetch::Blocks);
    read(&mut blocks, 0, 0..2).await;
    assert_eq!(watched.gets(), [(key(0), ByteRange::All)], "a second request would cost more");
    read(&mut blocks, 1, [2]).await;
    let [(_, end), (name, span)] = &watched.gets()[..] else { panic!("its end and a block") };
    assert!(matches!(end, ByteRange::Last(_)), "{end:?}");
    // A sealed block has a byte for its codec and 16 of tag.
    let start = 48 + 2 * 300_017;
    assert_eq!((name, *span), (&key(1), ByteRange::Span { start, end: start + 300_017 }));
    let mut whole = PackReader::new(&vault, &manifest, Fetch::Whole);
    read(&mut whole, 1, [3, 5]).await;
    assert_eq!(watched.gets(), [(key(1), ByteRange::All)]);
}

#[tokio::test]
async fn an_object_is_told_by_its_key_and_one_that_is_not_listed_by_the_manifest() {
    let (_, vault, manifest) = packs(&[&[1], &[1]]).await;
    let reader = PackReader::new(&vault, &manifest, Fetch::Whole);
    for (at, object) in (0_u32..).zip(&manifest.objects) {
        assert_eq!(reader.key(at).unwrap(), object.key());
        assert_eq!(reader.object_of(object.id), Some(at));
    }
    let error = reader.key(2).unwrap_err();
    assert_eq!((error.code, error.object.as_deref()), (Code::ObjectDamaged, Some("manifests/B")));
}
