//! Decoders of plain bytes.

#![allow(
    clippy::redundant_closure_for_method_calls,
    reason = "methods of one lifetime are no functions of any"
)]

use crate::compress::{Codec, Compressor, expand};
use crate::crypto::SecretKey;
use crate::format::changes::{Change, ChangeName, ChangesDescription, compare_sequences};
use crate::format::entry::{DeltaEntry, TreeEntry, put_chunks, take_chunks};
use crate::format::footer::Footer;
use crate::format::header::{Header, Id, Trailer};
use crate::format::manifest::Manifest;
use crate::format::root::{VaultDescription, WrappedKey, wrapped_key_name};
use crate::format::wire::{Reader, put_bytes, put_number, put_signed};
use crate::storage::check_key;
use std::cmp::Ordering;

/// Reads what `bytes` hold until they end or are malformed.
fn all<T>(bytes: &[u8], mut next: impl FnMut(&mut Reader<'_>) -> Option<T>) -> Vec<T> {
    let mut reader = Reader::new(bytes);
    let mut found = Vec::new();
    while let Some(one) = next(&mut reader) {
        found.push(one);
        if reader.is_empty() {
            break;
        }
    }
    found
}

pub(super) fn wire(data: &[u8]) {
    let mut out = Vec::new();
    let numbers = |bytes: &[u8]| all(bytes, |reader| reader.number());
    let found = numbers(data);
    for number in &found {
        put_number(&mut out, *number);
    }
    assert_eq!(numbers(&out), found);
    out.clear();
    let numbers = |bytes: &[u8]| all(bytes, |reader| reader.signed());
    let found = numbers(data);
    for number in &found {
        put_signed(&mut out, *number);
    }
    assert_eq!(numbers(&out), found);
    out.clear();
    let strings = all(data, |reader| reader.bytes().map(<[u8]>::to_vec));
    for bytes in &strings {
        put_bytes(&mut out, bytes);
    }
    assert_eq!(all(&out, |reader| reader.bytes().map(<[u8]>::to_vec)), strings);
    all(data, |reader| reader.text().map(str::len));
    all(data, |reader| Some((reader.number32()?, reader.array::<3>()?, reader.count()?)));
}

pub(super) fn frame(data: &[u8]) {
    if let Ok(header) = Header::decode(data) {
        assert_eq!(header.encode(), data);
    }
    if let Some(trailer) = Trailer::decode(data) {
        assert_eq!(trailer.encode(), data);
    }
    for part in [data.get(..48), data.get(data.len().saturating_sub(16)..)].into_iter().flatten() {
        let (header, trailer) = (Header::decode(part), Trailer::decode(part));
        assert!(header.is_err() || trailer.is_none(), "nothing is both");
    }
}

pub(super) fn footer(data: &[u8]) {
    let Some(footer) = Footer::decode(data, 48) else { return };
    let encoded = footer.encode();
    assert_eq!(Footer::decode(&encoded, 48).as_ref(), Some(&footer));
    assert!(encoded.len() <= data.len(), "numbers are written in their shortest form");
    let lengths: u64 = footer.blocks.iter().map(|block| u64::from(block.sealed_len)).sum();
    assert_eq!(footer.end_of_blocks(48), 48 + lengths);
    for segment in &footer.segments {
        let index = segment.index();
        assert!(index.first_block as usize + index.fences.len() <= footer.blocks.len());
        if let crate::format::footer::Segment::Run(run) = segment {
            let _ = run.records();
        }
        let _ = (segment.origin(), index.total());
    }
}

pub(super) fn manifest(data: &[u8]) {
    let Ok(told) = serde_json::from_slice::<Manifest>(data) else { return };
    let Ok(manifest) = Manifest::decode(data, told.vault, &told.id) else { return };
    let again = Manifest::decode(&manifest.encode().unwrap(), told.vault, &told.id).unwrap();
    assert_eq!(again, manifest);
    assert!(Manifest::decode(data, Id([0x5a; 16]), &told.id).is_err() || told.vault == Id([0x5a; 16]));
    let _ = manifest.stored_bytes();
    for stream in &manifest.streams {
        assert!(manifest.stream(&stream.info.name).is_ok());
        let _ = stream.info.keys_are_stored();
        for segment in stream.layers.iter().flat_map(|layer| layer.segments.iter().chain(&layer.index)) {
            let _ = manifest.objects[segment.object as usize].key();
        }
    }
}

pub(super) fn root(data: &[u8]) {
    if let Ok(description) = serde_json::from_slice::<VaultDescription>(data) {
        let json = serde_json::to_vec(&description).unwrap();
        assert_eq!(serde_json::from_slice::<VaultDescription>(&json).unwrap(), description);
    }
    if let Ok(wrapped) = serde_json::from_slice::<WrappedKey>(data) {
        let json = serde_json::to_vec(&wrapped).unwrap();
        assert_eq!(serde_json::from_slice::<WrappedKey>(&json).unwrap(), wrapped);
        assert_eq!(wrapped.unwrap_local(&SecretKey::new([0xee; 32])).ok().map(|_| ()), None);
        let _ = (wrapped.ciphertext(), wrapped_key_name(wrapped.version));
    }
}

pub(super) fn entries(data: &[u8]) {
    let found = all(data, DeltaEntry::decode);
    let mut out = Vec::new();
    for entry in &found {
        entry.encode(&mut out);
        if let DeltaEntry::Entry(entry) = entry {
            let lengths: u64 = entry.extents.iter().map(|extent| u64::from(extent.length)).sum();
            assert_eq!(lengths, entry.part.length);
            assert!(entry.part.offset + entry.part.length <= entry.meta.size);
            let mut moved = entry.clone();
            moved.extents.clear();
            assert_eq!(moved.digest(), entry.digest(), "where the bytes stand is no part of it");
        }
    }
    assert_eq!(all(&out, DeltaEntry::decode), found);
    // In a base no tombstone stands.
    all(data, TreeEntry::decode);
}

pub(super) fn chunk_lists(data: &[u8]) {
    let found = all(data, take_chunks);
    let mut out = Vec::new();
    for chunks in &found {
        put_chunks(&mut out, chunks);
    }
    assert_eq!(all(&out, take_chunks), found);
}

pub(super) fn changes(data: &[u8]) {
    let found = all(data, Change::decode);
    let mut out = Vec::new();
    for change in &found {
        change.encode(&mut out);
    }
    assert_eq!(all(&out, Change::decode), found);
    for (one, other) in found.iter().zip(found.iter().skip(1)) {
        assert_eq!(one.order(other), other.order(one).reverse());
        if let (Ok(a), Ok(b)) = (one.sequence.parse::<u128>(), other.sequence.parse::<u128>()) {
            assert_eq!(compare_sequences(&one.sequence, &other.sequence), a.cmp(&b));
        }
        assert_eq!(one.order(one), Ordering::Equal);
    }
    if let Ok(said) = serde_json::from_slice::<ChangesDescription>(data) {
        let json = serde_json::to_vec(&said).unwrap();
        assert_eq!(serde_json::from_slice::<ChangesDescription>(&json).unwrap(), said);
    }
}

pub(super) fn names(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(id) = Id::parse(text) {
        assert_eq!(id.to_string(), text);
    }
    if let Some(name) = ChangeName::parse(text) {
        assert_eq!(name.key(), text, "an object has one name");
        assert!(check_key(text).is_ok());
    }
    if check_key(text).is_ok() {
        assert!(!text.starts_with('/') && !text.split('/').any(|part| part == ".." || part == "."));
        assert!(text.is_ascii() && !text.contains('\\'));
    }
}

/// The first five bytes say which length is claimed and how it is compressed; the rest is a block, and data to compress.
pub(super) fn expanded(data: &[u8]) {
    let Some((head, rest)) = data.split_at_checked(5) else { return };
    let claimed = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
    for length in [claimed, claimed & 0xffff, claimed & 0xff] {
        if let Some(plain) = expand(rest.to_vec(), length) {
            assert_eq!(plain.len(), length);
        }
    }
    let codec = [Codec::None, Codec::Zstd, Codec::Gzip][usize::from(head[4] % 3)];
    let mut block = Vec::new();
    Compressor::new(codec).unwrap().append(rest, &mut block).unwrap();
    assert_eq!(expand(block.clone(), rest.len()).as_deref(), Some(rest));
    assert_eq!(expand(block, rest.len() + 1), None);
}
