//! JSON documents as a source and as a target: every element once, as it is written, and back.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where it cannot go on"
)]

use async_trait::async_trait;
use holdfast_connectors::document::{DocumentSource, DocumentTarget};
use holdfast_connectors::jsonl::JsonlTarget;
use holdfast_connectors::{
    Cursor, Flow, OnConflict, Position, RangeSink, RecordBatch, RecordSink, RestoreOrder, Sizing, Source,
    SourceRange, Target,
};
use holdfast_vault::error::{Code, Result};
use holdfast_vault::model::{RecordEncoding, StreamInfo, StreamKind, Warning};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

#[derive(Default)]
struct Ranges(Vec<SourceRange>);

#[async_trait]
impl RangeSink for Ranges {
    async fn range(&mut self, range: SourceRange) -> Result<()> {
        self.0.push(range);
        Ok(())
    }
}

/// Takes a batch a call.
#[derive(Default)]
struct Memory(Vec<(String, String, u64)>);

#[async_trait]
impl RecordSink for Memory {
    async fn records(&mut self, batch: &RecordBatch) -> Result<Flow> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        self.0.extend(batch.iter().map(|record| (text(record.key), text(record.value), record.origin)));
        Ok(Flow::Enough)
    }

    fn warn(&mut self, warning: Warning) {
        panic!("{warning:?}");
    }
}

fn sizing(bytes: u64) -> Sizing {
    Sizing { bytes, entries: 1000, workers: 2 }
}

async fn ranges(source: &dyn Source, stream: &StreamInfo, bytes: u64) -> Vec<SourceRange> {
    let mut ranges = Ranges::default();
    source.cut(stream, &sizing(bytes), &mut ranges).await.unwrap();
    ranges.0
}

async fn read(source: &dyn Source, stream: &StreamInfo, bytes: u64) -> Vec<(String, String, u64)> {
    let mut sink = Memory::default();
    for range in ranges(source, stream, bytes).await {
        let mut from: Option<Cursor> = None;
        loop {
            from = source.read_records(stream, &range, from.as_ref(), &mut sink).await.unwrap();
            if from.is_none() {
                break;
            }
        }
    }
    sink.0
}

struct Scene {
    dir: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn file(&self, text: impl AsRef<[u8]>) -> DocumentSource {
        let path = self.dir.path().join("shop.json");
        fs::write(&path, text).unwrap();
        DocumentSource::new(None, Some(&path)).unwrap()
    }

    fn to(&self) -> PathBuf {
        self.dir.path().join("to.json")
    }

    /// Writes all streams of a source in small batches, the last first, each twice.
    async fn copy(&self, source: &dyn Source, on_conflict: OnConflict) -> String {
        let streams = source.streams().await.unwrap();
        let order = order(streams, on_conflict);
        let target = || DocumentTarget::new(self.to(), &order);
        target().prepare(&order).await.unwrap();
        for stream in &order.streams {
            let keyed = matches!(&stream.shape, StreamKind::Records { key, .. } if !key.is_empty());
            let records = read(source, stream, 30).await;
            for (number, record) in records.iter().enumerate().rev() {
                let mut batch = RecordBatch::default();
                batch.push(if keyed { b"" } else { record.0.as_bytes() }, record.1.as_bytes(), 0);
                for _ in 0..2 {
                    let at = Position { bytes: 0, records: number as u64 };
                    let written = target().write_records(stream, at, &batch).await.unwrap();
                    assert_eq!((written.written, written.bytes), (1, record.1.len() as u64));
                }
            }
        }
        for _ in 0..2 {
            assert!(target().finish(&order).await.unwrap().is_empty());
        }
        assert_eq!(left(self.dir.path()), Vec::<String>::new());
        fs::read_to_string(self.to()).unwrap()
    }
}

fn order(streams: Vec<StreamInfo>, on_conflict: OnConflict) -> RestoreOrder {
    RestoreOrder { restore_id: "01R".into(), on_conflict, streams, partial: false }
}

/// What a restore left beside its file.
fn left(directory: &Path) -> Vec<String> {
    let names =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with('.')).collect()
}

fn keys(stream: &StreamInfo) -> &[String] {
    let StreamKind::Records { encoding: RecordEncoding::Json, key } = &stream.shape else {
        panic!("records")
    };
    key
}

