//! Sealed objects byte by byte as the specification has them, and the blocks of captured changes.

use crate::changes::said;
use holdfast_vault::compress::{Codec, Compressor};
use holdfast_vault::crypto::SecretKey;
use holdfast_vault::format::changes::Change;
use holdfast_vault::format::footer::{Fence, Segment};
use holdfast_vault::format::header::{Header, Id, ObjectKind};
use holdfast_vault::keys::KeyRing;
use holdfast_vault::memory::MemoryStorage;
use holdfast_vault::read::{OpenObject, Vault};
use holdfast_vault::write::changes::write_changes;
use holdfast_vault::write::object::aad;
use holdfast_vault::write::{FinishedObject, ObjectWriter};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The keys of a vault, of so many versions.
pub(crate) fn ring(versions: u8) -> KeyRing {
    let key = |version| (u32::from(version), SecretKey::new([version; 32]));
    KeyRing::new(Id([7; 16]), (1..=versions).map(key).collect::<BTreeMap<_, _>>()).unwrap()
}

/// Opens an object that was just written, without storing it.
pub(crate) fn opened(keys: &KeyRing, object: &FinishedObject) -> OpenObject {
    let vault = Vault::with_keys(Arc::new(MemoryStorage::new("vault")), keys.clone());
    let key_version = keys.newest_version();
    let header = Header { kind: object.kind, key_version, vault: keys.vault(), object: object.id };
    OpenObject::from_bytes(&vault, "an object", &header, &object.bytes).unwrap()
}

/// The plain blocks of an object.
pub(crate) fn blocks(keys: &KeyRing, object: &FinishedObject) -> Vec<Vec<u8>> {
    let open = opened(keys, object);
    (0..open.footer.blocks.len()).map(|number| open.block_of(&object.bytes, number).unwrap()).collect()
}

/// How many things the blocks of a segment hold.
pub(crate) fn counts(segment: &Segment) -> Vec<u32> {
    segment.index().fences.iter().map(|fence| fence.count).collect()
}

#[test]
fn an_object_tells_its_length_and_whether_it_holds_a_block() {
    let mut object = ObjectWriter::new(&ring(1), ObjectKind::Pack).unwrap();
    assert!(object.is_empty());
    assert_eq!((object.len(), object.next_block()), (48, 0), "there is a header");
    object.dense_block(b"seven b").unwrap();
    assert!(!object.is_empty());
    assert_eq!((object.len(), object.next_block()), (48 + 1 + 7 + 16, 1), "a codec, the data and a tag");
    object.block(&mut Compressor::new(Codec::None).unwrap(), b"").unwrap();
    assert_eq!((object.len(), object.next_block()), (72 + 1 + 16, 2));
}

#[test]
fn a_block_is_sealed_with_its_header_and_its_number() {
    let keys = ring(1);
    let mut writer = ObjectWriter::new(&keys, ObjectKind::Index).unwrap();
    writer.dense_block(b"seven b").unwrap();
    writer.dense_block(b"another").unwrap();
    let object = writer.finish().unwrap();
    let (header, end) = (&object.bytes[..48], object.bytes.len() - 16);
    let footer_len = u32::from_le_bytes(object.bytes[end..end + 4].try_into().unwrap());
    let footer = end - usize::try_from(footer_len).unwrap();
    assert_eq!(footer, 48 + 2 * 24, "blocks stand back to back");

    let sealer = keys.sealer(&Header::decode(header).unwrap()).unwrap();
    let open = |number: u64, header: &[u8], said: u64, from: usize, to: usize| {
        let authentic = [header, &said.to_le_bytes()].concat();
        sealer.open(number, &authentic, object.bytes[from..to].to_vec())
    };
    assert_eq!(open(0, header, 0, 48, 72).unwrap(), b"\0seven b");
    assert_eq!(open(1, header, 1, 72, 96).unwrap(), b"\0another");
    assert!(open(u64::MAX, header, u64::MAX, footer, end).is_some(), "the footer has the last number");
    let other = Header { object: Id([1; 16]), ..Header::decode(header).unwrap() }.encode();
    assert_eq!(open(1, &other, 1, 72, 96), None, "it opens in its own object only");
    assert_eq!(open(1, header, 0, 72, 96), None, "and in its own place only");
}

#[test]
fn what_a_block_is_authenticated_with_is_the_header_and_then_the_number() {
    let header: [u8; 48] = std::array::from_fn(|at| u8::try_from(at).unwrap());
    let said = aad(&header, 0x0102_0304_0506_0708);
    assert_eq!(said[..48], header);
    assert_eq!(said[48..], [8, 7, 6, 5, 4, 3, 2, 1]);
}

fn change(key: u8, value: usize) -> Change {
    let (time, sequence) = (5, "100".to_owned());
    Change { hash: [key; 16], time, sequence, key: vec![key], before: None, after: Some(vec![key; value]) }
}

/// The fences of the blocks in which changes of some values are written.
fn fences_of(values: &[usize]) -> Vec<Fence> {
    let keys = ring(1);
    let changes = (1..).zip(values).map(|(key, value)| change(key, *value)).collect();
    let (_, object) = write_changes(&keys, Codec::Zstd, [3; 16], 0, &said("orders"), changes).unwrap();
    let footer = opened(&keys, &object).footer;
    let fences = footer.segments[0].index().fences.clone();
    assert_eq!((footer.segments.len(), footer.blocks.len()), (1, fences.len()));
    fences
}

#[test]
fn changes_share_a_block_until_it_holds_a_mebibyte() {
    let fence = |key: u8, count| Fence { first: vec![key; 16], count };
    assert_eq!(fences_of(&[9; 5]), [fence(1, 5)]);
    assert_eq!(fences_of(&[400_000; 4]), [fence(1, 3), fence(4, 1)]);
    // Beside the value stand 16 bytes of hash, 1 of time, 4 of sequence, 1 of flags, 2 of key and 3 of length.
    let just = (1 << 20) - 27;
    assert_eq!(fences_of(&[just, 9]), [fence(1, 1), fence(2, 1)]);
    assert_eq!(fences_of(&[just - 1, 9]), [fence(1, 2)]);
}
