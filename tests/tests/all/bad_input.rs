//! What cannot be is told once, by its name, with what to do; nothing half done is left.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use aws_sdk_dynamodb::types::ScalarAttributeType;
use holdfast_connectors::{SourceSpec, TargetSpec};
use holdfast_local::Cloud;
use holdfast_tests::tables::{item, make, number, put, scan, text, typed};
use holdfast_tests::{
    back_up, cloud, configure, hostile_tree, noise, sealed_objects, sorted_lines, tiny_limits, tree, whole,
};
use holdfast_vault::error::{Class, Code, Error};
use holdfast_workflow::WorkLimits;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

struct Shop {
    dir: tempfile::TempDir,
    cloud: Cloud,
}

impl Shop {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cloud = cloud(&dir.path().join("home"), tiny_limits()).await;
        Self { dir, cloud }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The error that a backup ends with, after which nothing of it is there.
    async fn refused(&self, source: SourceSpec) -> Error {
        configure(&self.cloud, "bad", source).await;
        let error = self.cloud.run_backup(&self.cloud.new_id(), "bad", None).await.unwrap_err();
        assert_eq!(self.cloud.services().vault.backups().await.unwrap(), Vec::<String>::new());
        assert_eq!(holdfast_tests::binary::files_below(&self.path("home/staging")), 0, "staging is empty");
        error
    }

    /// The error of a backup of one file of lines.
    async fn refused_lines(&self, lines: &[&str]) -> Error {
        let path = self.path("records");
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("orders.jsonl"), lines.join("\n")).unwrap();
        self.refused(SourceSpec::Jsonl { path, key: vec!["/id".to_owned()] }).await
    }
}

