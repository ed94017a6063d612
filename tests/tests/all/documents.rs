//! A JSON document goes in and comes out equal: from the resource itself and from a file, whole and cut small.
#![allow(clippy::unwrap_used)] // Helpers of tests may panic as tests do.

use holdfast_connectors::{OnConflict, SourceSpec, TargetSpec};
use holdfast_tests::{back_up, cloud, configure, tiny_limits, whole};
use holdfast_vault::error::Code;
use holdfast_workflow::WorkLimits;
use holdfast_workflow::events::Selection;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

fn document() -> Value {
    let records: Vec<Value> = (0..300)
        .map(|id| json!({"id": id, "name": format!("Schraube №{id} \u{1f529}"), "deep": [[{"x": id}]]}))
        .collect();
    json!({
        "products": records,
        "by position": [3, "two", null, {"id": 1}, [1.5, {}], 3],
        "": [], "../..": [{"id": "a/b"}], "new\nline\u{202e}": {"a": {"b": [true]}}, "é": 5, "nothing": null,
    })
}

async fn comes_back(home: &Path, source: SourceSpec, limits: WorkLimits) -> String {
    let cloud = cloud(&home.join("home"), limits).await;
    configure(&cloud, "settings", source).await;
    let backup = back_up(&cloud, "settings").await;
    let verified = cloud.run_verify(&backup, "full").await.unwrap();
    assert!(verified.valid, "{:?}", verified.progress.findings);
    let path = home.join("restored.json");
    let request = whole(&backup, TargetSpec::Json { path: path.clone() });
    cloud.run_restore(&cloud.new_id(), &request).await.unwrap();
    let again = cloud.run_restore(&cloud.new_id(), &request).await.unwrap_err();
    assert_eq!(again.code, Code::TargetNotEmpty);
    let names: Vec<_> = fs::read_dir(home).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.iter().all(|name| !name.to_string_lossy().starts_with('.')), "{names:?}");
    fs::read_to_string(path).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_inline_document_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let source = SourceSpec::Json { document: Some(document()), path: None };
    let text = comes_back(dir.path(), source, WorkLimits::default()).await;
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), document());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_file_cut_into_many_tasks_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("settings.json");
    fs::write(&path, format!("{:#}", document())).unwrap();
    let source = SourceSpec::Json { document: None, path: Some(path) };
    let text = comes_back(dir.path(), source, tiny_limits()).await;
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), document());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn numbers_of_a_file_keep_their_text() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("numbers.json");
    let text = "{\n\"n\":[\n1e400,\n1.0,\n-0.10,\n123456789012345678901234567890\n],\n\
        \"o\":[\n{\"id\":1.50,\"z\":1E+2,\"a\":\"\\u00e9\"}\n]\n}\n";
    fs::write(&path, text).unwrap();
    let source = SourceSpec::Json { document: None, path: Some(path) };
    assert_eq!(comes_back(dir.path(), source, WorkLimits::default()).await, text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_id_twice_fails_the_backup() {
    for limits in [WorkLimits::default(), tiny_limits()] {
        let dir = tempfile::tempdir().unwrap();
        let cloud = cloud(&dir.path().join("home"), limits).await;
        let mut records: Vec<Value> = (0..200).map(|id| json!({"id": id, "text": "x".repeat(100)})).collect();
        records.push(json!({"id": 3}));
        let document = Some(json!({"fine": [1, 1], "orders": records}));
        configure(&cloud, "shop", SourceSpec::Json { document, path: None }).await;
        let error = cloud.run_backup(&cloud.new_id(), "shop", None).await.unwrap_err();
        assert_eq!(error.code, Code::SourceInvalid);
        assert_eq!(
            error.message,
            "two records have the same key: element 3 of collection orders and element 200 of collection orders"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn elements_are_chosen_by_position_and_by_id() {
    let dir = tempfile::tempdir().unwrap();
    let cloud = cloud(&dir.path().join("home"), WorkLimits::default()).await;
    configure(&cloud, "shop", SourceSpec::Json { document: Some(document()), path: None }).await;
    let backup = back_up(&cloud, "shop").await;
    let path = dir.path().join("some.json");
    let mut request = whole(&backup, TargetSpec::Json { path: path.clone() });
    request.on_conflict = OnConflict::Overwrite;
    for (stream, key, expected) in [
        ("by position", "1", json!({"by position": ["two"]})),
        ("products", "7", json!({"products": [document()["products"][7]]})),
        ("é", "0", json!({"é": 5})),
    ] {
        request.selection = Selection {
            streams: vec![stream.to_owned()],
            keys: vec![key.to_owned()],
            ..Selection::default()
        };
        cloud.run_restore(&cloud.new_id(), &request).await.unwrap();
        let restored: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(restored, expected);
    }
}
