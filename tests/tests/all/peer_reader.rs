//! The break-glass reader, written from the specification alone, reads what the product writes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use aws_sdk_dynamodb::types::ScalarAttributeType;
use holdfast_connectors::SourceSpec;
use holdfast_local::Cloud;
use holdfast_tests::reader::Reader;
use holdfast_tests::tables::{item, make, number, put, text};
use holdfast_tests::{
    back_up, cloud, configure, hostile_tree, sealed_objects, sorted_lines, tiny_limits, tree,
};
use holdfast_workflow::WorkLimits;
use holdfast_workflow::config::{CodecName, Policy, Resource};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

struct Shop {
    dir: tempfile::TempDir,
    site: PathBuf,
    records: PathBuf,
    cloud: Cloud,
    reader: Reader,
}

impl Shop {
    async fn new(limits: WorkLimits) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("home");
        let reader = Reader::over(&home)?;
        let (site, records) = (dir.path().join("site"), dir.path().join("records"));
        fs::create_dir(&site).unwrap();
        hostile_tree(&site);
        fs::create_dir(&records).unwrap();
        for (name, count) in [("orders.jsonl", 3_000), ("customers.ndjson", 40), ("none.jsonl", 0)] {
            let line = |n| format!("{{\"id\":{n},  \"text\":\"\u{e9} record {n}\", \"n\": 1.50}}");
            fs::write(records.join(name), (0..count).map(line).collect::<Vec<_>>().join("\n")).unwrap();
        }
        Some(Self { cloud: cloud(&home, limits).await, dir, site, records, reader })
    }

    async fn back_up_site(&self) -> String {
        configure(&self.cloud, "site", SourceSpec::Files { path: self.site.clone() }).await;
        back_up(&self.cloud, "site").await
    }

    async fn back_up_records(&self) -> String {
        let key = vec!["/id".to_owned()];
        configure(&self.cloud, "records", SourceSpec::Jsonl { path: self.records.clone(), key }).await;
        back_up(&self.cloud, "records").await
    }

    fn extract(&self, backup: &str) -> PathBuf {
        let target = self.dir.path().join(format!("extracted-{}", self.cloud.new_id()));
        self.reader.done(&["extract", backup, "--to", target.to_str().unwrap()]);
        target
    }
}

