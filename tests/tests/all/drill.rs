//! Drills: what comes back equal is told so, what does not is found, and the throw-away target always goes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod buckets;
mod hand;

use aws_sdk_dynamodb::types::ScalarAttributeType;
use hand::{Hand, targets};
use holdfast_common::jobs::{JobKind, Status};
use holdfast_connectors::SourceSpec;
use holdfast_local::Cloud;
use holdfast_tests::binary::files_below;
use holdfast_tests::tables::{item, make, number, put, text};
use holdfast_tests::{back_up, cloud, configure, hostile_tree, noise, sealed_objects, tiny_limits};
use holdfast_vault::error::Code;
use holdfast_workflow::drill::{Compared, DrillDetail, DrillRequest};
use holdfast_workflow::plan::detail;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// A home with a resource of every kind that it takes without a server, each backed up.
pub(crate) struct Shop {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) cloud: Cloud,
}

const KINDS: [&str; 4] = ["site", "exports", "notes", "orders"];

impl Shop {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cloud = cloud(&dir.path().join("home"), tiny_limits()).await;
        let shop = Self { dir, cloud };
        shop.fill().await;
        for kind in KINDS {
            back_up(&shop.cloud, kind).await;
        }
        shop
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    async fn fill(&self) {
        let (site, exports) = (self.path("site"), self.path("exports"));
        fs::create_dir(&site).unwrap();
        hostile_tree(&site);
        fs::create_dir(&exports).unwrap();
        for stream in ["customers", "products"] {
            fs::write(exports.join(format!("{stream}.jsonl")), lines(stream, 400)).unwrap();
        }
        fs::write(exports.join("empty.jsonl"), "").unwrap();
        let notes: Vec<Value> = (0..300).map(|n| json!({ "id": n, "text": "x".repeat(n % 90) })).collect();
        let notes = json!({ "notes": notes, "log": ["a", 1, null], "about": { "of": "shop" }, "none": [] });
        fs::write(self.path("notes.json"), notes.to_string()).unwrap();
        let tables = self.cloud.tables();
        make(&tables, "orders", &[("id", ScalarAttributeType::S)]).await;
        let order = |n: u32| {
            item([("id", text(&format!("o-{n}"))), ("price", number(&n.to_string())), ("of", text("shop"))])
        };
        put(&tables, "orders", &(0..500).map(order).collect::<Vec<_>>()).await;
        configure(&self.cloud, "site", SourceSpec::Files { path: site }).await;
        let key = vec!["/id".to_owned()];
        configure(&self.cloud, "exports", SourceSpec::Jsonl { path: exports, key }).await;
        let path = Some(self.path("notes.json"));
        configure(&self.cloud, "notes", SourceSpec::Json { document: None, path }).await;
        let (table, endpoint) = ("orders".to_owned(), Some("embedded".to_owned()));
        configure(&self.cloud, "orders", SourceSpec::Dynamodb { table, endpoint, region: None }).await;
    }

    async fn drill(&self, request: &DrillRequest) -> DrillDetail {
        let id = self.cloud.new_id();
        let job = self.cloud.run_drill(&id, request).await.expect("the drill completes");
        assert_eq!((job.status, job.kind), (Status::Completed, JobKind::Drill));
        assert_eq!(targets(&self.cloud).await, [] as [String; 0], "the target is gone");
        detail(&job).unwrap()
    }
}

fn lines(stream: &str, count: usize) -> String {
    (0..count).fold(String::new(), |mut text, n| {
        writeln!(text, "{{\"id\": {n}, \"of\":\"{stream}\", \"pad\":\"{}\"}}", "p".repeat(n % 70)).unwrap();
        text
    })
}

