//! The `s3` source and target, against an S3 server on the loopback.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::aws;

use crate::aws::{Pieces, Ranges, Tree, answer, s3_at, s3_server};
use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use holdfast_connectors::s3::{S3Source, S3Target};
use holdfast_connectors::{OnConflict, RestoreOrder, Sizing, Source, Target, Written};
use holdfast_vault::error::{Code, Error};
use holdfast_vault::model::{EntryKind, EntryMeta, Mtime, StreamInfo, StreamKind};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

struct Server {
    address: SocketAddr,
    client: Client,
    directory: tempfile::TempDir,
}

async fn server() -> Server {
    let directory = tempfile::tempdir().unwrap();
    let address = s3_server(directory.path()).await;
    Server { address, client: s3_at(address, |_| None), directory }
}

async fn put(client: &Client, key: &str, content: &[u8]) {
    let put =
        client.put_object().bucket("shop").key(key).content_type("text/plain").cache_control("max-age=5");
    let put = put.metadata("colour", key.len().to_string()).body(ByteStream::from(content.to_vec()));
    put.send().await.unwrap();
}

fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..length.div_ceil(8)).flat_map(|_| next()).take(length).collect()
}

const SIZING: Sizing = Sizing { bytes: 8 << 20, entries: 70, workers: 2 };

async fn read(source: &S3Source, tree: &mut Tree) -> (usize, usize) {
    let stream = source.streams().await.unwrap().remove(0);
    assert_eq!((stream.name.as_str(), &stream.shape), ("objects", &StreamKind::Tree));
    let mut ranges = Ranges::default();
    source.cut(&stream, &SIZING, &mut ranges).await.unwrap();
    let mut calls = 0;
    for range in &ranges.0 {
        calls += aws::read_tree(source, &stream, range, tree).await;
    }
    (ranges.0.len(), calls)
}

fn stream() -> StreamInfo {
    StreamInfo { name: "objects".to_owned(), shape: StreamKind::Tree, schema: serde_json::Value::Null }
}

fn order(on_conflict: OnConflict) -> RestoreOrder {
    RestoreOrder { restore_id: "r1".to_owned(), on_conflict, streams: vec![stream()], partial: false }
}

fn target(client: &Client, prefix: &str, on_conflict: OnConflict) -> S3Target {
    S3Target::new(client.clone(), "shop", prefix, on_conflict)
}

fn file(path: &str, content: &[u8]) -> EntryMeta {
    EntryMeta {
        path: path.as_bytes().to_vec(),
        kind: EntryKind::File,
        size: content.len() as u64,
        mode: None,
        mtime: None,
        attributes: BTreeMap::new(),
    }
}

async fn write(target: &S3Target, path: &str, content: &[u8]) -> Result<Written, Error> {
    target.write_entry(&stream(), &file(path, content), &mut Pieces::of(content)).await
}

async fn content(client: &Client, key: &str) -> Option<Vec<u8>> {
    let answer = client.get_object().bucket("shop").key(key).send().await.ok()?;
    Some(answer.body.collect().await.unwrap().to_vec())
}

/// The bounds of a cut cover every path once.
async fn covered(source: &S3Source) {
    let mut ranges = Ranges::default();
    source.cut(&stream(), &SIZING, &mut ranges).await.unwrap();
    let mut last = Some(None);
    for range in &ranges.0 {
        let bounds = source.bounds(&stream(), range, None).unwrap().unwrap();
        if bounds.after.is_none() || bounds.after != bounds.until {
            assert_eq!(Some(bounds.after), last);
            last = bounds.until.map(Some);
        }
    }
    assert_eq!(last, None);
}

