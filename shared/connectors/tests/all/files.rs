//! The source `files`, and the way of trees from it to the target `files`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends where it cannot go on"
)]

use crate::tree_support::*;
use holdfast_connectors::files::{FilesSource, FilesTarget};
use holdfast_connectors::{OnConflict, Source, Target};
use holdfast_vault::error::Code;
use proptest::prelude::*;
use std::ffi::OsStr;
use std::fs::{self, File, FileTimes};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

fn bytes_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

fn hostile_names() -> Vec<Vec<u8>> {
    let mut names: Vec<Vec<u8>> = [
        &b"a"[..],
        b"a-b",
        b"a.b",
        b"b c",
        b"-rf",
        b"--",
        b"...",
        b"*",
        b"$(id)",
        b"'\"`",
        b"x\ny",
        b"\xff\xfe",
        b"\\",
        b"caf\xc3\xa9",
        b"cafe\xcc\x81",
        b"~",
        b"\x01",
        b"\xe2\x80\xae",
    ]
    .iter()
    .map(|name| name.to_vec())
    .collect();
    names.push(vec![b'n'; 255]);
    names
}

#[tokio::test]
async fn hostile_names_come_in_byte_order_and_go_back() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("site");
    fs::create_dir(&root).unwrap();
    for name in hostile_names() {
        fs::write(root.join(bytes_path(&name)), &name).unwrap();
        let mut folder = name;
        folder.truncate(200);
        folder.extend_from_slice(b".d");
        fs::create_dir(root.join(bytes_path(&folder))).unwrap();
        fs::write(root.join(bytes_path(&folder)).join("x"), "inside").unwrap();
    }
    // `a/x` stands between `a-b` and `a0`, though `a` comes first in a listing.
    for (folder, file) in [("o", "o/x"), ("o-b", "o-b/y")] {
        fs::create_dir(root.join(folder)).unwrap();
        fs::write(root.join(file), "z").unwrap();
    }
    fs::write(root.join("o0"), "z").unwrap();
    symlink(bytes_path(b"nowhere\xff\n"), root.join("link")).unwrap();

    let mut all = Memory::default();
    read_whole(&root, &mut all).await.unwrap();
    let paths: Vec<&[u8]> = all.entries.keys().filter(|p| p.starts_with(b"o")).map(Vec::as_slice).collect();
    assert_eq!(paths, [&b"o-b/"[..], b"o-b/y", b"o/", b"o/x", b"o0"]);
    assert_eq!(all.entries.len(), look(&root).len());

    let back = dir.path().join("back");
    restore(&all, &back, &mut Whim(7)).await;
    assert_eq!(look(&back), look(&root));
}

/// Writes all entries in any order, through two workers, some of them twice.
async fn restore(tree_read: &Memory, to: &Path, whim: &mut Whim) {
    let streams = [tree("files")];
    let order = order(OnConflict::Fail, &streams);
    let workers = [FilesTarget::new(to, &order), FilesTarget::new(to, &order)];
    workers[0].check(&order).await.unwrap();
    workers[0].prepare(&order).await.unwrap();
    let mut entries: Vec<_> = tree_read.entries.values().collect();
    whim.shuffle(&mut entries);
    for (meta, content) in entries {
        for _ in 0..=whim.below(4) / 3 {
            let worker = &workers[usize::from(whim.below(2) == 0)];
            let piece = usize::try_from(1 + whim.below(100_000)).unwrap();
            let written =
                worker.write_entry(&streams[0], meta, &mut Pieces::of(content, piece)).await.unwrap();
            assert_eq!((written.written, written.conflicts, written.bytes), (1, 0, content.len() as u64));
        }
    }
    assert!(!to.exists(), "nothing is to be seen before the end");
    workers[1].prepare(&order).await.unwrap();
    workers[1].finish(&order).await.unwrap();
    workers[0].finish(&order).await.unwrap();
    assert!(
        fs::read_dir(to.parent().unwrap()).unwrap().all(|e| !e
            .unwrap()
            .file_name()
            .as_bytes()
            .starts_with(b"."))
    );
}

#[derive(Debug, Clone)]
enum Thing {
    File { size: usize, seed: u8 },
    Directory,
    Link(Vec<u8>),
}

fn some_tree() -> impl Strategy<Value = Vec<(PathBuf, Thing, u32, u64)>> {
    let name = prop_oneof![
        prop::sample::select(hostile_names()),
        prop::collection::vec(1_u8..=255, 1..20)
            .prop_filter("a name", |name| { !name.contains(&b'/') && !matches!(&name[..], b"." | b"..") }),
    ];
    let path = prop::collection::vec(name, 1..4)
        .prop_map(|names| PathBuf::from(OsStr::from_bytes(&names.join(&b'/'))));
    let thing = prop_oneof![
        4 => (0_usize..6000, any::<u8>()).prop_map(|(size, seed)| Thing::File { size, seed }),
        1 => Just(Thing::Directory),
        1 => prop::collection::vec(1_u8..=255, 1..60).prop_map(Thing::Link),
    ];
    prop::collection::vec((path, thing, 0_u32..0o1000, 0_u64..4_000_000_000_000_000_000), 0..40)
}

