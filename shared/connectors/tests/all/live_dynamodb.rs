//! Items put back into a table while others write to it, against a DynamoDB server on the loopback.
//!
//! A concurrent writer works on the database itself, between the requests of the undo.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use crate::aws::{answer, dynamodb_at};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use dynoxide::Database;
use holdfast_connectors::dynamodb::{Delays, DynamoDbLive};
use holdfast_connectors::{Limits, Live, OnConflict, Revert, Reverted};
use holdfast_vault::error::Code;
use holdfast_vault::model::{RecordEncoding, StreamInfo, StreamKind};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

/// Attributes beside the key, in DynamoDB's JSON.
type Attributes = Map<String, Value>;
/// Items by their ids.
type State = BTreeMap<usize, Attributes>;

const TABLE: &str = "products";

/// A database that the tests may also reach without the server.
struct Server {
    database: Database,
    address: SocketAddr,
}

async fn server() -> Server {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let database = Database::memory().unwrap();
    let served = dynoxide::server::serve_with_shutdown(listener, database.clone(), std::future::pending());
    tokio::spawn(served);
    Server { database, address }
}

fn make_table(database: &Database, table: &str) {
    let request = json!({"TableName": table, "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "N"}],
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}]});
    database.create_table(serde_json::from_value(request).unwrap()).unwrap();
}

/// The whole item.
fn item(id: usize, attributes: &Attributes) -> Value {
    let mut item = attributes.clone();
    item.insert("id".to_owned(), json!({"N": id.to_string()}));
    Value::Object(item)
}

fn attributes(value: &Value) -> Attributes {
    value.as_object().unwrap().clone()
}

/// An item as bytes: `serde_json` keeps names in byte order, and writes what the connector writes.
fn bytes(id: usize, attributes: &Attributes) -> Vec<u8> {
    serde_json::to_vec(&item(id, attributes)).unwrap()
}

