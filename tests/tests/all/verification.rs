//! What each level of verification finds and reads, what becomes of what is damaged, and what is odd about a backup.

use async_trait::async_trait;
use bytes::Bytes;
use holdfast_common::jobs::{BackupType, DamagedRow, Job};
use holdfast_connectors::SourceSpec;
use holdfast_local::Cloud;
use holdfast_tests::{cloud, tiny_limits};
use holdfast_vault::error::Result;
use holdfast_vault::format::manifest::{LayerKind, Manifest, StoredObject};
use holdfast_vault::read::Vault;
use holdfast_vault::storage::{
    ByteRange, Inspected, Listing, ObjectInfo, PartSum, Put, Storage, StoredSum, list_all,
};
use holdfast_vault::write::object::part_sums;
use holdfast_workflow::config::{Policy, Resource};
use holdfast_workflow::events::{VerifyAnswer, VerifyEvent};
use holdfast_workflow::repair::{self, Outcome};
use holdfast_workflow::{Services, WorkLimits, verify};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

struct Shop {
    dir: tempfile::TempDir,
    cloud: Cloud,
}

impl Shop {
    async fn new(policy: Policy) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("records")).unwrap();
        let cloud = cloud(&dir.path().join("home"), tiny_limits()).await;
        let source = SourceSpec::Jsonl { path: dir.path().join("records"), key: vec!["/id".to_owned()] };
        let resource = Resource { name: "shop".to_owned(), source, policy };
        let document = serde_json::to_value(&resource).unwrap();
        cloud.services().jobs.put_resource("shop", &document).await.unwrap();
        Self { dir, cloud }
    }

    /// Three backups of 300 records, each on the one before.
    async fn with_chain() -> (Self, Vec<String>) {
        Self::with_chain_of(300).await
    }

    async fn with_chain_of(records: u64) -> (Self, Vec<String>) {
        let shop = Self::new(Policy::default()).await;
        let mut taken = Vec::new();
        for round in 0..3 {
            shop.write("orders", records, round);
            taken.push(shop.back_up(BackupType::Incremental).await.id);
        }
        (shop, taken)
    }

    /// A stream of so many records, of which every tenth differs by the round.
    fn write(&self, stream: &str, records: u64, round: u64) {
        let value = |n: u64| if n.is_multiple_of(10) { round } else { 0 };
        let lines: Vec<String> = (0..records)
            .map(|n| format!(r#"{{"id":{n},"v":{},"text":"number {n} of the shop"}}"#, value(n)))
            .collect();
        fs::write(self.dir.path().join(format!("records/{stream}.jsonl")), lines.join("\n")).unwrap();
    }

    fn services(&self) -> &Services {
        self.cloud.services()
    }

    async fn back_up(&self, of: BackupType) -> Job {
        let id = self.cloud.new_id();
        self.cloud.run_backup(&id, "shop", Some(of)).await.unwrap()
    }

    fn vault(&self) -> PathBuf {
        self.dir.path().join("home/vault")
    }

    async fn manifest(&self, id: &str) -> Manifest {
        self.services().vault.manifest(id).await.unwrap()
    }

    async fn damaged(&self) -> Vec<DamagedRow> {
        self.services().jobs.damaged().all().await.unwrap()
    }

    async fn is_valid(&self, id: &str) -> Option<bool> {
        self.services().jobs.job(id).await.unwrap().verified.map(|verified| verified.valid)
    }

    fn change(&self, key: &str, change: impl FnOnce(&mut [u8])) {
        let path = self.vault().join(key);
        let mut bytes = fs::read(&path).unwrap();
        change(&mut bytes);
        fs::remove_file(&path).unwrap();
        fs::write(&path, bytes).unwrap();
    }
}

/// Changes a byte of the content, and none of the footer.
fn flip(bytes: &mut [u8]) {
    bytes[60] ^= 1;
}

async fn verified(services: &Services, id: &str, level: &str) -> VerifyAnswer {
    let mut event = VerifyEvent { job: id.to_owned(), level: Some(level.to_owned()), progress: None };
    loop {
        let answer = verify::verify(services, &event).await.unwrap();
        if !answer.more {
            return answer;
        }
        // A call may be repeated; the state machine hands its answer on as JSON.
        let again = verify::verify(services, &event).await.unwrap();
        let text = serde_json::to_string(&again.progress).unwrap();
        assert!(text.len() < 100_000, "the answer fits an event");
        event.progress = Some(serde_json::from_str(&text).unwrap());
    }
}

/// A store that notes which objects are read whole, and that may keep checksums.
#[derive(Debug, Clone)]
struct Watched {
    inner: Arc<dyn Storage>,
    keeps: bool,
    read: Arc<Mutex<Vec<(String, ByteRange)>>>,
}

impl Watched {
    fn over(services: &Services, keeps: bool, limits: WorkLimits) -> (Self, Services) {
        let inner = services.vault.storage().clone();
        let watched = Self { inner, keeps, read: Arc::default() };
        let vault = Vault::with_keys(Arc::new(watched.clone()), services.vault.keys().clone());
        (watched, Services { vault, limits, ..services.clone() })
    }

    fn take(&self) -> Vec<(String, ByteRange)> {
        std::mem::take(&mut self.read.lock().unwrap())
    }

    fn whole(&self) -> BTreeSet<String> {
        let sealed = |key: &String| key.starts_with("packs/") || key.starts_with("index/");
        let all = self.take().into_iter().filter(|(_, range)| *range == ByteRange::All);
        all.map(|(key, _)| key).filter(sealed).collect()
    }
}

#[async_trait]
impl Storage for Watched {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn head(&self, key: &str) -> Result<ObjectInfo> {
        self.inner.head(key).await
    }

    async fn inspect(&self, key: &str, parts: &[String]) -> Result<Inspected> {
        if !self.keeps {
            return self.inner.inspect(key, parts).await;
        }
        let bytes = self.inner.get(key, ByteRange::All).await?;
        let kept: Vec<String> = part_sums(&bytes).into_iter().map(|part| part.sha256).collect();
        let sum = if kept == parts { StoredSum::Same } else { StoredSum::Differs };
        Ok(Inspected { size: bytes.len() as u64, sum })
    }

    async fn get(&self, key: &str, range: ByteRange) -> Result<Bytes> {
        self.read.lock().unwrap().push((key.to_owned(), range));
        self.inner.get(key, range).await
    }

    async fn put_if_absent(&self, key: &str, body: Bytes) -> Result<Put> {
        self.inner.put_if_absent(key, body).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Listing> {
        self.inner.list(prefix, after).await
    }

    async fn copy_from(&self, from: &str, key: &str, to: &str, parts: &[PartSum]) -> Result<Put> {
        self.inner.copy_from(from, key, to, parts).await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.inner.delete(key).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn quick_compares_what_the_store_keeps_and_reads_no_object() {
    let (shop, taken) = Shop::with_chain().await;
    let objects = shop.manifest(&taken[2]).await.objects;
    for keeps in [false, true] {
        let (watched, services) = Watched::over(shop.services(), keeps, tiny_limits());
        let answer = verified(&services, &taken[2], "quick").await;
        let findings = answer.progress.findings;
        assert!(answer.valid && findings.objects_checked == objects.len() as u64);
        assert_eq!(findings.sums_compared, if keeps { findings.objects_checked } else { 0 });
        assert_eq!((findings.objects_read, findings.blocks_checked), (0, 0));
        let read: BTreeSet<String> = watched.take().into_iter().map(|(key, _)| key).collect();
        let manifest = format!("manifests/{}", taken[2]);
        assert_eq!(
            read,
            BTreeSet::from(["holdfast.json".to_owned(), "keys/00000001.json".to_owned(), manifest])
        );
    }
    let victim = objects[0].key();
    shop.change(&victim, flip);
    let (_, services) = Watched::over(shop.services(), false, tiny_limits());
    assert!(verified(&services, &taken[2], "quick").await.valid, "nobody can tell without reading");
    let (_, services) = Watched::over(shop.services(), true, tiny_limits());
    let found = verified(&services, &taken[2], "quick").await.progress.findings;
    assert_eq!(found.errors.iter().map(|error| &error.object).collect::<Vec<_>>(), [&victim]);
    assert!(!found.checksum_valid);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_stands_beside_the_objects_is_missed() {
    let (shop, taken) = Shop::with_chain().await;
    for key in ["holdfast.json", "keys/00000001.json"] {
        let whole = fs::read(shop.vault().join(key)).unwrap();
        for damage in [None, Some(&b"{}"[..])] {
            fs::remove_file(shop.vault().join(key)).unwrap();
            if let Some(bytes) = damage {
                fs::write(shop.vault().join(key), bytes).unwrap();
            }
            let answer = verified(shop.services(), &taken[2], "quick").await;
            assert!(!answer.valid && answer.progress.findings.errors[0].object == key, "{key}");
            assert_eq!(shop.damaged().await[0].key, key);
            fs::write(shop.vault().join(key), &whole).unwrap();
            assert!(verified(shop.services(), &taken[2], "quick").await.valid);
            assert!(shop.damaged().await.is_empty());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn samples_read_all_of_the_vault_in_turn() {
    let (shop, taken) = Shop::with_chain_of(6_000).await;
    let all: BTreeSet<String> =
        shop.manifest(&taken[2]).await.objects.iter().map(StoredObject::key).collect();
    assert!(all.len() > 20, "enough objects for parts: {}", all.len());
    // Calls that each do little, so that a sample takes many.
    for limits in [tiny_limits(), WorkLimits { verify_bytes: 1, ..tiny_limits() }] {
        let (mut read, mut parts) = (BTreeSet::new(), Vec::new());
        for _ in 0..5 {
            let (watched, services) = Watched::over(shop.services(), false, limits);
            let answer = verified(&services, &taken[2], "sample=20").await;
            assert!(answer.valid);
            let part = watched.whole();
            assert!(part.len() < all.len());
            read.extend(part.clone());
            parts.push(part);
        }
        assert_eq!(read, all, "five samples of a fifth read all");
        assert_eq!(parts.iter().map(BTreeSet::len).sum::<usize>(), all.len(), "each once");
        assert_eq!(shop.services().jobs.sample_start("shop").await.unwrap(), 0, "once round");
    }
    // A verification that ends late does not move the place that others have moved on.
    shop.services().jobs.end_sample("shop", 0, 2_000).await.unwrap();
    shop.services().jobs.end_sample("shop", 0, 2_000).await.unwrap();
    assert_eq!(shop.services().jobs.sample_start("shop").await.unwrap(), 2_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn chain_finds_what_is_wrong_with_the_structure_of_any_layer() {
    let (shop, taken) = Shop::with_chain().await;
    let manifest = shop.manifest(&taken[2]).await;
    let newest = &manifest.streams[0].layers;
    assert_eq!(newest.len(), 3);
    let (watched, services) = Watched::over(shop.services(), false, tiny_limits());
    assert!(verified(&services, &taken[2], "chain").await.valid);
    assert!(watched.whole().is_empty(), "only ends of objects are read");
    for layer in newest {
        for at in [&layer.segments[0], &layer.index[0]] {
            let key = manifest.objects[at.object as usize].key();
            let whole = fs::read(shop.vault().join(&key)).unwrap();
            shop.change(&key, |bytes| {
                let place = bytes.len() - 30;
                bytes[place] ^= 1;
            });
            let answer = verified(shop.services(), &taken[2], "chain").await;
            assert!(!answer.valid, "{key}");
            assert!(answer.progress.findings.errors.iter().any(|error| error.object == key));
            fs::remove_file(shop.vault().join(&key)).unwrap();
            assert!(!verified(shop.services(), &taken[2], "quick").await.valid, "{key}");
            fs::write(shop.vault().join(&key), whole).unwrap();
            assert!(verified(shop.services(), &taken[2], "chain").await.valid, "put back, all is well");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn chain_finds_a_manifest_that_tells_other_things_than_its_objects() {
    type Lie = fn(&mut Manifest);
    let (shop, taken) = Shop::with_chain().await;
    let right = shop.manifest(&taken[2]).await;
    let lies: [Lie; 10] = [
        |of| of.streams[0].records += 1,
        |of| of.streams[0].layers[0].segments[0].count += 1,
        |of| of.streams[0].layers[1].segments[0].bytes += 1,
        |of| of.streams[0].layers[2].segments[0].first = "00".to_owned(),
        |of| of.streams[0].layers[2].segments[0].last = "ff".to_owned(),
        |of| of.streams[0].layers[0].segments[0].segment += 100,
        |of| of.streams[0].layers[1].index[0].count += 1,
        |of| {
            let layer = &mut of.streams[0].layers[0];
            std::mem::swap(&mut layer.segments, &mut layer.index);
        },
        |of| of.streams[0].layers[1].delta.as_mut().unwrap().changed += 1,
        |of| {
            of.streams[0].layers.remove(0);
            of.streams[0].layers[0].kind = LayerKind::Base;
        },
    ];
    for (number, lie) in lies.into_iter().enumerate() {
        let mut manifest = Manifest { id: shop.cloud.new_id(), ..right.clone() };
        lie(&mut manifest);
        shop.services().vault.put_manifest(&manifest).await.unwrap();
        for limits in [tiny_limits(), WorkLimits { verify_bytes: 1, ..tiny_limits() }] {
            let services = Services { limits, ..shop.services().clone() };
            assert!(!verified(&services, &manifest.id, "chain").await.valid, "lie {number}");
        }
        assert!(verified(shop.services(), &manifest.id, "quick").await.valid, "all objects are there");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_damaged_is_in_quarantine_until_it_is_whole_again() {
    for limits in [tiny_limits(), WorkLimits { verify_bytes: 1, ..tiny_limits() }] {
        let (shop, taken) = Shop::with_chain().await;
        let services = Services { limits, ..shop.services().clone() };
        for id in &taken {
            assert!(verified(&services, id, "full").await.valid);
        }
        let second = shop.manifest(&taken[1]).await;
        let victim = second.objects[0].key();
        let whole = fs::read(shop.vault().join(&victim)).unwrap();
        shop.change(&victim, flip);
        assert!(!verified(&services, &taken[2], "full").await.valid);
        let rows = shop.damaged().await;
        assert_eq!(rows.iter().map(|row| row.key.as_str()).collect::<Vec<_>>(), [victim.as_str()]);
        let row = &rows[0];
        assert_eq!((row.code.as_str(), row.size), ("ObjectDamaged", second.objects[0].size));
        assert_eq!(
            (row.backup.as_str(), row.resource.as_str(), row.level.as_str()),
            (taken[2].as_str(), "shop", "full")
        );
        assert_eq!(shop.is_valid(&taken[0]).await, Some(true), "it does not need it");
        assert_eq!(shop.is_valid(&taken[1]).await, Some(false), "it needs it");
        assert_eq!(shop.is_valid(&taken[2]).await, Some(false));
        assert!(
            !verified(&services, &taken[1], "quick").await.valid,
            "what is in quarantine is read at every level"
        );

        let next = shop.back_up(BackupType::Incremental).await;
        assert_eq!(next.backup_type, Some(BackupType::Full), "nothing is built on it");
        assert_eq!(next.warnings[0].code, "BaseUnusable");

        fs::write(shop.vault().join(&victim), whole).unwrap();
        assert!(verified(&services, &taken[1], "quick").await.valid);
        assert!(shop.damaged().await.is_empty());
        assert_eq!(shop.is_valid(&taken[1]).await, Some(true));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_backup_that_was_deleted_is_not_damaged() {
    let (shop, taken) = Shop::with_chain().await;
    let jobs = &shop.services().jobs;
    let now = shop.services().clock.now();
    let deletion = holdfast_common::jobs::Deletion {
        asked_at: now,
        due_at: now,
        by: holdfast_common::jobs::DeletedBy::Operator,
        reason: "a trial".to_owned(),
        deleted_at: Some(now),
    };
    let mark = |job: &mut Job| {
        job.deletion = Some(deletion.clone());
        Ok(true)
    };
    jobs.change_job(&taken[0], mark).await.unwrap();
    fs::remove_file(shop.vault().join(format!("manifests/{}", taken[0]))).unwrap();
    let error = shop.cloud.run_verify(&taken[0], "quick").await.unwrap_err();
    assert_eq!(error.code.as_str(), "JobState");
    assert!(shop.damaged().await.is_empty());
}

fn copy_of(vault: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(vault).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_of(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A shop whose first backup lost content and an index object, and whose second lost its manifest; and a copy from before.
struct Lost {
    shop: Shop,
    taken: Vec<String>,
    /// The objects and their sizes, before.
    inventory: Vec<(String, u64)>,
    copy: PathBuf,
    /// What is damaged, by key; the pack is the last.
    keys: Vec<String>,
}

impl Lost {
    async fn new() -> Self {
        let (shop, taken) = Shop::with_chain().await;
        let copy = shop.dir.path().join("copy");
        copy_of(&shop.vault(), &copy);
        let inventory = inventory(&shop).await;
        let first = shop.manifest(&taken[0]).await;
        let layer = &first.streams[0].layers[0];
        let key = |at: u32| first.objects[at as usize].key();
        let (pack, index) = (key(layer.segments[0].object), key(layer.index[0].object));
        let unreadable = format!("manifests/{}", taken[1]);
        shop.change(&pack, flip);
        fs::remove_file(shop.vault().join(&index)).unwrap();
        shop.change(&unreadable, flip);
        for id in &taken {
            assert!(!verified(shop.services(), id, "full").await.valid);
        }
        Self { shop, taken, inventory, copy, keys: vec![index, unreadable, pack] }
    }

    fn copy(&self) -> Vault {
        let storage = holdfast_common::storage::DirectoryStorage::open(&self.copy).unwrap();
        Vault::with_keys(Arc::new(storage), self.shop.services().vault.keys().clone())
    }
}

async fn inventory(shop: &Shop) -> Vec<(String, u64)> {
    let all = list_all(shop.services().vault.storage().as_ref(), "").await.unwrap();
    all.into_iter().map(|object| (object.key, object.size)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_depends_on_damage_is_told() {
    let Lost { shop, taken, keys, .. } = &Lost::new().await;
    let found: Vec<String> = shop.damaged().await.into_iter().map(|row| row.key).collect();
    assert_eq!(&found, keys);
    let survey = repair::survey(shop.services(), Some("shop")).await.unwrap();
    let affected: Vec<&str> = survey.affected.iter().map(|of| of.backup.as_str()).collect();
    assert_eq!(affected, [&taken[2], &taken[1], &taken[0]], "the newest first");
    let [newest, unreadable, first] = survey.affected.as_slice() else { panic!() };
    assert!(newest.newest && unreadable.unreadable && !first.newest);
    let manifest = shop.manifest(&taken[0]).await;
    let layer = &manifest.streams[0].layers[0];
    let in_pack = layer.segments.iter().filter(|at| at.object == layer.segments[0].object);
    let lost = &first.streams[0];
    let held = in_pack.map(|at| at.count).sum();
    assert_eq!((lost.stream.as_str(), lost.at_most, lost.of), ("orders", held, 300));
    assert_eq!(survey.to_back_up(), BTreeSet::from(["shop".to_owned()]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn repair_puts_back_what_a_copy_has() {
    let lost = Lost::new().await;
    let (shop, copy, pack) = (&lost.shop, lost.copy(), &lost.keys[2]);
    let services = shop.services();
    let survey = repair::survey(services, Some("shop")).await.unwrap();
    let would = repair::heal(services, &copy, &survey, true).await.unwrap();
    assert!(would.iter().all(|of| of.outcome == Outcome::CanBePutBack), "{would:?}");
    assert_eq!(shop.damaged().await.len(), 3, "a dry run changes nothing");

    // What is damaged in the copy too is not put in the place of what is here.
    let in_copy = fs::read(lost.copy.join(pack)).unwrap();
    fs::write(lost.copy.join(pack), b"HOLDFAST and nothing more").unwrap();
    let here = fs::read(shop.vault().join(pack)).unwrap();
    for of in repair::heal(services, &copy, &survey, false).await.unwrap() {
        assert_eq!(of.outcome, if of.object == *pack { Outcome::Kept } else { Outcome::PutBack }, "{of:?}");
    }
    assert_eq!(fs::read(shop.vault().join(pack)).unwrap(), here);
    assert!(!repair::reverify(services, &lost.taken[2]).await.unwrap().valid);

    fs::write(lost.copy.join(pack), in_copy).unwrap();
    let survey = repair::survey(services, None).await.unwrap();
    let healed = repair::heal(services, &copy, &survey, false).await.unwrap();
    assert!(healed.iter().all(|of| of.outcome == Outcome::PutBack) && healed.len() == 1);
    assert!(shop.damaged().await.is_empty());
    assert_eq!(inventory(shop).await, lost.inventory);
    for id in &lost.taken {
        assert!(repair::reverify(services, id).await.unwrap().valid);
        assert!(verified(services, id, "full").await.valid);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_no_backup_needs_is_forgotten() {
    let (shop, taken) = Shop::with_chain().await;
    let row = DamagedRow {
        key: "packs/00/00000000000000000000000000000000".to_owned(),
        code: "ObjectMissing".to_owned(),
        message: "it is missing".to_owned(),
        found_at: shop.services().clock.now(),
        level: "quick".to_owned(),
        backup: taken[0].clone(),
        resource: "shop".to_owned(),
        size: 1,
    };
    shop.services().jobs.put_damaged(&row).await.unwrap();
    let survey = repair::survey(shop.services(), None).await.unwrap();
    assert_eq!((survey.unneeded.len(), survey.affected.len()), (1, 0));
    repair::forget_unneeded(shop.services(), &survey).await.unwrap();
    assert!(shop.damaged().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_odd_about_a_backup_stands_in_its_record() {
    let policy: Policy = serde_json::from_value(serde_json::json!({"expect": ["orders", "items"]})).unwrap();
    let shop = Shop::new(policy).await;
    shop.write("items", 5, 0);
    let told = |job: &Job| job.warnings.iter().map(|told| told.code.clone()).collect::<Vec<_>>();
    for round in 0..3 {
        shop.write("orders", 300, round);
        assert!(told(&shop.back_up(BackupType::Full).await).is_empty());
    }
    shop.write("orders", 100, 0);
    let job = shop.back_up(BackupType::Full).await;
    assert_eq!(told(&job), ["CountFell"]);
    assert_eq!(shop.manifest(&job.id).await.warnings, job.warnings, "and in the vault");
    shop.write("orders", 0, 0);
    fs::remove_file(shop.dir.path().join("records/items.jsonl")).unwrap();
    let job = shop.back_up(BackupType::Incremental).await;
    assert_eq!(told(&job), ["StreamMissing", "StreamEmpty"], "and not that it is gone as well");
    // Job state that is made anew from the vault knows as much.
    holdfast_workflow::catalogue::rebuild(shop.services()).await.unwrap();
    shop.write("orders", 300, 0);
    shop.write("items", 5, 0);
    assert_eq!(told(&shop.back_up(BackupType::Full).await), [""; 0]);
}