fn latest(resource: &str) -> DrillRequest {
    DrillRequest { backup: "latest".to_owned(), ..DrillRequest::random(resource) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_comes_back_as_it_was_is_equal() {
    let shop = Shop::new().await;
    for kind in KINDS {
        let told = shop.drill(&latest(kind)).await;
        assert!(told.equal(), "{kind}: {:?}", told.compared);
        assert!(told.rto_ms.is_some() && told.removed_at.is_some() && told.progress.is_none());
        let backup = shop.cloud.services().vault.manifest(&told.chosen.unwrap().backup).await.unwrap();
        let expected: Vec<_> = backup.streams.iter().map(|of| (&of.info.name, &of.digest)).collect();
        let found: Vec<_> = told.compared.iter().map(|of| (&of.stream, &of.digest)).collect();
        assert_eq!(found, expected, "{kind}: every stream was compared with the manifest");
        for (of, manifest) in told.compared.iter().zip(&backup.streams) {
            let figures = (of.found.records, of.found.files, of.found.bytes);
            assert_eq!(figures, (manifest.records, manifest.files, manifest.bytes), "{}", of.stream);
        }
    }
    let one = DrillRequest { streams: vec!["products".to_owned()], ..latest("exports") };
    let told = shop.drill(&one).await;
    assert_eq!(told.compared.iter().map(|of| of.stream.as_str()).collect::<Vec<_>>(), ["products"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn increments_come_back_equal_from_the_digests_of_all_their_layers() {
    let shop = Shop::new().await;
    let site = shop.path("site");
    fs::write(site.join("big.bin"), noise(9, 310_000)).unwrap();
    fs::remove_file(site.join("twin-1")).unwrap();
    fs::write(site.join("many/new.txt"), "new").unwrap();
    let mut products = lines("products", 390);
    products.push_str("{\"id\":1000,\"of\":\"more\"}\n");
    fs::write(shop.path("exports/products.jsonl"), products).unwrap();
    for kind in ["site", "exports"] {
        let id = shop.cloud.new_id();
        let of = Some(holdfast_common::jobs::BackupType::Incremental);
        shop.cloud.run_backup(&id, kind, of).await.unwrap();
        let manifest = shop.cloud.services().vault.manifest(&id).await.unwrap();
        assert!(manifest.streams.iter().any(|stream| stream.layers.len() > 1), "{kind}");
        let told = shop.drill(&DrillRequest { backup: id.clone(), ..latest(kind) }).await;
        assert!(told.equal(), "{kind}: {:?}", told.compared);
    }
}

/// Restores by hand, changes the target, compares by hand.
async fn tampered(shop: &Shop, kind: &str, tamper: impl AsyncFn(&Path)) -> Vec<Compared> {
    let hand = Hand::restored(&shop.cloud, kind).await;
    tamper(&shop.cloud.drills().join(&hand.drill)).await;
    hand.compare().await;
    hand.remove().await;
    let answer = hand.finish().await;
    let told = hand.detail().await;
    assert_eq!(answer["equal"], json!(told.equal()), "{kind}");
    assert_eq!(targets(&shop.cloud).await, [] as [String; 0]);
    let job = shop.cloud.services().jobs.job(&hand.drill).await.unwrap();
    assert_eq!(job.status, Status::Completed);
    let warned = job.warnings.iter().filter(|warning| warning.code == "DrillDiffers").count();
    assert_eq!(warned, told.compared.iter().filter(|of| !of.equal).count());
    told.compared
}

/// The one stream that differs.
fn differs(compared: &[Compared]) -> &Compared {
    let mut found = compared.iter().filter(|of| !of.equal);
    let one = found.next().expect("something differs");
    assert!(found.next().is_none(), "{compared:?}");
    one
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_change_of_a_restored_tree_is_found() {
    type Change = (&'static str, fn(&Path), [u64; 3]);
    let shop = Shop::new().await;
    assert_eq!(tampered(&shop, "site", async |_: &Path| {}).await.iter().filter(|of| !of.equal).count(), 0);
    let changes: [Change; 8] = [
        ("a byte in the last part of a large file", |root| flip(&root.join("big.bin"), 299_999), [0, 0, 1]),
        ("a byte of a small file", |root| flip(&root.join("a/x"), 0), [0, 0, 1]),
        ("a mode", |root| mode(&root.join("a0"), 0o600), [0, 0, 1]),
        ("a file that is gone", |root| fs::remove_file(root.join("text.log")).unwrap(), [1, 0, 0]),
        ("the last file", |root| fs::remove_file(last(root)).unwrap(), [1, 0, 0]),
        ("a file too many", |root| fs::write(root.join("many/zzz"), "").unwrap(), [0, 1, 0]),
        ("a file that is longer", |root| append(&root.join("a.txt")), [0, 0, 1]),
        ("a link elsewhere", |root| relink(&root.join("link")), [0, 0, 1]),
    ];
    for (what, change, counts) in changes {
        let compared = tampered(&shop, "site", async |root: &Path| {
            // A directory's own time would tell it too: what is looked for is the change itself.
            let times = times_of(root);
            change(root);
            for (path, time) in times {
                set_time(&path, time);
            }
        })
        .await;
        let found = &differs(&compared).found;
        assert_eq!([found.missing, found.unexpected, found.changed], counts, "{what}");
    }
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn mode(path: &Path, bits: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(bits)).unwrap();
}

fn append(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    bytes.push(b'!');
    fs::write(path, bytes).unwrap();
}

fn relink(path: &Path) {
    fs::remove_file(path).unwrap();
    std::os::unix::fs::symlink("elsewhere", path).unwrap();
}

/// The path that comes last in byte order.
fn last(root: &Path) -> PathBuf {
    let names = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name());
    root.join(names.max().unwrap())
}

/// The times of all directories and files below one.
fn times_of(root: &Path) -> Vec<(PathBuf, std::time::SystemTime)> {
    let mut left = vec![root.to_path_buf()];
    let mut times = Vec::new();
    while let Some(path) = left.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        if meta.is_dir() {
            left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        if !meta.is_symlink() {
            times.push((path, meta.modified().unwrap()));
        }
    }
    times
}

fn set_time(path: &Path, time: std::time::SystemTime) {
    if let Ok(file) = fs::File::open(path) {
        file.set_modified(time).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_change_of_restored_records_is_found() {
    let shop = Shop::new().await;
    for kind in ["exports", "notes", "orders"] {
        assert!(tampered(&shop, kind, async |_: &Path| {}).await.iter().all(|of| of.equal), "{kind}");
    }
    let exports = |change: fn(String) -> String| {
        let shop = &shop;
        async move {
            let change = async |root: &Path| {
                let path = root.join("products.jsonl");
                fs::write(&path, change(fs::read_to_string(&path).unwrap())).unwrap();
            };
            let compared = tampered(shop, "exports", change).await;
            assert_eq!(differs(&compared).stream, "products");
            differs(&compared).clone()
        }
    };
    exports(|text| text.replacen("\"id\": 7,", "\"id\": 7000,", 1)).await;
    exports(|text| text.replacen("\"pad\":\"pp", "\"pad\":\"pq", 1)).await;
    exports(|text| text.lines().skip(1).fold(String::new(), |all, line| all + line + "\n")).await;
    let twice = exports(|text| text.clone() + text.lines().next().unwrap() + "\n").await;
    assert_eq!(twice.found.records, 401);
    let broken = exports(|text| text.replacen('{', "(", 1)).await;
    assert_eq!(broken.unreadable.as_deref(), Some("SourceInvalid"));
    let notes = tampered(&shop, "notes", async |root: &Path| {
        let path = root.join("document.json");
        let text = fs::read_to_string(&path).unwrap().replacen("[\n\"a\"", "[\n\"b\"", 1);
        fs::write(&path, text).unwrap();
    });
    assert_eq!(differs(&notes.await).stream, "log");
    for change in ["price", "gone", "table"] {
        let tables = shop.cloud.tables();
        let orders = tampered(&shop, "orders", async |root: &Path| {
            let table = format!("holdfast-drill-{}", root.file_name().unwrap().to_str().unwrap());
            match change {
                "price" => {
                    let dear = item([("id", text("o-7")), ("price", number("8")), ("of", text("shop"))]);
                    put(&tables, &table, &[dear]).await;
                }
                "gone" => {
                    let delete = tables.delete_item().table_name(&table).key("id", text("o-7"));
                    delete.send().await.unwrap();
                }
                _ => drop(tables.delete_table().table_name(&table).send().await.unwrap()),
            }
        });
        let orders = orders.await;
        assert_eq!(differs(&orders).unreadable.is_some(), change == "table", "{change}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_restore_that_fails_fails_the_drill_and_leaves_nothing() {
    for kind in KINDS {
        let shop = Shop::new().await;
        for object in sealed_objects(&shop.dir.path().join("home/vault/packs")) {
            fs::remove_file(object).unwrap();
        }
        let packs = shop.dir.path().join("home/vault/packs");
        let _ = fs::remove_dir_all(packs);
        let id = shop.cloud.new_id();
        let error = shop.cloud.run_drill(&id, &latest(kind)).await.unwrap_err();
        assert_eq!(error.code, Code::ObjectMissing, "{kind}: {error}");
        assert_eq!(targets(&shop.cloud).await, [] as [String; 0], "{kind}");
        let jobs = &shop.cloud.services().jobs;
        let drill = jobs.job(&id).await.unwrap();
        let told: DrillDetail = detail(&drill).unwrap();
        assert_eq!(drill.status, Status::Failed);
        assert!(told.removed_at.is_some());
        let restore = jobs.job(&told.chosen.unwrap().restore).await.unwrap();
        assert_eq!((restore.status, restore.kind), (Status::Failed, JobKind::Restore));
        assert_eq!(jobs.open_jobs().all().await.unwrap(), []);
        let staged = files_below(&shop.dir.path().join("home/staging"));
        assert_eq!(staged, 0, "{kind}: staging is empty");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_comparison_that_fails_leaves_no_target_whenever_it_does() {
    let shop = Shop::new().await;
    for kind in KINDS {
        // After the plan; with some of it written; with all; half compared; with the target gone already.
        for stop in 0..5 {
            let hand = match stop {
                0 => Hand::planned(&shop.cloud, kind).await,
                1 => Hand::half(&shop.cloud, kind).await,
                _ => Hand::restored(&shop.cloud, kind).await,
            };
            if stop >= 3 {
                hand.compare_once().await;
            }
            if stop == 4 {
                hand.compare().await;
                hand.remove().await;
            }
            let answer = hand.fail().await;
            assert_eq!(answer, hand.fail().await, "{kind} {stop}: it may be repeated");
            assert_eq!((&answer["kind"], &answer["status"]), (&json!("drill"), &json!("failed")));
            assert_eq!(targets(&shop.cloud).await, [] as [String; 0], "{kind} {stop}");
            let told = hand.detail().await;
            assert!(told.removed_at.is_some() && told.progress.is_none(), "{kind} {stop}");
            let restore = shop.cloud.services().jobs.job(&told.chosen.unwrap().restore).await.unwrap();
            assert!(restore.status.is_terminal(), "{kind} {stop}");
            for step in ["compare", "remove", "finish"] {
                assert_eq!(hand.call(step).await.unwrap_err().code, Code::JobState, "{kind} {stop} {step}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_step_may_be_repeated() {
    let shop = Shop::new().await;
    for kind in KINDS {
        let hand = Hand::planned(&shop.cloud, kind).await;
        assert_eq!(hand.plan().await, hand.plan().await, "{kind}: the same backup, restore and target");
        hand.restore().await;
        // Two at a time count once.
        loop {
            let (one, other) = tokio::join!(hand.call("compare"), hand.call("compare"));
            if one.unwrap()["more"] == json!(false) || other.unwrap()["more"] == json!(false) {
                break;
            }
        }
        hand.compare().await;
        assert_eq!(hand.call("finish").await.unwrap_err().code, Code::Internal, "it is not removed yet");
        hand.remove().await;
        hand.remove().await;
        assert_eq!(hand.finish().await, hand.finish().await);
        let told = hand.detail().await;
        assert!(told.equal(), "{kind}: {:?}", told.compared);
        for step in ["compare", "remove"] {
            assert_eq!(hand.call(step).await.unwrap_err().code, Code::JobState, "{kind}: {step} comes late");
        }
        assert_eq!(hand.detail().await, told);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_drill_that_is_cancelled_ends_its_restore_and_leaves_nothing() {
    let shop = Shop::new().await;
    let hand = Hand::half(&shop.cloud, "exports").await;
    shop.cloud.cancel(&hand.drill).await.unwrap();
    let restore = hand.detail().await.chosen.unwrap().restore;
    assert_eq!(shop.cloud.services().jobs.job(&restore).await.unwrap().status, Status::Cancelled);
    assert_eq!(hand.fail().await["status"], "cancelled");
    assert_eq!(targets(&shop.cloud).await, [] as [String; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_one_drill_could_not_remove_the_next_one_does() {
    let shop = Shop::new().await;
    let hand = Hand::restored(&shop.cloud, "exports").await;
    let (left, away) = (shop.cloud.drills().join(&hand.drill), shop.path("away"));
    // While it is elsewhere, and a link stands in its place, it is not removed.
    fs::rename(&left, &away).unwrap();
    std::os::unix::fs::symlink(&away, &left).unwrap();
    let error = hand.try_fail().await.unwrap_err();
    assert_eq!(error.code.class(), holdfast_vault::error::Class::BadInput, "{error}");
    assert!(away.join("products.jsonl").exists(), "what a link leads to stays");
    assert_eq!(shop.cloud.services().jobs.job(&hand.drill).await.unwrap().status, Status::Failed);
    fs::remove_file(&left).unwrap();
    fs::rename(&away, &left).unwrap();
    assert!(shop.drill(&latest("exports")).await.equal());
    assert!(!left.exists() && hand.detail().await.removed_at.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_backup_is_the_one_that_is_named_or_chance_chooses() {
    let shop = Shop::new().await;
    let first = shop.drill(&latest("exports")).await.chosen.unwrap().backup;
    let mut ids = vec![first];
    for _ in 0..3 {
        ids.push(back_up(&shop.cloud, "exports").await);
    }
    let named = DrillRequest { backup: ids[0].clone(), ..latest("exports") };
    assert_eq!(shop.drill(&named).await.chosen.unwrap().backup, ids[0]);
    assert_eq!(shop.drill(&latest("exports")).await.chosen.unwrap().backup, ids[3]);
    let drawn = shop.drill(&DrillRequest::random("exports")).await.chosen.unwrap().backup;
    assert!(ids.contains(&drawn));
    let jobs = &shop.cloud.services().jobs;
    let before = jobs.jobs(JobKind::Drill, None).all().await.unwrap().len();
    let refused = async |request: DrillRequest| {
        shop.cloud.run_drill(&shop.cloud.new_id(), &request).await.unwrap_err().code
    };
    assert_eq!(refused(DrillRequest { resource: "site".to_owned(), ..named }).await, Code::JobUnknown);
    assert_eq!(refused(latest("no-such")).await, Code::ResourceUnknown);
    configure(&shop.cloud, "new", SourceSpec::Files { path: shop.path("site") }).await;
    assert_eq!(refused(latest("new")).await, Code::JobUnknown);
    let none = DrillRequest { streams: vec!["no-such".to_owned()], ..latest("exports") };
    assert_eq!(refused(none).await, Code::InvalidInput);
    let made = jobs.jobs(JobKind::Drill, None).all().await.unwrap().len() - before;
    assert_eq!(made, 1, "what is wrong at first sight makes no job");
}