fn key(id: usize) -> Vec<u8> {
    format!(r#"[{{"N":"{id}"}}]"#).into_bytes()
}

fn put(database: &Database, table: &str, id: usize, attributes: &Attributes) {
    let request = json!({"TableName": table, "Item": item(id, attributes)});
    database.put_item(serde_json::from_value(request).unwrap()).unwrap();
}

fn add(database: &Database, table: &str, id: usize, name: &str, value: &Value) {
    let request = json!({"TableName": table, "Key": {"id": {"N": id.to_string()}}, "UpdateExpression": "SET #n = :v",
        "ExpressionAttributeNames": {"#n": name}, "ExpressionAttributeValues": {":v": value}});
    database.update_item(serde_json::from_value(request).unwrap()).unwrap();
}

/// Does what the other program does, and tells the item right before it and right after it: requests of the undo are
/// under way, so that readings beside the act may already hold what one of them made.
fn act(
    database: &Database,
    table: &str,
    act: &Act,
) -> Option<(usize, Option<Attributes>, Option<Attributes>)> {
    let id = act.id()?;
    let old = |answer: Value| {
        let mut old = answer.get("Attributes").map(attributes)?;
        old.remove("id");
        Some(old)
    };
    let told = "ALL_OLD";
    let key = json!({"id": {"N": id.to_string()}});
    Some(match act {
        Act::Put(_, new) => {
            let request = json!({"TableName": table, "Item": item(id, new), "ReturnValues": told});
            let answer = database.put_item(serde_json::from_value(request).unwrap()).unwrap();
            (id, old(serde_json::to_value(answer).unwrap()), Some(new.clone()))
        }
        Act::Add(_, name, value) => loop {
            // An answer does not tell an item without attributes from none, so each is asked for by itself.
            let update = json!({"TableName": table, "Key": key, "UpdateExpression": "SET #n = :v",
                "ConditionExpression": "attribute_exists(id)", "ExpressionAttributeNames": {"#n": name},
                "ExpressionAttributeValues": {":v": value}, "ReturnValues": told});
            if let Ok(answer) = database.update_item(serde_json::from_value(update).unwrap()) {
                let old = old(serde_json::to_value(answer).unwrap());
                let mut new = old.clone().unwrap_or_default();
                new.insert((*name).to_owned(), value.clone());
                break (id, old, Some(new));
            }
            let new = Attributes::from_iter([((*name).to_owned(), value.clone())]);
            let put = json!({"TableName": table, "Item": item(id, &new),
                "ConditionExpression": "attribute_not_exists(id)"});
            if database.put_item(serde_json::from_value(put).unwrap()).is_ok() {
                break (id, None, Some(new));
            }
        },
        Act::Delete(_) => {
            let request = json!({"TableName": table, "Key": key, "ReturnValues": told});
            let answer = database.delete_item(serde_json::from_value(request).unwrap()).unwrap();
            (id, old(serde_json::to_value(answer).unwrap()), None)
        }
        Act::Nothing => return None,
    })
}

fn scan(database: &Database, table: &str) -> State {
    let request = serde_json::from_value(json!({ "TableName": table })).unwrap();
    let page = serde_json::to_value(database.scan(request).unwrap()).unwrap();
    let one = |item: &Value| {
        let mut item = attributes(item);
        let id = item.remove("id").unwrap()["N"].as_str().unwrap().parse().unwrap();
        (id, item)
    };
    page["Items"].as_array().unwrap().iter().map(one).collect()
}

fn stream(table: &str) -> StreamInfo {
    let shape = StreamKind::Records { encoding: RecordEncoding::DynamodbJson, key: vec!["id".to_owned()] };
    StreamInfo { name: table.to_owned(), shape, schema: Value::Null }
}

fn revert(id: usize, was: Option<&Attributes>, left: Option<&Attributes>) -> Revert {
    Revert { key: key(id), was: was.map(|item| bytes(id, item)), left: left.map(|item| bytes(id, item)) }
}

fn conflict(now: Option<Vec<u8>>, overwritten: bool) -> Reverted {
    Reverted::Conflict { now, overwritten }
}

fn operation(request: &HttpRequest) -> String {
    let target = request.headers().get("x-amz-target").unwrap_or_default();
    target.rsplit('.').next().unwrap_or_default().to_owned()
}

/// A table that `before` may change before each request of the undo, of which it gets the operation's name.
fn live(server: &Server, table: &str, before: impl Fn(&str) + Send + Sync + 'static) -> DynamoDbLive {
    let client = dynamodb_at(server.address, move |request| {
        before(&operation(request));
        None
    });
    DynamoDbLive::new(client, table, Limits::default())
        .with_delays(Delays { poll: Duration::ZERO, retry: Duration::ZERO })
}

/// Does something once, before the first request of an operation.
fn once(wanted: &'static str, act: impl Fn() + Send + Sync + 'static) -> impl Fn(&str) + Send + Sync {
    let seen = AtomicUsize::new(0);
    move |operation| {
        if operation == wanted && seen.fetch_add(1, Ordering::SeqCst) == 0 {
            act();
        }
    }
}

fn wide(names: std::ops::Range<usize>, value: &str) -> Attributes {
    names.map(|name| (format!("a{name:03}"), json!({ "S": value }))).collect()
}

#[tokio::test]
async fn bad_writes_are_taken_back_and_good_ones_stay() {
    let server = server().await;
    make_table(&server.database, TABLE);
    let price = |price: &str| attributes(&json!({"price": {"N": price}, "name": {"S": ""}}));
    let (good, bad, other) = (price("1.5"), price("9"), price("7"));
    for (id, item) in [(1, &bad), (2, &bad), (4, &other), (6, &good)] {
        put(&server.database, TABLE, id, item);
    }
    let reverts = [
        revert(1, Some(&good), Some(&bad)),
        revert(2, None, Some(&bad)),
        revert(3, Some(&good), None),
        revert(4, Some(&good), Some(&bad)),
        revert(5, Some(&good), Some(&bad)),
        revert(6, Some(&good), Some(&bad)),
        revert(7, None, Some(&bad)),
    ];
    let live = live(&server, TABLE, |_| {});
    let stream = stream(TABLE);
    let told = live.revert(&stream, &reverts, OnConflict::Skip).await.unwrap();
    let expected = [
        Reverted::Done,
        Reverted::Done,
        Reverted::Done,
        conflict(Some(bytes(4, &other)), false),
        conflict(None, false),
        Reverted::Already,
        Reverted::Already,
    ];
    assert_eq!(told, expected);
    let after = State::from([(1, good.clone()), (3, good.clone()), (4, other.clone()), (6, good.clone())]);
    assert_eq!(scan(&server.database, TABLE), after);

    let again = live.revert(&stream, &reverts, OnConflict::Fail).await.unwrap();
    assert_eq!(again[..3], [Reverted::Already, Reverted::Already, Reverted::Already]);
    assert_eq!(again[3..], expected[3..]);
    let forced = live.revert(&stream, &reverts[3..5], OnConflict::Overwrite).await.unwrap();
    assert_eq!(forced, [conflict(Some(bytes(4, &other)), true), conflict(None, true)]);
    let read = live.read(&stream, &[key(4), key(2), key(4), key(5)]).await.unwrap();
    let (four, five) = (Some(bytes(4, &good)), Some(bytes(5, &good)));
    assert_eq!(read, [four.clone(), None, four, five]);
}

#[tokio::test]
async fn values_of_every_type_are_compared_and_come_back() {
    let server = server().await;
    make_table(&server.database, TABLE);
    let values = [
        json!({"S": ""}),
        json!({"N": "-0.5"}),
        json!({"N": "12345678901234567890123456789012345678"}),
        json!({"B": ""}),
        json!({"B": "AP8="}),
        json!({"BOOL": false}),
        json!({"NULL": true}),
        json!({"L": []}),
        json!({"M": {}}),
        json!({"L": [{"N": "1"}, {"M": {"x": {"NULL": true}}}]}),
        json!({"M": {"a.b": {"SS": ["a", "b"]}}}),
        json!({"SS": ["a", "b"]}),
        json!({"NS": ["1", "2.5"]}),
        json!({"BS": ["AA==", "/w=="]}),
    ];
    // Names that are words of the language, and values of a like kind: each becomes the next.
    let named = |value: &Value| attributes(&json!({"size": value, "a.b#:c": value, "same": value}));
    let mut reverts = Vec::new();
    for (id, value) in values.iter().enumerate() {
        let bad = named(value);
        let mut good = bad.clone();
        good.insert("size".to_owned(), values[(id + 1) % values.len()].clone());
        good.remove("a.b#:c");
        good.insert("new".to_owned(), value.clone());
        put(&server.database, TABLE, id, &bad);
        reverts.push(revert(id, Some(&good), Some(&bad)));
        let gone = 100 + id;
        put(&server.database, TABLE, gone, &bad);
        reverts.push(revert(gone, None, Some(&bad)));
        reverts.push(revert(200 + id, Some(&bad), None));
    }
    let live = live(&server, TABLE, |_| {});
    let told = live.revert(&stream(TABLE), &reverts, OnConflict::Skip).await.unwrap();
    assert!(told.iter().all(|told| *told == Reverted::Done), "{told:?}");
    let keys: Vec<_> = reverts.iter().map(|revert| revert.key.clone()).collect();
    let expected: Vec<_> = reverts.iter().map(|revert| revert.was.clone()).collect();
    assert_eq!(live.read(&stream(TABLE), &keys).await.unwrap(), expected);
}

#[tokio::test]
async fn an_attribute_added_in_the_last_moment_stays() {
    for (policy, overwritten) in [(OnConflict::Skip, false), (OnConflict::Overwrite, true)] {
        let server = server().await;
        make_table(&server.database, TABLE);
        let (good, bad) = (attributes(&json!({"p": {"N": "1"}})), attributes(&json!({"p": {"N": "2"}})));
        put(&server.database, TABLE, 1, &bad);
        let database = server.database.clone();
        let writer = once("UpdateItem", move || add(&database, TABLE, 1, "note", &json!({"S": "x"})));
        let live = live(&server, TABLE, writer);
        let told = live.revert(&stream(TABLE), &[revert(1, Some(&good), Some(&bad))], policy).await.unwrap();
        let note = json!({"S": "x"});
        let with = |item: &Attributes| {
            let mut item = item.clone();
            item.insert("note".to_owned(), note.clone());
            item
        };
        // What was overwritten is told as it was before the undo touched it.
        let now = if overwritten { with(&bad) } else { with(&good) };
        assert_eq!(told, [conflict(Some(bytes(1, &now)), overwritten)]);
        let after = if overwritten { good } else { with(&good) };
        assert_eq!(scan(&server.database, TABLE), State::from([(1, after)]));
    }
}

#[tokio::test]
async fn an_item_that_grew_before_its_deletion_is_put_back() {
    let server = server().await;
    make_table(&server.database, TABLE);
    let bad = attributes(&json!({"p": {"N": "2"}}));
    put(&server.database, TABLE, 1, &bad);
    let database = server.database.clone();
    let writer = once("DeleteItem", move || add(&database, TABLE, 1, "note", &json!({"S": "x"})));
    let live = live(&server, TABLE, writer);
    let reverts = [revert(1, None, Some(&bad))];
    let told = live.revert(&stream(TABLE), &reverts, OnConflict::Skip).await.unwrap();
    let grown = attributes(&json!({"p": {"N": "2"}, "note": {"S": "x"}}));
    assert_eq!(told, [conflict(Some(bytes(1, &grown)), false)]);
    assert_eq!(scan(&server.database, TABLE), State::from([(1, grown.clone())]));
    let told = live.revert(&stream(TABLE), &reverts, OnConflict::Overwrite).await.unwrap();
    assert_eq!(told, [conflict(Some(bytes(1, &grown)), true)]);
    assert_eq!(scan(&server.database, TABLE), State::new());
}

#[tokio::test]
async fn items_of_more_attributes_than_a_condition_names_lose_nothing() {
    let server = server().await;
    make_table(&server.database, TABLE);
    let (good, bad) = (wide(0..300, "good"), wide(0..300, "bad"));
    for id in 1..=4 {
        put(&server.database, TABLE, id, &bad);
    }
    let reverts = [revert(1, Some(&good), Some(&bad)), revert(2, None, Some(&bad))];
    let calm = live(&server, TABLE, |_| {});
    let told = calm.revert(&stream(TABLE), &reverts, OnConflict::Skip).await.unwrap();
    assert_eq!(told, [Reverted::Done, Reverted::Done]);

    // The last attributes are in no condition: what is written to them is found afterwards, and put back.
    let others = [("PutItem", 3, Some(&good)), ("DeleteItem", 4, None)];
    for (operation, id, was) in others {
        let database = server.database.clone();
        let writer = once(operation, move || add(&database, TABLE, id, "a299", &json!({"S": "other"})));
        let live = live(&server, TABLE, writer);
        let reverts = [revert(id, was, Some(&bad))];
        let told = live.revert(&stream(TABLE), &reverts, OnConflict::Skip).await.unwrap();
        let mut expected = bad.clone();
        expected.insert("a299".to_owned(), json!({"S": "other"}));
        assert_eq!(told, [conflict(Some(bytes(id, &expected)), false)]);
        assert_eq!(scan(&server.database, TABLE)[&id], expected);
    }
    assert_eq!(scan(&server.database, TABLE)[&1], good);
}

#[tokio::test]
async fn a_busy_table_is_asked_again_and_other_failures_end_it() {
    let server = server().await;
    make_table(&server.database, TABLE);
    let (good, bad) = (attributes(&json!({"p": {"N": "1"}})), attributes(&json!({"p": {"N": "2"}})));
    put(&server.database, TABLE, 1, &bad);
    let failing = |name: &'static str, times: usize| {
        let seen = AtomicUsize::new(0);
        let client = dynamodb_at(server.address, move |request| {
            let fails = operation(request) == "UpdateItem" && seen.fetch_add(1, Ordering::SeqCst) < times;
            fails.then(|| answer(400, format!(r#"{{"__type":"x#{name}","message":"secret"}}"#)))
        });
        DynamoDbLive::new(client, TABLE, Limits::default())
            .with_delays(Delays { poll: Duration::ZERO, retry: Duration::ZERO })
    };
    let reverts = [revert(1, Some(&good), Some(&bad))];
    let denied = failing("AccessDeniedException", 1);
    let error = denied.revert(&stream(TABLE), &reverts, OnConflict::Skip).await.unwrap_err();
    assert_eq!(error.code, Code::TargetDenied);
    assert!(!error.message.contains("secret"));
    let busy = failing("ProvisionedThroughputExceededException", 1000);
    let error = busy.revert(&stream(TABLE), &reverts, OnConflict::Skip).await.unwrap_err();
    assert_eq!(error.code, Code::TargetThrottled);
    let told = failing("ProvisionedThroughputExceededException", 3);
    let told = told.revert(&stream(TABLE), &reverts, OnConflict::Skip).await.unwrap();
    assert_eq!(told, [Reverted::Done]);
}

#[tokio::test]
async fn orders_that_make_no_sense_are_refused() {
    let server = server().await;
    make_table(&server.database, TABLE);
    let (good, bad) = (attributes(&json!({"p": {"N": "1"}})), attributes(&json!({"p": {"N": "2"}})));
    let live = live(&server, TABLE, |_| {});
    let one = revert(1, Some(&good), Some(&bad));
    let other = Revert { key: key(2), ..one.clone() };
    let no_key = Revert { key: b"[]".to_vec(), ..one.clone() };
    for reverts in [&[one.clone(), one.clone()][..], &[other], &[no_key]] {
        let error = live.revert(&stream(TABLE), reverts, OnConflict::Overwrite).await.unwrap_err();
        assert_eq!(error.code, Code::Internal);
    }
    let tree = StreamInfo { shape: StreamKind::Tree, ..stream(TABLE) };
    let error = live.revert(&tree, std::slice::from_ref(&one), OnConflict::Skip).await.unwrap_err();
    assert_eq!(error.code, Code::InvalidInput);
    let gone = DynamoDbLive::new(dynamodb_at(server.address, |_| None), "gone", Limits::default());
    let error = gone.revert(&stream("gone"), &[one], OnConflict::Skip).await.unwrap_err();
    assert_eq!(error.code, Code::TargetInvalid);
    assert!(error.hint.is_some());
}

/// What another program does between two requests of the undo.
#[derive(Debug, Clone)]
enum Act {
    Put(usize, Attributes),
    Add(usize, &'static str, Value),
    Delete(usize),
    Nothing,
}

impl Act {
    fn id(&self) -> Option<usize> {
        match self {
            Self::Put(id, _) | Self::Add(id, ..) | Self::Delete(id) => Some(*id),
            Self::Nothing => None,
        }
    }
}

/// One record: what it was, what the bad writer left, and what stands there when the undo begins.
type Record = (Option<Attributes>, Option<Attributes>, Option<Attributes>);

const NAMES: [&str; 3] = ["a", "b", "c"];

fn some_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({"N": "1"})),
        Just(json!({"N": "2"})),
        Just(json!({"S": ""})),
        Just(json!({"L": [{"NULL": true}]})),
    ]
}

fn some_item() -> impl Strategy<Value = Option<Attributes>> {
    let names = proptest::sample::select(&NAMES[..]).prop_map(str::to_owned);
    let full = proptest::collection::btree_map(names, some_value(), 0..3);
    proptest::option::weighted(0.8, full.prop_map(|item| item.into_iter().collect::<Attributes>()))
}

fn some_record() -> impl Strategy<Value = Record> {
    (some_item(), some_item(), some_item(), 0..10).prop_map(|(was, left, other, which)| {
        // Mostly what the bad writer left.
        let now = match which {
            0 => was.clone(),
            1 => other,
            _ => left.clone(),
        };
        (was, left, now)
    })
}

const RECORDS: usize = 4;

fn some_act() -> impl Strategy<Value = Act> {
    let name = proptest::sample::select(&NAMES[..]);
    prop_oneof![
        2 => (0..RECORDS, some_item()).prop_map(|(id, item)| item.map_or(Act::Delete(id), |item| Act::Put(id, item))),
        3 => (0..RECORDS, name, some_value()).prop_map(|(id, name, value)| Act::Add(id, name, value)),
        3 => Just(Act::Nothing),
    ]
}

/// What was seen of the table between requests: what it held before each act of the other program, and after it.
#[derive(Debug)]
struct Seen {
    before: State,
    act: Act,
    after: State,
}

struct Outcome {
    told: Vec<Reverted>,
    seen: Vec<Seen>,
    end: State,
    /// A second call, with nobody else about.
    again: Vec<Reverted>,
}

/// The server of all cases, in a runtime of its own.
fn shared() -> &'static (tokio::runtime::Runtime, Server) {
    static SHARED: OnceLock<(tokio::runtime::Runtime, Server)> = OnceLock::new();
    SHARED.get_or_init(|| {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let server = runtime.block_on(server());
        (runtime, server)
    })
}