#[tokio::test]
async fn small_objects_come_in_order_with_all_that_belongs_to_them() {
    let Server { client, directory: _kept, .. } = server().await;
    for n in 0..300_u64 {
        put(&client, &format!("site/{}/page-{n}", n % 7), &noise(usize::try_from(n * 97 % 5000).unwrap(), n))
            .await;
    }
    put(&client, "other", b"not of the prefix").await;
    let mut tree = Tree { stop_after: 50, ..Tree::default() };
    let source = S3Source::new(client.clone(), "shop", "site/");
    let (ranges, calls) = read(&source, &mut tree).await;
    assert_eq!(ranges, 5);
    assert!(calls > ranges);
    assert_eq!(tree.entries.len(), 300);
    assert!(tree.warnings.is_empty());
    for n in [0_u64, 13, 299] {
        let path = format!("{}/page-{n}", n % 7);
        assert_eq!(tree.content(&path), noise(usize::try_from(n * 97 % 5000).unwrap(), n));
        let (meta, ..) = tree.entries.iter().find(|(meta, ..)| meta.path == path.as_bytes()).unwrap();
        assert_eq!(meta.attributes["content-type"], "text/plain");
        assert_eq!(meta.attributes["cache-control"], "max-age=5");
        assert_eq!(meta.attributes["meta:colour"], (path.len() + 5).to_string());
        assert!(meta.attributes["etag"].len() > 30 && meta.mtime.is_some() && meta.mode.is_none());
    }

    let restored = target(&client, "again/", OnConflict::Fail);
    restored.prepare(&order(OnConflict::Fail)).await.unwrap();
    for (meta, _, content) in &tree.entries {
        let written = restored.write_entry(&stream(), meta, &mut Pieces::of(content)).await.unwrap();
        assert_eq!(written, Written { written: 1, conflicts: 0, bytes: meta.size });
    }
    assert!(restored.finish(&order(OnConflict::Fail)).await.unwrap().is_empty());
    let mut again = Tree::default();
    read(&S3Source::new(client.clone(), "shop", "again/"), &mut again).await;
    let without_time = |tree: &Tree| {
        let entry = |(meta, part, content): &(EntryMeta, _, Vec<u8>)| {
            (EntryMeta { mtime: None, ..meta.clone() }, *part, content.clone())
        };
        tree.entries.iter().map(entry).collect::<Vec<_>>()
    };
    assert_eq!(without_time(&again), without_time(&tree));
}

#[tokio::test]
async fn large_objects_come_in_parts_of_one_version() {
    let Server { address, client, directory: _kept } = server().await;
    let large = noise(40 << 20, 3);
    put(&client, "a", b"before").await;
    put(&client, "large", &large).await;
    put(&client, "medium", &large[..3 << 20]).await;
    put(&client, "z", b"").await;
    let mut tree = Tree::default();
    let source = S3Source::new(client.clone(), "shop", "");
    let (ranges, _) = read(&source, &mut tree).await;
    assert_eq!(ranges, 7);
    covered(&source).await;
    covered(&S3Source::new(client.clone(), "shop", "l")).await;
    covered(&S3Source::new(client.clone(), "shop", "none/")).await;
    assert_eq!(tree.paths().iter().filter(|path| *path == "large").count(), 5);
    assert!(tree.content("large") == large);
    assert!(tree.content("medium") == large[..3 << 20]);
    assert!(tree.entries.iter().all(|(meta, ..)| meta.path != b"large" || meta.size == 40 << 20));

    // A transfer that breaks off is taken up where it broke.
    let cut_short = large[..1_000_000].to_vec();
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let broken = s3_at(address, move |request| {
        let whole = request.headers().get("range").is_none() && request.uri().contains("/medium");
        (whole && request.method() == "GET").then(|| {
            counter.fetch_add(1, Ordering::Relaxed);
            let mut answer = answer(200, cut_short.clone());
            answer.headers_mut().insert("etag", "\"x\"");
            answer.headers_mut().insert("content-length", (3 << 20).to_string());
            answer
        })
    });
    let mut tree = Tree::default();
    read(&S3Source::new(broken, "shop", "m"), &mut tree).await;
    assert!(tree.content("edium") == large[..3 << 20]);
    assert_eq!(asked.load(Ordering::Relaxed), 1);

    // An object that is another one now is not mixed with what was listed.
    let changed = s3_at(address, |request| {
        let conditional = request.headers().get("if-match").is_some();
        conditional.then(|| answer(412, "<Error><Code>PreconditionFailed</Code></Error>"))
    });
    let source = S3Source::new(changed, "shop", "");
    let mut ranges = Ranges::default();
    source.cut(&stream(), &SIZING, &mut ranges).await.unwrap();
    let error = source.read_tree(&stream(), &ranges.0[1], None, &mut Tree::default()).await.unwrap_err();
    assert_eq!(error.code, Code::SourceChanged);
}

