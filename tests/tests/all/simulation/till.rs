//! A table whose changes are captured: what is written into it, and the service that hands the records of its stream on, at
//! least once and in order.

use super::calls::{Request, invoke};
use super::model::SKEW;
use super::operators::settled;
use super::stage::Role;
use super::tally::Happened;
use super::world::{World, read_lines};
use super::{keeping, machines};
use crate::increments::bench::Lines;
use crate::increments::chance::Chance;
use aws_sdk_dynamodb::types::ScalarAttributeType;
use holdfast_common::jobs::Status;
use holdfast_connectors::{OnConflict, SourceSpec, TargetSpec};
use holdfast_tests::tables::{self, item, number, text};
use holdfast_workflow::capture::{CaptureAnswer, CaptureEvent};
use holdfast_workflow::config::Policy;
use holdfast_workflow::events::{RestoreRequest, Selection};
use holdfast_workflow::restore;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

/// The resource, and the table that it is.
pub(super) const TILL: &str = "till";
const STREAM: &str = "arn:aws:dynamodb:eu-central-1:123456789012:table/till/stream/2026-11-01T00:00:00.000";
const KEYS: u64 = 8;

/// What each key holds: the number in its record.
type Records = BTreeMap<u64, u64>;

/// One write, as the stream has it. Streams tell the time in whole seconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Write {
    pub(super) time: i64,
    pub(super) key: u64,
    pub(super) before: Option<u64>,
    pub(super) after: Option<u64>,
}

impl Write {
    /// The record as the table gives it.
    pub(super) fn image(self, number: u64) -> Value {
        json!({ "id": { "S": format!("k{}", self.key) }, "n": { "N": number.to_string() } })
    }

    fn record(self, sequence: u64) -> Value {
        let mut body = json!({
            "Keys": { "id": { "S": format!("k{}", self.key) } }, "SequenceNumber": sequence.to_string(), "SizeBytes": 10,
            "StreamViewType": "NEW_AND_OLD_IMAGES", "ApproximateCreationDateTime": self.time / 1000,
        });
        for (name, number) in [("OldImage", self.before), ("NewImage", self.after)] {
            if let Some(number) = number {
                body[name] = self.image(number);
            }
        }
        json!({
            "eventID": sequence.to_string(), "eventName": "MODIFY", "eventVersion": "1.1",
            "awsRegion": "eu-central-1", "eventSource": "aws:dynamodb", "dynamodb": body, "eventSourceARN": STREAM,
        })
    }
}

#[derive(Debug, Default)]
struct Known {
    writes: Vec<Write>,
    /// So many of them are handed on.
    handed_on: usize,
    /// Whether somebody hands them on.
    at_work: bool,
    /// When each backup of the table began and was complete.
    backups: BTreeMap<String, (Timestamp, Timestamp)>,
}

/// What the model knows of the table.
#[derive(Debug, Default)]
pub(super) struct Till(Mutex<Known>);

impl Till {
    /// All writes, by their sequences.
    pub(super) fn writes(&self) -> BTreeMap<u64, Write> {
        (1..).zip(self.0.lock().unwrap().writes.iter().copied()).collect()
    }

    /// What the table held at a time, by the times of the stream.
    fn at(&self, time: i64) -> Records {
        let known = self.0.lock().unwrap();
        let mut records = Records::new();
        for write in known.writes.iter().filter(|write| write.time <= time) {
            match write.after {
                Some(number) => records.insert(write.key, number),
                None => records.remove(&write.key),
            };
        }
        records
    }

    /// Notes that a backup of the table is complete.
    pub(super) fn complete(&self, backup: &str, began: Timestamp, now: Timestamp) {
        self.0.lock().unwrap().backups.insert(backup.to_owned(), (began, now));
    }

    fn complete_since(&self, backup: &str) -> Option<Timestamp> {
        self.0.lock().unwrap().backups.get(backup).map(|(_, complete)| *complete)
    }

    /// What a key may have held while a backup read the table.
    fn may_hold(&self, (began, ended): (Timestamp, Timestamp), key: u64) -> BTreeSet<Option<u64>> {
        let known = self.0.lock().unwrap();
        // Some handler's clock told when it began.
        let (began, ended) = ((began - SKEW).as_millisecond() - 1000, ended.as_millisecond());
        let of_key = || known.writes.iter().filter(|write| write.key == key);
        let before = of_key().rfind(|write| write.time <= began).and_then(|write| write.after);
        let meanwhile = of_key().filter(|write| began < write.time && write.time <= ended);
        meanwhile.map(|write| write.after).chain([before]).collect()
    }

    /// Each record of a backup is one that the table held while it was read. False if it is no backup of the table.
    pub(super) fn fits(&self, backup: &str, lines: &Lines) -> bool {
        let Some(times) = self.0.lock().unwrap().backups.get(backup).copied() else { return false };
        let records = records(lines);
        for key in 0..KEYS {
            let may = self.may_hold(times, key);
            let holds = records.get(&key).copied();
            assert!(
                may.contains(&holds),
                "backup {backup} holds {holds:?} of k{key}, which held {may:?}: {times:?}"
            );
        }
        true
    }

