//! Records in layers, made as backups make them: a model of what the layers merge to beside the manifest.

use crate::layering::add_layer;
use crate::rotation::made;
use crate::watched_storage::Watched;
use holdfast_vault::compress::Codec;
use holdfast_vault::crypto::DigestSum;
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::format::FORMAT;
use holdfast_vault::format::footer::Origin;
use holdfast_vault::format::manifest::{Manifest, StreamManifest};
use holdfast_vault::model::{RecordEncoding, StreamInfo, StreamKind};
use holdfast_vault::read::{RecordKeys, Vault};
use holdfast_vault::write::records::{
    DeltaKind, KeyStorage, RunsOptions, TOMBSTONE_DIGEST, record_digest, state_digest,
};
use holdfast_vault::write::{FinishedObject, RecordsWriter, RunLimits};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Key and new value, `None` where it is deleted.
pub(crate) type Edit = (u32, Option<String>);

/// A stream of records in layers. A value is its key, a space and a text.
pub(crate) struct Layered {
    pub(crate) vault: Vault,
    pub(crate) watched: Watched,
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) model: BTreeMap<u32, String>,
    /// What the state tables of all layers say, merged.
    pub(crate) rows: BTreeMap<u128, [u8; 16]>,
    storage: KeyStorage,
}

/// The canonical key of a record's number.
pub(crate) fn canonical(key: u32) -> Vec<u8> {
    format!("[{key}]").into_bytes()
}

pub(crate) fn value(key: u32, text: &str) -> Vec<u8> {
    format!("{key} {text}").into_bytes()
}

fn key_of(value: &[u8]) -> Result<Vec<u8>> {
    let text = std::str::from_utf8(value).ok().and_then(|text| text.split_once(' '));
    let key = text.and_then(|(key, _)| key.parse().ok());
    key.map(canonical).ok_or_else(|| Error::new(Code::SourceInvalid, "a record without a key"))
}

impl Layered {
    pub(crate) async fn new(storage: KeyStorage) -> Self {
        let (memory, vault) = made().await;
        let watched = Watched::over(&memory);
        let vault = vault.over(Arc::new(watched.clone()));
        let key = if storage == KeyStorage::Stored { vec![] } else { vec!["/id".to_owned()] };
        let shape = StreamKind::Records { encoding: RecordEncoding::Json, key };
        let info = StreamInfo { name: "s".to_owned(), shape, schema: serde_json::Value::Null };
        let (digest, layers) = (String::new(), Vec::new());
        let stream = StreamManifest { info, records: 0, files: 0, bytes: 0, digest, layers };
        let manifest = serde_json::from_value(serde_json::json!({
            "format": FORMAT, "vault": vault.id(), "id": "B", "resource": "r", "type": "full",
            "source": null, "policy": null, "started_at": "", "completed_at": "", "name_key_version": 1,
            "objects": [], "streams": [stream], "warnings": [],
        }));
        let (manifest, model, rows) = (Arc::new(manifest.unwrap()), BTreeMap::new(), BTreeMap::new());
        Self { vault, watched, manifest, model, rows, storage }
    }

    pub(crate) fn keys(&self) -> RecordKeys<'static> {
        RecordKeys::new(self.vault.keys().key_hasher(1).unwrap(), &key_of)
    }

    pub(crate) fn hash(&self, key: u32) -> u128 {
        self.keys().hash_of(&canonical(key))
    }

    pub(crate) fn stream(&self) -> &StreamManifest {
        &self.manifest.streams[0]
    }

    /// Adds a layer of these edits, written by several tasks, and describes the stream as it is then.
    pub(crate) async fn layer(&mut self, tasks: &[Vec<Edit>], limits: RunLimits) {
        let mut objects = Vec::new();
        for (task, edits) in (0_u32..).zip(tasks) {
            objects.extend(self.written(task, edits, limits));
        }
        let mut manifest = Manifest::clone(&self.manifest);
        add_layer(&self.vault, &mut manifest, 0, objects).await;
        let mut digest = DigestSum::default();
        let stream = &mut manifest.streams[0];
        (stream.records, stream.bytes) = (self.model.len() as u64, 0);
        for (key, text) in &self.model {
            let value = value(*key, text);
            stream.bytes += value.len() as u64;
            digest.add(&record_digest(self.storage, &canonical(*key), &value));
        }
        stream.digest = hex::encode(digest.to_bytes());
        self.manifest = Arc::new(manifest);
    }

    fn written(&mut self, task: u32, edits: &[Edit], limits: RunLimits) -> Vec<FinishedObject> {
        let delta = !self.stream().layers.is_empty();
        let (codec, storage) = (Codec::Zstd, self.storage);
        let first = Origin { stream: 0, task, sequence: 0 };
        let options = RunsOptions { codec, storage, delta, name_version: 1, first, limits };
        let mut writer = RecordsWriter::with(self.vault.keys(), options).unwrap();
        for (key, text) in edits {
            let Some(text) = text else {
                writer.push_tombstone(self.hash(*key)).unwrap();
                self.rows.insert(self.hash(*key), TOMBSTONE_DIGEST);
                self.model.remove(key);
                continue;
            };
            let (name, value) = (canonical(*key), value(*key, text));
            let identity = writer.identify(&name, &value);
            let known = self.model.insert(*key, text.clone());
            let kind = if known.is_some() { DeltaKind::Changed } else { DeltaKind::Added };
            writer.push_identified(&identity, kind, &name, &value, 0).unwrap();
            self.rows.insert(identity.hash, state_digest(&identity.digest));
        }
        writer.finish().unwrap();
        writer.take_finished()
    }
}

/// New records of these keys.
pub(crate) fn fresh(keys: impl IntoIterator<Item = u32>) -> Vec<Edit> {
    keys.into_iter().map(|key| (key, Some("fresh".to_owned()))).collect()
}
