//! The targets. A check panics where a reader does, or where what it says contradicts itself.

use crate::asl::StateMachine;
use crate::document::DocumentSource;
use crate::dynamodb::item::{read_item, read_key, write_item, write_key};
use crate::dynamodb::number::{Number, same_number};
use crate::dynamodb::stream_event::{StreamName, StreamRecord};
use crate::fields::{changed_fields, plain};
use crate::filter::{RecordFilter, key_text};
use crate::jsonl::{Found, KeyReader, array_index, parse_pointer};
use crate::keys::KeyFinder;
use crate::raw_json::{Members, compact, elements};
use crate::request::Request;
use crate::schedule::Schedule;
use crate::source::{RangeSink, Sizing, Source, SourceRange};
use async_trait::async_trait;
use holdfast_fuzz::Target;
use holdfast_vault::error::{Class, Code, Result};
use holdfast_vault::fuzzing::now;
use holdfast_vault::model::{RecordEncoding, StreamInfo, StreamKind};
use jiff::{Timestamp, ToSpan};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::path::Path;

/// All targets of this package.
pub const TARGETS: &[Target] = &[
    Target { name: "json_texts", check: json_texts, memory: 2_000 },
    Target { name: "record_keys", check: record_keys, memory: 2_000 },
    Target { name: "numbers", check: numbers, memory: 2_000 },
    Target { name: "items", check: items, memory: 4_000 },
    Target { name: "stream_records", check: stream_records, memory: 4_000 },
    Target { name: "fields", check: fields, memory: 4_000 },
    Target { name: "documents", check: documents, memory: 4_000 },
    Target { name: "resources", check: resources, memory: 20_000 },
    Target { name: "schedules", check: schedules, memory: 4_000 },
    Target { name: "machines", check: machines, memory: 20_000 },
    Target { name: "requests", check: requests, memory: 4_000 },
    Target { name: "globs", check: globs, memory: 200_000 },
];

const ENCODINGS: [RecordEncoding; 2] = [RecordEncoding::Json, RecordEncoding::DynamodbJson];

/// The input as texts, one a line.
fn texts(data: &[u8]) -> Option<Vec<&str>> {
    std::str::from_utf8(data).ok().map(|text| text.split('\n').collect())
}

fn json_texts(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(raw) = serde_json::from_str::<&RawValue>(text) else { return };
    let mut once = Vec::new();
    compact(raw.get(), &mut once);
    let once = String::from_utf8(once).expect("what was text stays text");
    let again = serde_json::from_str::<&RawValue>(&once).expect("what was JSON stays JSON");
    let mut twice = Vec::new();
    compact(again.get(), &mut twice);
    assert_eq!(twice, once.as_bytes());
    let Ok(value) = serde_json::from_str::<Value>(text) else { return };
    assert_eq!(serde_json::from_str::<Value>(&once).ok().as_ref(), Some(&value), "it says the same");
    if let Value::Array(values) = &value {
        let inner = raw.get().strip_prefix('[').and_then(|text| text.strip_suffix(']')).expect("an array");
        let found: Vec<(usize, &str)> = elements(inner).collect();
        assert_eq!(found.len(), values.len());
        for ((at, element), value) in found.into_iter().zip(values) {
            assert!(inner[at..].starts_with(element));
            assert_eq!(serde_json::from_str::<Value>(element).ok().as_ref(), Some(value));
        }
    }
    if let Value::Object(values) = &value {
        let Members(members) = serde_json::from_str(text).expect("an object has members");
        assert!(values.len() <= members.len());
        assert!(members.iter().all(|(name, _)| values.contains_key(name)));
    }
}

fn stream(encoding: RecordEncoding, key: &[&str]) -> StreamInfo {
    let key = key.iter().map(|part| (*part).to_owned()).collect();
    StreamInfo { name: "s".to_owned(), shape: StreamKind::Records { encoding, key }, schema: Value::Null }
}

