//! The source `jsonl`: every line once, byte for byte, with its key and its place.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where it cannot go on"
)]

use async_trait::async_trait;
use holdfast_connectors::jsonl::JsonlSource;
use holdfast_connectors::{Cursor, Flow, RangeSink, RecordBatch, RecordSink, Sizing, Source, SourceRange};
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::model::{StreamKind, Warning};
use proptest::prelude::*;
use std::collections::HashSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

#[derive(Default)]
struct Ranges(Vec<SourceRange>);

#[async_trait]
impl RangeSink for Ranges {
    async fn range(&mut self, range: SourceRange) -> Result<()> {
        self.0.push(range);
        Ok(())
    }
}

#[derive(Default)]
struct Memory {
    records: Vec<(Vec<u8>, Vec<u8>, u64)>,
    warnings: Vec<Warning>,
    always_enough: bool,
    /// Values that it takes without their keys, and what it took so.
    base: HashSet<Vec<u8>>,
    known: Vec<(Vec<u8>, u64)>,
}

#[async_trait]
impl RecordSink for Memory {
    async fn records(&mut self, batch: &RecordBatch) -> Result<Flow> {
        assert!(!batch.is_empty());
        self.records.extend(batch.iter().map(|r| (r.key.to_vec(), r.value.to_vec(), r.origin)));
        Ok(self.flow())
    }

    fn known(&mut self, value: &[u8], origin: u64) -> Result<Option<Flow>> {
        if !self.base.contains(value) {
            return Ok(None);
        }
        self.known.push((value.to_vec(), origin));
        Ok(Some(self.flow()))
    }

    fn warn(&mut self, warning: Warning) {
        self.warnings.push(warning);
    }
}

impl Memory {
    fn flow(&self) -> Flow {
        if self.always_enough { Flow::Enough } else { Flow::More }
    }
}

struct Scene {
    dir: tempfile::TempDir,
    source: JsonlSource,
}

impl Scene {
    fn new(files: &[(&str, &[u8])], key: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in files {
            fs::write(dir.path().join(name), content).unwrap();
        }
        let source = source(dir.path(), key).unwrap();
        Self { dir, source }
    }

    async fn ranges(&self, bytes: u64) -> Result<Vec<SourceRange>> {
        let mut ranges = Ranges::default();
        for stream in self.source.streams().await? {
            self.source.cut(&stream, &Sizing { bytes, entries: 1, workers: 2 }, &mut ranges).await?;
        }
        Ok(ranges.0)
    }

    /// The records of the first stream by range; how often a cursor came back.
    async fn read(&self, ranges: &[SourceRange], sink: &mut Memory) -> Result<(Vec<usize>, u64)> {
        let stream = self.source.streams().await?.swap_remove(0);
        let (mut counts, mut cursors) = (Vec::new(), 0);
        for range in ranges {
            let before = sink.records.len();
            let mut from: Option<Cursor> = None;
            loop {
                from = self.source.read_records(&stream, range, from.as_ref(), sink).await?;
                if from.is_none() {
                    break;
                }
                cursors += 1;
            }
            counts.push(sink.records.len() - before);
        }
        Ok((counts, cursors))
    }

    async fn fails(&self, bytes: u64) -> Error {
        let ranges = self.ranges(bytes).await.unwrap();
        self.read(&ranges, &mut Memory::default()).await.unwrap_err()
    }
}

fn source(path: &Path, key: &[&str]) -> Result<JsonlSource> {
    JsonlSource::new(path, key.iter().map(|k| (*k).to_owned()).collect())
}

