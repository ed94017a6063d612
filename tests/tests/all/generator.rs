//! A gigabyte of records and a gigabyte of files, as the benchmark's generator makes them, within bounded memory.
//!
//! In CI, and with `HOLDFAST_FULL` set, at full size; else at a small one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use holdfast_tests::binary::{Cli, ended};
use holdfast_tests::tree;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// No process may ever need more.
const MOST_MEMORY: u64 = 512 << 20;

pub(crate) fn is_full() -> bool {
    ["HOLDFAST_FULL", "CI"].iter().any(|name| std::env::var_os(name).is_some())
}

/// The generator, built; none where it is not beside the project.
#[allow(clippy::print_stderr)]
fn generator() -> Option<PathBuf> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/bench/gen/Cargo.toml");
    if !manifest.is_file() {
        eprintln!("skipped: no generator beside the project");
        return None;
    }
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("generator");
    let built = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "--release", "--offline", "--manifest-path"])
        .arg(manifest)
        .arg("--target-dir")
        .arg(&target)
        .status();
    assert!(built.expect("cargo runs").success(), "the generator builds");
    Some(target.join("release/gen"))
}

/// The most memory that a process has had so far.
fn peak(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? << 10)
}

/// Runs a command that must succeed within its memory.
fn done(cli: &Cli, arguments: &[&str]) -> Value {
    let child = cli.start(arguments);
    let process = child.id();
    let (sender, receiver) = mpsc::channel();
    let waiting = std::thread::spawn(move || sender.send(ended(child)));
    let mut most = 0;
    let ended = loop {
        // The peak only grows, so the last look before the end is the one that counts.
        match receiver.recv_timeout(Duration::from_millis(10)) {
            Err(RecvTimeoutError::Timeout) => most = peak(process).unwrap_or(most),
            other => break other.unwrap(),
        }
    };
    waiting.join().unwrap().unwrap();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(most < MOST_MEMORY, "{arguments:?} needed {} MiB", most >> 20);
    ended.answer
}

/// Makes data, backs it up, verifies all of it and restores it; where the original and the restored are.
fn round_trip(kind: &str, size: &str, source: impl Fn(&Path) -> Value, to: &str) -> Option<Trip> {
    let generator = generator()?;
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (data, restored) = (dir.path().join("data"), dir.path().join("restored"));
    let made = Command::new(generator).args([kind, "v1"]).arg(&data).arg(size).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let cli = Cli::new(dir.path().join("home"));
    cli.apply(&json!({"resources": [{"name": "data", "source": source(&data)}]}));
    let backup = done(&cli, &["backup", "data"]);
    let id = backup["id"].as_str().unwrap();
    let verified = done(&cli, &["verify", id]);
    assert_eq!((&verified["valid"], &verified["errors"]), (&json!(true), &json!([])));
    let answer = done(&cli, &["restore", id, "--to", &format!("{to}:{}", restored.display())]);
    for counted in ["records", "files", "bytes"] {
        assert_eq!(answer[counted], backup[counted], "{counted}");
    }
    Some(Trip { _dir: dir, data, restored, backup })
}

struct Trip {
    _dir: tempfile::TempDir,
    data: PathBuf,
    restored: PathBuf,
    backup: Value,
}

/// The lines of each file of a directory, by a part of their digests, in no order.
fn lines(directory: &Path) -> BTreeMap<String, Vec<u64>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let mut lines: Vec<u64> = BufReader::with_capacity(1 << 20, File::open(&path).unwrap())
            .split(b'\n')
            .map(|line| u64::from_le_bytes(Sha256::digest(line.unwrap())[..8].try_into().unwrap()))
            .collect();
        lines.sort_unstable();
        files.insert(path.file_name().unwrap().to_string_lossy().into_owned(), lines);
    }
    files
}

#[test]
fn a_gigabyte_of_records_comes_back() {
    let size = if is_full() { "128" } else { "2" };
    let source = |data: &Path| json!({"kind": "jsonl", "path": data, "key": ["/id"]});
    let Some(trip) = round_trip("records", size, source, "jsonl") else { return };
    let wanted = lines(&trip.data);
    let count: usize = wanted.values().map(Vec::len).sum();
    assert_eq!(trip.backup["records"], json!(count));
    assert!(lines(&trip.restored) == wanted, "the lines are equal");
}

#[test]
fn a_gigabyte_of_files_comes_back() {
    let size = if is_full() { "1" } else { "0.02" };
    let source = |data: &Path| json!({"kind": "files", "path": data});
    let Some(trip) = round_trip("site", size, source, "files") else { return };
    let wanted = tree(&trip.data);
    assert_eq!(trip.backup["files"], json!(wanted.len()));
    assert!(tree(&trip.restored) == wanted, "the trees are equal");
}