/// The first line is a JSON pointer and a key as an operator types it, the others are records.
fn record_keys(data: &[u8]) {
    let Some(lines) = texts(data) else { return };
    let (first, records) = (lines[0], &lines[1..]);
    let _ = (parse_pointer(first), array_index(first));
    let mut readers = Vec::new();
    for key in [&["/id"][..], &["/a/b", "/c/0"], &[first]] {
        let key: Vec<String> = key.iter().map(|part| (*part).to_owned()).collect();
        readers.extend(KeyReader::pointers(&key).ok().map(|reader| (reader, key.len())));
    }
    let (mut found, mut key) = (Found::default(), Vec::new());
    for record in records {
        for (reader, parts) in &readers {
            key.clear();
            if reader.read(record, &mut found, &mut key).is_ok() {
                let read: Vec<&RawValue> = serde_json::from_slice(&key).expect("a key is an array of JSON");
                assert_eq!(read.len(), *parts);
                let mut compacted = Vec::new();
                compact(std::str::from_utf8(&key).expect("a key is text"), &mut compacted);
                assert_eq!(compacted, key, "a key is compact");
            }
        }
        for (encoding, path) in [(RecordEncoding::Json, "/id"), (RecordEncoding::DynamodbJson, "id")] {
            let finder = KeyFinder::new(&stream(encoding, &[path])).expect("a stream of records");
            for typed in finder.candidates(first) {
                let _ = key_text(encoding, &typed);
            }
            let Ok(key) = finder.key(record.as_bytes()) else { continue };
            let shown = key_text(encoding, &key);
            let _ = finder.candidates(&shown);
        }
    }
}

fn numbers(data: &[u8]) {
    let Some(lines) = texts(data) else { return };
    for one in &lines {
        let number = Number::parse(one);
        if let Some(number) = &number {
            let _ = (number.fits(), number.is_plain(one));
            assert!(same_number(one, one));
        }
        for other in &lines {
            assert_eq!(same_number(one, other), same_number(other, one));
            if let (Some(one), Some(other)) = (&number, Number::parse(other)) {
                assert_eq!(*one == other, one.cmp(&other).is_eq());
            }
        }
    }
}

fn items(data: &[u8]) {
    let Ok(item) = read_item(data) else { return };
    let mut once = Vec::new();
    if write_item(&mut once, &item).is_err() {
        return;
    }
    let again = read_item(&once).expect("what is written is read");
    let mut twice = Vec::new();
    write_item(&mut twice, &again).expect("what was written is written");
    assert_eq!(twice, once, "the canonical form is one");
    let mut names: Vec<String> = item.keys().cloned().collect();
    names.sort();
    let mut key = Vec::new();
    write_key(&mut key, &item, &names).expect("it has all of its attributes");
    let read = read_key(&key, &names).expect("a key is read");
    let mut written = Vec::new();
    write_key(&mut written, &read, &names).expect("a key is written");
    assert_eq!(written, key);
    let _ = plain(RecordEncoding::DynamodbJson, &once).expect("an item can be shown");
    assert!(changed_fields(RecordEncoding::DynamodbJson, &once, &twice).expect("equal items").is_empty());
}

fn stream_records(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = StreamName::parse(text);
    }
    let Ok(value) = serde_json::from_slice::<Value>(data) else { return };
    let Ok(record) = StreamRecord::new(&value) else { return };
    let mut names: Vec<String> = record.key_names().into_iter().map(str::to_owned).collect();
    names.sort();
    let time = record.time();
    for key in [&names[..], &["id".to_owned()], &[]] {
        let Ok(change) = record.change(key) else { continue };
        assert_eq!(Some(change.time), time);
        for image in [&change.before, &change.after].into_iter().flatten() {
            let mut again = Vec::new();
            write_item(&mut again, &read_item(image).expect("an image is an item")).expect("and is written");
            assert_eq!(again, *image, "an image is canonical");
        }
    }
}

