//! Tables come back item for item, with what stands beside the items, and what is in their way is told.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, ScalarAttributeType};
use holdfast_connectors::{OnConflict, SourceSpec, TargetSpec};
use holdfast_local::Cloud;
use holdfast_tests::data::{inventory, real_data, stores};
use holdfast_tests::tables::{
    Item, item, item_of, make, make_with_settings, number, put, scan, settings, text, typed,
};
use holdfast_tests::{back_up, cloud, configure, sorted_lines, tiny_limits, whole};
use holdfast_vault::error::Code;
use holdfast_workflow::WorkLimits;
use holdfast_workflow::events::RestoreRequest;
use serde_json::{Value, json};
use std::fs;

struct Shop {
    dir: tempfile::TempDir,
    cloud: Cloud,
    tables: Client,
}

impl Shop {
    async fn new(limits: WorkLimits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cloud = cloud(&dir.path().join("home"), limits).await;
        let tables = cloud.tables();
        Self { dir, cloud, tables }
    }

    /// Backs a table up, verified in full.
    async fn back_up(&self, table: &str) -> String {
        configure(&self.cloud, table, source(table)).await;
        let backup = back_up(&self.cloud, table).await;
        let verified = self.cloud.run_verify(&backup, "full").await.unwrap();
        assert!(verified.valid, "{:?}", verified.progress.findings);
        backup
    }

    async fn restore(&self, request: &RestoreRequest) {
        self.cloud.run_restore(&self.cloud.new_id(), request).await.unwrap();
    }
}

fn source(table: &str) -> SourceSpec {
    SourceSpec::Dynamodb { table: table.to_owned(), endpoint: Some("embedded".to_owned()), region: None }
}