async fn reads_all(limits: WorkLimits) {
    let Some(shop) = Shop::new(limits).await else { return };
    let (site, records) = (shop.back_up_site().await, shop.back_up_records().await);
    let listed: Value = serde_json::from_str(&shop.reader.done(&["list", "--json"])).unwrap();
    let named: Vec<_> =
        listed.as_array().unwrap().iter().map(|of| (of["id"].as_str(), of["resource"].as_str())).collect();
    assert_eq!(named, [(Some(site.as_str()), Some("site")), (Some(records.as_str()), Some("records"))]);
    for backup in [&site, &records] {
        let verified: Value = serde_json::from_str(&shop.reader.done(&["verify", backup, "--json"])).unwrap();
        assert_eq!(verified["findings"], serde_json::json!([]));
        assert_eq!(shop.reader.show(backup)["id"], backup.as_str());
    }
    assert_eq!(tree(&shop.extract(&site)), tree(&shop.site));
    assert_eq!(sorted_lines(&shop.extract(&records)), sorted_lines(&shop.records));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn it_reads_trees_and_records() {
    reads_all(WorkLimits::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn it_reads_what_is_cut_into_many_runs_parts_and_packs() {
    reads_all(tiny_limits()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn it_reads_every_codec() {
    let Some(shop) = Shop::new(tiny_limits()).await else { return };
    for codec in [CodecName::Gzip, CodecName::None, CodecName::Zstd] {
        let policy = Policy { codec, ..Policy::default() };
        let resource = Resource {
            name: "site".to_owned(),
            source: SourceSpec::Files { path: shop.site.clone() },
            policy,
        };
        let document = serde_json::to_value(&resource).unwrap();
        shop.cloud.services().jobs.put_resource("site", &document).await.unwrap();
        let backup = back_up(&shop.cloud, "site").await;
        assert_eq!(tree(&shop.extract(&backup)), tree(&shop.site));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn it_reads_tables() {
    let Some(shop) = Shop::new(tiny_limits()).await else { return };
    let tables = shop.cloud.tables();
    make(&tables, "orders", &[("id", ScalarAttributeType::S), ("n", ScalarAttributeType::N)]).await;
    let items: Vec<_> = (0..200).map(|n| item([("id", text("o")), ("n", number(&n.to_string()))])).collect();
    put(&tables, "orders", &items).await;
    let source = SourceSpec::Dynamodb {
        table: "orders".to_owned(),
        endpoint: Some("embedded".to_owned()),
        region: None,
    };
    configure(&shop.cloud, "orders", source).await;
    let backup = back_up(&shop.cloud, "orders").await;
    shop.reader.done(&["verify", &backup]);
    let mut wanted: Vec<_> =
        (0..200).map(|n| format!(r#"{{"id":{{"S":"o"}},"n":{{"N":"{n}"}}}}"#).into_bytes()).collect();
    wanted.sort_unstable();
    assert_eq!(sorted_lines(&shop.extract(&backup)).into_values().collect::<Vec<_>>(), [wanted]);
}

fn key_of(object: &Path, vault: &Path) -> String {
    object.strip_prefix(vault).unwrap().to_string_lossy().into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn it_names_an_object_with_a_flipped_byte() {
    let Some(shop) = Shop::new(tiny_limits()).await else { return };
    let backup = shop.back_up_site().await;
    let vault = shop.dir.path().join("home/vault");
    let objects = sealed_objects(&vault);
    for kind in ["packs", "index", "manifests"] {
        let object = objects.iter().find(|object| key_of(object, &vault).starts_with(kind)).unwrap();
        let bytes = fs::read(object).unwrap();
        for place in [0, 60, bytes.len() / 2, bytes.len() - 1] {
            let mut damaged = bytes.clone();
            damaged[place] ^= 1;
            fs::write(object, damaged).unwrap();
            let read = shop.reader.run(&["verify", &backup]);
            assert_eq!(read.code, Some(3), "{kind} at {place}: {read:?}");
            let told = read.out + &read.err;
            assert!(told.contains(&key_of(object, &vault)), "{kind} at {place}: {told}");
        }
        fs::write(object, bytes).unwrap();
    }
    shop.reader.done(&["verify", &backup]);
    // What is extracted from a damaged vault is not silently wrong.
    let pack = objects.iter().find(|object| key_of(object, &vault).starts_with("packs")).unwrap();
    let mut bytes = fs::read(pack).unwrap();
    bytes[100] ^= 1;
    fs::write(pack, &bytes).unwrap();
    let target = shop.dir.path().join("target");
    let read = shop.reader.run(&["extract", &backup, "--to", target.to_str().unwrap()]);
    assert_eq!(read.code, Some(3), "{read:?}");
    let sound = tree(&shop.site);
    for (path, node) in tree(&target) {
        if let holdfast_tests::Node::File(_, _, digest) = &node {
            let matches =
                matches!(&sound[&path], holdfast_tests::Node::File(_, _, wanted) if wanted == digest);
            assert!(matches, "{path:?} is right or not there");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn it_refuses_a_wrong_key() {
    let Some(shop) = Shop::new(tiny_limits()).await else { return };
    let backup = shop.back_up_records().await;
    drop(cloud(&shop.dir.path().join("another"), tiny_limits()).await);
    fs::copy(shop.dir.path().join("another/key.json"), shop.dir.path().join("home/key.json")).unwrap();
    let read = shop.reader.run(&["verify", &backup]);
    assert!(matches!(read.code, Some(1 | 2)) && !read.err.is_empty(), "{read:?}");
    assert!(!read.err.contains("Traceback"), "{read:?}");
}
