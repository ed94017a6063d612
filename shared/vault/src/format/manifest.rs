//! The manifest: the sealed description of one completed backup, JSON inside.

use super::footer::DeltaCounts;
use super::header::{Id, ObjectKind};
use crate::error::{Code, Error, Result};
use crate::model::{StreamInfo, Warning};
use serde::{Deserialize, Serialize};

/// The key of a backup's manifest.
#[must_use]
pub fn manifest_key(backup: &str) -> String {
    format!("{}{backup}", ObjectKind::Manifest.prefix())
}

/// Everything about a completed backup: what was read, when, and which objects hold it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The format of all objects: 1.
    pub format: u8,
    /// The vault's id.
    pub vault: Id,
    /// The backup's id, a ULID; also the object's name.
    pub id: String,
    /// The resource's name.
    pub resource: String,
    /// `full`, `incremental` or `differential`.
    #[serde(rename = "type")]
    pub backup_type: String,
    /// The backup that this one was built on; none for one that stands alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// The resource's `source`, as the operator wrote it.
    pub source: serde_json::Value,
    /// The resource's `policy`, as the operator wrote it.
    pub policy: serde_json::Value,
    /// When reading began, RFC 3339 UTC.
    pub started_at: String,
    /// When all was stored, RFC 3339 UTC.
    pub completed_at: String,
    /// The version of the vault key from which the names of chunks and the hashes of record keys are derived.
    pub name_key_version: u32,
    /// The objects that hold the backup. Segments name them by their place here.
    pub objects: Vec<StoredObject>,
    /// How many of the objects, from the first on, this backup wrote itself; all where it is not told. The others are its
    /// base's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_objects: Option<u32>,
    /// The streams, by name.
    pub streams: Vec<StreamManifest>,
    /// What the operator should know.
    pub warnings: Vec<Warning>,
}

/// An object that a backup needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredObject {
    /// Its id.
    pub id: Id,
    /// What it holds: a pack or an index object.
    pub kind: ObjectKind,
    /// Bytes.
    pub size: u64,
    /// SHA-256, in hex, of each part of [`crate::storage::PART_SIZE`] bytes; the last may be shorter.
    pub parts: Vec<String>,
}

impl StoredObject {
    /// The object's key in the vault.
    #[must_use]
    pub fn key(&self) -> String {
        self.kind.object_key(self.id)
    }
}

/// One stream of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamManifest {
    /// Name, shape and schema.
    #[serde(flatten)]
    pub info: StreamInfo,
    /// Records, after all layers are merged; 0 for a tree.
    pub records: u64,
    /// Files, directories and links; 0 for records.
    pub files: u64,
    /// Bytes of content, or of the records' values.
    pub bytes: u64,
    /// The sum of the digests of all entries or records, in hex.
    pub digest: String,
    /// The layers, the base first; what a later one holds hides what stands under the same key or path below.
    pub layers: Vec<Layer>,
}

/// One layer of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// `base` or `delta`.
    pub kind: LayerKind,
    /// The backup that wrote it.
    pub backup: String,
    /// Of a delta: what it does to the layers below.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub delta: Option<DeltaCounts>,
    /// The segments that hold it, in order.
    pub segments: Vec<SegmentRef>,
    /// Chunk lists or state tables: segments of index objects. A restore does not need them.
    pub index: Vec<SegmentRef>,
}

/// What a layer is to the ones below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LayerKind {
    /// Stands alone.
    Base,
    /// Added and changed records, and tombstones.
    Delta,
}

/// A segment, by its object and its place in the object's footer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentRef {
    /// The object, by its place in [`Manifest::objects`].
    pub object: u32,
    /// The segment, by its place in the footer.
    pub segment: u32,
    /// The first path or key hash, in hex.
    pub first: String,
    /// The last path or key hash, in hex. Empty for segments of index objects.
    pub last: String,
    /// Entries, records or rows.
    pub count: u64,
    /// Bytes of content or values. 0 for segments of index objects.
    pub bytes: u64,
}

impl Manifest {
    /// The manifest's plain bytes.
    ///
    /// # Errors
    /// `Internal`, which does not happen: every field has a JSON form.
    pub fn encode(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self)
            .map_err(|e| Error::new(Code::Internal, format!("a manifest has no JSON form: {e}")))
    }

    /// A manifest from its plain bytes, checked against the name it was found under.
    ///
    /// # Errors
    /// `ObjectDamaged` naming the object, if it is not a manifest of that backup and vault.
    pub fn decode(bytes: &[u8], vault: Id, backup: &str) -> Result<Self> {
        let key = manifest_key(backup);
        let manifest: Self = serde_json::from_slice(bytes).map_err(|e| Error::damaged(&key, e))?;
        if manifest.format != super::FORMAT {
            return Err(Error::damaged(&key, "its format is not the vault's"));
        }
        if manifest.vault != vault || manifest.id != backup {
            return Err(Error::damaged(&key, format!("it describes backup {}", manifest.id)));
        }
        manifest.check_references().map_err(|why| Error::damaged(&key, why))?;
        Ok(manifest)
    }

    fn check_references(&self) -> Result<(), String> {
        for stream in &self.streams {
            for (at, layer) in stream.layers.iter().enumerate() {
                if (layer.kind == LayerKind::Base) != (at == 0) {
                    return Err(format!(
                        "the layers of stream {} are not a base and deltas",
                        stream.info.name
                    ));
                }
            }
            for segment in stream.layers.iter().flat_map(|l| l.segments.iter().chain(&l.index)) {
                if usize::try_from(segment.object).map_or(true, |at| at >= self.objects.len()) {
                    return Err(format!("stream {} names object {}", stream.info.name, segment.object));
                }
            }
        }
        Ok(())
    }

    /// Bytes of the objects that this backup wrote.
    #[must_use]
    pub fn stored_bytes(&self) -> u64 {
        let own = self.own_objects.map_or(usize::MAX, |own| own as usize);
        self.objects.iter().take(own).fold(0, |sum, object| object.size.saturating_add(sum))
    }

    /// The stream of a name.
    ///
    /// # Errors
    /// `InvalidInput` naming the streams there are.
    pub fn stream(&self, name: &str) -> Result<&StreamManifest> {
        self.streams.iter().find(|s| s.info.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.streams.iter().map(|s| s.info.name.as_str()).collect();
            Error::new(Code::InvalidInput, format!("backup {} has no stream {name:?}", self.id))
                .object("--stream")
                .hint(format!("it has: {}", names.join(", ")))
        })
    }
}