/// Makes what can be made of it: a path may be taken, or lead through a file.
fn plant(root: &Path, things: &[(PathBuf, Thing, u32, u64)]) {
    fs::create_dir(root).unwrap();
    let mut directories = Vec::new();
    for (path, thing, mode, nanos) in things {
        let path = root.join(path);
        let time = FileTimes::new().set_modified(UNIX_EPOCH + Duration::from_nanos(*nanos));
        if fs::create_dir_all(path.parent().unwrap()).is_err() || fs::symlink_metadata(&path).is_ok() {
            continue;
        }
        match thing {
            Thing::File { size, seed } => {
                let content: Vec<u8> = (0..*size).map(|at| u8::try_from(at % 251).unwrap() ^ seed).collect();
                fs::write(&path, content).unwrap();
                File::options().write(true).open(&path).unwrap().set_times(time).unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(0o400 | mode)).unwrap();
            }
            Thing::Directory => {
                fs::create_dir(&path).unwrap();
                directories.push((path, 0o500 | mode, time));
            }
            Thing::Link(target) => symlink(OsStr::from_bytes(target), &path).unwrap(),
        }
    }
    for (path, mode, time) in directories.iter().rev() {
        File::open(path).unwrap().set_times(*time).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(*mode)).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_goes_there_and_back(things in some_tree(), bytes in 1_u64..5000, entries in 1_u64..9, seed in 1_u64..) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let root = dir.path().join("root");
            plant(&root, &things);
            let source = FilesSource::new(&root);
            let ranges = cut(&source, bytes, entries).await.unwrap();
            let mut all = Memory { whim: Some(Whim(seed)), ..Memory::default() };
            read(&source, &ranges, &mut all).await.unwrap();
            assert!(all.warnings.is_empty());
            let back = dir.path().join("back");
            restore(&all, &back, &mut Whim(seed)).await;
            assert_eq!(look(&back), look(&root));
        });
    }

    #[test]
    fn the_bounds_of_a_cut_cover_every_path_once(things in some_tree(), bytes in 1_u64..5000, entries in 1_u64..9, seed in 1_u64..) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let root = dir.path().join("root");
            plant(&root, &things);
            let source = FilesSource::new(&root);
            let stream = source.streams().await.unwrap().remove(0);
            let ranges = cut(&source, bytes, entries).await.unwrap();
            let mut last: Option<Option<Vec<u8>>> = Some(None);
            for range in &ranges {
                let whole = source.bounds(&stream, range, None).unwrap().unwrap();
                if whole.after.is_some() && whole.after == whole.until {
                    continue; // A later part of a file.
                }
                assert_eq!(Some(&whole.after), last.as_ref(), "neither gap nor overlap");
                assert!(whole.until.is_none() || whole.after < whole.until);
                let mut from = None;
                let mut begin = whole.after.clone();
                loop {
                    let mut part = Memory { whim: Some(Whim(seed)), ..Memory::default() };
                    from = source.read_tree(&stream, range, from.as_ref(), &mut part).await.unwrap();
                    for path in part.entries.keys() {
                        assert!(begin.as_ref().is_none_or(|after| path > after));
                        assert!(whole.until.as_ref().is_none_or(|until| path <= until));
                    }
                    let Some(cursor) = &from else { break };
                    let rest = source.bounds(&stream, range, Some(cursor)).unwrap().unwrap();
                    assert_eq!(rest.after.as_ref(), part.entries.keys().next_back());
                    assert_eq!(rest.until, whole.until);
                    begin = rest.after;
                }
                last = whole.until.map(Some);
            }
            assert_eq!(last, None, "the last range has no end");
        });
    }
}

#[tokio::test]
async fn a_large_file_is_read_in_parts() {
    let dir = tempfile::tempdir().unwrap();
    let content: Vec<u8> = (0..5_000_000_u32).map(|at| (at % 253) as u8).collect();
    fs::write(dir.path().join("large"), &content).unwrap();
    fs::write(dir.path().join("before"), "b").unwrap();
    fs::write(dir.path().join("z"), "z").unwrap();
    let source = FilesSource::new(dir.path());
    let ranges = cut(&source, 1_200_000, 1000).await.unwrap();
    assert_eq!(ranges.len(), 7);
    let mut all = Memory::default();
    read(&source, &ranges, &mut all).await.unwrap();
    assert_eq!(all.entries[&b"large"[..]].1, content);
    assert_eq!(all.entries.len(), 3);

    fs::write(dir.path().join("large"), &content[1..]).unwrap();
    let error = read(&source, &ranges[3..4], &mut Memory::default()).await.unwrap_err();
    assert_eq!(error.code, Code::SourceChanged);
    fs::remove_file(dir.path().join("large")).unwrap();
    let error = read(&source, &ranges[3..4], &mut Memory::default()).await.unwrap_err();
    assert_eq!(error.code, Code::SourceChanged);
    assert!(error.object.unwrap().ends_with("/large"));
}

