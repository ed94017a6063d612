//! The target `jsonl`: new directories, merging into old ones, and repeats.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where it cannot go on"
)]

use holdfast_connectors::jsonl::JsonlTarget;
use holdfast_connectors::{OnConflict, Position, RecordBatch, RestoreOrder, Target};
use holdfast_vault::error::Code;
use holdfast_vault::model::{RecordEncoding, StreamInfo, StreamKind};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

fn stream(name: &str, file: Option<&str>) -> StreamInfo {
    let shape = StreamKind::Records { encoding: RecordEncoding::Json, key: vec!["/id".into()] };
    let schema = file.map_or(serde_json::Value::Null, |file| serde_json::json!({ "file": file }));
    StreamInfo { name: name.into(), shape, schema }
}

fn batch(lines: &[&str]) -> RecordBatch {
    let mut batch = RecordBatch::default();
    for line in lines {
        batch.push(b"[1]", line.as_bytes(), 0);
    }
    batch
}

struct Scene {
    dir: tempfile::TempDir,
    order: RestoreOrder,
}

impl Scene {
    fn new(on_conflict: OnConflict, streams: Vec<StreamInfo>) -> Self {
        let order = RestoreOrder { restore_id: "01R".into(), on_conflict, streams, partial: false };
        Self { dir: tempfile::tempdir().unwrap(), order }
    }

    fn holding(on_conflict: OnConflict, stream: StreamInfo, content: &str) -> Self {
        let scene = Self::new(on_conflict, vec![stream]);
        fs::create_dir(scene.to()).unwrap();
        fs::write(scene.to().join("orders.ndjson"), content).unwrap();
        scene
    }

    fn to(&self) -> PathBuf {
        self.dir.path().join("to")
    }

    fn target(&self) -> JsonlTarget {
        JsonlTarget::new(self.to(), &self.order)
    }

    async fn prepare(&self) {
        self.target().prepare(&self.order).await.unwrap();
    }

    async fn write(&self, stream: usize, bytes: u64, records: u64, lines: &[&str]) {
        let at = Position { bytes, records };
        let written =
            self.target().write_records(&self.order.streams[stream], at, &batch(lines)).await.unwrap();
        assert_eq!(written.written, lines.len() as u64);
        assert_eq!(written.bytes, lines.iter().map(|line| line.len() as u64).sum::<u64>());
    }

    async fn finish(&self) -> Vec<String> {
        let warnings = self.target().finish(&self.order).await.unwrap();
        assert_eq!(names(self.dir.path()), ["to"]);
        warnings.into_iter().map(|warning| format!("{}: {}", warning.code, warning.message)).collect()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.to().join(name)).unwrap()
    }
}

