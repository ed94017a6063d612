//! A small vault with every kind of object, and what its backups and changes hold.

use super::chance::Chance;
use crate::layering::add_layer;
use bytes::Bytes;
use holdfast_vault::compress::Codec;
use holdfast_vault::crypto::{DigestSum, SecretKey, sha256};
use holdfast_vault::format::FORMAT;
use holdfast_vault::format::changes::{Change, ChangeName, ChangesDescription};
use holdfast_vault::format::footer::Origin;
use holdfast_vault::format::manifest::{Manifest, StoredObject, StreamManifest};
use holdfast_vault::format::root::{WrappedKey, wrapped_key_name};
use holdfast_vault::memory::MemoryStorage;
use holdfast_vault::model::{EntryKind, EntryMeta, Mtime, Part, RecordEncoding, StreamInfo, StreamKind};
use holdfast_vault::read::Vault;
use holdfast_vault::read::changes::list;
use holdfast_vault::read::vault::WrappingKey;
use holdfast_vault::storage::{ByteRange, Storage, list_all};
use holdfast_vault::write::changes::write_changes;
use holdfast_vault::write::records::{DeltaKind, KeyStorage, RunsOptions, record_digest};
use holdfast_vault::write::{Change as TreeChange, RecordsWriter, RunLimits, TreeLimits, TreeWriter};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// All objects of a vault.
pub(super) type Objects = BTreeMap<String, Bytes>;
/// Records by their canonical keys.
pub(super) type Records = BTreeMap<Vec<u8>, Vec<u8>>;
/// Entries with their content, by path.
pub(super) type Tree = BTreeMap<Vec<u8>, (EntryMeta, Vec<u8>)>;

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Content {
    /// Of the stream whose keys stand in the values.
    pub(super) orders: Records,
    /// Of the stream whose keys stand beside them.
    pub(super) lines: Records,
    pub(super) files: Tree,
}

pub(super) struct Small {
    pub(super) objects: Objects,
    /// The keys of all objects in an order that is the same in every run, though ids are random.
    pub(super) order: Vec<String>,
    /// By id, the oldest first.
    pub(super) backups: Vec<(String, Content)>,
    /// The newest change objects, which no other one names yet.
    pub(super) newest: BTreeSet<String>,
    /// Change objects that hold nothing but what others hold too.
    pub(super) spare: BTreeSet<String>,
    /// The changes of each resource, in order.
    pub(super) changes: Vec<(&'static str, Vec<Change>)>,
}

/// The resources whose changes are captured.
pub(super) const RESOURCES: [&str; 2] = ["shop", "other"];
/// The stream of changes; two resources have one of this name.
pub(super) const TABLE: &str = "t";

pub(super) fn wrapping() -> WrappingKey {
    WrappingKey { id: "k".to_owned(), secret: SecretKey::new([1; 32]) }
}

/// The canonical key of a record of `orders`.
pub(super) fn key_of(value: &[u8]) -> holdfast_vault::Result<Vec<u8>> {
    let value: serde_json::Value = serde_json::from_slice(value)
        .map_err(|e| holdfast_vault::Error::damaged("a record", format!("it is no JSON: {e}")))?;
    Ok(format!("[{}]", value["id"]).into_bytes())
}

impl Small {
    /// Two resources: one with a full backup and two increments, under two versions of the key; one with a full backup.
    /// `content_bytes` is how much a file holds, about.
    pub(super) async fn new(content_bytes: usize) -> Self {
        let storage = MemoryStorage::new("vault");
        let port: Arc<dyn Storage> = Arc::new(storage.clone());
        let vault = Vault::create(port.clone(), &wrapping()).await.unwrap();
        let mut making = Making {
            vault,
            chance: Chance::new(7),
            content_bytes,
            backups: Vec::new(),
            newest: BTreeSet::new(),
            spare: BTreeSet::new(),
        };
        let first = making.back_up("01AAAAAAAAAAAAAAAAAAAAAAAA", "shop", None, Codec::Zstd).await;
        making.back_up("01BBBBBBBBBBBBBBBBBBBBBBBB", "other", None, Codec::Gzip).await;
        let fresh = SecretKey::random().unwrap();
        let key = wrapping();
        let wrapped = WrappedKey::wrap(making.vault.id(), 2, &key.id, &key.secret, &fresh).unwrap();
        let json = serde_json::to_vec(&wrapped).unwrap();
        port.put_if_absent(&wrapped_key_name(2), json.into()).await.unwrap();
        making.vault = Vault::open(port, &wrapping()).await.unwrap();
        let second = making.back_up("01CCCCCCCCCCCCCCCCCCCCCCCC", "shop", Some(first), Codec::None).await;
        making.back_up("01DDDDDDDDDDDDDDDDDDDDDDDD", "shop", Some(second), Codec::Zstd).await;
        let mut changes = Vec::new();
        for resource in RESOURCES {
            changes.push((resource, making.capture(resource).await));
        }
        let mut objects = Objects::new();
        for object in list_all(&storage, "").await.unwrap() {
            let bytes = storage.get(&object.key, ByteRange::All).await.unwrap();
            objects.insert(object.key, bytes);
        }
        let order = making.order(&objects).await;
        let Making { backups, newest, spare, .. } = making;
        Self { objects, order, backups, newest, spare, changes }
    }
}

struct Making {
    vault: Vault,
    chance: Chance,
    content_bytes: usize,
    backups: Vec<(String, Content)>,
    newest: BTreeSet<String>,
    spare: BTreeSet<String>,
}

/// What a stream was and is.
struct Step<'a, T> {
    before: &'a T,
    now: &'a T,
}

