//! Whatever happens to an object of the vault, it is named, and no wrong byte is restored.
#![allow(clippy::unwrap_used)] // Helpers of tests may panic as tests do.

use holdfast_connectors::{SourceSpec, TargetSpec};
use holdfast_local::Cloud;
use holdfast_tests::{back_up, cloud, configure, hostile_tree, sealed_objects, tiny_limits, tree, whole};
use holdfast_vault::error::Class;
use std::fs;
use std::path::{Path, PathBuf};

struct Shop {
    dir: tempfile::TempDir,
    cloud: Cloud,
    site: String,
    records: String,
}

impl Shop {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (site, records) = (dir.path().join("site"), dir.path().join("records"));
        fs::create_dir(&site).unwrap();
        hostile_tree(&site);
        fs::create_dir(&records).unwrap();
        let lines: Vec<String> =
            (0..500).map(|n| format!(r#"{{"id":{n},"text":"record number {n}"}}"#)).collect();
        fs::write(records.join("items.jsonl"), lines.join("\n")).unwrap();
        let cloud = cloud(&dir.path().join("home"), tiny_limits()).await;
        configure(&cloud, "site", SourceSpec::Files { path: site }).await;
        configure(&cloud, "records", SourceSpec::Jsonl { path: records, key: vec!["/id".to_owned()] }).await;
        let site = back_up(&cloud, "site").await;
        let records = back_up(&cloud, "records").await;
        Self { dir, cloud, site, records }
    }

    fn vault(&self) -> PathBuf {
        self.dir.path().join("home/vault")
    }

    fn key(&self, object: &Path) -> String {
        object.strip_prefix(self.vault()).unwrap().to_string_lossy().into_owned()
    }

    /// Exactly the backup that needs the object is found damaged, by its name, and cannot be restored wrongly.
    async fn expect_damage(&self, object: &Path) {
        let key = self.key(object);
        let mut found = 0;
        for backup in [&self.site, &self.records] {
            let answer = self.cloud.run_verify(backup, "full").await.unwrap();
            if answer.progress.findings.errors.iter().any(|finding| finding.object == key) {
                found += 1;
                assert!(!answer.valid && !answer.progress.findings.data_integrity, "{key}");
            }
        }
        assert_eq!(found, 1, "{key} is named by the one backup that needs it");
        if key.starts_with("index/") {
            return; // No restore needs it.
        }
        let target = self.dir.path().join("restored");
        let is_manifest_of = |id: &String| key.ends_with(id.as_str());
        for (backup, spec) in [
            (&self.site, TargetSpec::Files { path: target.clone() }),
            (&self.records, TargetSpec::Jsonl { path: target.clone() }),
        ] {
            let id = self.cloud.new_id();
            let result = self.cloud.run_restore(&id, &whole(backup, spec)).await;
            if let Err(error) = result {
                let missing = is_manifest_of(backup) && error.code.class() == Class::BadInput;
                assert!(error.code.class() == Class::Damage || missing, "{error:?}");
                assert!(!target.exists(), "nothing is left of a restore that failed");
            } else {
                assert!(!is_manifest_of(backup), "{key}");
                fs::remove_dir_all(&target).unwrap();
            }
        }
    }
}

/// Damages every kind of object once, expects it to be found, and puts it back.
async fn each_kind(damage: impl Fn(&Path, &[u8], &[PathBuf])) {
    let shop = Shop::new().await;
    let objects = sealed_objects(&shop.vault());
    for kind in ["packs", "index", "manifests"] {
        let of_kind: Vec<PathBuf> =
            objects.iter().filter(|path| shop.key(path).starts_with(kind)).cloned().collect();
        let victim = of_kind.first().unwrap();
        let others: Vec<PathBuf> = of_kind.iter().skip(1).cloned().collect();
        let copies: Vec<(PathBuf, Vec<u8>)> =
            of_kind.iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect();
        damage(victim, &copies[0].1, &others);
        shop.expect_damage(victim).await;
        for (path, bytes) in copies {
            fs::write(path, bytes).unwrap();
        }
    }
    for backup in [&shop.site, &shop.records] {
        assert!(shop.cloud.run_verify(backup, "full").await.unwrap().valid, "put back, all is well");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_flipped_byte_is_found_wherever_it_is() {
    for place in [0, 9, 20, 40, 60] {
        each_kind(move |path, bytes, _| {
            let mut bytes = bytes.to_vec();
            bytes[place] ^= 1;
            fs::write(path, bytes).unwrap();
        })
        .await;
    }
    for from_end in [1, 5, 9, 16, 17, 30] {
        each_kind(move |path, bytes, _| {
            let mut bytes = bytes.to_vec();
            let at = bytes.len() - from_end;
            bytes[at] ^= 0x80;
            fs::write(path, bytes).unwrap();
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_object_that_is_cut_is_found() {
    for keep in [0, 1, 47, 48, 100] {
        each_kind(move |path, bytes, _| fs::write(path, &bytes[..keep]).unwrap()).await;
    }
    each_kind(|path, bytes, _| fs::write(path, &bytes[..bytes.len() - 1]).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_object_that_grew_is_found() {
    each_kind(|path, bytes, _| fs::write(path, [bytes, b"x"].concat()).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_object_that_is_gone_is_found() {
    each_kind(|path, _, _| fs::remove_file(path).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_object_in_anothers_place_is_found() {
    each_kind(|path, _, others| {
        fs::copy(&others[0], path).unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_intact_vault_verifies_and_the_tree_is_equal() {
    let shop = Shop::new().await;
    let target = shop.dir.path().join("again");
    let request = whole(&shop.site, TargetSpec::Files { path: target.clone() });
    shop.cloud.run_restore(&shop.cloud.new_id(), &request).await.unwrap();
    assert_eq!(tree(&target), tree(&shop.dir.path().join("site")));
}