/// The first line is a condition, the second and the third are two versions of a record.
fn fields(data: &[u8]) {
    let Some(lines) = texts(data) else { return };
    let [condition, old, new, ..] = lines[..] else { return };
    let filter = RecordFilter::parse(&[condition.to_owned()], Some(condition.to_owned()));
    for encoding in ENCODINGS {
        for value in [old, new] {
            if plain(encoding, value.as_bytes()).is_ok() {
                let same = changed_fields(encoding, value.as_bytes(), value.as_bytes());
                assert_eq!(same.map(|fields| fields.len()), Ok(0), "nothing differs from itself");
            }
            let _ = key_text(encoding, value.as_bytes());
        }
        let there = changed_fields(encoding, old.as_bytes(), new.as_bytes());
        let back = changed_fields(encoding, new.as_bytes(), old.as_bytes());
        assert_eq!(there.is_ok(), back.is_ok());
        if let (Ok(there), Ok(back)) = (there, back) {
            assert_eq!(there.is_empty(), back.is_empty());
        }
        if let Ok(filter) = &filter {
            let _ = filter.is_empty();
            let _ = filter.matches(encoding, old.as_bytes(), Some(old.as_bytes()), Some(new.as_bytes()));
        }
    }
}

struct Ranges(Vec<SourceRange>);

#[async_trait]
impl RangeSink for Ranges {
    async fn range(&mut self, range: SourceRange) -> Result<()> {
        self.0.push(range);
        Ok(())
    }
}

fn documents(data: &[u8]) {
    let Ok(value) = serde_json::from_slice::<Value>(data) else { return };
    let Ok(source) = DocumentSource::new(Some(&value), None) else { return };
    let Ok(streams) = now(source.streams()) else { return };
    for stream in streams {
        let sizing = Sizing { bytes: 20, entries: 3, workers: 2 };
        let mut ranges = Ranges(Vec::new());
        now(source.cut(&stream, &sizing, &mut ranges)).expect("a stream that there is can be cut");
        for range in ranges.0 {
            serde_json::to_vec(&range).expect("a range has a JSON form");
        }
    }
}

fn resources(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match crate::config::parse(text, "resources.yaml", Path::new("/home/x")) {
        Ok(resources) => {
            for resource in resources {
                let json = serde_json::to_value(&resource).expect("a resource has a JSON form");
                let again = serde_json::from_value(json).expect("and is read again");
                assert_eq!(resource, again);
            }
        }
        Err(error) => assert_eq!(error.code, Code::InvalidInput, "{error:?}"),
    }
}

/// The first line is a cron expression, the second a time zone.
fn schedules(data: &[u8]) {
    let Some(lines) = texts(data) else { return };
    let _ = Schedule::check_interval(lines[0]);
    let Ok(schedule) = Schedule::parse(lines[0], lines.get(1).copied()) else { return };
    let until: Timestamp = "2026-11-21T12:00:00Z".parse().expect("a time");
    let after = until - 400.hours();
    if let Some(due) = schedule.newest(after, until) {
        assert!(after < due && due <= until);
        assert!(schedule.next(due).is_none_or(|next| next > until), "it is the newest");
    }
}

fn machines(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let filled = ["PlanFunctionArn", "NotificationTopicArn", "Name"];
    let filled: BTreeMap<String, String> = filled
        .into_iter()
        .map(|name| (name.to_owned(), "arn:aws:lambda:x:1:function:f".to_owned()))
        .collect();
    match StateMachine::load("machine", text, &filled) {
        Ok(machine) => assert_eq!(machine.name(), "machine"),
        Err(error) => assert_eq!(error.code.class(), Class::BadInput, "{error:?}"),
    }
}

fn requests(data: &[u8]) {
    let Ok(request) = serde_json::from_slice::<Request>(data) else { return };
    let _ = (request.route(), request.path("id"), request.query(&["limit", "after"]));
    if let Ok(body) = request.body::<Value>() {
        assert!(body.is_object());
    }
}

/// The first line is a path, the others are globs.
fn globs(data: &[u8]) {
    let Some(lines) = texts(data) else { return };
    let patterns: Vec<String> = lines[1..].iter().take(4).map(|line| (*line).to_owned()).collect();
    if let Ok(globs) = crate::select::globs(&patterns) {
        let _ = crate::select::matches(&globs, lines[0].as_bytes());
    }
}