#[tokio::test]
async fn collections_are_streams_keyed_by_id_or_by_position() {
    let scene = Scene::new();
    let source = scene.file(
        " { \"orders\" : [ {\"id\": 2, \"n\": 1.0 } , {\"b\":\"\\u00e9 ,]\",\"id\":\"x\"}\n],\n\"tags\": [ \"a\", null, {\"id\":1}, 1e400 ],
        \"none\": [ ], \"shop\": {\"id\": 5, \"n\" : 1e400}, \"version\": 12345678901234567890123 } ",
    );
    let streams = source.streams().await.unwrap();
    let told: Vec<_> = streams
        .iter()
        .map(|stream| {
            (stream.name.as_str(), keys(stream).len(), stream.schema["collection"].as_str().unwrap())
        })
        .collect();
    assert_eq!(
        told,
        [
            ("orders", 1, "array"),
            ("tags", 0, "array"),
            ("none", 1, "array"),
            ("shop", 0, "value"),
            ("version", 0, "value")
        ]
    );
    for bytes in [1, 30, 1 << 20] {
        let own = |records: &[(&str, &str)]| -> Vec<(String, String, u64)> {
            (0..).zip(records).map(|(at, (key, value))| ((*key).into(), (*value).into(), at)).collect()
        };
        assert_eq!(
            read(&source, &streams[0], bytes).await,
            own(&[("[2]", r#"{"id":2,"n":1.0}"#), (r#"["x"]"#, r#"{"b":"\u00e9 ,]","id":"x"}"#)])
        );
        assert_eq!(
            read(&source, &streams[1], bytes).await,
            own(&[("[0]", r#""a""#), ("[1]", "null"), ("[2]", r#"{"id":1}"#), ("[3]", "1e400")])
        );
        assert_eq!(read(&source, &streams[2], bytes).await, own(&[]));
        assert_eq!(read(&source, &streams[3], bytes).await, own(&[("[0]", r#"{"id":5,"n":1e400}"#)]));
        assert_eq!(read(&source, &streams[4], bytes).await, own(&[("[0]", "12345678901234567890123")]));
    }
    let place = source.describe_origin(&streams[0], &SourceRange(Value::Null), 1).await.unwrap();
    assert_eq!(place, "element 1 of collection orders");
}

#[tokio::test]
async fn documents_that_hold_no_collections_are_refused() {
    let scene = Scene::new();
    for (text, said) in [
        (&b"[]"[..], "is not one JSON object (line 1"),
        (b"{\"a\":[1,]}", "is not one JSON object (line 1, column 9)"),
        (b"{} {}", "is not one JSON object"),
        (b"\xef\xbb\xbf{}", "is not one JSON object"),
        (b"{\"a\":\"\xff\"}", "is not UTF-8"),
        (b"{}", "holds no collection"),
        (b"{\"a\":1,\"\\u0061\":2}", "has two collections named a"),
    ] {
        let error = scene.file(text).streams().await.unwrap_err();
        assert_eq!(error.code, Code::SourceInvalid);
        assert!(error.message.contains(said), "{}", error.message);
        assert!(error.hint.is_some() && error.object.is_some());
    }
    let missing = DocumentSource::new(None, Some(Path::new("/nonexistent/shop.json"))).unwrap();
    assert_eq!(missing.streams().await.unwrap_err().code, Code::SourceMissing);
    let both = DocumentSource::new(Some(&json!({})), Some(Path::new("x"))).unwrap_err();
    assert_eq!(
        (both.code, DocumentSource::new(None, None).unwrap_err().code),
        (Code::InvalidInput, both.code)
    );
}

#[tokio::test]
async fn a_file_that_changes_is_not_read_on() {
    let scene = Scene::new();
    let source = scene.file(r#"{"a":[{"id":1}]}"#);
    let stream = source.streams().await.unwrap().remove(0);
    let cut = ranges(&source, &stream, 100).await;
    scene.file(r#"{"a":[{"id":1},2]}"#);
    let error = source.read_records(&stream, &cut[0], None, &mut Memory::default()).await.unwrap_err();
    assert_eq!(error.code, Code::SourceChanged);
    let error = source.cut(&stream, &sizing(1), &mut Ranges::default()).await.unwrap_err();
    assert_eq!(error.code, Code::SourceChanged, "the collection lost its keys");
}

#[tokio::test]
async fn a_document_is_put_together_whatever_the_order_of_batches() {
    let scene = Scene::new();
    let text = scene
        .copy(
            &scene.file(
                r#"{"b":[{"id":10},{"id":9,"n":1.0},{"id":"x"},{"id":true}],"a/\n\"":[3,2,1,0,0,0,0,0,0,0,10],"":[],"..":{"x":[1e400]},"é":null}"#,
            ),
            OnConflict::Fail,
        )
        .await;
    let expected = "{\n\"b\":[\n{\"id\":9,\"n\":1.0},\n{\"id\":10},\n{\"id\":\"x\"},\n{\"id\":true}\n],\n\
        \"a/\\n\\\"\":[\n3,\n2,\n1,\n0,\n0,\n0,\n0,\n0,\n0,\n0,\n10\n],\n\"\":[],\n\"..\":{\"x\":[1e400]},\n\"é\":null\n}\n";
    assert_eq!(text, expected);
}

#[tokio::test]
async fn a_file_that_is_there_stays_unless_it_may_be_replaced() {
    let scene = Scene::new();
    let source = scene.file(r#"{"a":[1]}"#);
    fs::write(scene.to(), "mine").unwrap();
    for (policy, code) in [(OnConflict::Fail, Code::TargetNotEmpty), (OnConflict::Skip, Code::TargetInvalid)]
    {
        let order = order(source.streams().await.unwrap(), policy);
        let error = DocumentTarget::new(scene.to(), &order).prepare(&order).await.unwrap_err();
        assert_eq!(error.code, code);
        assert!(error.hint.is_some());
    }
    assert_eq!(fs::read_to_string(scene.to()).unwrap(), "mine");
    assert_eq!(scene.copy(&source, OnConflict::Overwrite).await, "{\n\"a\":[\n1\n]\n}\n");
}

#[tokio::test]
async fn a_file_that_comes_meanwhile_is_not_replaced_and_abandoning_leaves_nothing() {
    let scene = Scene::new();
    let order = order(scene.file(r#"{"a":[1]}"#).streams().await.unwrap(), OnConflict::Fail);
    let target = DocumentTarget::new(scene.to(), &order);
    target.prepare(&order).await.unwrap();
    fs::write(scene.to(), "mine").unwrap();
    assert_eq!(target.finish(&order).await.unwrap_err().code, Code::TargetNotEmpty);
    target.abandon(&order).await.unwrap();
    target.abandon(&order).await.unwrap();
    assert_eq!((fs::read_to_string(scene.to()).unwrap().as_str(), left(scene.dir.path()).len()), ("mine", 0));
    fs::remove_file(scene.to()).unwrap();
    assert!(target.finish(&order).await.is_err(), "nothing is prepared");
    let batch = RecordBatch::default();
    assert!(target.write_records(&order.streams[0], Position::default(), &batch).await.is_err());
}

#[tokio::test]
async fn what_a_document_cannot_hold_is_refused() {
    let scene = Scene::new();
    let tree = StreamInfo { name: "files".into(), shape: StreamKind::Tree, schema: Value::Null };
    let trees = order(vec![tree], OnConflict::Fail);
    let error = DocumentTarget::new(scene.to(), &trees).check(&trees).await.unwrap_err();
    assert_eq!((error.code, error.object.as_deref()), (Code::TargetInvalid, Some("files")));
    let large = order(scene.file(r#"{"a":[1]}"#).streams().await.unwrap(), OnConflict::Fail);
    let target = DocumentTarget::new(scene.to(), &large);
    target.prepare(&large).await.unwrap();
    let mut batch = RecordBatch::default();
    batch.push(b"[0]", b"1", 0);
    let at = Position { bytes: 256 << 20, records: 5 };
    let error = target.write_records(&large.streams[0], at, &batch).await.unwrap_err();
    assert_eq!(error.code, Code::TargetInvalid);
    assert!(error.message.contains("256 MiB"));
    let folder = order(large.streams.clone(), OnConflict::Overwrite);
    let error = DocumentTarget::new(scene.dir.path(), &folder).check(&folder).await.unwrap_err();
    assert_eq!(error.code, Code::TargetInvalid);
}

#[tokio::test]
async fn lines_take_records_without_keys_but_not_into_a_file_that_is_there() {
    let scene = Scene::new();
    let lines = scene.dir.path().join("lines");
    let order = order(scene.file(r#"{"a":[1]}"#).streams().await.unwrap(), OnConflict::Overwrite);
    let target = || JsonlTarget::new(&lines, &order);
    target().prepare(&order).await.unwrap();
    let mut batch = RecordBatch::default();
    batch.push(b"[0]", b"1", 0);
    target().write_records(&order.streams[0], Position::default(), &batch).await.unwrap();
    target().finish(&order).await.unwrap();
    assert_eq!(fs::read_to_string(lines.join("a.jsonl")).unwrap(), "1\n");
    assert_eq!(target().check(&order).await.unwrap_err().code, Code::TargetInvalid);
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<i32>().prop_map(|number| Value::from(f64::from(number) / 8.0)),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(any::<String>(), inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn collection() -> impl Strategy<Value = Value> {
    let keyed = proptest::collection::btree_map(any::<u16>(), value(), 0..5).prop_map(|records| {
        records.into_iter().map(|(id, value)| json!({"id": id, "value": value})).collect::<Value>()
    });
    prop_oneof![keyed, value()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_document_comes_back(
        document in proptest::collection::btree_map(any::<String>(), collection(), 1..5), pretty: bool, inline: bool
    ) {
        let document: BTreeMap<String, Value> = document;
        let document = Value::Object(document.into_iter().collect());
        // Arrays of hand-made ids are checked above; here the order of elements must stay.
        let text = if pretty { format!("{document:#}") } else { document.to_string() };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let copied = runtime.block_on(async {
            let scene = Scene::new();
            let source =
                if inline { DocumentSource::new(Some(&document), None).unwrap() } else { scene.file(text) };
            scene.copy(&source, OnConflict::Fail).await
        });
        prop_assert_eq!(serde_json::from_str::<Value>(&copied).unwrap(), document);
    }
}