fn run(records: &[Record], acts: Vec<Act>, policy: OnConflict) -> Outcome {
    static CASES: AtomicUsize = AtomicUsize::new(0);
    let table = format!("case-{}", CASES.fetch_add(1, Ordering::SeqCst));
    let (runtime, server) = shared();
    make_table(&server.database, &table);
    for (id, (.., now)) in records.iter().enumerate() {
        if let Some(now) = now {
            put(&server.database, &table, id, now);
        }
    }
    let reverts: Vec<Revert> = records
        .iter()
        .enumerate()
        .map(|(id, (was, left, _))| revert(id, was.as_ref(), left.as_ref()))
        .collect();
    let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
    let acts = Mutex::new(VecDeque::from(acts));
    let (database, name, log) = (server.database.clone(), table.clone(), Arc::clone(&seen));
    let live = live(server, &table, move |_| {
        let mut log = log.lock().unwrap();
        let next = acts.lock().unwrap().pop_front().unwrap_or(Act::Nothing);
        let mut before = scan(&database, &name);
        let mut after = before.clone();
        if let Some((id, old, new)) = act(&database, &name, &next) {
            for (state, item) in [(&mut before, old), (&mut after, new)] {
                state.remove(&id);
                state.extend(item.map(|item| (id, item)));
            }
        }
        log.push(Seen { before, act: next, after });
    });
    let told = runtime.block_on(live.revert(&stream(&table), &reverts, policy)).unwrap();
    let end = scan(&server.database, &table);
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    let calm = self::live(server, &table, |_| {});
    let again = runtime.block_on(calm.revert(&stream(&table), &reverts, OnConflict::Skip)).unwrap();
    server.database.delete_table(serde_json::from_value(json!({ "TableName": table })).unwrap()).unwrap();
    Outcome { told, seen, end, again }
}

