//! The capture of changes: each counts once and in order, however it is delivered, and what is missing is told.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod clocks;
mod gone;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, ScalarAttributeType, StreamSpecification, StreamViewType};
use holdfast_common::jobs::CaptureRow;
use holdfast_connectors::{SourceSpec, TargetSpec};
use holdfast_local::Cloud;
use holdfast_local::dynamodb::EmbeddedDynamoDb;
use holdfast_tests::tables::{Item, item, make, number, put, text};
use holdfast_tests::{back_up, cloud, configure, sorted_lines, whole};
use holdfast_vault::error::Code;
use holdfast_vault::format::changes::Change;
use holdfast_vault::read::changes::{ALL_KEYS, Unreplaced, list};
use holdfast_vault::read::verify;
use holdfast_workflow::WorkLimits;
use holdfast_workflow::capture::log::{self, Uncovered};
use holdfast_workflow::capture::{self, rollup};
use holdfast_workflow::catalogue::rebuild;
use holdfast_workflow::config::{Policy, Resource};
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;

const TABLE: &str = "orders";

struct Shop {
    dir: tempfile::TempDir,
    cloud: Cloud,
}

impl Shop {
    /// A home with a table that is captured.
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cloud = cloud(&dir.path().join("home"), WorkLimits::default()).await;
        make(&cloud.tables(), TABLE, &[("id", ScalarAttributeType::S)]).await;
        protect(&cloud, "orders", true).await;
        Self { dir, cloud }
    }

    async fn put(&self, items: &[Item]) {
        put(&self.cloud.tables(), TABLE, items).await;
    }

    async fn delete(&self, id: &str) {
        self.cloud.tables().delete_item().table_name(TABLE).key("id", text(id)).send().await.unwrap();
    }

    async fn all(&self) -> Vec<Change> {
        read(&self.cloud).await
    }

    async fn deliver(&self, records: &[Value]) -> Value {
        self.cloud.functions().invoke("capture", json!({ "Records": records })).await.unwrap()
    }

    /// The database of the tables, as someone else would open it.
    fn database(&self) -> EmbeddedDynamoDb {
        EmbeddedDynamoDb::open(&self.dir.path().join("home/tables.db")).unwrap()
    }

    async fn switch(&self, on: bool) {
        let view = on.then_some(StreamViewType::NewAndOldImages);
        let stream =
            StreamSpecification::builder().stream_enabled(on).set_stream_view_type(view).build().unwrap();
        self.cloud
            .tables()
            .update_table()
            .table_name(TABLE)
            .stream_specification(stream)
            .send()
            .await
            .unwrap();
    }

    async fn objects(&self) -> usize {
        list(&self.cloud.services().vault, "orders", i64::MIN, i64::MAX).await.unwrap().len()
    }
}

async fn protect(cloud: &Cloud, name: &str, capture: bool) {
    let source =
        SourceSpec::Dynamodb { table: TABLE.to_owned(), endpoint: Some("embedded".to_owned()), region: None };
    let policy = Policy { capture, ..Policy::default() };
    let document = serde_json::to_value(Resource { name: name.to_owned(), source, policy }).unwrap();
    cloud.services().jobs.put_resource(name, &document).await.unwrap();
}

async fn read(cloud: &Cloud) -> Vec<Change> {
    let (from, to) = (Timestamp::MIN, Timestamp::MAX);
    log::changes_in(cloud.services(), "orders", TABLE, from, to, ALL_KEYS).await.unwrap()
}

fn order(id: &str, n: usize) -> Item {
    let blob = |bytes: &[u8]| Blob::new(bytes);
    item([
        ("id", text(id)),
        ("n", number(&n.to_string())),
        ("tags", AttributeValue::Ss(vec!["z".to_owned(), "a".to_owned(), format!("t{n}")])),
        ("sizes", AttributeValue::Ns(vec!["10".to_owned(), "9".to_owned(), "-1.5".to_owned()])),
        ("keys", AttributeValue::Bs(vec![blob(b"\xff"), blob(b"\x00")])),
        ("deep", AttributeValue::M(item([("l", AttributeValue::L(vec![AttributeValue::Null(true)]))]))),
    ])
}

