//! The golden vault: one of format 1 that is committed, and must restore for ever.

use crate::tables::{Item, item, make, number, put, text};
use crate::{Node, hostile_tree, noise, sorted_lines, tree};
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, ScalarAttributeType};
use holdfast_common::clock::{ManualClock, SeededIds};
use holdfast_connectors::{SourceSpec, TargetSpec};
use holdfast_local::{Cloud, Options};
use holdfast_vault::model::StreamKind;
use holdfast_workflow::WorkLimits;
use holdfast_workflow::config::{CodecName, Policy, Resource};
use jiff::SignedDuration;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where the golden vault of a format is.
#[must_use]
pub fn directory(format: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("golden/format-{format}"))
}

/// Limits that make many tasks, runs and packs of little, and files of several parts.
fn limits() -> WorkLimits {
    let mut limits =
        WorkLimits { range_bytes: 20_000, range_entries: 30, step_bytes: 12_000, ..WorkLimits::default() };
    limits.runs.run_bytes = 4_000;
    limits.runs.pack_bytes = 8_000;
    limits.trees.pack_bytes = 16_000;
    limits.trees.entry_bytes = 2_000;
    limits
}

fn site(root: &Path) {
    fs::create_dir(root).unwrap();
    hostile_tree(root);
    // What is large stays out: the vault is committed. One file is still read in several parts.
    for (name, bytes) in
        [("big.bin", 25_000), ("deep/er/and/deeper/still/file", 9_000), ("twin-1", 5_000), ("twin-2", 5_000)]
    {
        fs::write(root.join(name), noise(4, bytes)).unwrap();
    }
    fs::write(root.join("text.log"), "the same line again\n".repeat(2_000)).unwrap();
    symlink("..", root.join("deep/up")).unwrap();
    settle(root, root);
}

/// Gives every entry a time of its own, and a mode that does not depend on who runs this.
fn settle(root: &Path, directory: &Path) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let kind = fs::symlink_metadata(&path).unwrap().file_type();
        if kind.is_dir() {
            settle(root, &path);
        }
        if !kind.is_symlink() {
            let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
            if ![0o400, 0o555, 0o4755].contains(&mode) {
                let usual = if kind.is_dir() { 0o755 } else { 0o644 };
                fs::set_permissions(&path, fs::Permissions::from_mode(usual)).unwrap();
            }
            let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes();
            let seconds = 1_000_000_000 + name.iter().map(|byte| u64::from(*byte)).sum::<u64>();
            let time = std::time::UNIX_EPOCH + std::time::Duration::new(seconds, 123_456_789);
            fs::File::open(&path).unwrap().set_modified(time).unwrap();
        }
    }
}

fn records(root: &Path) {
    fs::create_dir(root).unwrap();
    let orders = |n: u32| {
        format!(
            "{{\"id\": \"o-{n}\",\"at\":{n},\"text\":\"\\u00e9 \u{2603} {}\"}}",
            "x".repeat(n as usize % 50)
        )
    };
    fs::write(root.join("orders.jsonl"), (0..300).map(orders).collect::<Vec<_>>().join("\n")).unwrap();
    let odd = [
        r#"{"id":12345678901234567890.50}"#,
        r#"{ "id" : true }"#,
        r#"{"id":"","nested":{"a":[1,{"b":null}]}}"#,
    ];
    fs::write(root.join("odd.ndjson"), odd.join("\r\n")).unwrap();
    fs::write(root.join("none.jsonl"), "").unwrap();
}

fn items() -> Vec<Item> {
    let mut items: Vec<Item> = (0..100)
        .map(|n| {
            item([
                ("id", text(&format!("p-{}", n % 10))),
                ("at", number(&n.to_string())),
                ("price", number("19.90")),
            ])
        })
        .collect();
    items.push(item([
        ("id", text("every type")),
        ("at", number("12345678901234567890123456789012345678")),
        ("b", AttributeValue::B(Blob::new([0, 255]))),
        ("bs", AttributeValue::Bs(vec![Blob::new([1]), Blob::new([2])])),
        ("ss", AttributeValue::Ss(vec!["b".to_owned(), "a".to_owned()])),
        ("ns", AttributeValue::Ns(vec!["2".to_owned(), "-1.5".to_owned()])),
        ("l", AttributeValue::L(vec![text(""), AttributeValue::Bool(false), AttributeValue::Null(true)])),
        ("m", AttributeValue::M(item([("in", AttributeValue::M(Item::new()))]))),
    ]));
    items
}

async fn configure(cloud: &Cloud, name: &str, source: SourceSpec, codec: CodecName) {
    let policy = Policy { codec, ..Policy::default() };
    let document = serde_json::to_value(Resource { name: name.to_owned(), source, policy }).unwrap();
    cloud.services().jobs.put_resource(name, &document).await.unwrap();
}