#[tokio::test]
async fn what_the_sink_knows_is_not_read_ahead_again() {
    let Server { address, client, directory: _kept } = server().await;
    for n in 0..40 {
        put(&client, &format!("k{n:02}"), b"content").await;
    }
    let gets = Arc::new(AtomicUsize::new(0));
    let counter = gets.clone();
    let tapped = s3_at(address, move |request| {
        if request.method() == "GET" && request.uri().contains("/k") {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        None
    });
    let known = (0..39).map(|n| format!("k{n:02}")).collect();
    let mut tree = Tree { known, ..Tree::default() };
    read(&S3Source::new(tapped, "shop", ""), &mut tree).await;
    assert_eq!(tree.entries.len(), 40);
    assert_eq!(tree.content("k39"), b"content");
    assert!(gets.load(Ordering::Relaxed) < 20, "{} contents were read", gets.load(Ordering::Relaxed));
}

#[tokio::test]
async fn what_vanishes_or_lies_in_an_archive_is_told() {
    let Server { address, client, directory: _kept } = server().await;
    for key in ["p/", "p/a", "p/b", "p/c"] {
        put(&client, key, if key == "p/" { b"" } else { b"content" }).await;
    }
    let gone = s3_at(address, |request| {
        (request.uri().contains("/p/b") && request.method() == "GET")
            .then(|| answer(404, "<Error><Code>NoSuchKey</Code></Error>"))
    });
    let mut tree = Tree::default();
    read(&S3Source::new(gone, "shop", "p/"), &mut tree).await;
    assert_eq!(tree.paths(), ["a", "c"]);
    assert_eq!(
        tree.warnings.iter().map(|warning| warning.code.as_str()).collect::<Vec<_>>(),
        ["ObjectVanished"]
    );

    let mut tree = Tree::default();
    read(&S3Source::new(client.clone(), "shop", "p/a"), &mut tree).await;
    assert!(tree.entries.is_empty());
    assert_eq!(tree.warnings[0].code, "PrefixObjectSkipped");

    let archived = s3_at(address, |request| {
        (request.uri().contains("/p/b") && request.method() == "GET")
            .then(|| answer(403, "<Error><Code>InvalidObjectState</Code></Error>"))
    });
    let source = S3Source::new(archived, "shop", "p/");
    let mut ranges = Ranges::default();
    source.cut(&stream(), &SIZING, &mut ranges).await.unwrap();
    let error = source.read_tree(&stream(), &ranges.0[0], None, &mut Tree::default()).await.unwrap_err();
    assert_eq!((error.code, error.object.as_deref()), (Code::SourceInvalid, Some("p/b")));
}

#[tokio::test]
async fn tags_are_read_where_there_are_some_and_told_where_not() {
    let Server { address, client, directory: _kept } = server().await;
    put(&client, "a", b"x").await;
    put(&client, "b", b"x").await;
    let tagged = |tagging: fn() -> aws_smithy_runtime_api::client::orchestrator::HttpResponse| {
        s3_at(address, move |request| {
            if request.uri().contains("tagging") {
                return Some(tagging());
            }
            let object = request.method() == "GET" && !request.uri().contains("list-type");
            object.then(|| {
                let mut answer = answer(200, "x");
                answer.headers_mut().insert("content-length", "1");
                answer.headers_mut().insert("x-amz-tagging-count", "1");
                answer
            })
        })
    };
    let given = tagged(|| {
        answer(200, "<Tagging><TagSet><Tag><Key>team</Key><Value>shop</Value></Tag></TagSet></Tagging>")
    });
    let mut tree = Tree::default();
    read(&S3Source::new(given, "shop", ""), &mut tree).await;
    assert!(
        tree.entries.iter().all(|(meta, ..)| meta.attributes["tag:team"] == "shop")
            && tree.warnings.is_empty()
    );

    let denied = tagged(|| answer(501, "<Error><Code>NotImplemented</Code></Error>"));
    let mut tree = Tree::default();
    read(&S3Source::new(denied, "shop", ""), &mut tree).await;
    assert_eq!(tree.entries.len(), 2);
    assert_eq!(tree.warnings.iter().map(|warning| warning.code.as_str()).collect::<Vec<_>>(), ["TagsUnread"]);
}

#[tokio::test]
async fn large_content_is_uploaded_in_parts_or_not_at_all() {
    let Server { client, directory, .. } = server().await;
    let large = noise(20 << 20, 9);
    let restored = target(&client, "r/", OnConflict::Fail);
    let whole = Written { written: 1, conflicts: 0, bytes: 20 << 20 };
    assert_eq!(write(&restored, "large", &large).await.unwrap(), whole);
    assert!(content(&client, "r/large").await.unwrap() == large);
    assert_eq!(write(&restored, "large", &large).await.unwrap(), Written { bytes: 0, ..whole });

    let mut other = large.clone();
    other[18 << 20] ^= 1;
    assert_eq!(write(&restored, "large", &other).await.unwrap_err().code, Code::TargetConflict);
    let skip = target(&client, "r/", OnConflict::Skip);
    assert_eq!(write(&skip, "large", &other).await.unwrap(), Written { conflicts: 1, ..Written::default() });
    assert!(content(&client, "r/large").await.unwrap() == large);
    let over = target(&client, "r/", OnConflict::Overwrite);
    assert_eq!(write(&over, "large", &other).await.unwrap(), Written { conflicts: 1, ..whole });
    assert!(content(&client, "r/large").await.unwrap() == other);

    // Content that ends early leaves neither an object nor parts.
    let meta = EntryMeta { size: 20 << 20, ..file("short", b"") };
    let error =
        restored.write_entry(&stream(), &meta, &mut Pieces::of(&large[..17 << 20])).await.unwrap_err();
    assert_eq!(error.code, Code::Internal);
    assert_eq!(content(&client, "r/short").await, None);
    let parts = std::fs::read_dir(directory.path()).unwrap().filter(|file| {
        let name = file.as_ref().unwrap().file_name();
        name.to_string_lossy().contains(".part-")
    });
    assert_eq!(parts.count(), 0);
}

#[tokio::test]
async fn a_race_for_a_large_object_is_decided_by_its_content() {
    let Server { address, client, directory: _kept } = server().await;
    let large = noise(17 << 20, 5);
    put(&client, "r/large", &large).await;
    // The first look finds nothing, so that the upload meets the object only when it is complete.
    let looks = AtomicUsize::new(0);
    let blind = s3_at(address, move |request| {
        let look = request.method() == "HEAD" && request.uri().contains("/large");
        (look && looks.fetch_add(1, Ordering::Relaxed).is_multiple_of(2)).then(|| answer(404, ""))
    });
    let fail = target(&blind, "r/", OnConflict::Fail);
    assert_eq!(write(&fail, "large", &large).await.unwrap(), Written { written: 1, ..Written::default() });
    let error = write(&fail, "large", &noise(17 << 20, 6)).await.unwrap_err();
    assert_eq!(error.code, Code::TargetConflict);
    assert!(content(&client, "r/large").await.unwrap() == large);
}

#[tokio::test]
async fn conflicts_go_as_the_policy_says() {
    let Server { client, directory: _kept, .. } = server().await;
    put(&client, "r/same", b"same").await;
    put(&client, "r/differs", b"theirs").await;
    let one = Written { written: 1, ..Written::default() };

    let fail = target(&client, "r/", OnConflict::Fail);
    assert_eq!(fail.check(&order(OnConflict::Fail)).await.unwrap_err().code, Code::TargetNotEmpty);
    assert_eq!(write(&fail, "same", b"same").await.unwrap(), one);
    let conflict = write(&fail, "differs", b"ours..").await.unwrap_err();
    assert_eq!((conflict.code, conflict.object.as_deref()), (Code::TargetConflict, Some("r/differs")));

    let skip = target(&client, "r/", OnConflict::Skip);
    skip.check(&order(OnConflict::Skip)).await.unwrap();
    assert_eq!(
        write(&skip, "differs", b"ours").await.unwrap(),
        Written { conflicts: 1, ..Written::default() }
    );
    assert_eq!(content(&client, "r/differs").await.unwrap(), b"theirs");

    let over = target(&client, "r/", OnConflict::Overwrite);
    assert_eq!(write(&over, "same", b"same").await.unwrap(), Written { bytes: 4, ..one });
    assert_eq!(write(&over, "differs", b"ours").await.unwrap(), Written { conflicts: 1, bytes: 4, ..one });
    assert_eq!(write(&over, "new", b"").await.unwrap(), one);
    assert_eq!(content(&client, "r/differs").await.unwrap(), b"ours");
}

#[tokio::test]
async fn a_restore_is_repeated_where_it_stopped() {
    let Server { client, directory: _kept, .. } = server().await;
    let fail = order(OnConflict::Fail);
    for _ in 0..2 {
        let restored = target(&client, "r/", OnConflict::Fail);
        restored.check(&fail).await.unwrap();
        restored.prepare(&fail).await.unwrap();
        assert_eq!(write(&restored, "a", b"x").await.unwrap().written, 1);
    }
    let other = RestoreOrder { restore_id: "r2".to_owned(), ..fail.clone() };
    let restored = target(&client, "r/", OnConflict::Fail);
    assert_eq!(restored.check(&other).await.unwrap_err().code, Code::TargetNotEmpty);
    restored.finish(&fail).await.unwrap();
    restored.finish(&fail).await.unwrap();
    let listed = client.list_objects_v2().bucket("shop").send().await.unwrap();
    let keys: Vec<_> = listed.contents().iter().filter_map(|object| object.key()).collect();
    assert_eq!(keys, ["r/a"], "no mark is left");
}

#[tokio::test]
async fn a_file_tree_becomes_objects() {
    let Server { client, directory: _kept, .. } = server().await;
    let restored = target(&client, "t/", OnConflict::Skip);
    let mtime = Some(Mtime { seconds: 1_700_000_000, nanos: 5 });
    let meta = EntryMeta { mode: Some(0o755), mtime, ..file("d/run.sh", b"#!") };
    let directory = EntryMeta { kind: EntryKind::Directory, ..file("d/", b"") };
    let link = EntryMeta { kind: EntryKind::Symlink { target: b"run\xff".to_vec() }, ..file("d/link", b"") };
    for meta in [&directory, &link, &meta] {
        let bytes: &[u8] = if meta.size == 2 { b"#!" } else { b"" };
        for _ in 0..2 {
            let written = restored.write_entry(&stream(), meta, &mut Pieces::of(bytes)).await.unwrap();
            assert_eq!((written.written, written.conflicts), (1, 0));
        }
    }
    let head = async |key: &str| client.head_object().bucket("shop").key(key).send().await.unwrap();
    let run = head("t/d/run.sh").await;
    assert_eq!(run.content_type(), Some("application/octet-stream"));
    assert_eq!(run.metadata().unwrap()["holdfast-mode"], "755");
    assert_eq!(run.metadata().unwrap()["holdfast-mtime"], "1700000000.000000005");
    assert_eq!(head("t/d/link").await.metadata().unwrap()["holdfast-target"], "cnVu/w==");
    let elsewhere = EntryMeta { kind: EntryKind::Symlink { target: b"other".to_vec() }, ..link };
    let kept = restored.write_entry(&stream(), &elsewhere, &mut Pieces::of(b"")).await.unwrap();
    assert_eq!((kept.written, kept.conflicts), (0, 1));

    let hostile = EntryMeta { path: b"a\xff".to_vec(), ..file("", b"") };
    let long = file(&"x".repeat(1023), b"");
    for meta in [hostile, long, file("", b"")] {
        let error = restored.write_entry(&stream(), &meta, &mut Pieces::of(b"")).await.unwrap_err();
        assert_eq!(error.code, Code::TargetInvalid);
    }
}

#[tokio::test]
async fn what_cannot_be_is_refused_by_name() {
    let Server { address, client, directory: _kept } = server().await;
    let missing = S3Source::new(client.clone(), "nowhere", "").streams().await.unwrap_err();
    assert_eq!((missing.code, missing.object.as_deref()), (Code::SourceMissing, Some("bucket nowhere")));
    let nowhere = S3Target::new(client.clone(), "nowhere", "", OnConflict::Fail);
    assert_eq!(nowhere.check(&order(OnConflict::Fail)).await.unwrap_err().code, Code::TargetInvalid);
    let records = StreamKind::Records { encoding: holdfast_vault::model::RecordEncoding::Json, key: vec![] };
    let records =
        RestoreOrder { streams: vec![StreamInfo { shape: records, ..stream() }], ..order(OnConflict::Skip) };
    assert_eq!(
        target(&client, "", OnConflict::Skip).check(&records).await.unwrap_err().code,
        Code::TargetInvalid
    );

    let denied = s3_at(address, |_| Some(answer(403, "<Error><Code>AccessDenied</Code></Error>")));
    assert_eq!(
        S3Source::new(denied.clone(), "shop", "").streams().await.unwrap_err().code,
        Code::SourceDenied
    );
    let check = target(&denied, "", OnConflict::Fail).check(&order(OnConflict::Fail)).await;
    assert_eq!(check.unwrap_err().code, Code::TargetDenied);
    let busy = s3_at(address, |_| Some(answer(503, "<Error><Code>SlowDown</Code></Error>")));
    assert_eq!(S3Source::new(busy, "shop", "").streams().await.unwrap_err().code, Code::SourceThrottled);
    let nobody = s3_at("127.0.0.1:1".parse().unwrap(), |_| None);
    assert_eq!(S3Source::new(nobody, "shop", "").streams().await.unwrap_err().code, Code::SourceUnavailable);
}