/// A file's line is named in a message.
fn names_line(error: &Error, line: usize) -> bool {
    let text = error.message.replace(|c: char| !c.is_ascii_alphanumeric(), " ");
    text.split(' ').any(|word| word == line.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keys_that_stand_twice_are_told_by_their_lines() {
    let shop = Shop::new().await;
    let line = |n: usize| format!(r#"{{"id":"secret-{n}","text":"some more text of the record"}}"#);
    // In one run, in two runs of one task, and in two tasks.
    for (first, second) in [(3, 4), (10, 160), (20, 3_900)] {
        let mut lines: Vec<String> = (1..=4_000).map(line).collect();
        lines[second - 1] = format!(r#"{{"text":"another one","id":"secret-{first}"}}"#);
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let error = shop.refused_lines(&lines).await;
        assert_eq!(error.code, Code::SourceInvalid, "{error:?}");
        assert!(error.message.contains("orders.jsonl") && error.hint.is_some(), "{error:?}");
        assert!(names_line(&error, first) && names_line(&error, second), "{first} and {second}: {error:?}");
        assert!(!format!("{error:?}").contains("secret"), "{error:?} tells no key");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_record_without_a_key_and_a_broken_one_are_told_by_their_line() {
    let shop = Shop::new().await;
    let good = r#"{"id":1}"#;
    for bad in [
        r#"{"text":"secret"}"#,
        r#"{"id":null,"text":"secret"}"#,
        r#"{"id":"secret""#,
        "secret",
        r#"{"id":"secret"} {"id":"secret-2"}"#,
        "\u{feff}{\"id\":\"secret\"}",
        r#"["secret"]"#,
    ] {
        let error = shop.refused_lines(&[good, "", bad, r#"{"id":2}"#]).await;
        assert_eq!(error.code, Code::SourceInvalid, "{bad}: {error:?}");
        assert!(error.message.contains("orders.jsonl") && names_line(&error, 3), "{bad}: {error:?}");
        assert!(!format!("{error:?}").contains("secret"), "{error:?} tells no record");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_source_that_is_no_directory_is_named() {
    let shop = Shop::new().await;
    fs::write(shop.path("a-file"), "x").unwrap();
    for name in ["missing", "a-file", "a-file/below"] {
        let key = vec!["/id".to_owned()];
        for source in
            [SourceSpec::Files { path: shop.path(name) }, SourceSpec::Jsonl { path: shop.path(name), key }]
        {
            let error = shop.refused(source).await;
            let wanted = if name == "missing" { Code::SourceMissing } else { Code::SourceInvalid };
            assert!(error.code == wanted || name.contains('/'), "{error:?}");
            assert!(matches!(error.code, Code::SourceMissing | Code::SourceInvalid), "{error:?}");
            assert!(error.message.contains(name) && error.hint.is_some(), "{error:?}");
        }
    }
    let unknown = shop.cloud.run_backup(&shop.cloud.new_id(), "nobody", None).await.unwrap_err();
    assert_eq!(unknown.code, Code::ResourceUnknown);
    assert!(unknown.message.contains("nobody"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_home_is_not_backed_up_into_itself() {
    let shop = Shop::new().await;
    symlink(shop.dir.path(), shop.path("home/link")).unwrap();
    for source in [shop.dir.path().to_owned(), shop.path("home"), shop.path("home/link")] {
        let error = shop.refused(SourceSpec::Files { path: source }).await;
        assert_eq!(error.code, Code::InvalidInput, "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_target_that_is_not_empty_is_left_as_it_is() {
    let shop = Shop::new().await;
    let source = shop.path("site");
    fs::create_dir(&source).unwrap();
    hostile_tree(&source);
    configure(&shop.cloud, "site", SourceSpec::Files { path: source.clone() }).await;
    let backup = back_up(&shop.cloud, "site").await;
    let target = shop.path("target");
    fs::create_dir(&target).unwrap();
    fs::write(target.join("mine"), "kept").unwrap();
    let before =
        tree(shop.dir.path()).into_iter().filter(|(path, _)| !path.starts_with(b"home")).collect::<Vec<_>>();
    let request = whole(&backup, TargetSpec::Files { path: target.clone() });
    let error = shop.cloud.run_restore(&shop.cloud.new_id(), &request).await.unwrap_err();
    assert_eq!(error.code, Code::TargetNotEmpty);
    assert!(error.message.contains("target") && error.hint.is_some(), "{error:?}");
    let request = whole(&backup, TargetSpec::Files { path: target.join("mine") });
    let error = shop.cloud.run_restore(&shop.cloud.new_id(), &request).await.unwrap_err();
    assert_eq!(error.code.class(), Class::BadInput, "a file is no directory: {error:?}");
    let after =
        tree(shop.dir.path()).into_iter().filter(|(path, _)| !path.starts_with(b"home")).collect::<Vec<_>>();
    assert_eq!(after, before);
    let unknown = whole("01ARZ3NDEKTSV4RRFFQ69G5FAV", TargetSpec::Files { path: shop.path("new") });
    let error = shop.cloud.run_restore(&shop.cloud.new_id(), &unknown).await.unwrap_err();
    assert_eq!(error.code, Code::JobUnknown);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_empty_comes_back_empty() {
    let shop = Shop::new().await;
    let (nothing, files, lines) = (shop.path("nothing"), shop.path("files"), shop.path("lines"));
    for directory in [&nothing, &files, &lines] {
        fs::create_dir(directory).unwrap();
    }
    fs::write(files.join("empty"), "").unwrap();
    fs::write(lines.join("empty.jsonl"), "").unwrap();
    fs::write(lines.join("blank.ndjson"), "\n\n").unwrap();
    let trees = [
        ("nothing", SourceSpec::Files { path: nothing.clone() }, &nothing),
        ("files", SourceSpec::Files { path: files.clone() }, &files),
    ];
    for (name, source, directory) in trees {
        configure(&shop.cloud, name, source).await;
        let backup = back_up(&shop.cloud, name).await;
        assert!(shop.cloud.run_verify(&backup, "full").await.unwrap().valid);
        let target = shop.path(&format!("{name}-restored"));
        let request = whole(&backup, TargetSpec::Files { path: target.clone() });
        shop.cloud.run_restore(&shop.cloud.new_id(), &request).await.unwrap();
        assert!(target.is_dir());
        assert_eq!(tree(&target), tree(directory));
    }
    configure(&shop.cloud, "lines", SourceSpec::Jsonl { path: lines, key: vec!["/id".to_owned()] }).await;
    let backup = back_up(&shop.cloud, "lines").await;
    assert!(shop.cloud.run_verify(&backup, "full").await.unwrap().valid);
    let target = shop.path("lines-restored");
    let request = whole(&backup, TargetSpec::Jsonl { path: target.clone() });
    shop.cloud.run_restore(&shop.cloud.new_id(), &request).await.unwrap();
    let restored = sorted_lines(&target);
    assert_eq!((restored.len(), restored.values().flatten().count()), (2, 0), "{restored:?}");
    // A directory without a file of lines is more likely the wrong one than empty.
    let key = vec!["/id".to_owned()];
    configure(&shop.cloud, "no-lines", SourceSpec::Jsonl { path: nothing, key }).await;
    let error = shop.cloud.run_backup(&shop.cloud.new_id(), "no-lines", None).await.unwrap_err();
    assert_eq!(error.code, Code::SourceInvalid);
    assert!(error.message.contains("nothing") && error.hint.is_some(), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_table_without_items_and_one_of_the_largest_item_come_back() {
    let shop = Shop::new().await;
    let tables = shop.cloud.tables();
    let spec = |table: &str| (table.to_owned(), Some("embedded".to_owned()));
    // 400 KB are 409,600 bytes of names and values.
    let largest = item([
        ("id", text("1")),
        ("n", number("1")),
        ("text", text(&"x".repeat(409_600 - 2 - 1 - 1 - 2 - 4))),
    ]);
    for (table, items) in [("empty", vec![]), ("large", vec![largest, item([("id", text("2"))])])] {
        make(&tables, table, &[("id", ScalarAttributeType::S)]).await;
        put(&tables, table, &items).await;
        let (name, endpoint) = spec(table);
        configure(&shop.cloud, table, SourceSpec::Dynamodb { table: name, endpoint, region: None }).await;
        let backup = back_up(&shop.cloud, table).await;
        assert!(shop.cloud.run_verify(&backup, "full").await.unwrap().valid);
        let again = format!("{table}-again");
        let (name, endpoint) = spec(&again);
        let request = whole(&backup, TargetSpec::Dynamodb { table: name, endpoint, region: None });
        shop.cloud.run_restore(&shop.cloud.new_id(), &request).await.unwrap();
        assert_eq!(scan(&tables, &again).await, typed(&items));
    }
}

/// A small file system in memory, as long as this lives.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// None where mounting is not allowed.
    fn mount(at: &Path) -> Option<Self> {
        fs::create_dir(at).unwrap();
        mount(&["-t", "tmpfs", "-o", "size=4m", "tmpfs"], at).then(|| Self(at.to_owned()))
    }

    fn make_room(&self) {
        assert!(mount(&["-o", "remount,size=64m"], &self.0), "the disk grows");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn mount(arguments: &[&str], at: &Path) -> bool {
    let mount = Command::new("mount").args(arguments).arg(at).stderr(Stdio::null()).status();
    mount.is_ok_and(|status| status.success())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[allow(clippy::print_stderr)]
async fn a_full_disk_ends_the_backup_and_room_mends_it() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&dir.path().join("disk")) else {
        eprintln!("skipped: no file system can be mounted here");
        return;
    };
    let source = dir.path().join("site");
    fs::create_dir(&source).unwrap();
    for number in 0..20 {
        fs::write(source.join(format!("{number}.bin")), noise(number, 500_000)).unwrap();
    }
    let home = disk.0.join("home");
    let limits = WorkLimits { range_entries: 4, ..WorkLimits::default() };
    let cloud = cloud(&home, limits).await;
    configure(&cloud, "site", SourceSpec::Files { path: source.clone() }).await;
    let error = cloud.run_backup(&cloud.new_id(), "site", None).await.unwrap_err();
    assert_eq!(error.code, Code::StorageFull, "{error:?}");
    assert!(error.hint.is_some());
    assert_eq!(cloud.services().vault.backups().await.unwrap(), Vec::<String>::new());
    assert!(
        !sealed_objects(&home.join("vault"))
            .iter()
            .any(|path| path.starts_with(home.join("vault/manifests")))
    );

    disk.make_room();
    let backup = back_up(&cloud, "site").await;
    assert!(cloud.run_verify(&backup, "full").await.unwrap().valid);
    let target = dir.path().join("restored");
    let request = whole(&backup, TargetSpec::Files { path: target.clone() });
    cloud.run_restore(&cloud.new_id(), &request).await.unwrap();
    assert_eq!(tree(&target), tree(&source));
    assert_eq!(holdfast_tests::binary::files_below(&home.join("staging")), 0, "staging is empty");
    drop(cloud);
}