/// Makes a golden vault of the format that this program writes: `vault/`, `key.json` and `expected.json`.
pub async fn generate(into: &Path) {
    let work = tempfile::tempdir().unwrap();
    let (home, root) = (work.path().join("home"), work.path().join("data"));
    fs::create_dir(&root).unwrap();
    site(&root.join("site"));
    records(&root.join("records"));
    let clock = Arc::new(ManualClock::new("2026-11-21T01:00:00Z".parse().unwrap()));
    let ids = Arc::new(SeededIds::new(clock.clone(), 1));
    let options = Options { create: true, workers: 2, limits: limits() };
    let cloud = Cloud::open_with(&home, options, clock.clone(), ids).await.unwrap();
    make(&cloud.tables(), "prices", &[("id", ScalarAttributeType::S), ("at", ScalarAttributeType::N)]).await;
    put(&cloud.tables(), "prices", &items()).await;
    let site = || SourceSpec::Files { path: root.join("site") };
    configure(&cloud, "site", site(), CodecName::Zstd).await;
    configure(&cloud, "site-gzip", site(), CodecName::Gzip).await;
    configure(&cloud, "site-none", SourceSpec::Files { path: root.join("site/many") }, CodecName::None).await;
    let jsonl = SourceSpec::Jsonl { path: root.join("records"), key: vec!["/id".to_owned()] };
    configure(&cloud, "records", jsonl, CodecName::Zstd).await;
    let table = SourceSpec::Dynamodb {
        table: "prices".to_owned(),
        endpoint: Some("embedded".to_owned()),
        region: None,
    };
    configure(&cloud, "prices", table, CodecName::Gzip).await;
    for name in ["site", "site-gzip", "site-none", "records", "prices"] {
        clock.advance(SignedDuration::from_secs(60));
        crate::back_up(&cloud, name).await;
    }
    let expected = restored(&cloud, &work.path().join("restored")).await;
    drop(cloud);
    fs::create_dir_all(into).unwrap();
    let copied = into.join("vault");
    if copied.exists() {
        fs::remove_dir_all(&copied).unwrap();
    }
    copy(&home.join("vault"), &copied);
    fs::copy(home.join("key.json"), into.join("key.json")).unwrap();
    let text = serde_json::to_string_pretty(&expected).unwrap() + "\n";
    fs::write(into.join("expected.json"), text).unwrap();
}

/// Copies the objects of a vault.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, copy) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy_unless_empty(&path, &copy);
        } else {
            fs::write(copy, fs::read(path).unwrap()).unwrap();
        }
    }
}

fn copy_unless_empty(from: &Path, to: &Path) {
    // What is committed has no empty directories.
    if fs::read_dir(from).unwrap().next().is_some() {
        copy(from, to);
    }
}

/// A home with copies of a golden vault and its key.
pub fn home(golden: &Path, home: &Path) {
    copy(&golden.join("vault"), &home.join("vault"));
    fs::copy(golden.join("key.json"), home.join("key.json")).unwrap();
    // What is committed keeps no modes but one.
    fs::set_permissions(home.join("key.json"), fs::Permissions::from_mode(0o600)).unwrap();
}

/// Restores every backup of a home's vault, and tells all that came: for each resource its files or its records, by
/// their SHA-256.
pub async fn restored(cloud: &Cloud, into: &Path) -> Value {
    let mut all = BTreeMap::new();
    fs::create_dir_all(into).unwrap();
    for id in cloud.services().vault.backups().await.unwrap() {
        let manifest = cloud.services().vault.manifest(&id).await.unwrap();
        let resource = manifest.resource;
        assert!(cloud.run_verify(&id, "full").await.unwrap().valid, "{resource} is valid");
        let path = into.join(&resource);
        let is_tree = manifest.streams.iter().any(|stream| stream.info.shape == StreamKind::Tree);
        let target = if is_tree {
            TargetSpec::Files { path: path.clone() }
        } else {
            TargetSpec::Jsonl { path: path.clone() }
        };
        cloud.run_restore(&cloud.new_id(), &crate::whole(&id, target)).await.unwrap();
        let told = if is_tree {
            json!({ "files": tree(&path).iter().map(told).collect::<BTreeMap<_, _>>() })
        } else {
            json!({ "records": digests(&path) })
        };
        all.insert(resource, told);
    }
    json!(all)
}

fn digests(lines: &Path) -> BTreeMap<String, Vec<String>> {
    let digest = |line: &Vec<u8>| crate::hex(&Sha256::digest(line))[..16].to_owned();
    let mut digests: BTreeMap<String, Vec<String>> = sorted_lines(lines)
        .into_iter()
        .map(|(file, lines)| (file, lines.iter().map(digest).collect()))
        .collect();
    for digests in digests.values_mut() {
        digests.sort_unstable();
    }
    digests
}

fn told((path, node): (&Vec<u8>, &Node)) -> (String, String) {
    let path = path.escape_ascii().to_string();
    let node = match node {
        Node::File(mode, mtime, digest) => format!("file {mode:04o} {mtime} {digest}"),
        Node::Directory(mode, mtime) => format!("directory {mode:04o} {mtime}"),
        Node::Link(target) => format!("link {}", target.escape_ascii()),
    };
    (path, node)
}