    /// The next records of the stream and how far they reach; none when all are handed on.
    fn batch(&self, most: usize) -> Option<(CaptureEvent, usize)> {
        let mut known = self.0.lock().unwrap();
        let from = known.handed_on;
        let some = known.writes.iter().skip(from).take(most);
        let records: Vec<Value> =
            (from as u64 + 1..).zip(some).map(|(sequence, write)| write.record(sequence)).collect();
        known.at_work = !records.is_empty();
        let to = from + records.len();
        (!records.is_empty()).then_some((CaptureEvent { records, tail: None }, to))
    }
}

/// Makes the table and the resource that protects it.
pub(super) async fn open(world: &Arc<World>) {
    tables::make(&world.tables.client(), TILL, &[("id", ScalarAttributeType::S)]).await;
    let policy = world.chance(|chance| Policy {
        schedule: Some("37 */3 * * *".to_owned()),
        capture: true,
        capture_days: Some(1),
        ..keeping::policy(chance)
    });
    let source = SourceSpec::Dynamodb { table: TILL.to_owned(), endpoint: None, region: None };
    world.configure(TILL, source, policy).await;
}

/// Some records of the table come, change and go.
pub(super) async fn sell(world: &Arc<World>) {
    for _ in 0..world.chance(|chance| 1 + chance.below(4)) {
        let (key, after) = world.chance(|chance: &mut Chance| {
            (chance.below(KEYS), chance.percent(75).then(|| chance.below(1000)))
        });
        let time = world.stage.now();
        let before = world.till.at(i64::MAX).get(&key).copied();
        if before == after {
            continue;
        }
        let (client, id) = (world.tables.client(), text(&format!("k{key}")));
        if let Some(after) = after {
            let item = item([("id", id), ("n", number(&after.to_string()))]);
            client.put_item().table_name(TILL).set_item(Some(item)).send().await.unwrap();
        } else {
            client.delete_item().table_name(TILL).key("id", id).send().await.unwrap();
        }
        let write = Write { time: time.as_second() * 1000, key, before, after };
        world.till.0.lock().unwrap().writes.push(write);
        world.stage.after(SignedDuration::from_millis(700)).await;
    }
    hand_on(world);
}

/// The service hands the stream's records on, until it has handed on all. What fails is handed on again.
fn hand_on(world: &Arc<World>) {
    if std::mem::replace(&mut world.till.0.lock().unwrap().at_work, true) {
        return;
    }
    let on = world.clone();
    world.stage.enter(Role::OPERATOR, async move {
        loop {
            let most = if on.mishap(3) { 1200 } else { 3 };
            let wait = on.chance(|chance| chance.below(most));
            on.stage.after(SignedDuration::from_secs(i64::try_from(wait).unwrap())).await;
            let most = on.chance(|chance| 1 + chance.place(10));
            let Some((event, to)) = on.till.batch(most) else { return };
            let Ok(answer) = invoke(&on, Request::Capture(event)).await else { continue };
            let answer: CaptureAnswer = serde_json::from_value(answer).unwrap();
            assert_eq!(answer.failures, [], "all of these records can be taken");
            on.till.0.lock().unwrap().handed_on = to;
            on.tally.count(Happened::Captured);
        }
    });
}

/// Restores the table as it was at some time. What says that it is exact must be.
pub(super) async fn restore_at(world: &Arc<World>) {
    let live = world.model.live();
    let complete = |backup: &String| Some((world.till.complete_since(backup)?, backup.clone()));
    let Some((first, oldest)) = live.iter().filter_map(complete).min() else { return };
    let (first, now) = (first + SKEW, world.stage.now() - SKEW);
    let Ok(span) = u64::try_from(now.as_millisecond() - first.as_millisecond()) else { return };
    let at = world.chance(|chance| chance.below(span + 1));
    let at = first + SignedDuration::from_millis(i64::try_from(at).unwrap());
    let (id, path) = (world.new_id(), world.new_directory("restored"));
    let request = RestoreRequest {
        backup: String::new(),
        resource: Some(TILL.to_owned()),
        at: Some(at),
        target: TargetSpec::Jsonl { path: path.clone() },
        on_conflict: OnConflict::Fail,
        selection: Selection::default(),
    };
    if restore::request_unplanned(&world.rough.jobs, world.stage.now(), &id, &request).await.is_err() {
        return;
    }
    machines::start(world, "restore", &id, json!({ "restore": id }));
    settled(world, "restore", &id).await;
    let job = world.fair.jobs.job(&id).await.unwrap();
    let exact = !job.warnings.iter().any(|warning| warning.code == "PointNotExact");
    // Where only one backup leads to a time, the clock that told when it was complete is believed.
    let backup = job.detail["request"]["backup"].as_str().unwrap_or_default();
    let believed = world.till.complete_since(backup).is_some_and(|complete| complete > at);
    if job.status == Status::Completed && exact && !believed && !world.model.is_gone(&oldest) {
        let holds = records(&read_lines(&path));
        assert_eq!(holds, world.till.at(at.as_millisecond()), "restore {id} of {at}: {job:?}");
        world.tally.count(Happened::RestoredAt);
    }
}

/// The records that lines tell.
fn records(lines: &Lines) -> Records {
    let mut records = Records::new();
    for line in lines.values().flatten() {
        let value: Value = serde_json::from_str(line).unwrap();
        let (id, number) = (value["id"]["S"].as_str().unwrap(), value["n"]["N"].as_str().unwrap());
        let before = records.insert(id[1..].parse().unwrap(), number.parse().unwrap());
        assert_eq!(before, None, "{id} stands there twice");
    }
    records
}