#[tokio::test]
async fn each_file_is_a_stream() {
    let scene =
        Scene::new(&[("b.ndjson", b""), ("a.jsonl", b""), ("c.json", b""), ("README", b"")], &["/id", "/x"]);
    fs::create_dir(scene.dir.path().join("d.jsonl")).unwrap();
    let streams = scene.source.streams().await.unwrap();
    assert_eq!(streams.iter().map(|s| &*s.name).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(streams[1].schema, serde_json::json!({"file": "b.ndjson"}));
    let StreamKind::Records { key, .. } = &streams[0].shape else { panic!("records") };
    assert_eq!(key, &["/id", "/x"]);
    assert!(scene.ranges(10).await.unwrap().is_empty(), "empty files have no range");
}

#[tokio::test]
async fn records_that_the_base_holds_are_taken_without_their_keys() {
    let lines: Vec<String> =
        (0..200).map(|id| format!(r#"{{"id":{id},"x":"{}"}}"#, "x".repeat(9_000))).collect();
    let text = lines.join("\n");
    let scene = Scene::new(&[("a.jsonl", text.as_bytes())], &["/id"]);
    for always_enough in [false, true] {
        // All but every tenth.
        let base = lines
            .iter()
            .enumerate()
            .filter(|(id, _)| id % 10 != 3)
            .map(|(_, line)| line.clone().into_bytes());
        let mut sink = Memory { base: base.collect(), always_enough, ..Memory::default() };
        let ranges = scene.ranges(text.len() as u64).await.unwrap();
        let (_, cursors) = scene.read(&ranges, &mut sink).await.unwrap();
        // A sink that has enough ends its call behind every record that it knew, but the last.
        assert_eq!(cursors, if always_enough { 179 } else { 0 });
        assert_eq!((sink.known.len(), sink.records.len()), (180, 20));
        let mut all: Vec<(u64, Vec<u8>)> =
            sink.known.iter().map(|(value, at)| (*at, value.clone())).collect();
        all.extend(sink.records.iter().map(|(_, value, at)| (*at, value.clone())));
        all.sort_unstable();
        let wanted: Vec<_> = (0..).zip(lines.iter().map(|line| line.clone().into_bytes())).collect();
        assert_eq!(all, wanted, "each once, at its place");
        assert!(sink.records.iter().all(|(key, _, at)| *key == format!("[{at}]").into_bytes()));
    }
}

#[tokio::test]
async fn directories_that_cannot_be_read_as_streams_are_refused() {
    let none = Scene::new(&[("a.json", b"{}")], &["/id"]).source.streams().await.unwrap_err();
    assert_eq!(none.code, Code::SourceInvalid);
    assert!(none.message.contains("*.jsonl or *.ndjson"));
    let twice =
        Scene::new(&[("a.jsonl", b""), ("a.ndjson", b"")], &["/id"]).source.streams().await.unwrap_err();
    assert_eq!(twice.code, Code::SourceInvalid);
    assert!(twice.message.starts_with("a.jsonl and a.ndjson"), "{twice}");
    let scene = Scene::new(&[], &["/id"]);
    fs::write(scene.dir.path().join(std::ffi::OsStr::from_bytes(b"\xff.jsonl")), "").unwrap();
    assert_eq!(scene.source.streams().await.unwrap_err().code, Code::SourceInvalid);
    let missing = source(&scene.dir.path().join("no"), &["/id"]).unwrap().streams().await.unwrap_err();
    assert_eq!(missing.code, Code::SourceMissing);
    assert_eq!(source(Path::new("."), &["id"]).unwrap_err().code, Code::InvalidInput);
    assert_eq!(source(Path::new("."), &[]).unwrap_err().code, Code::InvalidInput);
}

#[tokio::test]
async fn lines_are_kept_byte_for_byte() {
    let text = b"{ \"id\" : \"\\u0061\" }\r\n\n \t\r\n{\"id\":1.0,\"x\":\"\xf0\x9f\x98\x80\"}";
    let scene = Scene::new(&[("a.jsonl", text)], &["/id"]);
    let mut all = Memory::default();
    let ranges = scene.ranges(1 << 20).await.unwrap();
    scene.read(&ranges, &mut all).await.unwrap();
    let first = (b"[\"a\"]".to_vec(), b"{ \"id\" : \"\\u0061\" }\r".to_vec(), 0);
    let last = (b"[1.0]".to_vec(), "{\"id\":1.0,\"x\":\"😀\"}".as_bytes().to_vec(), 3);
    assert_eq!(all.records, [first, last]);
    assert_eq!(all.warnings.len(), 1);
    assert_eq!(all.warnings[0].code, "BlankLines");
    assert!(all.warnings[0].message.starts_with("2 blank lines"));
}

#[tokio::test]
async fn faults_name_file_and_line_and_nothing_of_the_record() {
    let faults: [(&[u8], &str); 5] = [
        (b"{\"id\":1,\"secret\"}", "is not one JSON value"),
        (b"{\"secret\":1}", "has no string, number or boolean at /id"),
        (b"{\"id\":null,\"s\":\"secret\"}", "has no string, number or boolean at /id"),
        (b"{\"id\":\"secret\xff\"}", "is not UTF-8"),
        (b"{\"id\":2} {\"id\":\"secret\"}", "is not one JSON value"),
    ];
    for (line, what) in faults {
        let mut text: Vec<u8> = (0..100).flat_map(|id| format!("{{\"id\":{id}}}\n").into_bytes()).collect();
        text.extend_from_slice(line);
        text.extend_from_slice(b"\n{\"id\":1000}\n");
        let scene = Scene::new(&[("products.ndjson", &text)], &["/id"]);
        for bytes in [7, 100, 1 << 20] {
            let error = scene.fails(bytes).await;
            assert_eq!(error.code, Code::SourceInvalid);
            assert!(error.message.contains("/products.ndjson, line 101 "), "{error}");
            assert!(error.message.contains(what) && !error.message.contains("secret"), "{error}");
            assert!(error.hint.is_some());
        }
    }
}

#[tokio::test]
async fn a_file_that_changed_since_it_was_cut_is_not_read() {
    let scene = Scene::new(&[("a.jsonl", b"{\"id\":1}\n")], &["/id"]);
    let ranges = scene.ranges(5).await.unwrap();
    fs::write(scene.dir.path().join("a.jsonl"), "{\"id\":1}\n{\"id\":2}\n").unwrap();
    let error = scene.read(&ranges, &mut Memory::default()).await.unwrap_err();
    assert_eq!(error.code, Code::SourceChanged);
    assert!(error.hint.is_some());
}

#[tokio::test]
async fn records_of_many_mebibytes_are_read() {
    let large = format!("{{\"id\":1,\"x\":\"{}\"}}\n", "y".repeat(20 << 20));
    let text = format!("{large}{{\"id\":2}}\n");
    let scene = Scene::new(&[("a.jsonl", text.as_bytes())], &["/id"]);
    let ranges = scene.ranges(1 << 20).await.unwrap();
    let mut all = Memory::default();
    let (counts, _) = scene.read(&ranges, &mut all).await.unwrap();
    assert_eq!(counts.iter().sum::<usize>(), 2);
    assert_eq!(all.records[0].1.len() + 1, large.len());
}

#[tokio::test]
async fn a_record_beyond_all_measure_is_refused() {
    let mut text = b"{\"id\":1}\n{\"id\":\"".to_vec();
    text.resize((64 << 20) + 4000, b'x');
    let scene = Scene::new(&[("a.jsonl", &text)], &["/id"]);
    let error = scene.fails(u64::MAX).await;
    assert_eq!(error.code, Code::SourceInvalid);
    assert!(error.message.contains("a.jsonl, line 2 is longer than 64 MiB"), "{error}");
}

fn some_lines() -> impl Strategy<Value = Vec<Option<String>>> {
    let line = prop_oneof![
        6 => (any::<u32>(), "[a-zäöü€😀 ]{0,40}").prop_map(|(id, x)| Some(format!("{{\"x\":\"{x}\",\"id\":{id}}}"))),
        1 => any::<u16>().prop_map(|id| Some(format!(" [\n]{{\"id\":\"{id}\"}}").replace("[\n]", ""))),
        1 => Just(None),
    ];
    prop::collection::vec(line, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn every_line_comes_once_and_knows_its_place(lines in some_lines(), bytes in 1_u64..200, end in any::<bool>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut text = lines.iter().map(|l| l.as_deref().unwrap_or(" ")).collect::<Vec<_>>().join("\n");
            if end && !text.is_empty() {
                text.push('\n');
            }
            let scene = Scene::new(&[("a.jsonl", text.as_bytes())], &["/id"]);
            let ranges = scene.ranges(bytes).await.unwrap();
            let mut all = Memory::default();
            let (counts, _) = scene.read(&ranges, &mut all).await.unwrap();
            let expected: Vec<(usize, &String)> =
                lines.iter().enumerate().filter_map(|(at, line)| Some((at, line.as_ref()?))).collect();
            assert_eq!(all.records.len(), expected.len());
            let stream = scene.source.streams().await.unwrap().swap_remove(0);
            let range_of = counts.iter().zip(&ranges).flat_map(|(count, range)| std::iter::repeat_n(range, *count));
            for (((_, value, origin), (line, text)), range) in all.records.iter().zip(expected).zip(range_of) {
                assert_eq!(value, text.as_bytes());
                let place = scene.source.describe_origin(&stream, range, *origin).await.unwrap();
                assert_eq!(place, format!("a.jsonl, line {}", line + 1));
            }
        });
    }

    #[test]
    fn cursors_lose_and_repeat_nothing(sizes in prop::collection::vec(1_usize..700_000, 1..12), bytes in 300_000_u64..4_000_000) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let lines: Vec<String> = sizes
                .iter()
                .enumerate()
                .map(|(id, size)| format!("{{\"id\":{id},\"x\":\"{}\"}}\n", "x".repeat(*size)))
                .collect();
            let text = lines.concat();
            let scene = Scene::new(&[("a.jsonl", text.as_bytes())], &["/id"]);
            let ranges = scene.ranges(bytes).await.unwrap();
            let (mut at_once, mut in_calls) = (Memory::default(), Memory { always_enough: true, ..Memory::default() });
            scene.read(&ranges, &mut at_once).await.unwrap();
            let (_, cursors) = scene.read(&ranges, &mut in_calls).await.unwrap();
            assert!(text.len() < 3 << 20 || cursors > 0 || ranges.len() > 1);
            assert!(at_once.records == in_calls.records, "the same, whatever the calls");
            assert_eq!(at_once.records.len(), lines.len());
        });
    }
}
