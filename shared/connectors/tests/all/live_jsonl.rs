//! Records put back into a file of lines: only what the bad writer left, and nothing of what others write is lost.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use holdfast_connectors::jsonl::JsonlLive;
use holdfast_connectors::{
    EnvironmentClients, Limits, Live, OnConflict, Revert, Reverted, SourceSpec, open_live,
};
use holdfast_vault::error::Code;
use holdfast_vault::model::{RecordEncoding, StreamInfo, StreamKind};
use proptest::prelude::*;
use rustix::fs::FlockOperation;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

struct Shop {
    dir: tempfile::TempDir,
    live: JsonlLive,
    stream: StreamInfo,
}

impl Shop {
    fn new(content: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("products.jsonl"), content).unwrap();
        let live = JsonlLive::new(dir.path());
        Self { dir, live, stream: stream("products.jsonl") }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("products.jsonl")
    }

    fn content(&self) -> String {
        fs::read_to_string(self.file()).unwrap()
    }

    async fn revert(&self, reverts: &[Revert], policy: OnConflict) -> Vec<Reverted> {
        self.live.revert(&self.stream, reverts, policy).await.unwrap()
    }

    /// What is in the directory beside the stream's own file.
    fn others(&self) -> Vec<String> {
        let names = fs::read_dir(self.dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.map(|name| name.into_string().unwrap()).filter(|name| name != "products.jsonl").collect()
    }
}

fn stream(file: &str) -> StreamInfo {
    StreamInfo {
        name: "products".to_owned(),
        shape: StreamKind::Records { encoding: RecordEncoding::Json, key: vec!["/id".to_owned()] },
        schema: serde_json::json!({ "file": file }),
    }
}

