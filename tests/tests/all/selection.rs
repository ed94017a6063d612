//! Some of a backup: streams, records by their keys, files by their paths.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use aws_sdk_dynamodb::types::ScalarAttributeType;
use holdfast_connectors::{SourceSpec, TargetSpec};
use holdfast_local::Cloud;
use holdfast_tests::tables::{item, make, number, put, scan, text, typed};
use holdfast_tests::{Node, back_up, cloud, configure, hostile_tree, sorted_lines, tiny_limits, tree, whole};
use holdfast_vault::error::{Class, Code, Error};
use holdfast_vault::model::Warning;
use holdfast_workflow::events::Selection;
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

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

    async fn records(&self, key: &[&str], files: &[(&str, &[&str])]) -> String {
        let path = self.dir.path().join("records");
        fs::create_dir(&path).unwrap();
        for (name, lines) in files {
            fs::write(path.join(name), lines.join("\n")).unwrap();
        }
        let key = key.iter().map(|pointer| (*pointer).to_owned()).collect();
        configure(&self.cloud, "records", SourceSpec::Jsonl { path, key }).await;
        back_up(&self.cloud, "records").await
    }

    /// Restores a selection into lines; what came, as `stream: line`, and the warnings.
    async fn lines(&self, backup: &str, selection: Selection) -> Result<(Vec<String>, Vec<Warning>), Error> {
        let path = self.dir.path().join(self.cloud.new_id());
        let mut request = whole(backup, TargetSpec::Jsonl { path: path.clone() });
        request.selection = selection;
        let job = self.cloud.run_restore(&self.cloud.new_id(), &request).await?;
        let mut came = Vec::new();
        for (file, lines) in sorted_lines(&path) {
            let stream = file.strip_suffix(".jsonl").unwrap_or(&file);
            came.extend(lines.iter().map(|line| format!("{stream}: {}", String::from_utf8_lossy(line))));
        }
        Ok((came, job.warnings))
    }

    async fn keys(&self, backup: &str, keys: &[&str]) -> (Vec<String>, usize) {
        let selection = Selection { keys: owned(keys), ..Selection::default() };
        let (came, warnings) = self.lines(backup, selection).await.unwrap();
        for warning in &warnings {
            assert_eq!(warning.code, "KeyNotFound");
            assert!(!keys.iter().any(|key| warning.message.contains(key)), "{warning:?} tells no key");
        }
        (came, warnings.len())
    }
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn streams(names: &[&str]) -> Selection {
    Selection { streams: owned(names), ..Selection::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn only_the_streams_that_are_named_come_back() {
    let shop = Shop::new().await;
    let files: [(&str, &[&str]); 3] =
        [("a.jsonl", &[r#"{"id":1}"#]), ("b.jsonl", &[r#"{"id":2}"#]), ("c.jsonl", &[r#"{"id":3}"#])];
    let backup = shop.records(&["/id"], &files).await;
    let (came, _) = shop.lines(&backup, streams(&["b"])).await.unwrap();
    assert_eq!(came, [r#"b: {"id":2}"#]);
    let (came, _) = shop.lines(&backup, streams(&["c", "a"])).await.unwrap();
    assert_eq!(came, [r#"a: {"id":1}"#, r#"c: {"id":3}"#]);
    let error = shop.lines(&backup, streams(&["a", "nothing"])).await.unwrap_err();
    assert_eq!(error.code.class(), Class::BadInput, "{error:?}");
    assert!(error.message.contains("nothing") && error.hint.is_some(), "{error:?}");
    let globs = Selection { paths: owned(&["**"]), ..Selection::default() };
    assert_eq!(shop.lines(&backup, globs).await.unwrap_err().code, Code::InvalidInput);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn records_are_found_by_their_keys() {
    let shop = Shop::new().await;
    let mut lines: Vec<String> = (0..2_000).map(|n| format!(r#"{{"id":"o-{n}","n":{n}}}"#)).collect();
    lines.extend(
        [r#"{"id":5,"of":"number"}"#, r#"{"id":"5","of":"text"}"#, r#"{"id":7,"of":"number"}"#]
            .map(str::to_owned),
    );
    lines.push(r#"{"id":12345678901234567890123456789012345678}"#.to_owned());
    lines.push(r#"{"id":1.50}"#.to_owned());
    lines.push(r#"{"id":"[\"x\"]"}"#.to_owned());
    lines.push(r#"{"id":"\u00e9\n"}"#.to_owned());
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let backup = shop.records(&["/id"], &[("orders.jsonl", &lines)]).await;
    let came = shop.keys(&backup, &["o-17", "o-1999"]).await;
    assert_eq!(came.0, [r#"orders: {"id":"o-17","n":17}"#, r#"orders: {"id":"o-1999","n":1999}"#]);
    assert_eq!(came.1, 0);
    assert_eq!(shop.keys(&backup, &["7"]).await.0, [r#"orders: {"id":7,"of":"number"}"#]);
    assert_eq!(shop.keys(&backup, &["[5]"]).await.0, [r#"orders: {"id":5,"of":"number"}"#]);
    assert_eq!(shop.keys(&backup, &[r#"["5"]"#]).await.0, [r#"orders: {"id":"5","of":"text"}"#]);
    assert_eq!(shop.keys(&backup, &["\u{e9}\n"]).await.0, [r#"orders: {"id":"\u00e9\n"}"#]);
    assert_eq!(shop.keys(&backup, &[r#"["x"]"#]).await.0, [r#"orders: {"id":"[\"x\"]"}"#]);
    let long = "12345678901234567890123456789012345678";
    assert_eq!(shop.keys(&backup, &[long]).await.0, [format!(r#"orders: {{"id":{long}}}"#)]);
    assert_eq!(shop.keys(&backup, &["1.50"]).await.0, [r#"orders: {"id":1.50}"#]);
    let (came, missed) = shop.keys(&backup, &["o-3", "no such order", "o-99999"]).await;
    assert_eq!(came, [r#"orders: {"id":"o-3","n":3}"#]);
    assert_eq!(missed, 1, "what is the same is said once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_key_of_two_parts_is_typed_as_a_list() {
    let shop = Shop::new().await;
    let lines: Vec<String> =
        (0..300).map(|n| format!(r#"{{"sku":"s-{}","place":{{"shelf":{}}}}}"#, n / 10, n % 10)).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let backup = shop.records(&["/sku", "/place/shelf"], &[("stock.jsonl", &lines)]).await;
    let (came, missed) = shop.keys(&backup, &[r#"["s-4", 7]"#]).await;
    assert_eq!(
        (came.as_slice(), missed),
        ([r#"stock: {"sku":"s-4","place":{"shelf":7}}"#.to_owned()].as_slice(), 0)
    );
    for not_there in [r#"["s-4","7"]"#, r#"["s-4"]"#, "s-4", r#"["s-99",1]"#] {
        let (came, missed) = shop.keys(&backup, &[not_there]).await;
        assert_eq!((came.len(), missed), (0, 1), "{not_there}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_item_of_a_table_is_found_by_its_key() {
    let shop = Shop::new().await;
    let tables = shop.cloud.tables();
    make(&tables, "stock", &[("sku", ScalarAttributeType::S), ("shelf", ScalarAttributeType::N)]).await;
    let long = "12345678901234567890123456789012345678";
    let mut items: Vec<_> = (0..100)
        .map(|n| {
            item([
                ("sku", text(&format!("s-{}", n / 10))),
                ("shelf", number(&(n % 10).to_string())),
                ("n", number("1")),
            ])
        })
        .collect();
    items.push(item([("sku", text("s-0")), ("shelf", number(long))]));
    put(&tables, "stock", &items).await;
    let source = |table: &str| SourceSpec::Dynamodb {
        table: table.to_owned(),
        endpoint: Some("embedded".to_owned()),
        region: None,
    };
    configure(&shop.cloud, "stock", source("stock")).await;
    let backup = back_up(&shop.cloud, "stock").await;
    let target = TargetSpec::Dynamodb {
        table: "some".to_owned(),
        endpoint: Some("embedded".to_owned()),
        region: None,
    };
    let mut request = whole(&backup, target);
    request.selection.keys = vec![r#"["s-3", 4]"#.to_owned(), format!(r#"["s-0", {long}]"#)];
    let job = shop.cloud.run_restore(&shop.cloud.new_id(), &request).await.unwrap();
    assert!(job.warnings.iter().all(|warning| warning.code != "KeyNotFound"), "{:?}", job.warnings);
    assert_eq!(scan(&tables, "some").await, typed(&[items[34].clone(), items[100].clone()]));
}

/// Whether a path should come.
type Wanted<'a> = &'a dyn Fn(&[u8]) -> bool;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn files_are_chosen_by_globs() {
    let shop = Shop::new().await;
    let source = shop.dir.path().join("site");
    fs::create_dir(&source).unwrap();
    hostile_tree(&source);
    configure(&shop.cloud, "site", SourceSpec::Files { path: source.clone() }).await;
    let backup = back_up(&shop.cloud, "site").await;
    let all = tree(&source);
    let is_leaf = |node: &Node| !matches!(node, Node::Directory(..));
    let top = |path: &[u8]| !path.contains(&b'/');
    let cases: [(&[&str], Wanted<'_>); 7] = [
        (&["many/*.txt"], &|path| path.starts_with(b"many/")),
        (&["many"], &|path| path.starts_with(b"many/")),
        (&["deep/**"], &|path| path.starts_with(b"deep/")),
        (&["*.txt"], &|path| top(path) && path.ends_with(b".txt")),
        (&["**/*.txt"], &|path| path.ends_with(b".txt")),
        (&["twin-?", "link", "-rf"], &|path| path.starts_with(b"twin-") || path == b"link" || path == b"-rf"),
        (&["latin-*", "new\nline"], &|path| path.starts_with(b"latin-") || path == b"new\nline"),
    ];
    for (globs, wanted) in cases {
        let path = shop.dir.path().join(shop.cloud.new_id());
        let restored = restore_paths(&shop, &backup, globs, path).await;
        let want: BTreeSet<_> = all.iter().filter(|(path, node)| is_leaf(node) && wanted(path)).collect();
        assert!(!want.is_empty());
        assert_eq!(
            restored.iter().filter(|(_, node)| is_leaf(node)).collect::<BTreeSet<_>>(),
            want,
            "{globs:?}"
        );
    }
    let keys = Selection { keys: owned(&["a"]), ..Selection::default() };
    assert_eq!(shop.lines(&backup, keys).await.unwrap_err().code, Code::InvalidInput);
}

async fn restore_paths(
    shop: &Shop,
    backup: &str,
    globs: &[&str],
    path: PathBuf,
) -> std::collections::BTreeMap<Vec<u8>, Node> {
    let mut request = whole(backup, TargetSpec::Files { path: path.clone() });
    request.selection.paths = owned(globs);
    shop.cloud.run_restore(&shop.cloud.new_id(), &request).await.unwrap();
    tree(&path)
}
