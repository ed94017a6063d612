//! Small trees and objects sealed by hand, for tests that need more than a writer gives.

use crate::engine::FIRST;
use holdfast_vault::compress::Codec;
use holdfast_vault::crypto::{DigestSum, sha256};
use holdfast_vault::format::FORMAT;
use holdfast_vault::format::footer::Segment;
use holdfast_vault::format::header::ObjectKind;
use holdfast_vault::format::manifest::{Manifest, StreamManifest};
use holdfast_vault::model::{EntryKind, EntryMeta, Part, StreamInfo, StreamKind};
use holdfast_vault::read::Vault;
use holdfast_vault::write::{Change, FinishedObject, ObjectWriter, TreeLimits, TreeWriter};
use std::collections::BTreeMap;

/// Bytes that do not compress, others for each seed.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let hash = |number: u64| sha256(&[seed.to_le_bytes(), number.to_le_bytes()].concat());
    (0..).flat_map(hash).take(length).collect()
}

/// A backup of these streams, of which nothing is stored yet.
pub(crate) fn manifest(vault: &Vault, streams: &[(&str, StreamKind)]) -> Manifest {
    let stream = |(name, shape): &(&str, StreamKind)| StreamManifest {
        info: StreamInfo { name: (*name).to_owned(), shape: shape.clone(), schema: serde_json::Value::Null },
        records: 0,
        files: 0,
        bytes: 0,
        digest: "00".repeat(32),
        layers: Vec::new(),
    };
    let streams: Vec<StreamManifest> = streams.iter().map(stream).collect();
    serde_json::from_value(serde_json::json!({
        "format": FORMAT, "vault": vault.id(), "id": "B", "resource": "r", "type": "full", "source": null,
        "policy": null, "started_at": "2026-11-21T00:00:00.000Z", "completed_at": "2026-11-21T00:00:00.000Z",
        "name_key_version": 1, "objects": [], "streams": streams, "warnings": [],
    }))
    .unwrap()
}

/// The sum of some digests, as a manifest writes it.
pub(crate) fn sum_of<'a>(digests: impl IntoIterator<Item = &'a [u8; 32]>) -> String {
    let mut sum = DigestSum::default();
    for digest in digests {
        sum.add(digest);
    }
    hex::encode(sum.to_bytes())
}

/// All of a file or, where its path ends with `/`, a directory but its content.
pub(crate) fn meta(path: &str, size: u64) -> EntryMeta {
    EntryMeta {
        path: path.as_bytes().to_vec(),
        kind: if path.ends_with('/') { EntryKind::Directory } else { EntryKind::File },
        size,
        mode: None,
        mtime: None,
        attributes: BTreeMap::new(),
    }
}

/// A writer that compresses nothing, and ends a pack after so many bytes of entries.
pub(crate) fn tree_writer(vault: &Vault, entry_bytes: usize, is_delta: bool) -> TreeWriter {
    let limits = TreeLimits { pack_bytes: 4 << 20, entry_bytes };
    TreeWriter::on_base(vault.keys(), Codec::None, FIRST, limits, 1, is_delta).unwrap()
}

/// Writes an entry whole, and gives its digest.
pub(crate) fn put(writer: &mut TreeWriter, change: Change, path: &str, content: &[u8]) -> [u8; 32] {
    let length = content.len() as u64;
    writer.begin_as(change, meta(path, length), Part { offset: 0, length }).unwrap();
    writer.write(content).unwrap();
    writer.end_unless(None).unwrap().digest
}

pub(crate) fn finished(mut writer: TreeWriter) -> Vec<FinishedObject> {
    writer.finish().unwrap();
    writer.take_finished()
}

/// An object of these blocks and segments, sealed right whatever they hold: what a broken writer could have written.
pub(crate) fn sealed(
    vault: &Vault,
    kind: ObjectKind,
    blocks: &[Vec<u8>],
    segments: Vec<Segment>,
) -> FinishedObject {
    let mut writer = ObjectWriter::new(vault.keys(), kind).unwrap();
    for block in blocks {
        writer.dense_block(block).unwrap();
    }
    for segment in segments {
        writer.segment(segment);
    }
    writer.finish().unwrap()
}

/// The plain blocks of an object, and its segments.
pub(crate) async fn unsealed(vault: &Vault, object: &FinishedObject) -> (Vec<Vec<u8>>, Vec<Segment>) {
    let open = vault.open_bytes("object", object.kind, object.id, &object.bytes).await.unwrap();
    let block = |number| open.block_of(&object.bytes, number).unwrap();
    ((0..open.footer.blocks.len()).map(block).collect(), open.footer.segments.clone())
}
