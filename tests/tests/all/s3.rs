//! Buckets as sources and targets, through the command line; and a vault that is a bucket, through the handlers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use holdfast_common::storage::S3Storage;
use holdfast_connectors::{SourceSpec, TargetSpec};
use holdfast_tests::binary::Cli;
use holdfast_tests::servers::{CREDENTIALS, s3, s3_client};
use holdfast_tests::{cloud, configure, hostile_tree, noise, tree, whole};
use holdfast_vault::crypto::SecretKey;
use holdfast_vault::read::Vault;
use holdfast_vault::read::vault::WrappingKey;
use holdfast_vault::storage::{ByteRange, Storage};
use holdfast_workflow::{Services, WorkLimits};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::Arc;

struct Bucket {
    dir: tempfile::TempDir,
    client: Client,
    endpoint: String,
    cli: Cli,
}

impl Bucket {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let address = s3(&dir.path().join("s3"), &["shop", "copy", "vault", "staging"]).await;
        let cli = Cli::new(dir.path().join("home"))
            .env("AWS_ACCESS_KEY_ID", CREDENTIALS)
            .env("AWS_SECRET_ACCESS_KEY", CREDENTIALS)
            .env("AWS_REGION", "eu-west-1");
        Self { client: s3_client(address), endpoint: format!("http://{address}"), dir, cli }
    }

    /// The command blocks its thread; the server needs another.
    fn done(&self, arguments: &[&str]) -> Value {
        tokio::task::block_in_place(|| self.cli.done(arguments))
    }

    fn apply(&self, source: &Value) {
        let resources = json!({"resources": [{"name": "shop", "source": source}]});
        tokio::task::block_in_place(|| self.cli.apply(&resources));
    }

    fn back_up(&self) -> String {
        let backup = tokio::task::block_in_place(|| self.cli.back_up("shop"));
        assert_eq!(self.done(&["verify", &backup])["valid"], true);
        backup
    }

    fn restore(&self, backup: &str, to: &str) -> Value {
        self.done(&["restore", backup, "--to", to, "--endpoint", &self.endpoint])
    }

    fn restore_into(&self, backup: &str, directory: &Path) -> Value {
        self.done(&["restore", backup, "--to", &format!("files:{}", directory.display())])
    }

    /// Objects of a bucket below a prefix: their content and what stands beside it.
    async fn objects(&self, bucket: &str, prefix: &str) -> BTreeMap<String, (Vec<u8>, String)> {
        let mut objects = BTreeMap::new();
        let list = self.client.list_objects_v2().bucket(bucket).prefix(prefix).send().await.unwrap();
        assert_eq!(list.is_truncated, Some(false));
        for object in list.contents() {
            let key = object.key().unwrap();
            let answer = self.client.get_object().bucket(bucket).key(key).send().await.unwrap();
            let metadata: BTreeMap<_, _> =
                answer.metadata().cloned().unwrap_or_default().into_iter().collect();
            let beside = format!("{:?} {:?} {metadata:?}", answer.content_type(), answer.cache_control());
            let content = answer.body.collect().await.unwrap().to_vec();
            objects.insert(key[prefix.len()..].to_owned(), (content, beside));
        }
        objects
    }

    async fn put(&self, key: &str, content: Vec<u8>) {
        let put = self.client.put_object().bucket("shop").key(key).content_type("text/x-shop");
        let put = put.cache_control("max-age=60").metadata("colour", "sand").body(ByteStream::from(content));
        put.send().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn objects_come_back_into_another_bucket_and_into_files() {
    let shop = Bucket::new().await;
    for number in 0..120_u32 {
        let length = usize::try_from(number * 331 % 9_000).unwrap();
        shop.put(&format!("site/{}/page {number}+&\u{e9}.html", number % 5), noise(number.into(), length))
            .await;
    }
    shop.put("site/large.bin", noise(7, 18 << 20)).await;
    shop.put("site-2/not of the prefix", b"x".to_vec()).await;
    shop.apply(&json!({"kind": "s3", "bucket": "shop", "prefix": "site/", "endpoint": shop.endpoint}));
    let backup = shop.back_up();
    let wanted = shop.objects("shop", "site/").await;
    assert_eq!(wanted.len(), 121);

    let restored = shop.restore(&backup, "s3://copy/deep/er");
    assert_eq!((&restored["status"], &restored["files"]), (&json!("completed"), &json!(121)));
    assert!(shop.objects("copy", "deep/er/").await == wanted, "the objects are equal");

    let directory = shop.dir.path().join("files");
    shop.restore_into(&backup, &directory);
    for (path, (content, _)) in &wanted {
        assert!(fs::read(directory.join(path)).unwrap() == *content, "{path}");
    }
    let files = tree(&directory).into_values().filter(|node| matches!(node, holdfast_tests::Node::File(..)));
    assert_eq!(files.count(), wanted.len());

    let arguments = ["restore", &backup, "--to", "s3://copy/deep/er", "--endpoint", &shop.endpoint];
    let again = tokio::task::block_in_place(|| shop.cli.run(&arguments));
    assert_eq!((again.code, again.error_code()), (Some(2), "TargetNotEmpty"), "{again:?}");
}

/// A tree of all that a file system has and a bucket has no word for.
fn site(root: &Path) {
    for (path, mode) in
        [("a", 0o600), ("a b/c'\"+.txt", 0o755), ("d/\u{e9}\u{2603}.html", 0o440), ("d/empty", 0o644)]
    {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let content = if path.ends_with("empty") { Vec::new() } else { noise(u64::from(mode), 70_000) };
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::write(root.join("large"), noise(9, 17 << 20)).unwrap();
    fs::create_dir_all(root.join("hollow/inside")).unwrap();
    fs::set_permissions(root.join("hollow/inside"), fs::Permissions::from_mode(0o700)).unwrap();
    symlink("a b/c'\"+.txt", root.join("link")).unwrap();
    symlink("../nowhere", root.join("d/dangling")).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn files_go_through_a_bucket_and_come_back_as_they_were() {
    let shop = Bucket::new().await;
    let source = shop.dir.path().join("site");
    fs::create_dir(&source).unwrap();
    site(&source);
    shop.apply(&json!({"kind": "files", "path": source}));
    let backup = shop.back_up();
    shop.restore(&backup, "s3://copy/site/");

    shop.apply(&json!({"kind": "s3", "bucket": "copy", "prefix": "site/", "endpoint": shop.endpoint}));
    let backup = shop.back_up();
    let directory = shop.dir.path().join("restored");
    shop.restore_into(&backup, &directory);
    assert_eq!(tree(&directory), tree(&source));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_bucket_that_is_missing_is_named() {
    let shop = Bucket::new().await;
    shop.apply(&json!({"kind": "s3", "bucket": "no-such-bucket", "endpoint": shop.endpoint}));
    let ended = tokio::task::block_in_place(|| shop.cli.run(&["backup", "shop"]));
    assert_eq!((ended.code, ended.error_code()), (Some(2), "SourceMissing"), "{ended:?}");
    assert!(ended.error.to_string().contains("no-such-bucket"), "{ended:?}");
}

/// Every call of a job, as the state machines make them, with what is theirs in buckets.
struct OnAws {
    services: Services,
}

impl OnAws {
    async fn tasks(&self, job: &str) -> Vec<Value> {
        let list = self.services.staging.get(&format!("{job}/tasks.jsonl"), ByteRange::All).await.unwrap();
        let text = String::from_utf8(list.to_vec()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    async fn back_up(&self) -> String {
        let event = json!({"execution": "nightly-1", "started_at": "2026-11-21T01:00:00Z", "input": {"resource": "site"}});
        let services = &self.services;
        let planned = decoded(
            holdfast_workflow::plan::plan(services, &serde_json::from_value(event).unwrap()).await.unwrap(),
        );
        let job = planned["job"].as_str().unwrap().to_owned();
        for task in self.tasks(&job).await {
            let event = serde_json::from_value(task).unwrap();
            loop {
                holdfast_workflow::export::export_chunk(services, &event).await.unwrap();
                if !holdfast_workflow::upload::upload_part(services, &event).await.unwrap().more {
                    break;
                }
            }
        }
        let event = serde_json::from_value(json!({ "job": job })).unwrap();
        holdfast_workflow::commit::commit(services, &event).await.unwrap();
        job
    }

    async fn verify(&self, job: &str) -> bool {
        let mut event = json!({"job": job, "level": "full"});
        loop {
            let asked = serde_json::from_value(event.clone()).unwrap();
            let answer = holdfast_workflow::verify::verify(&self.services, &asked).await.unwrap();
            if !answer.more {
                return answer.valid;
            }
            event["progress"] = decoded(answer.progress);
        }
    }

    async fn restore(&self, backup: &str, target: TargetSpec) {
        let call = async |event: Value| {
            let event = serde_json::from_value(event).unwrap();
            holdfast_workflow::restore::restore(&self.services, &event).await.unwrap()
        };
        let mut event =
            json!({"step": "plan", "execution": "restore-1", "started_at": "2026-11-21T02:00:00Z"});
        event["input"] = decoded(whole(backup, target));
        let job = call(event).await["job"].as_str().unwrap().to_owned();
        for mut task in self.tasks(&job).await {
            task["step"] = json!("part");
            while call(task.clone()).await["more"] == json!(true) {}
        }
        call(json!({"step": "finish", "job": job})).await;
    }
}

fn decoded(of: impl serde::Serialize) -> Value {
    serde_json::to_value(of).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_vault_in_a_bucket_holds_and_gives_back_a_tree() {
    let shop = Bucket::new().await;
    let source = shop.dir.path().join("site");
    fs::create_dir(&source).unwrap();
    hostile_tree(&source);
    // Larger than one part of a copy.
    fs::write(source.join("large"), noise(11, 40 << 20)).unwrap();
    let limits = WorkLimits { range_entries: 20, ..WorkLimits::default() };
    // Job state and clients are the embedded cloud's; what is stored is in buckets.
    let home = cloud(&shop.dir.path().join("home"), limits).await;
    configure(&home, "site", SourceSpec::Files { path: source.clone() }).await;
    let mut services = home.services().clone();
    let vault: Arc<dyn Storage> = Arc::new(S3Storage::new(shop.client.clone(), "vault"));
    let key = WrappingKey { id: "0".repeat(32), secret: SecretKey::new([7; 32]) };
    services.vault = Vault::create(vault.clone(), &key).await.unwrap();
    services.staging = Arc::new(S3Storage::new(shop.client.clone(), "staging"));
    let on_aws = OnAws { services };

    let backup = on_aws.back_up().await;
    assert!(on_aws.verify(&backup).await);
    let target = shop.dir.path().join("restored");
    on_aws.restore(&backup, TargetSpec::Files { path: target.clone() }).await;
    assert_eq!(tree(&target), tree(&source));
    assert_eq!(shop.objects("staging", "").await.len(), 0, "staging is empty");

    let packs = vault.list("packs/", None).await.unwrap().objects;
    assert!(packs.iter().any(|pack| pack.size > 16 << 20), "one pack is copied in parts");
    // What another key wraps is not opened.
    let wrong = WrappingKey { id: "0".repeat(32), secret: SecretKey::new([8; 32]) };
    assert!(Vault::open(vault, &wrong).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_vault_is_copied_below_a_prefix_of_a_bucket_and_restored_from_there() {
    let shop = Bucket::new().await;
    let source = shop.dir.path().join("site");
    fs::create_dir(&source).unwrap();
    hostile_tree(&source);
    shop.apply(&json!({"kind": "files", "path": source}));
    let backup = shop.back_up();
    let place = format!("s3://copy/vaults/shop?region=eu-west-1&endpoint={}", shop.endpoint);
    let copied = shop.done(&["copy", "--to", &place]);
    assert_eq!((&copied["backups_copied"], &copied["objects_there"]), (&json!(1), &json!(0)));
    let again = shop.done(&["copy", "--to", &place, "--verify"]);
    assert_eq!((&again["objects_copied"], &again["objects_there"]), (&json!(0), &copied["objects_copied"]));
    let stored: Vec<String> = shop.objects("copy", "").await.into_keys().collect();
    assert_eq!(json!(stored.len()), copied["objects_copied"]);
    assert!(stored.iter().all(|key| key.starts_with("vaults/shop/")), "{stored:?}");
    assert_eq!(shop.done(&["verify", &backup, "--from-copy", &place])["valid"], true);
    fs::remove_dir_all(shop.dir.path().join("home/vault")).unwrap();
    let target = shop.dir.path().join("restored");
    let to = format!("files:{}", target.display());
    shop.done(&["restore", "latest:shop", "--from-copy", &place, "--to", &to]);
    assert_eq!(tree(&target), tree(&source));
}