fn line(id: usize, price: usize) -> String {
    format!(r#"{{"id":{id},"price":{price}}}"#)
}

fn revert(id: usize, was: Option<usize>, left: Option<usize>) -> Revert {
    let value = |price: Option<usize>| price.map(|price| line(id, price).into_bytes());
    Revert { key: format!("[{id}]").into_bytes(), was: value(was), left: value(left) }
}

fn conflict(now: Option<String>, overwritten: bool) -> Reverted {
    Reverted::Conflict { now: now.map(String::into_bytes), overwritten }
}

#[tokio::test]
async fn bad_writes_are_taken_back_and_good_ones_stay() {
    let shop = Shop::new(&format!("{}\n{}\n{}\n", line(1, 999), line(2, 999), line(4, 7)));
    fs::set_permissions(shop.file(), fs::Permissions::from_mode(0o640)).unwrap();
    let reverts = [
        revert(1, Some(10), Some(999)),
        revert(2, None, Some(999)),
        revert(3, Some(30), None),
        revert(4, Some(40), Some(999)),
        revert(5, Some(50), Some(999)),
    ];
    let told = shop.revert(&reverts, OnConflict::Skip).await;
    let kept = [conflict(Some(line(4, 7)), false), conflict(None, false)];
    assert_eq!(told, [&[Reverted::Done, Reverted::Done, Reverted::Done][..], &kept].concat());
    let after = format!("{}\n{}\n{}\n", line(1, 10), line(4, 7), line(3, 30));
    assert_eq!(shop.content(), after);
    assert_eq!(fs::metadata(shop.file()).unwrap().permissions().mode() & 0o7777, 0o640);

    let inode = fs::metadata(shop.file()).unwrap().ino();
    let again = shop.revert(&reverts, OnConflict::Fail).await;
    assert_eq!(again[..3], [Reverted::Already, Reverted::Already, Reverted::Already]);
    assert_eq!(again[3..], kept);
    assert_eq!(fs::metadata(shop.file()).unwrap().ino(), inode, "nothing to do, nothing written");

    let forced = shop.revert(&reverts[3..], OnConflict::Overwrite).await;
    assert_eq!(forced, [conflict(Some(line(4, 7)), true), conflict(None, true)]);
    assert_eq!(
        shop.content(),
        format!("{}\n{}\n{}\n{}\n", line(1, 10), line(4, 40), line(3, 30), line(5, 50))
    );
    assert_eq!(shop.others(), Vec::<String>::new());
}

#[tokio::test]
async fn records_are_read_in_the_order_of_the_keys() {
    let shop = Shop::new("{\"id\":2}\r\n\nnothing\n {\"id\":1} ");
    let keys = [b"[1]".to_vec(), b"[9]".to_vec(), b"[2]".to_vec(), b"[1]".to_vec()];
    let first = Some(b" {\"id\":1} ".to_vec());
    let told = shop.live.read(&shop.stream, &keys).await.unwrap();
    assert_eq!(told, [first.clone(), None, Some(b"{\"id\":2}\r".to_vec()), first]);
}

#[tokio::test]
async fn a_file_that_was_deleted_comes_back() {
    let shop = Shop::new("");
    fs::remove_file(shop.file()).unwrap();
    assert_eq!(shop.live.read(&shop.stream, &[b"[1]".to_vec()]).await.unwrap(), [None]);
    let told = shop.revert(&[revert(1, Some(1), None), revert(2, None, Some(2))], OnConflict::Skip).await;
    assert_eq!(told, [Reverted::Done, Reverted::Already]);
    assert_eq!(shop.content(), format!("{}\n", line(1, 1)));
    assert_eq!(shop.others(), Vec::<String>::new());
}

#[tokio::test]
async fn what_a_killed_undo_left_is_taken_over() {
    let shop = Shop::new(&format!("{}\n", line(1, 999)));
    fs::write(
        shop.dir.path().join(".products.jsonl.holdfast-undo"),
        "half a file, longer than the new one is",
    )
    .unwrap();
    assert_eq!(shop.revert(&[revert(1, Some(1), Some(999))], OnConflict::Skip).await, [Reverted::Done]);
    assert_eq!(shop.content(), format!("{}\n", line(1, 1)));
    assert_eq!(shop.others(), Vec::<String>::new());
}

#[tokio::test]
async fn links_and_unclear_files_are_refused() {
    let shop = Shop::new(&format!("{}\n{}\n{}\n", line(1, 999), line(2, 5), line(1, 3)));
    let reverts = [revert(1, Some(1), Some(999))];
    let refused = |code: Code, told: holdfast_vault::error::Result<Vec<Reverted>>, part: &str| {
        let error = told.unwrap_err();
        assert_eq!(error.code, code);
        assert!(error.message.contains(part) && error.hint.is_some(), "{error:?}");
    };
    let told = shop.live.revert(&shop.stream, &reverts, OnConflict::Overwrite).await;
    refused(Code::TargetInvalid, told, "products.jsonl, line 3 ");
    // The other records of that file are clear.
    assert_eq!(shop.revert(&[revert(2, Some(4), Some(5))], OnConflict::Skip).await, [Reverted::Done]);

    let elsewhere = tempfile::tempdir().unwrap();
    let outside = elsewhere.path().join("outside.jsonl");
    fs::write(&outside, format!("{}\n", line(1, 999))).unwrap();
    symlink(&outside, shop.dir.path().join("link.jsonl")).unwrap();
    refused(
        Code::TargetInvalid,
        shop.live.revert(&stream("link.jsonl"), &reverts, OnConflict::Skip).await,
        "link",
    );
    // A link in the draft's place is not written through.
    symlink(&outside, shop.dir.path().join(".other.jsonl.holdfast-undo")).unwrap();
    fs::write(shop.dir.path().join("other.jsonl"), format!("{}\n", line(1, 999))).unwrap();
    assert!(shop.live.revert(&stream("other.jsonl"), &reverts, OnConflict::Skip).await.is_err());
    assert_eq!(fs::read_to_string(&outside).unwrap(), format!("{}\n", line(1, 999)));

    let nowhere = JsonlLive::new(elsewhere.path().join("nowhere"));
    refused(
        Code::TargetInvalid,
        nowhere.revert(&shop.stream, &reverts, OnConflict::Skip).await,
        "no directory",
    );
}

#[tokio::test]
async fn a_locked_file_is_left_alone() {
    let shop = Shop::new(&format!("{}\n", line(1, 999)));
    let held = File::open(shop.file()).unwrap();
    rustix::fs::flock(&held, FlockOperation::LockShared).unwrap();
    let reverts = [revert(1, Some(1), Some(999))];
    let error = shop.live.revert(&shop.stream, &reverts, OnConflict::Skip).await.unwrap_err();
    assert_eq!((error.code, error.code.retryable()), (Code::TargetUnavailable, true));
    drop(held);
    assert_eq!(shop.revert(&reverts, OnConflict::Skip).await, [Reverted::Done]);
}

#[tokio::test]
async fn orders_that_make_no_sense_are_refused() {
    let shop = Shop::new(&format!("{}\n", line(1, 999)));
    let twice = [revert(1, Some(1), Some(999)), revert(1, Some(2), Some(999))];
    let other = Revert { key: b"[2]".to_vec(), ..revert(1, Some(1), Some(999)) };
    let two_lines = Revert { was: Some(b"{\"id\":\n1}".to_vec()), ..revert(1, None, Some(999)) };
    for reverts in [&twice[..], &[other], &[two_lines]] {
        let error = shop.live.revert(&shop.stream, reverts, OnConflict::Overwrite).await.unwrap_err();
        assert_eq!(error.code, Code::Internal);
    }
    assert_eq!(shop.content(), format!("{}\n", line(1, 999)));
}

#[tokio::test]
async fn an_undo_needs_records() {
    let s3 = SourceSpec::S3 { bucket: "b".into(), prefix: String::new(), endpoint: None, region: None };
    for spec in [SourceSpec::Files { path: "/srv".into() }, s3] {
        let opened = open_live(&spec, Limits::default(), &EnvironmentClients).await;
        let Err(error) = opened else { panic!("{spec:?} was opened") };
        assert_eq!(error.code, Code::InvalidInput);
        assert!(error.message.contains("an undo needs records") && error.hint.is_some());
    }
    let shop = Shop::new(&line(1, 999));
    let spec = SourceSpec::Jsonl { path: shop.dir.path().to_owned(), key: vec!["/id".to_owned()] };
    let live = open_live(&spec, Limits::default(), &EnvironmentClients).await.unwrap();
    let told = live.revert(&shop.stream, &[revert(1, Some(1), Some(999))], OnConflict::Skip).await;
    assert_eq!(told.unwrap(), [Reverted::Done]);
    assert_eq!(shop.content(), line(1, 1), "as it had no line feed at its end");
}

/// Puts a record back and forth while `writer` adds records of its own, until it has ended.
fn beside(shop: &Shop, writer: impl FnOnce(&Path) + Send) {
    let (path, ended) = (shop.file(), AtomicBool::new(false));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            writer(&path);
            ended.store(true, Ordering::SeqCst);
        });
        while !ended.load(Ordering::SeqCst) {
            for reverts in [[revert(0, Some(1), Some(2))], [revert(0, Some(2), Some(1))]] {
                let told = runtime.block_on(shop.live.revert(&shop.stream, &reverts, OnConflict::Skip));
                match told {
                    Ok(told) => assert!(matches!(told[0], Reverted::Done | Reverted::Already), "{told:?}"),
                    Err(error) => assert!(error.code.retryable(), "{error:?}"),
                }
            }
        }
    });
    let content = shop.content();
    for id in 1..=WRITES {
        assert_eq!(content.matches(&format!("{}\n", line(id, id))).count(), 1, "record {id}");
    }
    assert_eq!(content.lines().count(), WRITES + 1);
    assert_eq!(shop.others(), Vec::<String>::new());
}

