//! What goes in comes out: trees of hostile names, real records, and both with limits so small that everything is cut.
#![allow(clippy::unwrap_used, clippy::print_stderr)] // Helpers of tests may panic as tests do, and say what is left out.

use holdfast_connectors::{SourceSpec, TargetSpec};
use holdfast_tests::{
    back_up, cloud, configure, hostile_tree, shared_data, sorted_lines, tiny_limits, tree, whole,
};
use holdfast_workflow::WorkLimits;
use std::fs;
use std::io::Read as _;
use std::path::Path;

async fn tree_comes_back(limits: WorkLimits) {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("site");
    fs::create_dir(&source).unwrap();
    hostile_tree(&source);
    let cloud = cloud(&dir.path().join("home"), limits).await;
    configure(&cloud, "site", SourceSpec::Files { path: source.clone() }).await;
    let backup = back_up(&cloud, "site").await;
    let verified = cloud.run_verify(&backup, "full").await.unwrap();
    assert!(verified.valid, "{:?}", verified.progress.findings);
    let target = dir.path().join("restored");
    let request = whole(&backup, TargetSpec::Files { path: target.clone() });
    cloud.run_restore(&cloud.new_id(), &request).await.unwrap();
    assert_eq!(tree(&target), tree(&source));
    assert_eq!(
        fs::read_dir(dir.path().join("home/staging"))
            .unwrap()
            .filter(|e| !e.as_ref().unwrap().file_name().to_string_lossy().starts_with('.'))
            .count(),
        0,
        "staging is empty"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_tree_of_hostile_names_comes_back() {
    tree_comes_back(WorkLimits::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_tree_cut_into_many_tasks_steps_and_packs_comes_back() {
    tree_comes_back(tiny_limits()).await;
}

async fn lines_come_back(source: &Path, key: &[&str], limits: WorkLimits) {
    let dir = tempfile::tempdir().unwrap();
    let cloud = cloud(&dir.path().join("home"), limits).await;
    let key = key.iter().map(|pointer| (*pointer).to_owned()).collect();
    configure(&cloud, "records", SourceSpec::Jsonl { path: source.to_path_buf(), key }).await;
    let backup = back_up(&cloud, "records").await;
    let verified = cloud.run_verify(&backup, "full").await.unwrap();
    assert!(verified.valid, "{:?}", verified.progress.findings);
    let target = dir.path().join("restored");
    let request = whole(&backup, TargetSpec::Jsonl { path: target.clone() });
    cloud.run_restore(&cloud.new_id(), &request).await.unwrap();
    assert_eq!(sorted_lines(&target), sorted_lines(source));
}

fn gunzip(file: &Path) -> String {
    let mut text = String::new();
    flate2::read::GzDecoder::new(fs::File::open(file).unwrap()).read_to_string(&mut text).unwrap();
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn real_records_come_back_through_jsonl() {
    let Some(data) = shared_data() else {
        assert!(std::env::var_os("CI").is_none(), "CI has no real records beside the project");
        eprintln!("skipped: no real records beside the project");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    for name in ["bestbuy-categories", "bestbuy-stores"] {
        let records: Vec<serde_json::Value> =
            serde_json::from_str(&gunzip(&data.join(format!("{name}.json.gz")))).unwrap();
        let key = if name.ends_with("stores") { "storeId" } else { "id" };
        let lines: Vec<String> = records
            .into_iter()
            .map(|mut record| {
                let id = record.get(key).or(record.get("id")).unwrap().clone();
                record["key"] = id;
                record.to_string()
            })
            .collect();
        fs::write(dir.path().join(format!("{name}.jsonl")), lines.join("\n")).unwrap();
    }
    lines_come_back(dir.path(), &["/key"], WorkLimits::default()).await;
    lines_come_back(dir.path(), &["/key"], tiny_limits()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_inventory_with_a_key_of_two_parts_comes_back() {
    let Some(data) = shared_data() else {
        assert!(std::env::var_os("CI").is_none(), "CI has no real records beside the project");
        eprintln!("skipped: no real records beside the project");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let text = gunzip(&data.join("sunrise-inventory.csv.gz"));
    let mut rows = text.lines();
    let names: Vec<&str> = rows.next().unwrap().trim_end().split(',').collect();
    let lines: Vec<String> = rows
        .map(|row| {
            let cells = names.iter().zip(row.trim_end().split(','));
            let record: serde_json::Map<String, serde_json::Value> =
                cells.map(|(name, cell)| ((*name).to_owned(), cell.into())).collect();
            serde_json::Value::Object(record).to_string()
        })
        .collect();
    fs::write(dir.path().join("inventory.ndjson"), lines.join("\n")).unwrap();
    lines_come_back(dir.path(), &["/sku", "/supplyChannel"], tiny_limits()).await;
}
