//! What is seen of a vault: what verify tells, and what a restore gives.

use super::chance::Chance;
use super::small::{Content, Objects, RESOURCES, Records, TABLE, Tree, key_of, wrapping};
use holdfast_vault::Result;
use holdfast_vault::error::{Class, Error};
use holdfast_vault::format::changes::{Change, ChangeName};
use holdfast_vault::format::manifest::{Manifest, StreamManifest, manifest_key};
use holdfast_vault::memory::MemoryStorage;
use holdfast_vault::model::StreamKind;
use holdfast_vault::read::changes::{ALL_KEYS, Window, changes, gone, list};
use holdfast_vault::read::layers::{blocks, shown};
use holdfast_vault::read::tree::EntryContent;
use holdfast_vault::read::verify::{self, Depth};
use holdfast_vault::read::{
    Fetch, MergedTree, Overlay, PackReader, PathSpan, RecordKeys, Shard, Vault, merged, records, tree_layers,
};
use holdfast_vault::storage::list_all;
use std::sync::Arc;

/// Opens a vault of these objects.
pub(super) async fn open(objects: &Objects) -> Result<Vault> {
    let storage = MemoryStorage::new("vault");
    for (key, bytes) in objects {
        storage.overwrite(key, bytes.clone());
    }
    Vault::open(Arc::new(storage), &wrapping()).await
}

/// The objects that a full verification of a backup finds damaged.
pub(super) async fn verified(vault: &Vault, backup: &str) -> Result<Vec<String>> {
    let manifest = match vault.manifest(backup).await {
        Ok(manifest) => Arc::new(manifest),
        Err(error) => return damage(error).map(|_| vec![manifest_key(backup)]),
    };
    let mut findings = verify::totals(vault, &manifest).await?;
    for at in 0..u32::try_from(manifest.objects.len()).unwrap() {
        findings.merge(verify::object(vault, &manifest, at, Depth::Full).await?);
    }
    let mut named: Vec<String> = findings.errors.into_iter().map(|finding| finding.object).collect();
    if named.is_empty() {
        for stream in manifest.streams.iter().filter(|stream| stream.layers.len() > 1) {
            if let Err(error) = merges(vault, &manifest, stream).await {
                named.push(damage(error)?);
            }
        }
    }
    named.sort();
    named.dedup();
    Ok(named)
}

/// The object that an error of damage names; other errors are handed on.
pub(super) fn damage(error: Error) -> Result<String> {
    if error.code.class() == Class::Damage { Ok(error.object.unwrap_or_default()) } else { Err(error) }
}

async fn merges(vault: &Vault, manifest: &Arc<Manifest>, stream: &StreamManifest) -> Result<()> {
    if stream.info.shape == StreamKind::Tree {
        return tree_layers::check(vault, manifest, stream).await;
    }
    let keys = RecordKeys::new(vault.keys().key_hasher(manifest.name_key_version)?, &key_of);
    merged::check(vault, manifest, stream, &keys).await
}

/// The change objects that are found damaged.
pub(super) async fn damaged_changes(vault: &Vault) -> Result<Vec<String>> {
    let mut named = Vec::new();
    for object in list_all(vault.storage().as_ref(), "changes/").await? {
        let Some(name) = ChangeName::parse(&object.key) else {
            named.push(object.key);
            continue;
        };
        let findings = verify::changes(vault, &name, object.size).await?;
        if !findings.valid() {
            named.push(object.key);
        }
    }
    for resource in RESOURCES {
        match gone(vault, resource, i64::MIN).await {
            Ok(lost) => named.extend(lost.iter().map(ChangeName::key)),
            // It was named above.
            Err(error) => drop(damage(error)?),
        }
    }
    Ok(named)
}

/// All that a backup holds, read as a restore reads it: in shards or at once, whole objects or blocks.
pub(super) async fn restored(vault: &Vault, backup: &str, chance: &mut Chance) -> Result<Content> {
    let manifest = Arc::new(vault.manifest(backup).await?);
    let mut content = Content::default();
    let fetch = if chance.below(2) == 0 { Fetch::Whole } else { Fetch::Blocks };
    let of = 1 + chance.next() % 3;
    content.orders = record_stream(vault, &manifest, 0, fetch, of).await?;
    content.lines = record_stream(vault, &manifest, 1, fetch, of).await?;
    content.files = tree_stream(vault, &manifest, 2, fetch).await?;
    Ok(content)
}

async fn record_stream(
    vault: &Vault,
    manifest: &Arc<Manifest>,
    at: usize,
    fetch: Fetch,
    of: u64,
) -> Result<Records> {
    let stream = &manifest.streams[at];
    let keys = RecordKeys::new(vault.keys().key_hasher(manifest.name_key_version)?, &key_of);
    let mut reader = PackReader::new(vault, manifest, fetch);
    let mut found = Records::new();
    for number in 0..of {
        let shard = Shard::new(number, of);
        let overlay = Overlay::read(&mut reader, stream, &keys, shard).await?;
        for (layer, segments) in (0_u32..).zip(stream.layers.iter().map(|layer| &layer.segments)) {
            for segment in segments {
                let run = records::run(&mut reader, segment).await?;
                for block in blocks(&run, shard) {
                    let block = records::block(&mut reader, segment, &run, block).await?;
                    shown(&block, layer, &overlay, shard, &keys, |key, value| {
                        let twice = found.insert(keys.key(key, value)?, value.to_vec());
                        assert!(twice.is_none(), "a record comes once");
                        Ok(())
                    })?;
                }
            }
        }
    }
    Ok(found)
}

async fn tree_stream(vault: &Vault, manifest: &Arc<Manifest>, at: usize, fetch: Fetch) -> Result<Tree> {
    let mut tree = MergedTree::new(vault, manifest, &manifest.streams[at], PathSpan::default());
    let mut reader = PackReader::new(vault, manifest, fetch);
    let mut found = Tree::new();
    while let Some(live) = tree.next().await? {
        let mut content = EntryContent::new(&mut reader, live.object, &live.segment, &live.entry);
        let mut bytes = Vec::new();
        while let Some(piece) = content.next().await? {
            bytes.extend_from_slice(&piece);
        }
        let twice = found.insert(live.entry.meta.path.clone(), (live.entry.meta.clone(), bytes));
        assert!(twice.is_none(), "an entry comes once");
    }
    Ok(found)
}

/// All changes of a resource, as whoever restores a moment reads them.
pub(super) async fn captured(vault: &Vault, resource: &str) -> Result<Vec<Change>> {
    let names = list(vault, resource, i64::MIN, i64::MAX).await?;
    changes(vault, names, TABLE, Window::ALL, ALL_KEYS).await
}