/// Whether an undo may have made `to` of `from`, without a policy that overwrites.
fn allowed(
    record: &Record,
    from: Option<&Attributes>,
    to: Option<&Attributes>,
    displaced: &[Attributes],
) -> bool {
    let (was, left, _) = record;
    if from == to || (from == left.as_ref() && to == was.as_ref()) {
        return true;
    }
    match (from, to, was, left) {
        // What was added since the reading stays beside what comes back.
        (Some(from), Some(to), Some(was), Some(left)) => {
            let mut expected = from.clone();
            for name in NAMES.into_iter().filter(|name| was.get(*name) != left.get(*name)) {
                if from.get(name) != left.get(name) {
                    return false;
                }
                match was.get(name) {
                    Some(value) => drop(expected.insert(name.to_owned(), value.clone())),
                    None => drop(expected.remove(name)),
                }
            }
            *to == expected
        }
        // An item that grew before it was deleted, and that comes back.
        (Some(from), None, None, Some(left)) => {
            left.iter().all(|(name, value)| from.get(name) == Some(value))
        }
        (None, Some(to), None, Some(_)) => displaced.contains(to),
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn beside_another_writer_nothing_good_is_lost_and_nothing_bad_stays_untold(
        records in proptest::collection::vec(some_record(), RECORDS),
        acts in proptest::collection::vec(some_act(), 0..12),
    ) {
        let Outcome { told, seen, end, again } = run(&records, acts, OnConflict::Skip);
        for (id, record) in records.iter().enumerate() {
            let (was, left, begin) = record;
            // Every change of the item that the other program did not make is one that an undo may make.
            let mut last = begin.as_ref();
            let mut displaced = Vec::new();
            for seen in &seen {
                let next = seen.before.get(&id);
                prop_assert!(allowed(record, last, next, &displaced), "{last:?} became {next:?}: {record:?}");
                last = seen.after.get(&id);
                displaced.extend(last.cloned());
            }
            let now = end.get(&id);
            prop_assert!(allowed(record, last, now, &displaced), "{last:?} became {now:?}: {record:?}");

            // What is told is so, unless the other program wrote the item during the undo.
            let touched = seen.iter().any(|seen| seen.act.id() == Some(id));
            let item = |item: &Attributes| bytes(id, item);
            if !touched {
                let expected = if begin == was {
                    Reverted::Already
                } else if begin == left {
                    Reverted::Done
                } else {
                    conflict(begin.as_ref().map(item), false)
                };
                prop_assert_eq!(&told[id], &expected);
                let kept = matches!(expected, Reverted::Conflict { .. });
                prop_assert!(now == was.as_ref() || kept);
            }
            // What the bad writer left is gone or told, unless it was written again.
            let wrote_last = seen.iter().rev().find(|seen| seen.act.id() == Some(id));
            let left_again = wrote_last.is_some_and(|seen| seen.after.get(&id) == left.as_ref());
            if now == left.as_ref() && left != was && !left_again {
                let listed = matches!(told[id], Reverted::Conflict { .. });
                prop_assert!(listed, "{:?}", told[id]);
            }
            // A conflict tells a value that stood there.
            if let Reverted::Conflict { now: found, overwritten } = &told[id] {
                prop_assert!(!overwritten);
                let stood = seen.iter().flat_map(|seen| [seen.before.get(&id), seen.after.get(&id)]);
                let mut stood = stood.chain([begin.as_ref(), now]);
                prop_assert!(stood.any(|item| item.map(|item| bytes(id, item)) == *found));
            }
            let expected = if now == was.as_ref() {
                Reverted::Already
            } else if now == left.as_ref() {
                Reverted::Done
            } else {
                conflict(now.map(item), false)
            };
            prop_assert_eq!(&again[id], &expected);
        }
    }

    #[test]
    fn what_is_overwritten_is_told(
        records in proptest::collection::vec(some_record(), RECORDS),
        acts in proptest::collection::vec(some_act(), 0..12),
    ) {
        let Outcome { told, seen, end, .. } = run(&records, acts, OnConflict::Overwrite);
        for (id, (was, left, begin)) in records.iter().enumerate() {
            let now = end.get(&id);
            let touched = seen.iter().any(|seen| seen.act.id() == Some(id));
            if !touched {
                let expected = if begin == was {
                    Reverted::Already
                } else if begin == left {
                    Reverted::Done
                } else {
                    conflict(begin.as_ref().map(|item| bytes(id, item)), true)
                };
                prop_assert_eq!(&told[id], &expected);
                prop_assert_eq!(now, was.as_ref());
            }
            // The other program's last change is there, or what came of it, or it is told.
            let wrote_last = seen.iter().rev().find(|seen| seen.before.get(&id) != seen.after.get(&id));
            let value = wrote_last.and_then(|seen| seen.after.get(&id));
            if wrote_last.is_some() && value != was.as_ref() && value != left.as_ref() && now != value {
                let Reverted::Conflict { now: found, overwritten: true } = &told[id] else {
                    return Err(TestCaseError::fail(format!("{value:?} was lost: {:?}", told[id])));
                };
                // A value that is what an update of the undo had made meanwhile is told as it was before that.
                let told: Attributes =
                    found.as_ref().map_or_else(Map::new, |found| serde_json::from_slice(found).unwrap());
                let mixture = value.zip(was.as_ref()).is_some_and(|(value, was)| {
                    value.iter().all(|part| was.get(part.0) == Some(part.1) || told.get(part.0) == Some(part.1))
                });
                prop_assert!(mixture || *found == value.map(|item| bytes(id, item)));
                prop_assert_eq!(now, was.as_ref());
            }
        }
    }
}
