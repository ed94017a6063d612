//! Sums of digests, keys that are given away and wrapped, and manifests: what proves that all is there.

use crate::engine::{FIRST, wrapping};
use crate::rotation::{back_up, made, reads, wrap};
use holdfast_vault::crypto::{DigestSum, SecretKey};
use holdfast_vault::error::{Code, Error};
use holdfast_vault::format::header::{Id, ObjectKind};
use holdfast_vault::format::manifest::{LayerKind, Manifest, SegmentRef, StoredObject};
use holdfast_vault::format::root::{WrappedKey, Wrapping};
use holdfast_vault::keys::KeyRing;
use holdfast_vault::model::StreamInfo;
use holdfast_vault::read::Vault;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A number of 256 bits, lowest byte first, with these bytes at these places.
fn number(bytes: &[(usize, u8)]) -> [u8; 32] {
    let mut number = [0; 32];
    for (at, byte) in bytes {
        number[*at] = *byte;
    }
    number
}

fn sum(hashes: &[[u8; 32]]) -> [u8; 32] {
    let mut sum = DigestSum::default();
    for hash in hashes {
        sum.add(hash);
    }
    sum.to_bytes()
}

#[test]
fn a_sum_of_digests_is_one_of_little_endian_numbers_modulo_two_to_the_256() {
    assert_eq!(sum(&[]), [0; 32]);
    assert_eq!(sum(&[[1; 32], [2; 32]]), [3; 32]);
    assert_eq!(sum(&[number(&[(0, 0xff)]), number(&[(0, 1)])]), number(&[(1, 1)]));
    let one = number(&[(0, 1)]);
    // A carry goes from each eight bytes into the next.
    for limb in 1..4 {
        let mut full = [0; 32];
        full[..limb * 8].fill(0xff);
        assert_eq!(sum(&[full, one]), number(&[(limb * 8, 1)]), "over {limb} times eight bytes");
    }
    assert_eq!(sum(&[number(&[(7, 0x80)]), number(&[(7, 0x80), (8, 4)])]), number(&[(8, 5)]));
    // What is carried out of the last byte is lost.
    assert_eq!(sum(&[[0xff; 32], one]), [0; 32]);
    assert_eq!(sum(&[[0xff; 32], [0xff; 32]])[..2], [0xfe, 0xff]);
}

proptest! {
    #[test]
    fn a_sum_of_digests_is_the_same_in_any_order_and_in_any_parts(
        hashes in prop::collection::vec(prop_oneof![any::<[u8; 32]>(), Just([0xff; 32])], 1..8),
        cut: prop::sample::Index,
    ) {
        let whole = sum(&hashes);
        let reversed: Vec<_> = hashes.iter().rev().copied().collect();
        prop_assert_eq!(sum(&reversed), whole);
        let (one, other) = hashes.split_at(cut.index(hashes.len()));
        let mut merged = DigestSum::from_bytes(&sum(one));
        prop_assert_eq!(merged.to_bytes(), sum(one));
        merged.merge(&DigestSum::from_bytes(&sum(other)));
        prop_assert_eq!(merged.to_bytes(), whole);
        prop_assert_ne!(sum(&[&hashes[..], &[number(&[(31, 1)])]].concat()), whole, "one more is noticed");
    }
}

#[tokio::test]
async fn keys_that_are_given_away_open_all_that_the_vault_holds() {
    let (storage, vault) = made().await;
    back_up(&vault, "A", "r").await;
    vault.make_version(2, wrap).await.unwrap();
    back_up(&vault, "B", "r").await;
    let keys = vault.keys().expose();
    assert_eq!(keys.keys().copied().collect::<Vec<_>>(), [1, 2]);
    let ring = KeyRing::new(vault.id(), keys).unwrap();
    assert_eq!(ring.newest_version(), 2);
    let recovered = Vault::with_keys(Arc::new(storage), ring);
    for id in ["A", "B"] {
        reads(&recovered, id).await;
    }
    assert_eq!(KeyRing::new(vault.id(), BTreeMap::new()).unwrap_err().code, Code::KeyMissing);
}

#[test]
fn a_wrapped_key_opens_in_its_own_vault_as_its_own_version_only() {
    let (vault, secret) = (Id([3; 16]), SecretKey::new([9; 32]));
    let by = wrapping(1);
    let wrapped = WrappedKey::wrap(vault, 2, &by.id, &by.secret, &secret).unwrap();
    assert_eq!(wrapped.unwrap_local(&by.secret).unwrap().expose(), secret.expose());
    assert_eq!(wrapped.ciphertext().unwrap().len(), 12 + 32 + 16);
    let refused = |wrapped: &WrappedKey, by: u8| wrapped.unwrap_local(&wrapping(by).secret).unwrap_err().code;
    assert_eq!(refused(&wrapped, 2), Code::KeyWrong, "another key");
    assert_eq!(refused(&WrappedKey { version: 1, ..wrapped.clone() }, 1), Code::KeyWrong);
    assert_eq!(refused(&WrappedKey { vault: Id([4; 16]), ..wrapped.clone() }, 1), Code::KeyWrong);
    for broken in ["", "AAAA", "no base64"] {
        let broken = WrappedKey { wrapped: broken.to_owned(), ..wrapped.clone() };
        assert_eq!(refused(&broken, 1), Code::KeyWrong);
    }
}