#[tokio::test]
async fn an_empty_directory_has_a_range_that_holds_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let source = FilesSource::new(dir.path());
    let ranges = cut(&source, 10, 10).await.unwrap();
    assert_eq!(ranges.len(), 1);
    let mut all = Memory::default();
    read(&source, &ranges, &mut all).await.unwrap();
    assert!(all.entries.is_empty());
}

#[tokio::test]
async fn what_is_no_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let missing = FilesSource::new(&path).streams().await.unwrap_err();
    assert_eq!(missing.code, Code::SourceMissing);
    fs::write(&path, "").unwrap();
    let file = FilesSource::new(&path).streams().await.unwrap_err();
    assert_eq!(file.code, Code::SourceInvalid);
    assert!(file.message.contains("file is no directory") && file.hint.is_some());
}

#[tokio::test]
async fn what_may_not_be_read_ends_the_reading() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secret");
    fs::write(&path, "x").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o0)).unwrap();
    if File::open(&path).is_ok() {
        return; // Root reads everything.
    }
    let error = read_whole(dir.path(), &mut Memory::default()).await.unwrap_err();
    assert_eq!(error.code, Code::SourceDenied);
    assert!(error.object.unwrap().ends_with("/secret"));
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o0)).unwrap();
    assert_eq!(cut(&FilesSource::new(dir.path()), 9, 9).await.unwrap_err().code, Code::SourceDenied);
}

#[tokio::test]
async fn pipes_and_sockets_are_left_out_with_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
    let pipe = dir.path().join("pi\npe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
        .unwrap();
    let mut all = Memory::default();
    read_whole(dir.path(), &mut all).await.unwrap();
    assert!(all.entries.is_empty());
    let messages: Vec<&str> = all.warnings.iter().map(|w| &*w.message).collect();
    assert!(messages[0].contains("/pi\\npe") && messages[1].contains("/socket"), "{messages:?}");
    assert!(all.warnings.iter().all(|w| w.code == "SpecialFileSkipped"));
}

#[tokio::test]
async fn what_vanishes_is_left_out_with_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a", "b", "c"] {
        fs::write(dir.path().join(name), "x").unwrap();
    }
    fs::create_dir(dir.path().join("d")).unwrap();
    let root = dir.path().to_owned();
    let remove = move |path: &[u8]| {
        if path == b"b" {
            fs::remove_file(root.join("b")).unwrap();
            fs::remove_file(root.join("c")).unwrap();
            fs::remove_dir(root.join("d")).unwrap();
            fs::write(root.join("d"), "now a file").unwrap();
        }
    };
    let mut all = Memory { on_begin: Some(Box::new(remove)), ..Memory::default() };
    read_whole(dir.path(), &mut all).await.unwrap();
    assert_eq!(all.entries.len(), 1);
    let codes: Vec<&str> = all.warnings.iter().map(|w| &*w.code).collect();
    assert_eq!(codes, ["FileVanished"; 3]);
}

#[tokio::test]
async fn what_changes_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    fs::write(&path, "one\n").unwrap();
    let grow = |times: usize| -> Memory {
        let (path, mut left) = (path.clone(), times);
        let append = move |_: &[u8]| {
            if left > 0 {
                left -= 1;
                File::options().append(true).open(&path).unwrap().write_all(b"more\n").unwrap();
            }
        };
        Memory { on_write: Some(Box::new(append)), ..Memory::default() }
    };
    let mut once = grow(1);
    read_whole(dir.path(), &mut once).await.unwrap();
    assert_eq!(once.entries[&b"log"[..]].1, b"one\nmore\n");
    assert_eq!((once.abandoned, once.warnings.len()), (1, 0));

    let mut always = grow(100);
    read_whole(dir.path(), &mut always).await.unwrap();
    assert_eq!(always.entries[&b"log"[..]].1, b"one\nmore\nmore\nmore\nmore\n");
    assert_eq!(always.warnings[0].code, "FileChanged");

    let replaced = path.clone();
    let cut_short = move |_: &[u8]| fs::write(&replaced, "2").unwrap();
    let mut shrunk = Memory { on_begin: Some(Box::new(cut_short)), ..Memory::default() };
    read_whole(dir.path(), &mut shrunk).await.unwrap();
    assert_eq!(shrunk.entries[&b"log"[..]].1, b"2");
}

#[tokio::test]
async fn what_is_known_is_not_opened() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("known"), "x").unwrap();
    let mut all = Memory { known: Some(b"known".to_vec()), ..Memory::default() };
    let root = dir.path().to_owned();
    all.on_begin = Some(Box::new(move |_| fs::remove_file(root.join("known")).unwrap()));
    read_whole(dir.path(), &mut all).await.unwrap();
    assert!(all.warnings.is_empty() && all.entries.len() == 1);
}