const WRITES: usize = 400;

#[test]
fn nothing_of_a_program_that_replaces_the_file_is_lost() {
    let shop = Shop::new(&format!("{}\n", line(0, 1)));
    let elsewhere = tempfile::tempdir_in(shop.dir.path().parent().unwrap()).unwrap();
    beside(&shop, |path| {
        for id in 1..=WRITES {
            let next = elsewhere.path().join("next");
            let now = fs::read_to_string(path).unwrap();
            fs::write(&next, format!("{now}{}\n", line(id, id))).unwrap();
            fs::rename(&next, path).unwrap();
        }
    });
}

#[test]
fn nothing_of_a_program_that_locks_the_file_is_lost() {
    let shop = Shop::new(&format!("{}\n", line(0, 1)));
    beside(&shop, |path| {
        for id in 1..=WRITES {
            loop {
                let mut file = OpenOptions::new().append(true).open(path).unwrap();
                rustix::fs::flock(&file, FlockOperation::LockExclusive).unwrap();
                // It may have lost its name before it was locked.
                if fs::metadata(path).unwrap().ino() == file.metadata().unwrap().ino() {
                    file.write_all(format!("{}\n", line(id, id)).as_bytes()).unwrap();
                    break;
                }
            }
        }
    });
}

#[derive(Debug, Clone)]
enum Text {
    Record(usize, usize),
    Junk(&'static str),
}

fn some_file() -> impl Strategy<Value = (Vec<Text>, bool)> {
    let junk = prop_oneof![Just(""), Just("  "), Just("{\"id\":"), Just("{\"no\":1}"), Just("[\"id\",1]")];
    let records = proptest::collection::btree_map(0_usize..8, 0_usize..4, 0..8);
    let texts = (records, proptest::collection::vec(junk, 0..4)).prop_map(|(records, junk)| {
        let records = records.into_iter().map(|(id, price)| Text::Record(id, price));
        records.chain(junk.into_iter().map(Text::Junk)).collect::<Vec<_>>()
    });
    (texts.prop_shuffle(), any::<bool>())
}

fn some_reverts() -> impl Strategy<Value = Vec<Revert>> {
    let price = || proptest::option::of(0_usize..4);
    proptest::collection::btree_map(0_usize..8, (price(), price()), 0..8)
        .prop_map(|all| all.into_iter().map(|(id, (was, left))| revert(id, was, left)).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn any_file_becomes_what_the_reverts_say(
        (texts, ended) in some_file(), reverts in some_reverts(), overwrite in any::<bool>()
    ) {
        let lines = |texts: &[Text]| -> Vec<String> {
            let text = |text: &Text| match text {
                Text::Record(id, price) => line(*id, *price),
                Text::Junk(junk) => (*junk).to_owned(),
            };
            texts.iter().map(text).collect()
        };
        let mut content = lines(&texts).join("\n");
        if ended && !texts.is_empty() {
            content.push('\n');
        }
        let shop = Shop::new(&content);
        let policy = if overwrite { OnConflict::Overwrite } else { OnConflict::Skip };

        // The model: lines with their keys.
        let keyed = |text: &Text| match text {
            Text::Record(id, price) => (format!("[{id}]"), line(*id, *price)),
            Text::Junk(junk) => (String::new(), (*junk).to_owned()),
        };
        let mut model: Vec<(String, String)> = texts.iter().map(keyed).collect();
        let mut expected = Vec::new();
        for revert in &reverts {
            let key = String::from_utf8(revert.key.clone()).unwrap();
            let place = model.iter().position(|(known, _)| *known == key);
            let now = place.map(|place| model[place].1.clone().into_bytes());
            let bad = now == revert.left;
            expected.push(if now == revert.was {
                Reverted::Already
            } else if bad {
                Reverted::Done
            } else {
                Reverted::Conflict { now: now.clone(), overwritten: overwrite }
            });
            if now != revert.was && (bad || overwrite) {
                let was = revert.was.clone().map(|was| String::from_utf8(was).unwrap());
                match (place, was) {
                    (Some(place), Some(was)) => model[place].1 = was,
                    (Some(place), None) => drop(model.remove(place)),
                    (None, Some(was)) => model.push((key, was)),
                    (None, None) => unreachable!("it would already be so"),
                }
            }
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        prop_assert_eq!(runtime.block_on(shop.revert(&reverts, policy)), expected.clone());
        let after: Vec<String> = model.into_iter().map(|(_, line)| line).collect();
        let found = shop.content();
        // A last line that is empty, and one that has no line feed, look the same.
        let full = |lines: Vec<&str>| -> Vec<String> {
            lines.into_iter().filter(|line| !line.is_empty()).map(str::to_owned).collect()
        };
        prop_assert_eq!(full(found.split('\n').collect()), full(after.iter().map(String::as_str).collect()));
        let again = runtime.block_on(shop.revert(&reverts, policy));
        for (told, again) in expected.iter().zip(again) {
            let kept = matches!(told, Reverted::Conflict { overwritten: false, .. });
            prop_assert_eq!(again, if kept { told.clone() } else { Reverted::Already });
        }
        prop_assert_eq!(shop.others(), Vec::<String>::new());
    }
}
