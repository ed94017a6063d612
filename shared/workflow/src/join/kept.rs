//! What the first round kept in staging, read as if it were in the vault.

use super::Joining;
use crate::staging;
use crate::upload::Registered;
use async_trait::async_trait;
use bytes::Bytes;
use holdfast_vault::error::{Code, Result};
use holdfast_vault::format::footer::Segment;
use holdfast_vault::format::manifest::{
    Layer, LayerKind, Manifest, SegmentRef, StoredObject, StreamManifest,
};
use holdfast_vault::read::Vault;
use holdfast_vault::storage::{ByteRange, Listing, ObjectInfo, PartSum, Put, Storage};
use std::sync::Arc;

/// Reads below a prefix of staging what is there, and elsewhere what is not. Changes nothing.
#[derive(Debug)]
struct KeptFirst {
    staging: Arc<dyn Storage>,
    prefix: String,
    vault: Arc<dyn Storage>,
}

impl KeptFirst {
    fn own(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }
}

#[async_trait]
impl Storage for KeptFirst {
    fn name(&self) -> &str {
        self.vault.name()
    }

    async fn head(&self, key: &str) -> Result<ObjectInfo> {
        match self.staging.head(&self.own(key)).await {
            Err(error) if error.code == Code::ObjectMissing => self.vault.head(key).await,
            other => other,
        }
    }

    async fn get(&self, key: &str, range: ByteRange) -> Result<Bytes> {
        match self.staging.get(&self.own(key), range).await {
            Err(error) if error.code == Code::ObjectMissing => self.vault.get(key, range).await,
            other => other,
        }
    }

    async fn put_if_absent(&self, key: &str, _body: Bytes) -> Result<Put> {
        Err(read_only(key))
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Listing> {
        self.vault.list(prefix, after).await
    }

    async fn copy_from(&self, _from: &str, key: &str, _to: &str, _parts: &[PartSum]) -> Result<Put> {
        Err(read_only(key))
    }

    async fn delete(&self, key: &str) -> Result<()> {
        Err(read_only(key))
    }
}

fn read_only(key: &str) -> holdfast_vault::Error {
    holdfast_vault::Error::new(Code::Internal, "a join only reads").object(key)
}

/// The base's stream with one layer more: what the first round kept.
pub(super) struct Kept {
    /// Opens both.
    pub(super) vault: Vault,
    /// The base's manifest with the kept objects added.
    pub(super) manifest: Arc<Manifest>,
    /// Its stream; the last layer is the kept one, if anything was kept.
    pub(super) stream: StreamManifest,
    /// The kept layer.
    pub(super) layer: Layer,
}

/// Opens what the first round kept of a stream.
pub(super) async fn open(joining: &Joining<'_>, left: &[Registered]) -> Result<Kept> {
    let services = joining.services;
    let storage: Arc<dyn Storage> = Arc::new(KeptFirst {
        staging: services.staging.clone(),
        prefix: staging::kept(joining.job),
        vault: services.vault.storage().clone(),
    });
    let vault = services.vault.over(storage);
    let objects: Vec<StoredObject> = left
        .iter()
        .filter_map(|row| if let Registered::Kept { kept } = row { Some(kept.clone()) } else { None })
        .collect();
    let mut manifest = Manifest::clone(joining.base);
    let mut layer = Layer {
        kind: LayerKind::Delta,
        backup: joining.job.to_owned(),
        delta: None,
        segments: Vec::new(),
        index: Vec::new(),
    };
    for object in objects {
        let at = u32::try_from(manifest.objects.len()).unwrap_or(u32::MAX);
        let opened = vault.open_object(object.kind, object.id, object.size).await?;
        manifest.objects.push(object);
        for (number, segment) in (0_u32..).zip(&opened.footer.segments) {
            if segment.origin().stream == joining.number {
                let place = place(at, number, segment);
                match segment {
                    Segment::Run(_) => layer.segments.push(place),
                    _ => layer.index.push(place),
                }
            }
        }
    }
    let mut stream = joining.base_stream()?.clone();
    if !layer.segments.is_empty() {
        stream.layers.push(layer.clone());
    }
    Ok(Kept { vault, manifest: Arc::new(manifest), stream, layer })
}

fn place(object: u32, number: u32, segment: &Segment) -> SegmentRef {
    let index = segment.index();
    let (last, bytes): (&[u8], u64) = match segment {
        Segment::Run(run) => (&run.last, run.bytes),
        _ => (&[], 0),
    };
    SegmentRef {
        object,
        segment: number,
        first: index.fences.first().map_or_else(String::new, |fence| hex::encode(&fence.first)),
        last: hex::encode(last),
        count: index.total(),
        bytes,
    }
}