fn names(path: &std::path::Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn batches_in_any_order_and_twice_make_the_file() {
    let streams =
        vec![stream("orders", Some("orders.ndjson")), stream("a/b\n", None), stream("empty", Some("../x"))];
    let scene = Scene::new(OnConflict::Fail, streams);
    scene.target().check(&scene.order).await.unwrap();
    scene.prepare().await;
    scene.write(0, 18, 2, &["{\"id\":33}", "{\"id\":4}\r"]).await;
    scene.write(1, 0, 0, &["{}"]).await;
    scene.prepare().await;
    scene.write(0, 0, 0, &["{\"id\":11}", "{\"id\":22}"]).await;
    scene.write(0, 18, 2, &["{\"id\":33}", "{\"id\":4}\r"]).await;
    assert!(!scene.to().exists());
    assert!(scene.finish().await.is_empty());
    assert!(scene.finish().await.is_empty());
    assert_eq!(names(&scene.to()), ["a_b_.jsonl", "empty.jsonl", "orders.ndjson"]);
    assert_eq!(scene.read("orders.ndjson"), "{\"id\":11}\n{\"id\":22}\n{\"id\":33}\n{\"id\":4}\r\n");
    assert_eq!(scene.read("empty.jsonl"), "");
}

#[tokio::test]
async fn what_cannot_be_taken_is_refused() {
    let tree = StreamInfo { name: "files".into(), shape: StreamKind::Tree, schema: serde_json::Value::Null };
    let scene = Scene::new(OnConflict::Fail, vec![tree]);
    let error = scene.target().check(&scene.order).await.unwrap_err();
    assert_eq!(error.code, Code::TargetInvalid);
    assert!(error.hint.unwrap().contains("files:DIR"));
    let scene = Scene::new(OnConflict::Fail, vec![stream("a/b", None), stream("a_b", None)]);
    assert_eq!(scene.target().check(&scene.order).await.unwrap_err().code, Code::TargetInvalid);
    let scene = Scene::holding(OnConflict::Fail, stream("orders", Some("orders.ndjson")), "");
    assert_eq!(scene.target().check(&scene.order).await.unwrap_err().code, Code::TargetNotEmpty);
    assert_eq!(scene.target().prepare(&scene.order).await.unwrap_err().code, Code::TargetNotEmpty);
    assert_eq!(names(scene.dir.path()), ["to"]);
}

#[tokio::test]
async fn a_link_in_the_place_of_a_file_is_not_followed() {
    let scene = Scene::new(OnConflict::Overwrite, vec![stream("orders", Some("orders.ndjson"))]);
    fs::create_dir(scene.to()).unwrap();
    symlink("/etc/hostname", scene.to().join("orders.ndjson")).unwrap();
    let error = scene.target().check(&scene.order).await.unwrap_err();
    assert_eq!(error.code, Code::TargetInvalid);
    assert!(error.message.contains("orders.ndjson"));
}

#[tokio::test]
async fn abandoning_leaves_nothing_new() {
    let scene = Scene::new(OnConflict::Fail, vec![stream("orders", None)]);
    scene.prepare().await;
    scene.write(0, 0, 0, &["{\"id\":1}"]).await;
    scene.target().abandon(&scene.order).await.unwrap();
    scene.target().abandon(&scene.order).await.unwrap();
    assert!(names(scene.dir.path()).is_empty());
    let late =
        scene.target().write_records(&scene.order.streams[0], Position::default(), &batch(&["{}"])).await;
    assert_eq!(late.unwrap_err().code, Code::TargetInvalid);
}

const OLD: &str =
    "{\"id\":1,\"x\":\"old\"}\n\nno json\n{\"id\": 2, \"x\":\"same\"}\n{\"x\":\"no key\"}\n{\"id\":9}";
const NEW: [&str; 3] = ["{\"id\":3}", "{\"id\": 2, \"x\":\"same\"}", "{\"id\":1,\"x\":\"new\"}"];

async fn merged(on_conflict: OnConflict) -> (String, Vec<String>) {
    let scene = Scene::holding(on_conflict, stream("orders", Some("orders.ndjson")), OLD);
    fs::write(scene.to().join("other"), "other").unwrap();
    let old = scene.to().join("orders.ndjson");
    fs::set_permissions(&old, fs::Permissions::from_mode(0o604)).unwrap();
    scene.prepare().await;
    scene.write(0, 0, 0, &NEW).await;
    assert_eq!(scene.read("orders.ndjson"), OLD);
    scene.prepare().await;
    let warnings = scene.finish().await;
    assert_eq!(names(&scene.to()), ["orders.ndjson", "other"]);
    assert_eq!(fs::metadata(old).unwrap().permissions().mode() & 0o7777, 0o604);
    (scene.read("orders.ndjson"), warnings)
}

#[tokio::test]
async fn skip_keeps_the_lines_that_differ() {
    let (text, warnings) = merged(OnConflict::Skip).await;
    assert_eq!(text, format!("{OLD}\n{{\"id\":3}}\n"));
    assert_eq!(warnings, ["Conflicts: 1 records of stream orders differed and were kept"]);
}

#[tokio::test]
async fn overwrite_replaces_the_lines_that_differ() {
    let (text, warnings) = merged(OnConflict::Overwrite).await;
    let kept = OLD.strip_prefix("{\"id\":1,\"x\":\"old\"}\n").unwrap();
    assert_eq!(text, format!("{kept}\n{{\"id\":3}}\n{{\"id\":1,\"x\":\"new\"}}\n"));
    assert_eq!(warnings, ["Conflicts: 1 records of stream orders differed and were overwritten"]);
}

#[tokio::test]
async fn streams_that_the_directory_does_not_hold_are_added() {
    let scene = Scene::new(OnConflict::Skip, vec![stream("orders", None)]);
    fs::create_dir(scene.to()).unwrap();
    fs::write(scene.to().join("other"), "").unwrap();
    scene.prepare().await;
    scene.write(0, 0, 0, &["{\"id\":1}"]).await;
    assert!(scene.finish().await.is_empty());
    assert_eq!(scene.read("orders.jsonl"), "{\"id\":1}\n");
}

#[tokio::test]
async fn items_of_dynamodb_merge_by_their_attributes() {
    let shape =
        StreamKind::Records { encoding: RecordEncoding::DynamodbJson, key: vec!["pk".into(), "sk".into()] };
    let stream =
        StreamInfo { name: "t".into(), shape, schema: serde_json::json!({ "file": "orders.ndjson" }) };
    let old = "{\"pk\": {\"S\": \"a\"}, \"sk\": {\"N\": \"1\"}, \"x\": {\"NULL\": true}}\n";
    let scene = Scene::holding(OnConflict::Overwrite, stream, old);
    scene.prepare().await;
    let new = "{\"pk\":{\"S\":\"a\"},\"sk\":{\"N\":\"1\"},\"x\":{\"S\":\"\"}}";
    scene.write(0, 0, 0, &[new]).await;
    assert_eq!(scene.finish().await.len(), 1);
    assert_eq!(scene.read("orders.ndjson"), format!("{new}\n"));
}
