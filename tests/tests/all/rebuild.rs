//! The vault and the key are enough: everything else is made again from them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use aws_sdk_dynamodb::types::ScalarAttributeType;
use holdfast_common::jobs::{Job, JobKind};
use holdfast_connectors::{SourceSpec, TargetSpec};
use holdfast_local::{Cloud, Options};
use holdfast_tests::tables::{Item, item, make, number, put, scan, text, typed};
use holdfast_tests::{back_up, cloud, configure, hostile_tree, sorted_lines, tiny_limits, tree, whole};
use holdfast_vault::error::{Code, Error};
use holdfast_workflow::catalogue::rebuild;
use std::fs;
use std::path::{Path, PathBuf};

struct Shop {
    dir: tempfile::TempDir,
    items: Vec<Item>,
    site: String,
    records: String,
    table: String,
}

impl Shop {
    /// A shop that is backed up, and whose home is then gone but for the vault and the key, which have moved.
    async fn moved() -> (Self, Vec<Job>) {
        let dir = tempfile::tempdir().unwrap();
        let (site, records) = (dir.path().join("site"), dir.path().join("records"));
        fs::create_dir(&site).unwrap();
        hostile_tree(&site);
        fs::create_dir(&records).unwrap();
        let lines: Vec<String> = (0..400).map(|n| format!(r#"{{"id":{n},"text":"record {n}"}}"#)).collect();
        fs::write(records.join("items.jsonl"), lines.join("\n")).unwrap();
        let cloud = cloud(&dir.path().join("home"), tiny_limits()).await;
        let items: Vec<Item> =
            (0..80).map(|n| item([("id", text(&format!("o-{n}"))), ("n", number(&n.to_string()))])).collect();
        make(&cloud.tables(), "orders", &[("id", ScalarAttributeType::S)]).await;
        put(&cloud.tables(), "orders", &items).await;
        configure(&cloud, "site", SourceSpec::Files { path: site }).await;
        configure(&cloud, "records", SourceSpec::Jsonl { path: records, key: vec!["/id".to_owned()] }).await;
        configure(&cloud, "orders", table("orders")).await;
        let (site, records) = (back_up(&cloud, "site").await, back_up(&cloud, "records").await);
        let shop = Self { items, site, records, table: back_up(&cloud, "orders").await, dir };
        let jobs = listed(&cloud).await;
        drop(cloud);
        fs::create_dir(shop.home()).unwrap();
        for name in ["vault", "key.json"] {
            fs::rename(shop.dir.path().join("home").join(name), shop.home().join(name)).unwrap();
        }
        fs::remove_dir_all(shop.dir.path().join("home")).unwrap();
        (shop, jobs)
    }

    fn home(&self) -> PathBuf {
        self.dir.path().join("elsewhere")
    }

    async fn restores(&self, cloud: &Cloud, backup: &str) {
        let target = self.dir.path().join(cloud.new_id());
        let restore = async |spec| {
            cloud.run_restore(&cloud.new_id(), &whole(backup, spec)).await.unwrap();
        };
        if backup == self.site {
            restore(TargetSpec::Files { path: target.clone() }).await;
            assert_eq!(tree(&target), tree(&self.dir.path().join("site")));
        } else if backup == self.records {
            restore(TargetSpec::Jsonl { path: target.clone() }).await;
            assert_eq!(sorted_lines(&target), sorted_lines(&self.dir.path().join("records")));
        } else {
            let name = format!("restored-{}", cloud.new_id());
            restore(TargetSpec::Dynamodb {
                table: name.clone(),
                endpoint: Some("embedded".to_owned()),
                region: None,
            })
            .await;
            assert_eq!(scan(&cloud.tables(), &name).await, typed(&self.items));
        }
    }
}

fn table(table: &str) -> SourceSpec {
    SourceSpec::Dynamodb { table: table.to_owned(), endpoint: Some("embedded".to_owned()), region: None }
}

async fn open(home: &Path) -> Result<Cloud, Error> {
    Cloud::open(home, Options { limits: tiny_limits(), ..Options::default() }).await
}

async fn refusal(home: &Path) -> Error {
    match open(home).await {
        Ok(_) => panic!("the home opens"),
        Err(error) => error,
    }
}

async fn listed(cloud: &Cloud) -> Vec<Job> {
    let mut jobs = cloud.services().jobs.jobs(JobKind::Backup, None).all().await.unwrap();
    jobs.sort_by(|a, b| a.id.cmp(&b.id));
    jobs
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_vault_that_moved_is_listed_verified_and_restored_again() {
    let (shop, before) = Shop::moved().await;
    let cloud = open(&shop.home()).await.unwrap();
    assert!(listed(&cloud).await.is_empty());
    for _ in 0..2 {
        let rebuilt = rebuild(cloud.services()).await.unwrap();
        assert_eq!((rebuilt.backups, rebuilt.resources, rebuilt.errors.len()), (3, 3, 0));
        let jobs = listed(&cloud).await;
        let told = |job: &Job| {
            let of = (job.id.clone(), job.resource.clone(), job.backup_type, job.status);
            (of, job.totals, job.streams.clone(), job.warnings.clone(), job.started_at)
        };
        assert_eq!(jobs.iter().map(told).collect::<Vec<_>>(), before.iter().map(told).collect::<Vec<_>>());
    }
    for backup in [&shop.site, &shop.records, &shop.table] {
        assert!(cloud.run_verify(backup, "full").await.unwrap().valid);
        shop.restores(&cloud, backup).await;
    }
    // The resources are known again: the next backup needs no resources file.
    let next = back_up(&cloud, "site").await;
    assert!(next > shop.site && listed(&cloud).await.len() == 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_damaged_manifest_is_named_and_the_others_come_back() {
    let (shop, _) = Shop::moved().await;
    let manifest = format!("manifests/{}", shop.records);
    let file = shop.home().join("vault").join(&manifest);
    let mut bytes = fs::read(&file).unwrap();
    bytes[100] ^= 1;
    fs::write(&file, bytes).unwrap();
    let cloud = open(&shop.home()).await.unwrap();
    let rebuilt = rebuild(cloud.services()).await.unwrap();
    assert_eq!((rebuilt.backups, rebuilt.resources), (2, 2));
    let objects: Vec<_> =
        rebuilt.errors.iter().map(|error| (error.object.as_str(), error.code.as_str())).collect();
    assert_eq!(objects, [(manifest.as_str(), "ObjectDamaged")]);
    for backup in [&shop.site, &shop.table] {
        shop.restores(&cloud, backup).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_wrong_key_and_a_missing_one_are_told_apart_and_change_nothing() {
    let (shop, _) = Shop::moved().await;
    let key = shop.home().join("key.json");
    let kept = shop.dir.path().join("key.json");
    fs::rename(&key, &kept).unwrap();
    let error = refusal(&shop.home()).await;
    assert_eq!(error.code, Code::HomeInvalid);
    assert!(error.message.contains("key.json") && error.hint.is_some(), "{error:?}");
    assert!(!key.exists(), "no new key is made for an old vault");

    drop(cloud(&shop.dir.path().join("another"), tiny_limits()).await);
    fs::copy(shop.dir.path().join("another/key.json"), &key).unwrap();
    let error = refusal(&shop.home()).await;
    assert_eq!(error.code, Code::KeyWrong);
    assert!(error.hint.is_some(), "{error:?}");

    fs::remove_file(&key).unwrap();
    fs::rename(&kept, &key).unwrap();
    let cloud = open(&shop.home()).await.unwrap();
    assert_eq!(rebuild(cloud.services()).await.unwrap().backups, 3);
    shop.restores(&cloud, &shop.site).await;
}