fn target(table: &str) -> TargetSpec {
    TargetSpec::Dynamodb { table: table.to_owned(), endpoint: Some("embedded".to_owned()), region: None }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn real_shops_come_back_into_a_new_table_of_the_same_settings() {
    let Some(data) = real_data() else { return };
    let items: Vec<Item> = stores(&data).iter().map(item_of).collect();
    let shop = Shop::new(WorkLimits::default()).await;
    make_with_settings(&shop.tables, "stores").await;
    put(&shop.tables, "stores", &items).await;
    let backup = shop.back_up("stores").await;
    shop.restore(&whole(&backup, target("stores-restored"))).await;
    assert_eq!(scan(&shop.tables, "stores-restored").await, typed(&items));
    let settings = (settings(&shop.tables, "stores").await, settings(&shop.tables, "stores-restored").await);
    assert_eq!(settings.1, settings.0);
    assert_eq!(settings.0["ttl"], "expires");
    assert_eq!(settings.0["tags"], json!({"cost": "", "team": "shops"}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_real_inventory_with_a_key_of_two_parts_comes_back() {
    let Some(data) = real_data() else { return };
    let items: Vec<Item> = inventory(&data).iter().map(item_of).collect();
    let shop = Shop::new(WorkLimits { step_bytes: 1_000_000, ..WorkLimits::default() }).await;
    make(
        &shop.tables,
        "inventory",
        &[("sku", ScalarAttributeType::S), ("supplyChannel", ScalarAttributeType::S)],
    )
    .await;
    put(&shop.tables, "inventory", &items).await;
    let backup = shop.back_up("inventory").await;
    shop.restore(&whole(&backup, target("again"))).await;
    assert_eq!(scan(&shop.tables, "again").await, typed(&items));
}

/// Items of every type that DynamoDB has, with the values that are easily lost.
fn items_of_every_type() -> Vec<Item> {
    let blob = |bytes: &[u8]| AttributeValue::B(Blob::new(bytes));
    let every_byte: Vec<u8> = (0..=255).collect();
    let mut deep = AttributeValue::L(vec![number("1")]);
    for _ in 0..14 {
        deep = AttributeValue::M(item([("in", AttributeValue::L(vec![deep]))]));
    }
    let values = [
        text(""),
        text("\u{0}\u{1}\n\"\\/\u{7f}\u{2028}\u{1f600}"),
        number("0"),
        number("-0.00000000000000000000000000000000000001"),
        number("12345678901234567890123456789012345678"),
        number("1.2345678901234567890123456789012345678"),
        number("9.9999999999999999999999999999999999999E+125"),
        number("1E-130"),
        blob(b""),
        blob(&every_byte),
        AttributeValue::Bool(true),
        AttributeValue::Bool(false),
        AttributeValue::Null(true),
        AttributeValue::L(Vec::new()),
        AttributeValue::M(Item::new()),
        AttributeValue::L(vec![
            text(""),
            number("1"),
            AttributeValue::Null(true),
            AttributeValue::M(Item::new()),
        ]),
        AttributeValue::Ss(vec!["b".to_owned(), "a".to_owned(), "\u{e9}".to_owned()]),
        AttributeValue::Ns(vec![
            "3".to_owned(),
            "-1.5".to_owned(),
            "12345678901234567890123456789012345678".to_owned(),
        ]),
        AttributeValue::Bs(vec![Blob::new([0xff]), Blob::new([0]), Blob::new(every_byte.clone())]),
        deep,
    ];
    let mut items: Vec<Item> = (0_u8..)
        .zip(values)
        .map(|(at, value)| {
            item([("hash", blob(&[at, 0, 0xff])), ("range", number(&at.to_string())), ("value", value)])
        })
        .collect();
    items.push(item([
        ("hash", blob(b"only a key")),
        ("range", number("-12345678901234567890123456789012345678")),
    ]));
    items.push(item([
        ("hash", blob(b"names")),
        ("range", number("0.5")),
        ("a.b", text("1")),
        ("\u{fc} \"quoted\"", text("2")),
        ("$ref", item_attribute()),
    ]));
    items
}

fn item_attribute() -> AttributeValue {
    AttributeValue::M(item([("S", text("not a type")), ("N", AttributeValue::Null(true))]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_type_of_attribute_comes_back() {
    let shop = Shop::new(tiny_limits()).await;
    make(&shop.tables, "types", &[("hash", ScalarAttributeType::B), ("range", ScalarAttributeType::N)]).await;
    put(&shop.tables, "types", &items_of_every_type()).await;
    // The service may write a number in another way than it was given; what it holds is what must come back.
    let held = scan(&shop.tables, "types").await;
    assert_eq!(held.len(), items_of_every_type().len());
    let backup = shop.back_up("types").await;
    shop.restore(&whole(&backup, target("again"))).await;
    assert_eq!(scan(&shop.tables, "again").await, held);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_table_becomes_lines_and_lines_become_a_table() {
    let Some(data) = real_data() else { return };
    let mut records = stores(&data);
    for record in &mut records {
        record["id"] = Value::String(record["id"].to_string());
    }
    let items: Vec<Item> = records.iter().map(item_of).collect();
    let shop = Shop::new(tiny_limits()).await;
    make(&shop.tables, "stores", &[("id", ScalarAttributeType::S)]).await;
    put(&shop.tables, "stores", &items).await;
    let backup = shop.back_up("stores").await;
    let lines = shop.dir.path().join("lines");
    shop.restore(&whole(&backup, TargetSpec::Jsonl { path: lines.clone() })).await;
    let restored = sorted_lines(&lines).remove("stores.jsonl").expect("one file of the stream's name");
    assert_eq!(restored.len(), items.len());
    for line in restored {
        let line: Value = serde_json::from_slice(&line).unwrap();
        assert!(line["id"]["S"].is_string() && line["location"]["M"]["lat"]["N"].is_string(), "{line}");
    }

    let plain = shop.dir.path().join("plain");
    fs::create_dir(&plain).unwrap();
    let lines: Vec<String> = records.iter().map(Value::to_string).collect();
    fs::write(plain.join("stores.jsonl"), lines.join("\n")).unwrap();
    configure(&shop.cloud, "lines", SourceSpec::Jsonl { path: plain, key: vec!["/id".to_owned()] }).await;
    let backup = back_up(&shop.cloud, "lines").await;
    shop.restore(&whole(&backup, target("from-lines"))).await;
    assert_eq!(scan(&shop.tables, "from-lines").await, typed(&items));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_a_table_holds_is_kept_or_overwritten_as_asked() {
    let shop = Shop::new(WorkLimits::default()).await;
    make(&shop.tables, "orders", &[("id", ScalarAttributeType::S)]).await;
    let order = |id: u32, state: &str| item([("id", text(&format!("o-{id}"))), ("state", text(state))]);
    let paid: Vec<Item> = (0..60).map(|id| order(id, "paid")).collect();
    put(&shop.tables, "orders", &paid).await;
    let backup = shop.back_up("orders").await;
    // Ten are changed, ten are gone, five are new.
    let changed: Vec<Item> = (0..10).map(|id| order(id, "broken")).collect();
    put(&shop.tables, "orders", &changed).await;
    for id in 10..20 {
        let request = shop.tables.delete_item().table_name("orders").key("id", text(&format!("o-{id}")));
        request.send().await.unwrap();
    }
    let new: Vec<Item> = (60..65).map(|id| order(id, "new")).collect();
    put(&shop.tables, "orders", &new).await;
    let before = scan(&shop.tables, "orders").await;

    let mut request = whole(&backup, target("orders"));
    let error = shop.cloud.run_restore(&shop.cloud.new_id(), &request).await.unwrap_err();
    assert_eq!(error.code, Code::TargetNotEmpty, "{error:?}");
    assert_eq!(scan(&shop.tables, "orders").await, before, "nothing was written");

    request.on_conflict = OnConflict::Skip;
    let job = shop.cloud.run_restore(&shop.cloud.new_id(), &request).await.unwrap();
    assert_eq!(holdfast_workflow::restore::asked(&job).unwrap().3.conflicts, 10);
    let kept: Vec<Item> = [&changed[..], &paid[10..], &new[..]].concat();
    assert_eq!(scan(&shop.tables, "orders").await, typed(&kept));

    request.on_conflict = OnConflict::Overwrite;
    let job = shop.cloud.run_restore(&shop.cloud.new_id(), &request).await.unwrap();
    assert_eq!(holdfast_workflow::restore::asked(&job).unwrap().3.conflicts, 10);
    assert_eq!(scan(&shop.tables, "orders").await, typed(&[&paid[..], &new[..]].concat()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_backup_is_of_its_time_whatever_happens_to_the_table() {
    let shop = Shop::new(WorkLimits::default()).await;
    make(&shop.tables, "orders", &[("id", ScalarAttributeType::S)]).await;
    let items: Vec<Item> =
        (0..40).map(|id| item([("id", text(&format!("o-{id}"))), ("n", number("1"))])).collect();
    put(&shop.tables, "orders", &items).await;
    let first = shop.back_up("orders").await;
    put(&shop.tables, "orders", &[item([("id", text("o-1")), ("n", number("2"))])]).await;
    let changed = scan(&shop.tables, "orders").await;
    let second = shop.back_up("orders").await;
    shop.tables.delete_table().table_name("orders").send().await.unwrap();

    shop.restore(&whole(&first, target("first"))).await;
    shop.restore(&whole(&second, target("second"))).await;
    assert_eq!(scan(&shop.tables, "first").await, typed(&items));
    assert_eq!(scan(&shop.tables, "second").await, changed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_table_that_is_missing_is_named() {
    let shop = Shop::new(WorkLimits::default()).await;
    configure(&shop.cloud, "orders", source("no-such-table")).await;
    let error = shop.cloud.run_backup(&shop.cloud.new_id(), "orders", None).await.unwrap_err();
    assert_eq!(error.code, Code::SourceMissing);
    assert!(error.message.contains("no-such-table") && error.hint.is_some(), "{error:?}");
    assert_eq!(shop.cloud.services().vault.backups().await.unwrap(), Vec::<String>::new());
}
