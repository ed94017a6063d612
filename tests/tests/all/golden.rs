//! A vault of format 1 that was made once restores for ever.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use holdfast_local::{Cloud, Options};
use holdfast_tests::golden::{directory, generate, home, restored};
use holdfast_tests::reader::Reader;
use holdfast_workflow::catalogue::rebuild;
use serde_json::Value;
use std::fs;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_golden_vault_of_format_1_restores() {
    let golden = directory(1);
    let dir = tempfile::tempdir().unwrap();
    home(&golden, dir.path());
    let cloud = Cloud::open(dir.path(), Options::default()).await.unwrap();
    let rebuilt = rebuild(cloud.services()).await.unwrap();
    assert_eq!((rebuilt.backups, rebuilt.resources, rebuilt.errors.len()), (5, 5, 0));
    let expected: Value =
        serde_json::from_str(&fs::read_to_string(golden.join("expected.json")).unwrap()).unwrap();
    let found = restored(&cloud, &dir.path().join("restored")).await;
    for (resource, wanted) in expected.as_object().unwrap() {
        assert_eq!(&found[resource], wanted, "{resource}");
    }
    assert_eq!(found, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_golden_vault_of_format_1_is_read_by_the_peer() {
    let dir = tempfile::tempdir().unwrap();
    home(&directory(1), dir.path());
    let Some(reader) = Reader::over(dir.path()) else { return };
    let listed: Value = serde_json::from_str(&reader.done(&["list", "--json"])).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 5);
    for backup in listed.as_array().unwrap() {
        reader.done(&["verify", backup["id"].as_str().unwrap()]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_the_generator_makes_now_holds_the_same() {
    let dir = tempfile::tempdir().unwrap();
    generate(dir.path()).await;
    let expected = |from: &std::path::Path| fs::read_to_string(from.join("expected.json")).unwrap();
    assert_eq!(expected(dir.path()), expected(&directory(1)));
}