#[test]
fn what_a_service_wrapped_is_given_to_it_as_it_gave_it() {
    for ciphertext in [&b"what KMS made of it"[..], &[0, 0xff, 0x80], &[]] {
        let wrapped = WrappedKey::wrapped_by_kms(Id([3; 16]), 1, "arn:aws:kms:key", ciphertext);
        assert_eq!(wrapped.wrapped_by, Wrapping::Kms { key: "arn:aws:kms:key".to_owned() });
        let json = serde_json::to_vec(&wrapped).unwrap();
        let read: WrappedKey = serde_json::from_slice(&json).unwrap();
        assert_eq!(read.ciphertext().as_deref(), Some(ciphertext));
        assert_eq!(WrappedKey { wrapped: "?".to_owned(), ..read }.ciphertext(), None);
    }
}

/// A manifest as it is read again.
fn decoded(manifest: &Manifest) -> Result<Manifest, Error> {
    Manifest::decode(&manifest.encode().unwrap(), manifest.vault, &manifest.id)
}

async fn manifest() -> Manifest {
    let (_, vault) = made().await;
    Manifest::clone(&*back_up(&vault, "A", "r").await)
}

#[tokio::test]
async fn a_manifest_that_names_an_object_it_has_not_is_refused() {
    let whole = manifest().await;
    assert_eq!(decoded(&whole).unwrap(), whole);
    let count = u32::try_from(whole.objects.len()).unwrap();
    let place = |object| SegmentRef {
        object,
        segment: FIRST.sequence,
        first: String::new(),
        last: String::new(),
        count: 0,
        bytes: 0,
    };
    for (object, fits) in [(count - 1, true), (count, false), (count + 1, false), (u32::MAX, false)] {
        let (mut data, mut index) = (whole.clone(), whole.clone());
        data.streams[0].layers[0].segments.push(place(object));
        index.streams[0].layers[0].index.push(place(object));
        for changed in [data, index] {
            match decoded(&changed) {
                Ok(read) => assert!(fits && read == changed, "object {object}"),
                Err(error) => {
                    assert!(!fits, "object {object}");
                    assert_eq!(error.code, Code::ObjectDamaged);
                    assert_eq!(error.object.as_deref(), Some("manifests/A"));
                }
            }
        }
    }
}

#[tokio::test]
async fn layers_are_a_base_and_then_deltas_or_refused() {
    use LayerKind::{Base, Delta};
    let whole = manifest().await;
    for (kinds, fits) in [
        (&[][..], true),
        (&[Base], true),
        (&[Base, Delta, Delta], true),
        (&[Delta], false),
        (&[Delta, Base], false),
        (&[Base, Base], false),
        (&[Base, Delta, Base], false),
    ] {
        let mut changed = whole.clone();
        let layer = changed.streams[0].layers[0].clone();
        changed.streams[0].layers = kinds
            .iter()
            .map(|kind| {
                let mut layer = layer.clone();
                layer.kind = *kind;
                layer
            })
            .collect();
        let read = decoded(&changed).map_err(|error| error.code);
        assert_eq!(read, if fits { Ok(changed) } else { Err(Code::ObjectDamaged) }, "{kinds:?}");
    }
}

#[tokio::test]
async fn a_backup_stores_the_bytes_of_the_objects_it_wrote_itself() {
    let mut manifest = manifest().await;
    let object = |byte, size| StoredObject {
        id: Id([byte; 16]),
        kind: ObjectKind::Pack,
        size,
        parts: vec!["00".repeat(32)],
    };
    manifest.objects = vec![object(1, 100), object(2, 20), object(3, 3)];
    for (own, bytes) in [(None, 123), (Some(3), 123), (Some(2), 120), (Some(0), 0), (Some(9), 123)] {
        manifest.own_objects = own;
        assert_eq!(manifest.stored_bytes(), bytes, "{own:?}");
    }
    manifest.objects.push(object(4, u64::MAX));
    (manifest.own_objects, manifest.streams) = (None, Vec::new());
    assert_eq!(manifest.stored_bytes(), u64::MAX, "what a damaged one says overflows nothing");
}

#[tokio::test]
async fn a_stream_is_found_by_its_name_and_the_names_are_told_where_it_is_not() {
    let mut manifest = manifest().await;
    let mut second = manifest.streams[0].clone();
    second.info = StreamInfo { name: "second".to_owned(), ..second.info };
    second.records = 7;
    manifest.streams.push(second);
    assert_eq!(manifest.stream("s").unwrap().info.name, "s");
    assert_eq!(manifest.stream("second").unwrap().records, 7);
    let error = manifest.stream("third").unwrap_err();
    assert_eq!((error.code, error.object.as_deref()), (Code::InvalidInput, Some("--stream")));
    assert_eq!(error.hint.as_deref(), Some("it has: s, second"));
}