impl Making {
    async fn back_up(&mut self, id: &str, resource: &str, base: Option<Manifest>, codec: Codec) -> Manifest {
        let before = base.as_ref().and_then(|base| {
            self.backups.iter().find(|(known, _)| *known == base.id).map(|(_, content)| content.clone())
        });
        let before = before.unwrap_or_default();
        let now = self.edited(&before);
        let mut manifest = base.clone().unwrap_or_else(|| empty(&self.vault));
        manifest.id = id.to_owned();
        resource.clone_into(&mut manifest.resource);
        manifest.base = base.map(|base| base.id);
        let orders = Step { before: &before.orders, now: &now.orders };
        self.records(&mut manifest, 0, KeyStorage::Derived, &orders, codec).await;
        let lines = Step { before: &before.lines, now: &now.lines };
        self.records(&mut manifest, 1, KeyStorage::Stored, &lines, codec).await;
        self.files(&mut manifest, 2, &Step { before: &before.files, now: &now.files }, codec).await;
        self.vault.put_manifest(&manifest).await.unwrap();
        self.backups.push((id.to_owned(), now));
        manifest
    }

    fn edited(&mut self, before: &Content) -> Content {
        let mut now = before.clone();
        let chance = &mut self.chance;
        for _ in 0..14 {
            let (number, text) = (chance.below(20), chance.text());
            let value = format!(r#"{{"id":"k{number}","text":"{text}"}}"#).into_bytes();
            now.orders.insert(format!("[\"k{number}\"]").into_bytes(), value);
            now.lines.insert(format!("[{number}]").into_bytes(), chance.text().into_bytes());
            let content = chance.content(self.content_bytes);
            let path = format!("d/{number}").into_bytes();
            now.files.insert(path.clone(), (meta(&path, EntryKind::File, content.len()), content));
        }
        for gone in before.orders.keys().take(2) {
            now.orders.remove(gone);
        }
        for gone in before.lines.keys().skip(1).take(2) {
            now.lines.remove(gone);
        }
        for gone in before.files.keys().filter(|path| path.len() == 3).take(2) {
            now.files.remove(gone);
        }
        now.files.insert(b"d/".to_vec(), (meta(b"d/", EntryKind::Directory, 0), Vec::new()));
        let link = EntryKind::Symlink { target: format!("d/{}", chance.below(9)).into_bytes() };
        now.files.insert(b"link".to_vec(), (meta(b"link", link, 0), Vec::new()));
        now
    }

    async fn order(&self, objects: &Objects) -> Vec<String> {
        let plain = objects.keys().filter(|key| key.starts_with("keys/") || !key.contains('/'));
        let mut order: Vec<String> = plain.cloned().collect();
        for (id, _) in &self.backups {
            let manifest = self.vault.manifest(id).await.unwrap();
            let fresh: Vec<String> = manifest.objects.iter().map(StoredObject::key).collect();
            order.extend(fresh.into_iter().filter(|key| !order.contains(key)).collect::<Vec<_>>());
            order.push(format!("manifests/{id}"));
        }
        for resource in ["shop", "other"] {
            let names = list(&self.vault, resource, i64::MIN, i64::MAX).await.unwrap();
            order.extend(names.into_iter().map(|(name, _)| name.key()));
        }
        assert_eq!(order.len(), objects.len());
        order
    }

    async fn records(
        &self,
        manifest: &mut Manifest,
        stream: usize,
        storage: KeyStorage,
        step: &Step<'_, Records>,
        codec: Codec,
    ) {
        let delta = !manifest.streams[stream].layers.is_empty();
        let first = Origin { stream: u32::try_from(stream).unwrap(), task: 0, sequence: 0 };
        let limits = RunLimits { run_bytes: 700, pack_bytes: 900 };
        let options = RunsOptions { codec, storage, delta, name_version: 1, first, limits };
        let mut writer = RecordsWriter::with(self.vault.keys(), options).unwrap();
        for (key, value) in step.now.iter().filter(|(key, value)| step.before.get(*key) != Some(value)) {
            let known = step.before.contains_key(key);
            let kind = if known { DeltaKind::Changed } else { DeltaKind::Added };
            let identity = writer.identify(key, value);
            writer.push_identified(&identity, kind, key, value, 0).unwrap();
        }
        for key in step.before.keys().filter(|key| delta && !step.now.contains_key(*key)) {
            let hash = writer.identify(key, b"").hash;
            writer.push_tombstone(hash).unwrap();
        }
        writer.finish().unwrap();
        add_layer(&self.vault, manifest, stream, writer.take_finished()).await;
        let mut digest = DigestSum::default();
        for (key, value) in step.now {
            digest.add(&record_digest(storage, key, value));
        }
        let said = &mut manifest.streams[stream];
        said.records = step.now.len() as u64;
        said.bytes = step.now.values().map(|value| value.len() as u64).sum();
        said.digest = hex::encode(digest.to_bytes());
    }

    async fn files(&self, manifest: &mut Manifest, stream: usize, step: &Step<'_, Tree>, codec: Codec) {
        let delta = !manifest.streams[stream].layers.is_empty();
        let first = Origin { stream: u32::try_from(stream).unwrap(), task: 0, sequence: 0 };
        let limits = TreeLimits { pack_bytes: 4 * self.content_bytes.max(500), entry_bytes: 900 };
        let mut writer = TreeWriter::on_base(self.vault.keys(), codec, first, limits, 1, delta).unwrap();
        let paths: std::collections::BTreeSet<&Vec<u8>> = step.before.keys().chain(step.now.keys()).collect();
        let (mut digest, mut bytes) = (DigestSum::default(), 0);
        for path in paths {
            let Some((meta, content)) = step.now.get(path) else {
                writer.tombstone(path).unwrap();
                continue;
            };
            bytes += content.len() as u64;
            let known = step.before.get(path);
            if known == step.now.get(path) {
                digest.add(&digest_of(meta, content));
                continue;
            }
            let change = if known.is_some() { TreeChange::Changed } else { TreeChange::Added };
            let part = Part { offset: 0, length: content.len() as u64 };
            writer.begin_as(change, meta.clone(), part).unwrap();
            writer.write(content).unwrap();
            digest.add(&writer.end_unless(None).unwrap().digest);
        }
        writer.finish().unwrap();
        add_layer(&self.vault, manifest, stream, writer.take_finished()).await;
        let said = &mut manifest.streams[stream];
        (said.files, said.bytes) = (step.now.len() as u64, bytes);
        said.digest = hex::encode(digest.to_bytes());
    }

    /// Captures changes in four objects, two of which a fifth one replaces.
    async fn capture(&mut self, resource: &str) -> Vec<Change> {
        let folder = ChangeName::folder_of(self.vault.keys(), resource).unwrap();
        let hasher = self.vault.keys().key_hasher(1).unwrap();
        let said = |replaces, follows| ChangesDescription {
            resource: resource.to_owned(),
            stream: TABLE.to_owned(),
            encoding: RecordEncoding::DynamodbJson,
            key: vec!["id".to_owned()],
            since: 0,
            gaps: Vec::new(),
            replaces,
            follows,
        };
        let (mut all, mut batches) = (Vec::new(), Vec::new());
        for batch in 0_i64..4 {
            let changes: Vec<Change> = (0..5)
                .map(|at| {
                    let key = format!("[{{\"S\":\"{resource}{}\"}}]", self.chance.below(7)).into_bytes();
                    let sequence = (batch * 5 + at).to_string();
                    let after = (at != 3).then(|| self.chance.text().into_bytes());
                    let time = batch * 1_000 + at;
                    Change { hash: hasher.name(&key), time, sequence, key, before: None, after }
                })
                .collect();
            all.extend(changes.iter().cloned());
            batches.push(changes);
        }
        let mut names: Vec<ChangeName> = Vec::new();
        for changes in &batches {
            let follows = names.last().map(ChangeName::key).into_iter().collect();
            names.push(self.put_changes(folder, 0, &said(Vec::new(), follows), changes.clone()).await);
        }
        let both = [batches[0].clone(), batches[1].clone()].concat();
        let replaced = names[..2].iter().map(ChangeName::key).collect();
        let gathered = self.put_changes(folder, 1, &said(replaced, Vec::new()), both).await;
        self.spare.extend([&names[0], &names[1], &gathered].map(ChangeName::key));
        self.newest.insert(names[3].key());
        all.sort_by(Change::order);
        all
    }

    async fn put_changes(
        &self,
        folder: [u8; 16],
        level: u8,
        said: &ChangesDescription,
        changes: Vec<Change>,
    ) -> ChangeName {
        let keys = self.vault.keys();
        let (name, object) = write_changes(keys, Codec::Zstd, folder, level, said, changes).unwrap();
        self.vault.storage().put_if_absent(&name.key(), object.bytes).await.unwrap();
        name
    }
}

fn meta(path: &[u8], kind: EntryKind, size: usize) -> EntryMeta {
    EntryMeta {
        path: path.to_vec(),
        kind,
        size: size as u64,
        mode: Some(0o640),
        mtime: Some(Mtime { seconds: 1_700_000_000, nanos: 5 }),
        attributes: BTreeMap::new(),
    }
}

fn digest_of(meta: &EntryMeta, content: &[u8]) -> [u8; 32] {
    let part = Part { offset: 0, length: content.len() as u64 };
    let (meta, sha256) = (meta.clone(), sha256(content));
    holdfast_vault::format::entry::TreeEntry { meta, part, sha256, extents: Vec::new() }.digest()
}

fn empty(vault: &Vault) -> Manifest {
    let stream = |name: &str, shape| StreamManifest {
        info: StreamInfo { name: name.to_owned(), shape, schema: serde_json::Value::Null },
        records: 0,
        files: 0,
        bytes: 0,
        digest: String::new(),
        layers: Vec::new(),
    };
    let records = |key: &[&str]| StreamKind::Records {
        encoding: RecordEncoding::Json,
        key: key.iter().map(|part| (*part).to_owned()).collect(),
    };
    Manifest {
        format: FORMAT,
        vault: vault.id(),
        id: String::new(),
        resource: String::new(),
        backup_type: "full".to_owned(),
        base: None,
        source: serde_json::Value::Null,
        policy: serde_json::Value::Null,
        started_at: "2026-11-21T00:00:00.000Z".to_owned(),
        completed_at: "2026-11-21T00:00:01.000Z".to_owned(),
        name_key_version: 1,
        objects: Vec::new(),
        own_objects: None,
        streams: vec![
            stream("orders", records(&["/id"])),
            stream("lines", records(&[])),
            stream("files", StreamKind::Tree),
        ],
        warnings: Vec::new(),
    }
}