/// What the newest change of each key says that it holds.
fn latest(changes: &[Change]) -> Vec<Vec<u8>> {
    let newest: BTreeMap<&[u8], &Change> =
        changes.iter().map(|change| (change.key.as_slice(), change)).collect();
    let mut values: Vec<Vec<u8>> = newest.into_values().filter_map(|change| change.after.clone()).collect();
    values.sort_unstable();
    values
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_captured_is_what_a_backup_would_hold() {
    let shop = Shop::new().await;
    shop.put(&[order("before", 0)]).await;
    let first = shop.cloud.capture("orders").await.unwrap();
    assert!(first.switched_on);
    assert_eq!((first.changes, first.gaps), (0, 0));
    // Times are whole milliseconds: what follows the capture is later than its watermark.
    let begun = first.watermark;
    for n in 0..60 {
        shop.put(&[order(&format!("o-{}", n % 25), n)]).await;
    }
    shop.delete("o-3").await;
    shop.delete("before").await;
    shop.delete("never").await;
    let ended = Timestamp::now();
    let second = shop.cloud.capture("orders").await.unwrap();
    assert_eq!((second.changes, second.switched_on, second.since), (62, false, first.since));
    assert_eq!(shop.cloud.capture("orders").await.unwrap().changes, 0);

    let changes = shop.all().await;
    assert_eq!(changes.len(), 62);
    for pair in changes.windows(2) {
        if pair[0].hash == pair[1].hash {
            assert_eq!(pair[0].after, pair[1].before, "the changes of a record follow one another");
        }
    }
    back_up(&shop.cloud, "orders").await;
    let target = shop.dir.path().join("out");
    let backup = back_up(&shop.cloud, "orders").await;
    let request = whole(&backup, TargetSpec::Jsonl { path: target.clone() });
    shop.cloud.run_restore(&shop.cloud.new_id(), &request).await.unwrap();
    let lines = sorted_lines(&target).into_values().next().unwrap();
    assert_eq!(latest(&changes), lines, "the same bytes as a scan gives");

    let coverage = log::coverage(shop.cloud.services(), "orders").await.unwrap().unwrap();
    assert_eq!(coverage.covers(begun, ended), Ok(()));
    assert!(matches!(coverage.covers(Timestamp::UNIX_EPOCH, ended), Err(Uncovered::BeforeSince(_))));
    assert!(matches!(coverage.covers(begun, Timestamp::MAX), Err(Uncovered::AfterWatermark(_))));
    let services = shop.cloud.services();
    assert_eq!(log::count_in(services, "orders", TABLE, begun, ended).await.unwrap(), 62);
    let key = br#"[{"S":"o-3"}]"#;
    let of_key = log::changes_of_key(services, "orders", TABLE, key, begun, ended).await.unwrap();
    assert_eq!(of_key.len(), 4);
    assert!(of_key[0].before.is_none() && of_key[3].after.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn captured_records_are_cut_off_and_the_next_ones_count_on() {
    let shop = Shop::new().await;
    shop.cloud.capture("orders").await.unwrap();
    for n in 0..5 {
        shop.put(&[order("a", n)]).await;
        assert_eq!(shop.cloud.capture("orders").await.unwrap().changes, 1);
        let stream = shop.database().stream(TABLE).unwrap().unwrap();
        let left = shop.database().stream_records(TABLE, &stream.arn, None, 100).unwrap();
        assert_eq!(left.len(), 1, "only the last one stays");
    }
    assert_eq!(shop.all().await.len(), 5);
    assert_eq!(log::coverage(shop.cloud.services(), "orders").await.unwrap().unwrap().gaps, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_resources_of_one_table_both_get_all() {
    let shop = Shop::new().await;
    protect(&shop.cloud, "twin", true).await;
    shop.cloud.capture("orders").await.unwrap();
    shop.put(&[order("a", 1), order("b", 2)]).await;
    assert_eq!(shop.cloud.capture("orders").await.unwrap().changes, 2);
    let twin = shop.cloud.capture("twin").await.unwrap();
    assert_eq!((twin.changes, twin.gaps), (2, 0));
    shop.put(&[order("c", 1)]).await;
    for name in ["twin", "orders"] {
        assert_eq!(shop.cloud.capture(name).await.unwrap().changes, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stream_that_was_cut_off_too_early_leaves_a_gap() {
    let shop = Shop::new().await;
    shop.cloud.capture("orders").await.unwrap();
    shop.put(&[order("a", 1)]).await;
    let before = shop.cloud.capture("orders").await.unwrap();
    shop.put(&[order("a", 2)]).await;
    let unseen = Timestamp::now();
    shop.put(&[order("a", 3)]).await;
    let stream = shop.database().stream(TABLE).unwrap().unwrap();
    let records = shop.database().stream_records(TABLE, &stream.arn, None, 100).unwrap();
    let last = records.last().unwrap()["dynamodb"]["SequenceNumber"].as_str().unwrap();
    shop.database().trim_stream(TABLE, last).unwrap();
    let report = shop.cloud.capture("orders").await.unwrap();
    assert_eq!((report.changes, report.gaps, report.new_gaps), (1, 1, 1));
    let coverage = log::coverage(shop.cloud.services(), "orders").await.unwrap().unwrap();
    let Err(Uncovered::Gaps(gaps)) = coverage.covers(before.watermark, unseen) else {
        panic!("{coverage:?}")
    };
    assert!(gaps[0].reason.contains("no longer held"), "{}", gaps[0].reason);
    assert_eq!(coverage.covers(report.watermark, report.watermark), Ok(()));
    assert_eq!(shop.cloud.capture("orders").await.unwrap().new_gaps, 0, "it is told once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stream_that_was_off_leaves_a_gap_and_one_that_is_off_is_told() {
    let shop = Shop::new().await;
    shop.cloud.capture("orders").await.unwrap();
    shop.put(&[order("a", 1)]).await;
    shop.cloud.capture("orders").await.unwrap();
    shop.switch(false).await;
    shop.put(&[order("a", 2)]).await;
    let lost = Timestamp::now();
    shop.switch(true).await;
    shop.put(&[order("a", 3)]).await;
    let report = shop.cloud.capture("orders").await.unwrap();
    assert_eq!((report.changes, report.new_gaps), (1, 1));
    let coverage = log::coverage(shop.cloud.services(), "orders").await.unwrap().unwrap();
    assert!(matches!(coverage.covers(coverage.since, lost), Err(Uncovered::Gaps(_))));
    // A gap that nobody captured a change after is in the vault all the same.
    shop.switch(false).await;
    protect(&shop.cloud, "orders", false).await;
    let off = shop.cloud.capture("orders").await.unwrap_err();
    assert_eq!((off.code, off.object.as_deref()), (Code::InvalidInput, Some("policy.capture")));
    protect(&shop.cloud, "orders", true).await;
    let again = shop.cloud.capture("orders").await.unwrap();
    assert_eq!((again.switched_on, again.changes, again.gaps), (true, 0, 2));
    let rebuilt = capture::rebuild(shop.cloud.services()).await.unwrap();
    assert_eq!(rebuilt, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_copied_vault_tells_how_far_the_capture_was() {
    let shop = Shop::new().await;
    shop.cloud.capture("orders").await.unwrap();
    for n in 0..4 {
        shop.put(&[order("a", n), order("b", n)]).await;
        shop.cloud.capture("orders").await.unwrap();
    }
    shop.switch(false).await;
    shop.switch(true).await;
    shop.cloud.capture("orders").await.unwrap();
    back_up(&shop.cloud, "orders").await;
    let known = shop.cloud.services().jobs.capture("orders").await.unwrap().unwrap();
    let changes = shop.all().await;
    let Shop { dir, cloud: first } = shop;
    drop(first);
    let home = dir.path().join("elsewhere");
    fs::create_dir(&home).unwrap();
    for name in ["vault", "key.json"] {
        fs::rename(dir.path().join("home").join(name), home.join(name)).unwrap();
    }
    let second = cloud(&home, WorkLimits::default()).await;
    assert_eq!(read(&second).await, changes, "reading needs no row");
    assert_eq!(rebuild(second.services()).await.unwrap().errors, []);
    let row = second.services().jobs.capture("orders").await.unwrap().unwrap();
    assert_eq!((row.since, &row.gaps, &row.key), (known.since, &known.gaps, &known.key));
    assert_eq!((row.last_sequence, row.last_change), (known.last_sequence, known.last_change));
    assert!(row.newest <= known.newest, "no more is claimed than the vault shows");

    let name = list(&second.services().vault, "orders", i64::MIN, i64::MAX).await.unwrap().remove(2).0;
    let path = home.join("vault").join(name.key());
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::remove_file(&path).unwrap();
    fs::write(&path, &bytes).unwrap();
    let size = bytes.len() as u64;
    assert!(!verify::changes(&second.services().vault, &name, size).await.unwrap().valid());
}

/// A record as the service hands it on: `n` of a key is the value, `None` that there is none.
fn record(key: &str, sequence: u64, time: f64, before: Option<u64>, after: Option<u64>) -> Value {
    let image = |n: u64| json!({"id": {"S": key}, "n": {"N": n.to_string()}});
    let mut body = json!({
        "Keys": {"id": {"S": key}}, "SequenceNumber": format!("{sequence}00000000005"), "SizeBytes": 10,
        "StreamViewType": "NEW_AND_OLD_IMAGES", "ApproximateCreationDateTime": time,
    });
    for (name, n) in [("OldImage", before), ("NewImage", after)] {
        if let Some(n) = n {
            body[name] = image(n);
        }
    }
    json!({
        "eventID": format!("{key}{sequence}"), "eventName": "MODIFY", "eventVersion": "1.1", "awsRegion": "eu-central-1",
        "eventSource": "aws:dynamodb", "dynamodb": body,
        "eventSourceARN": "arn:aws:dynamodb:eu-central-1:123456789012:table/orders/stream/2026-11-21T00:00:00.000",
    })
}

/// Changes of keys of several shards, each shard in the order of its sequences.
fn shards(writes: &[(u8, bool)]) -> Vec<Vec<Value>> {
    let mut shards = vec![Vec::new(); 3];
    let mut values: BTreeMap<u8, u64> = BTreeMap::new();
    for (sequence, (key, delete)) in (1_u64..).zip(writes) {
        let before = values.get(key).copied();
        let after = (!delete || before.is_none()).then_some(sequence);
        match after {
            Some(after) => values.insert(*key, after),
            None => values.remove(key),
        };
        #[allow(clippy::cast_precision_loss)]
        let time = 1_790_000_000.0 + sequence as f64;
        shards[usize::from(key % 3)].push(record(&format!("k{key}"), sequence, time, before, after));
    }
    shards
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn each_change_counts_once_however_it_is_delivered(
        writes in prop::collection::vec((0_u8..9, any::<bool>()), 1..60),
        deliveries in prop::collection::vec((0_usize..3, 0_usize..6, 1_usize..15), 0..25),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
        runtime.block_on(async {
            let shop = Shop::new().await;
            let shards = shards(&writes);
            let mut reached = [0; 3];
            // Every delivery takes a shard up a few records before where it was, with other bounds than before.
            let rest = [(0, 0, 60), (1, 0, 60), (2, 0, 60)];
            for (shard, back, count) in deliveries.into_iter().chain(rest) {
                let records = &shards[shard];
                let from = reached[shard].max(back) - back;
                let to = records.len().min(from + count);
                let answer = shop.deliver(&records[from..to]).await;
                assert_eq!(answer, json!({ "batchItemFailures": [] }));
                reached[shard] = reached[shard].max(to);
            }
            let mut told: Vec<(String, u64, Option<u64>, Option<u64>)> = Vec::new();
            let number = |value: &Option<Vec<u8>>| value.as_ref().map(|value| {
                let item: Value = serde_json::from_slice(value).unwrap();
                item["n"]["N"].as_str().unwrap().parse::<u64>().unwrap()
            });
            for change in shop.all().await {
                let key: Value = serde_json::from_slice(&change.key).unwrap();
                let digits = change.sequence.strip_suffix("00000000005").unwrap();
                let key = key[0]["S"].as_str().unwrap().to_owned();
                told.push((key, digits.parse().unwrap(), number(&change.before), number(&change.after)));
            }
            for pair in told.windows(2) {
                assert!(pair[0].0 != pair[1].0 || pair[0].3 == pair[1].2, "in order");
            }
            told.sort_by_key(|change| change.1);
            assert_eq!(told.len(), writes.len());
            assert!(told.iter().zip(1..).all(|(change, sequence)| change.1 == sequence));
        });
    }
}

#[allow(clippy::cast_precision_loss)]
fn seconds(base: i64, later: u32) -> f64 {
    base as f64 + f64::from(later) + 0.5
}

/// Five changes of a record, ten seconds apart.
fn growing(base: i64) -> Vec<Value> {
    let one = |n: u32| record("a", n.into(), seconds(base, n * 10), Some(u64::from(n) - 1), Some(n.into()));
    (1..6).map(one).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_record_that_cannot_be_taken_is_named_and_what_precedes_it_is_stored() {
    let shop = Shop::new().await;
    let base = Timestamp::now().as_second() - 3_600;
    let mut records = growing(base);
    records[2]["dynamodb"]["StreamViewType"] = json!("NEW_IMAGE");
    let answer = shop.deliver(&records).await;
    assert_eq!(answer, json!({ "batchItemFailures": [{ "itemIdentifier": "300000000005" }] }));
    assert_eq!(shop.all().await.len(), 2);
    let held = log::coverage(shop.cloud.services(), "orders").await.unwrap().unwrap().watermark;
    // A batch of another shard does not hide that a record is missing.
    shop.deliver(&[record("z", 90, seconds(base, 900), None, Some(1))]).await;
    let still = log::coverage(shop.cloud.services(), "orders").await.unwrap().unwrap().watermark;
    assert!(held < still && still.as_millisecond() < base * 1_000 + 30_500, "{held} {still}");
    let answer = shop.deliver(&records[2..]).await;
    assert_eq!(
        answer["batchItemFailures"][0]["itemIdentifier"], "300000000005",
        "nothing is stored, nothing skipped"
    );
    assert_eq!(shop.all().await.len(), 3);
    records[2]["dynamodb"]["StreamViewType"] = json!("NEW_AND_OLD_IMAGES");
    assert_eq!(shop.deliver(&records[2..]).await, json!({ "batchItemFailures": [] }));
    assert_eq!(shop.all().await.len(), 6);
    let free = log::coverage(shop.cloud.services(), "orders").await.unwrap().unwrap();
    assert_eq!((free.watermark.as_millisecond(), free.gaps), (base * 1_000 + 900_499, vec![]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_record_that_was_never_taken_becomes_a_gap_when_the_service_has_it_no_more() {
    let shop = Shop::new().await;
    let base = Timestamp::now().as_second() - 3 * 86_400;
    let mut records = growing(base);
    records[2]["dynamodb"]["StreamViewType"] = json!("NEW_IMAGE");
    assert_ne!(shop.deliver(&records).await, json!({ "batchItemFailures": [] }));
    shop.deliver(&records[3..]).await;
    let coverage = log::coverage(shop.cloud.services(), "orders").await.unwrap().unwrap();
    assert_eq!((coverage.gaps.len(), coverage.gaps[0].to), (1, base * 1_000 + 30_500));
    assert_eq!(coverage.watermark.as_millisecond(), base * 1_000 + 50_499);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_call_that_is_killed_between_object_and_row_loses_nothing() {
    let shop = Shop::new().await;
    let jobs = &shop.cloud.services().jobs;
    shop.deliver(&[record("a", 1, 1_790_000_001.5, None, Some(1))]).await;
    let row = jobs.capture("orders").await.unwrap().unwrap();
    let second = [record("a", 2, 1_790_000_002.5, Some(1), Some(2))];
    shop.deliver(&second).await;
    let after = jobs.capture("orders").await.unwrap().unwrap();
    // As it would be if the row had never been written.
    jobs.update_capture("orders", |_| Ok(row.clone())).await.unwrap();
    assert_eq!(shop.all().await.len(), 2);
    let behind = log::coverage(shop.cloud.services(), "orders").await.unwrap().unwrap();
    assert!(behind.watermark.as_millisecond() < 1_790_000_002_500, "no more is claimed than is noted");
    shop.deliver(&second).await;
    assert_eq!(shop.all().await.len(), 2);
    let again = jobs.capture("orders").await.unwrap().unwrap();
    assert_eq!(CaptureRow { unfollowed: after.unfollowed.clone(), ..again }, after);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_captures_are_few_objects_to_read() {
    let shop = Shop::new().await;
    let mut before = BTreeMap::new();
    for n in 1..=1_000_u64 {
        let key = format!("k{}", n % 37);
        #[allow(clippy::cast_precision_loss)]
        let time = 1_790_000_000.5 + n as f64;
        let old = before.insert(key.clone(), n);
        shop.deliver(&[record(&key, n, time, old, Some(n))]).await;
    }
    let services = shop.cloud.services();
    let changes = shop.all().await;
    assert_eq!(changes.len(), 1_000);
    assert!(shop.objects().await >= 1_030);
    let names = list(&services.vault, "orders", i64::MIN, i64::MAX).await.unwrap();
    let mut unreplaced = Unreplaced::new(&services.vault, names.clone());
    let mut needed = Vec::new();
    while let Some((name, size, _)) = unreplaced.next().await.unwrap() {
        assert!(verify::changes(&services.vault, &name, size).await.unwrap().valid());
        needed.push(name);
    }
    assert!(needed.len() <= 100, "{} objects are to be read", needed.len());
    // Gathering again, also beside another, changes nothing that is read.
    let (one, other) = tokio::join!(rollup(services, "orders"), rollup(services, "orders"));
    assert!(one.unwrap() <= 2 && other.unwrap() <= 2);
    assert_eq!(shop.all().await, changes);
    for (name, _) in names.into_iter().filter(|(name, _)| !needed.contains(name)) {
        services.vault.storage().delete(&name.key()).await.unwrap();
    }
    assert_eq!(shop.all().await, changes, "what is replaced is needed no more");
    let row = capture::known(services, "orders").await.unwrap().unwrap();
    assert_eq!(row.changes, 1_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn hostile_events_are_refused_and_leave_nothing() {
    let shop = Shop::new().await;
    let good = record("a", 1, 1_790_000_001.5, None, Some(1));
    let with = |place: &str, value: Value| {
        let mut record = good.clone();
        *record.pointer_mut(place).unwrap() = value;
        record
    };
    let other_table = "arn:aws:dynamodb:eu-central-1:1:table/unknown/stream/x";
    for (event, code) in [
        (json!("text"), Code::InvalidInput),
        (json!({"Records": "none"}), Code::InvalidInput),
        (json!({"Records": [5]}), Code::InvalidInput),
        (json!({"Records": [good, {}]}), Code::InvalidInput),
        (json!({"Records": [with("/eventSourceARN", json!("arn:aws:sqs:a:b:c"))]}), Code::InvalidInput),
        (json!({"Records": [with("/dynamodb/SequenceNumber", json!("../../etc"))]}), Code::InvalidInput),
        (json!({"Records": [good, with("/eventSourceARN", json!(other_table))]}), Code::InvalidInput),
        (json!({"Records": [with("/eventSourceARN", json!(other_table))]}), Code::ResourceUnknown),
    ] {
        let error = shop.cloud.functions().invoke("capture", event.clone()).await.unwrap_err();
        assert_eq!(error.code, code, "{event}");
    }
    for (place, value) in [
        ("/dynamodb/Keys", json!({"other": {"S": "a"}})),
        ("/dynamodb/Keys", json!({})),
        ("/dynamodb/NewImage", json!({"id": {"S": "b"}})),
        ("/dynamodb/NewImage", json!({"id": {"S": "a", "N": "1"}})),
        ("/dynamodb/ApproximateCreationDateTime", json!(1e300)),
    ] {
        let answer = shop.deliver(&[with(place, value.clone())]).await;
        assert_eq!(answer["batchItemFailures"][0]["itemIdentifier"], "100000000005", "{place} {value}");
    }
    assert_eq!(shop.deliver(&[]).await, json!({ "batchItemFailures": [] }));
    assert_eq!(shop.objects().await, 0);
    assert_eq!(capture::known(shop.cloud.services(), "orders").await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_can_be_restored_reaches_as_far_as_the_capture_does() {
    let shop = Shop::new().await;
    let services = shop.cloud.services();
    let until = async || log::restorable_until(services, "orders").await.unwrap();
    assert_eq!(until().await, None);
    shop.cloud.capture("orders").await.unwrap();
    assert_eq!(until().await, None, "changes alone restore nothing");
    let backup = back_up(&shop.cloud, "orders").await;
    let started = services.jobs.job(&backup).await.unwrap().started_at;
    assert!(started.is_some() && until().await >= started, "a backup captures what was written meanwhile");
    shop.put(&[order("a", 1)]).await;
    let report = shop.cloud.capture("orders").await.unwrap();
    assert_eq!(until().await, Some(report.watermark));
    let gap = holdfast_vault::format::changes::Gap {
        from: report.watermark.as_millisecond() - 1,
        to: report.watermark.as_millisecond(),
        reason: "found by a backup".to_owned(),
    };
    capture::gap(services, "orders", gap.clone()).await.unwrap();
    assert_eq!(until().await, started, "a gap is in the way");
    assert_eq!(log::coverage(services, "orders").await.unwrap().unwrap().gaps, [gap]);
    back_up(&shop.cloud, "orders").await;
    let report = shop.cloud.capture("orders").await.unwrap();
    assert_eq!(until().await, Some(report.watermark), "a backup after it bridges it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn only_tables_of_this_home_can_be_tailed() {
    let shop = Shop::new().await;
    configure(&shop.cloud, "site", SourceSpec::Files { path: shop.dir.path().to_path_buf() }).await;
    let remote = SourceSpec::Dynamodb { table: "t".to_owned(), endpoint: None, region: None };
    configure(&shop.cloud, "remote", remote).await;
    for name in ["site", "remote"] {
        assert_eq!(shop.cloud.capture(name).await.unwrap_err().code, Code::InvalidInput);
    }
    assert_eq!(shop.cloud.capture("none").await.unwrap_err().code, Code::ResourceUnknown);
    shop.cloud.tables().delete_table().table_name(TABLE).send().await.unwrap();
    assert_eq!(shop.cloud.capture("orders").await.unwrap_err().code, Code::SourceMissing);
}
