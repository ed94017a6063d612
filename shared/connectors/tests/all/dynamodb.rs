//! The `dynamodb` source and target, against a DynamoDB server on the loopback.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::aws;

use crate::aws::{Ranges, Records, answer, dynamodb, dynamodb_at, dynamodb_server};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType,
    LocalSecondaryIndex, Projection, ProjectionType, PutRequest, ScalarAttributeType, StreamSpecification,
    StreamViewType, Tag, TimeToLiveSpecification, WriteRequest,
};
use holdfast_connectors::dynamodb::{Delays, DynamoDbSource, DynamoDbTarget};
use holdfast_connectors::{
    Limits, OnConflict, Position, RecordBatch, RestoreOrder, Sizing, Source, Target, Written,
};
use holdfast_vault::error::{Code, Error};
use holdfast_vault::model::{RecordEncoding, StreamInfo, StreamKind};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

type Item = HashMap<String, AttributeValue>;
type Table = BTreeMap<Vec<u8>, Vec<u8>>;

fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

fn number(number: &str) -> AttributeValue {
    AttributeValue::N(number.to_owned())
}

fn item<const N: usize>(attributes: [(&str, AttributeValue); N]) -> Item {
    attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn attribute(name: &str, kind: ScalarAttributeType) -> AttributeDefinition {
    AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build().unwrap()
}

fn key(name: &str, kind: KeyType) -> KeySchemaElement {
    KeySchemaElement::builder().attribute_name(name).key_type(kind).build().unwrap()
}

/// A table with nothing but a key.
async fn plain_table(client: &Client, name: &str) {
    client
        .create_table()
        .table_name(name)
        .attribute_definitions(attribute("id", ScalarAttributeType::S))
        .key_schema(key("id", KeyType::Hash))
        .billing_mode(BillingMode::PayPerRequest)
        .send()
        .await
        .unwrap();
}

/// A table with everything that the server knows.
async fn full_table(client: &Client, name: &str) {
    let projection = |kind: ProjectionType| Projection::builder().projection_type(kind);
    let some = projection(ProjectionType::Include).non_key_attributes("b").non_key_attributes("a").build();
    let global = GlobalSecondaryIndex::builder().index_name("by-mail").key_schema(key("mail", KeyType::Hash));
    let local = LocalSecondaryIndex::builder()
        .index_name("by-day")
        .key_schema(key("id", KeyType::Hash))
        .key_schema(key("day", KeyType::Range))
        .projection(projection(ProjectionType::KeysOnly).build());
    let stream =
        StreamSpecification::builder().stream_enabled(true).stream_view_type(StreamViewType::NewAndOldImages);
    let made = client
        .create_table()
        .table_name(name)
        .attribute_definitions(attribute("id", ScalarAttributeType::S))
        .attribute_definitions(attribute("at", ScalarAttributeType::N))
        .attribute_definitions(attribute("mail", ScalarAttributeType::S))
        .attribute_definitions(attribute("day", ScalarAttributeType::B))
        .key_schema(key("id", KeyType::Hash))
        .key_schema(key("at", KeyType::Range))
        .global_secondary_indexes(global.projection(some).build().unwrap())
        .local_secondary_indexes(local.build().unwrap())
        .billing_mode(BillingMode::PayPerRequest)
        .stream_specification(stream.build().unwrap())
        .deletion_protection_enabled(true)
        .tags(Tag::builder().key("team").value("shop").build().unwrap())
        .send()
        .await
        .unwrap();
    assert!(made.table_description.unwrap().table_arn.is_some());
    let ttl = TimeToLiveSpecification::builder().enabled(true).attribute_name("expires").build().unwrap();
    client.update_time_to_live().table_name(name).time_to_live_specification(ttl).send().await.unwrap();
}

async fn put_all(client: &Client, table: &str, items: Vec<Item>) {
    for some in items.chunks(25) {
        let puts = some.iter().map(|item| {
            let put = PutRequest::builder().set_item(Some(item.clone())).build().unwrap();
            WriteRequest::builder().put_request(put).build()
        });
        let puts = client.batch_write_item().request_items(table, puts.collect());
        assert!(puts.send().await.unwrap().unprocessed_items.is_none_or(|left| left.is_empty()));
    }
}

fn source(client: &Client, table: &str) -> DynamoDbSource {
    DynamoDbSource::new(client.clone(), table, Limits::default(), 1)
}

fn target(client: &Client, table: &str, on_conflict: OnConflict) -> DynamoDbTarget {
    DynamoDbTarget::new(client.clone(), table, Limits::default(), on_conflict)
        .with_delays(Delays { poll: Duration::ZERO, retry: Duration::ZERO })
}

fn sizing(workers: u32) -> Sizing {
    Sizing { bytes: 64 << 20, entries: 1 << 20, workers }
}

/// All records of a table, and its stream.
async fn backup(client: &Client, table: &str) -> (StreamInfo, Table) {
    let source = source(client, table);
    let stream = source.streams().await.unwrap().remove(0);
    let (mut ranges, mut records) = (Ranges::default(), Records::default());
    source.cut(&stream, &sizing(2), &mut ranges).await.unwrap();
    for range in ranges.0 {
        assert_eq!(source.read_records(&stream, &range, None, &mut records).await.unwrap(), None);
    }
    assert_eq!(records.seen, records.kept.len(), "no record comes twice");
    (stream, records.kept)
}

fn batch(records: &Table) -> RecordBatch {
    let mut batch = RecordBatch::default();
    for (key, value) in records {
        batch.push(key, value, 0);
    }
    batch
}

fn order(id: &str, on_conflict: OnConflict, stream: &StreamInfo) -> RestoreOrder {
    RestoreOrder { restore_id: id.to_owned(), on_conflict, streams: vec![stream.clone()], partial: false }
}

async fn restore(
    client: &Client,
    table: &str,
    on_conflict: OnConflict,
    stream: &StreamInfo,
    records: &Table,
) -> Result<Written, Error> {
    let (target, order) = (target(client, table, on_conflict), order("r1", on_conflict, stream));
    target.check(&order).await?;
    target.prepare(&order).await?;
    let written = target.write_records(stream, Position::default(), &batch(records)).await?;
    target.finish(&order).await?;
    Ok(written)
}

fn every_type() -> Item {
    item([
        ("id", text("every type")),
        ("at", number("-12345678901234567890123456789012345678")),
        ("small", number("0.00000000000000000000000000000000000012345678901234567890123456789012345678")),
        ("empty", text("")),
        ("odd", text("\u{0}\u{1f}\"\\/\u{7f}é\u{1F600}\u{2028}")),
        ("bytes", AttributeValue::B(Blob::new([0, 255, 62, 63]))),
        ("no bytes", AttributeValue::B(Blob::new([]))),
        ("yes", AttributeValue::Bool(true)),
        ("no", AttributeValue::Bool(false)),
        ("null", AttributeValue::Null(true)),
        ("texts", AttributeValue::Ss(vec!["z".into(), String::new(), "B".into(), "a".into()])),
        ("numbers", AttributeValue::Ns(vec!["10".into(), "9".into(), "-1".into(), "1.5".into()])),
        ("blobs", AttributeValue::Bs(vec![Blob::new([255]), Blob::new([0]), Blob::new([])])),
        (
            "nested",
            AttributeValue::M(item([
                ("z", AttributeValue::L(vec![number("1"), text("1"), AttributeValue::L(vec![])])),
                ("A", AttributeValue::M(Item::new())),
                ("a", AttributeValue::Ss(vec!["b".into(), "a".into()])),
            ])),
        ),
    ])
}

#[tokio::test]
async fn every_attribute_type_and_the_table_come_back() {
    let client = dynamodb().await;
    full_table(&client, "orders").await;
    let large = item([("id", text("large")), ("at", number("1")), ("data", text(&"x".repeat(409_500)))]);
    put_all(&client, "orders", vec![every_type(), large]).await;
    let (stream, records) = backup(&client, "orders").await;
    assert_eq!(records.len(), 2);
    let key = br#"[{"S":"every type"},{"N":"-12345678901234567890123456789012345678"}]"#;
    let value = String::from_utf8(records[key.as_slice()].clone()).unwrap();
    for part in [
        r#""blobs":{"BS":["","AA==","/w=="]}"#,
        r#""empty":{"S":""}"#,
        r#""nested":{"M":{"A":{"M":{}},"a":{"SS":["a","b"]},"z":{"L":[{"N":"1"},{"S":"1"},{"L":[]}]}}}"#,
        r#""numbers":{"NS":["-1","1.5","10","9"]}"#,
        r#""texts":{"SS":["","B","a","z"]}"#,
    ] {
        assert!(value.contains(part), "{part} is not in {value}");
    }

    let copy = target(&client, "copy", OnConflict::Fail);
    let order = order("r1", OnConflict::Fail, &stream);
    copy.prepare(&order).await.unwrap();
    copy.write_records(&stream, Position::default(), &batch(&records)).await.unwrap();
    let warnings = copy.finish(&order).await.unwrap();
    let told: Vec<_> =
        warnings.iter().map(|warning| (warning.code.as_str(), warning.message.as_str())).collect();
    let unread = "table copy: continuous backups: not restored: the backup does not hold them";
    assert_eq!(told, [("SettingNotRestored", unread)], "the server has no continuous backups to read");

    let (again, items) = backup(&client, "copy").await;
    assert_eq!(items, records);
    assert_eq!(again.schema, stream.schema);
    assert_eq!(again.shape, stream.shape);
    let schema = serde_json::to_string(&stream.schema).unwrap();
    for part in
        ["by-mail", "by-day", "expires", "NEW_AND_OLD_IMAGES", "team", r#""unread":["continuous_backups"]"#]
    {
        assert!(schema.contains(part), "{part} is not in {schema}");
    }
    assert_eq!(copy.finish(&order).await.unwrap(), [], "a repeat finds all done");
}

#[tokio::test]
async fn segments_and_cursors_together_give_each_item_once() {
    let client = dynamodb().await;
    plain_table(&client, "products").await;
    let items = (0..3000)
        .map(|n| item([("id", text(&format!("p{n}"))), ("note", text(&"n".repeat(n % 2000 + 900)))]));
    put_all(&client, "products", items.collect()).await;
    let source = source(&client, "products");
    let stream = source.streams().await.unwrap().remove(0);
    let mut ranges = Ranges::default();
    let small = Sizing { bytes: 2 << 20, entries: 1 << 20, workers: 1 };
    source.cut(&stream, &small, &mut ranges).await.unwrap();
    assert!(ranges.0.len() >= 2, "{} ranges", ranges.0.len());

    let mut records = Records { stop_always: true, ..Records::default() };
    let mut calls = 0;
    for range in &ranges.0 {
        calls += aws::read_records(&source, &stream, range, &mut records).await;
    }
    assert!(calls > ranges.0.len(), "some segment has more than one page");
    assert_eq!((records.seen, records.kept.len()), (3000, 3000));
    assert!(records.largest_batch < 2 << 20);

    let written = restore(&client, "products-2", OnConflict::Fail, &stream, &records.kept).await.unwrap();
    assert_eq!((written.written, written.conflicts), (3000, 0));
    assert_eq!(backup(&client, "products-2").await.1, records.kept);
}

/// A table `old` with `a` and `b`, and a table `now` where `a` is equal, `b` differs and `c` is extra.
async fn two_tables(client: &Client) -> (StreamInfo, Table) {
    let entry = |id: &str, price: &str| item([("id", text(id)), ("price", number(price))]);
    plain_table(client, "old").await;
    plain_table(client, "now").await;
    put_all(client, "old", vec![entry("a", "1"), entry("b", "2"), entry("d", "4")]).await;
    put_all(client, "now", vec![entry("a", "1.0"), entry("b", "3"), entry("c", "3")]).await;
    backup(client, "old").await
}

async fn price(client: &Client, table: &str, id: &str) -> Option<AttributeValue> {
    client.get_item().table_name(table).key("id", text(id)).send().await.unwrap().item?.remove("price")
}

#[tokio::test]
async fn conflicts_go_as_the_policy_says() {
    let client = dynamodb().await;
    let (stream, records) = two_tables(&client).await;
    let refused = restore(&client, "now", OnConflict::Fail, &stream, &records).await.unwrap_err();
    assert_eq!(refused.code, Code::TargetNotEmpty);

    let kept = restore(&client, "now", OnConflict::Skip, &stream, &records).await.unwrap();
    assert_eq!((kept.written, kept.conflicts), (2, 1));
    assert_eq!(price(&client, "now", "b").await, Some(number("3")));
    assert_eq!(price(&client, "now", "d").await, Some(number("4")));

    let over = restore(&client, "now", OnConflict::Overwrite, &stream, &records).await.unwrap();
    assert_eq!((over.written, over.conflicts), (3, 1));
    assert_eq!(price(&client, "now", "b").await, Some(number("2")));
    assert_eq!(price(&client, "now", "c").await, Some(number("3")), "what the backup does not hold stays");

    let again = restore(&client, "now", OnConflict::Overwrite, &stream, &records).await.unwrap();
    assert_eq!((again.written, again.conflicts, again.bytes), (3, 0, 0));
}

#[tokio::test]
async fn an_empty_table_is_filled_under_a_condition_and_again() {
    let client = dynamodb().await;
    let (stream, records) = two_tables(&client).await;
    plain_table(&client, "empty").await;
    let order = order("r1", OnConflict::Fail, &stream);
    let first = target(&client, "empty", OnConflict::Fail);
    first.check(&order).await.unwrap();
    first.prepare(&order).await.unwrap();
    let batch = batch(&records);
    let written = first.write_records(&stream, Position::default(), &batch).await.unwrap();
    assert_eq!((written.written, written.conflicts), (3, 0));

    // Another process repeats all of it, and finds its own items.
    let second = target(&client, "empty", OnConflict::Fail);
    second.check(&order).await.unwrap();
    second.prepare(&order).await.unwrap();
    let written = second.write_records(&stream, Position::default(), &batch).await.unwrap();
    assert_eq!((written.written, written.conflicts, written.bytes), (3, 0, 0));

    put_all(&client, "empty", vec![item([("id", text("b")), ("price", number("9"))])]).await;
    let conflict = second.write_records(&stream, Position::default(), &batch).await.unwrap_err();
    assert_eq!(conflict.code, Code::TargetConflict);
    assert!(conflict.message.contains("table empty") && !conflict.message.contains("\"b\""), "{conflict}");

    // Somebody else's table is not deleted, and is nobody's after it.
    second.abandon(&order).await.unwrap();
    assert_eq!(price(&client, "empty", "b").await, Some(number("9")));
    assert_eq!(second.check(&order).await.unwrap_err().code, Code::TargetNotEmpty);
}

#[tokio::test]
async fn a_lost_race_is_a_conflict_and_loses_nothing() {
    let address = dynamodb_server().await;
    let client = dynamodb_at(address, |_| None);
    let (stream, records) = two_tables(&client).await;
    // The items appear between the look and the write: the look is answered as if the table were empty.
    let blind = dynamodb_at(address, |request| {
        (request.headers().get("x-amz-target")? == "DynamoDB_20120810.BatchGetItem")
            .then(|| answer(200, r#"{"Responses":{},"UnprocessedKeys":{}}"#))
    });
    let skip = target(&blind, "now", OnConflict::Skip);
    let written = skip.write_records(&stream, Position::default(), &batch(&records)).await.unwrap();
    assert_eq!((written.written, written.conflicts), (2, 1));
    assert_eq!(price(&client, "now", "b").await, Some(number("3")));
}

#[tokio::test]
async fn a_table_that_a_restore_made_is_its_own_until_it_is_finished() {
    let client = dynamodb().await;
    let (stream, records) = two_tables(&client).await;
    let target = target(&client, "new", OnConflict::Fail);
    let (mine, other) = (order("r1", OnConflict::Fail, &stream), order("r2", OnConflict::Skip, &stream));
    target.check(&mine).await.unwrap();
    for _ in 0..2 {
        target.prepare(&mine).await.unwrap();
        let written = target.write_records(&stream, Position::default(), &batch(&records)).await.unwrap();
        assert_eq!((written.written, written.conflicts), (3, 0));
    }
    let refused = target.check(&other).await.unwrap_err();
    assert_eq!(refused.code, Code::TargetInvalid);
    assert!(refused.message.contains("restore r1"), "{refused}");
    target.abandon(&other).await.unwrap();
    assert_eq!(price(&client, "new", "b").await, Some(number("2")), "another restore deletes nothing");

    target.abandon(&mine).await.unwrap();
    target.abandon(&mine).await.unwrap();
    let gone = source(&client, "new").streams().await.unwrap_err();
    assert_eq!(gone.code, Code::SourceMissing);

    let fresh = self::target(&client, "new", OnConflict::Fail);
    fresh.prepare(&mine).await.unwrap();
    fresh.finish(&mine).await.unwrap();
    fresh.abandon(&mine).await.unwrap();
    assert!(source(&client, "new").streams().await.is_ok(), "a finished table stays");
}

#[tokio::test]
async fn what_a_batch_leaves_undone_is_tried_again() {
    let address = dynamodb_server().await;
    let client = dynamodb_at(address, |_| None);
    let (stream, records) = two_tables(&client).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let busy = dynamodb_at(address, move |request| {
        if request.headers().get("x-amz-target")? != "DynamoDB_20120810.BatchWriteItem" {
            return None;
        }
        let body: serde_json::Value = serde_json::from_slice(request.body().bytes()?).unwrap();
        match counter.fetch_add(1, Ordering::Relaxed) {
            0 | 1 => {
                Some(answer(200, serde_json::json!({ "UnprocessedItems": body["RequestItems"] }).to_string()))
            }
            2 => Some(answer(400, r#"{"__type":"x#ProvisionedThroughputExceededException"}"#)),
            _ => None,
        }
    });
    let order = order("r1", OnConflict::Fail, &stream);
    let target = target(&busy, "busy", OnConflict::Fail);
    target.prepare(&order).await.unwrap();
    let written = target.write_records(&stream, Position::default(), &batch(&records)).await.unwrap();
    assert_eq!((written.written, asked.load(Ordering::Relaxed)), (3, 4));
    assert_eq!(backup(&client, "busy").await.1, records);

    let never = dynamodb_at(address, |request| {
        let body: serde_json::Value = serde_json::from_slice(request.body().bytes()?).ok()?;
        (request.headers().get("x-amz-target")? == "DynamoDB_20120810.BatchWriteItem")
            .then(|| answer(200, serde_json::json!({ "UnprocessedItems": body["RequestItems"] }).to_string()))
    });
    let target = self::target(&never, "busy", OnConflict::Fail);
    let error = target.write_records(&stream, Position::default(), &batch(&records)).await.unwrap_err();
    assert_eq!(error.code, Code::TargetThrottled);
}

#[tokio::test]
async fn json_records_become_items() {
    let client = dynamodb().await;
    let records: Table = [r#"{"id":"a","n":12345678901234567890.12}"#, r#"{"id":"b","tags":["x",null]}"#]
        .into_iter()
        .enumerate()
        .map(|(n, record)| (vec![u8::try_from(n).unwrap()], record.as_bytes().to_vec()))
        .collect();
    let stream = |key: &[&str]| StreamInfo {
        name: "products".to_owned(),
        shape: StreamKind::Records {
            encoding: RecordEncoding::Json,
            key: key.iter().map(|key| (*key).to_owned()).collect(),
        },
        schema: serde_json::Value::Null,
    };
    let written = restore(&client, "from-json", OnConflict::Fail, &stream(&["/id"]), &records).await.unwrap();
    assert_eq!(written.written, 2);
    let restored = backup(&client, "from-json").await.1;
    assert_eq!(
        restored[br#"[{"S":"a"}]"#.as_slice()],
        br#"{"id":{"S":"a"},"n":{"N":"12345678901234567890.12"}}"#
    );

    let numbers: Table = [(vec![0], br#"{"id":5}"#.to_vec())].into();
    let refused =
        restore(&client, "numbers", OnConflict::Fail, &stream(&["/id"]), &numbers).await.unwrap_err();
    assert_eq!(refused.code, Code::TargetInvalid);
    assert!(refused.message.contains("stream products") && refused.message.contains("id"), "{refused}");
    let typed = StreamInfo { schema: serde_json::json!({ "key_types": { "id": "N" } }), ..stream(&["/id"]) };
    restore(&client, "typed", OnConflict::Fail, &typed, &numbers).await.unwrap();

    for key in [&["/a/b"][..], &["/a", "/b", "/c"][..], &[][..]] {
        let refused = restore(&client, "no-key", OnConflict::Fail, &stream(key), &records).await.unwrap_err();
        assert_eq!(refused.code, Code::TargetInvalid);
    }
}

#[tokio::test]
async fn what_cannot_be_is_refused_by_name() {
    let client = dynamodb().await;
    let missing = source(&client, "nowhere").streams().await.unwrap_err();
    assert_eq!((missing.code, missing.object.as_deref()), (Code::SourceMissing, Some("table nowhere")));
    assert!(missing.hint.unwrap().contains("region"));

    let (stream, _) = two_tables(&client).await;
    full_table(&client, "other-key").await;
    let check = async |table: &str, streams: Vec<StreamInfo>| {
        let order = RestoreOrder { streams, ..order("r1", OnConflict::Skip, &stream) };
        target(&client, table, OnConflict::Skip).check(&order).await.unwrap_err()
    };
    let key = check("other-key", vec![stream.clone()]).await;
    assert_eq!(key.code, Code::TargetInvalid);
    assert!(key.message.contains("id (S), at (N)") && key.message.contains("stream old"), "{key}");
    let tree = StreamInfo { shape: StreamKind::Tree, ..stream.clone() };
    assert_eq!(check("new", vec![tree]).await.code, Code::TargetInvalid);
    assert_eq!(check("new", vec![stream.clone(), stream.clone()]).await.code, Code::TargetInvalid);
    assert_eq!(check("a name that no table can have", vec![stream.clone()]).await.code, Code::TargetInvalid);

    let nobody = dynamodb_at("127.0.0.1:1".parse().unwrap(), |_| None);
    assert_eq!(source(&nobody, "old").streams().await.unwrap_err().code, Code::SourceUnavailable);
    for (kind, code) in [
        ("AccessDeniedException", Code::SourceDenied),
        ("ThrottlingException", Code::SourceThrottled),
        ("UnrecognizedClientException", Code::SourceDenied),
    ] {
        let body = format!(r#"{{"__type":"com.amazonaws#{kind}","message":"no"}}"#);
        let client = dynamodb_at("127.0.0.1:1".parse().unwrap(), move |_| Some(answer(400, body.clone())));
        assert_eq!(source(&client, "old").streams().await.unwrap_err().code, code);
    }
}
