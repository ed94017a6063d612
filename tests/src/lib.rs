//! What the tests that cross crates share: homes, resources, trees with hostile names, and ways to compare.
//!
//! Only tests use this crate, so it may panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::missing_panics_doc)]

pub mod binary;
pub mod data;
pub mod golden;
pub mod reader;
pub mod servers;
pub mod tables;

use holdfast_connectors::{OnConflict, SourceSpec, TargetSpec};
use holdfast_local::{Cloud, Options};
use holdfast_workflow::WorkLimits;
use holdfast_workflow::config::{Policy, Resource};
use holdfast_workflow::events::{RestoreRequest, Selection};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

/// Limits so small that little data makes many tasks, steps, runs and packs.
#[must_use]
pub fn tiny_limits() -> WorkLimits {
    let mut limits =
        WorkLimits { range_bytes: 40_000, range_entries: 7, step_bytes: 15_000, ..WorkLimits::default() };
    limits.runs.run_bytes = 6_000;
    limits.runs.pack_bytes = 10_000;
    limits.trees.pack_bytes = 30_000;
    limits.trees.entry_bytes = 2_000;
    limits
}

/// Opens a home, made if need be.
pub async fn cloud(home: &Path, limits: WorkLimits) -> Cloud {
    Cloud::open(home, Options { create: true, limits, ..Options::default() }).await.expect("the home opens")
}

/// Configures a resource.
pub async fn configure(cloud: &Cloud, name: &str, source: SourceSpec) {
    let resource = Resource { name: name.to_owned(), source, policy: Policy::default() };
    let document = serde_json::to_value(&resource).unwrap();
    cloud.services().jobs.put_resource(name, &document).await.expect("the resource is stored");
}

/// Backs a resource up and gives the backup's id.
pub async fn back_up(cloud: &Cloud, name: &str) -> String {
    let id = cloud.new_id();
    cloud.run_backup(&id, name, None).await.expect("the backup completes").id
}

/// A restore of a whole backup into a target.
#[must_use]
pub fn whole(backup: &str, target: TargetSpec) -> RestoreRequest {
    RestoreRequest {
        resource: None,
        at: None,
        backup: backup.to_owned(),
        target,
        on_conflict: OnConflict::Fail,
        selection: Selection::default(),
    }
}

/// What a path is, and all that should come back of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Node {
    /// Mode, mtime in nanoseconds, SHA-256.
    File(u32, i128, String),
    /// Mode and mtime.
    Directory(u32, i128),
    /// Where it points to.
    Link(Vec<u8>),
}

/// Everything below a directory, by path.
#[must_use]
pub fn tree(root: &Path) -> BTreeMap<Vec<u8>, Node> {
    let mut nodes = BTreeMap::new();
    walk(root, root, &mut nodes);
    nodes
}

fn walk(root: &Path, directory: &Path, nodes: &mut BTreeMap<Vec<u8>, Node>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let meta = fs::symlink_metadata(&path).unwrap();
        let mtime = i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec());
        let mode = meta.permissions().mode() & 0o7777;
        let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
        let node = if meta.is_symlink() {
            Node::Link(fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec())
        } else if meta.is_dir() {
            walk(root, &path, nodes);
            Node::Directory(mode, mtime)
        } else {
            Node::File(mode, mtime, hex(&Sha256::digest(fs::read(&path).unwrap())))
        };
        nodes.insert(name, node);
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        write!(text, "{byte:02x}").unwrap();
    }
    text
}

/// The lines of every file of a directory of JSON Lines, sorted within each file.
#[must_use]
pub fn sorted_lines(directory: &Path) -> BTreeMap<String, Vec<Vec<u8>>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        let mut lines: Vec<Vec<u8>> = bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.iter().all(u8::is_ascii_whitespace))
            .map(<[u8]>::to_vec)
            .collect();
        lines.sort_unstable();
        files.insert(path.file_name().unwrap().to_string_lossy().into_owned(), lines);
    }
    files
}

/// Bytes that look random and are the same for the same seed.
#[must_use]
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// A tree of everything that file systems allow and backups get wrong.
pub fn hostile_tree(root: &Path) {
    let put = |name: &[u8], content: &[u8]| {
        let path = root.join(OsStr::from_bytes(name));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    };
    put(b"a/x", b"1");
    put(b"a-b", b"2");
    put(b"a.txt", b"3");
    put(b"a0", b"4");
    put(b"-rf", b"5");
    put(b" leading and trailing ", b"6");
    put(b"new\nline", b"7");
    put(b"quote'\"$(echo)`\\", b"8");
    put(b"latin-\xe9\xff", b"9");
    put("\u{202e}snowman-\u{2603}".as_bytes(), b"10");
    put(&[b'n'; 255], b"11");
    put(b"empty-file", b"");
    put(b"deep/er/and/deeper/still/file", &noise(1, 100_000));
    put(b"big.bin", &noise(2, 300_000));
    put(b"text.log", "the same line again\n".repeat(20_000).as_bytes());
    put(b"twin-1", &noise(3, 50_000));
    put(b"twin-2", &noise(3, 50_000));
    for number in 0..40 {
        put(format!("many/{number:03}.txt").as_bytes(), format!("file {number}").as_bytes());
    }
    fs::create_dir_all(root.join("empty/inner")).unwrap();
    symlink("a/x", root.join("link")).unwrap();
    symlink("/nowhere/at/all", root.join("dangling")).unwrap();
    symlink(OsStr::from_bytes(b"../\xff\xfe"), root.join("link-to-bytes")).unwrap();
    fs::set_permissions(root.join("a-b"), fs::Permissions::from_mode(0o400)).unwrap();
    fs::set_permissions(root.join("empty"), fs::Permissions::from_mode(0o555)).unwrap();
    fs::set_permissions(root.join("a.txt"), fs::Permissions::from_mode(0o4755)).unwrap();
}

/// The folder of real records, where it is there: beside the project, or named by `HOLDFAST_SHARED_DATA`.
#[must_use]
pub fn shared_data() -> Option<PathBuf> {
    let named = std::env::var_os("HOLDFAST_SHARED_DATA").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    named.or(Some(beside)).filter(|path| path.is_dir())
}

/// All packs, index objects and manifests of a vault.
#[must_use]
pub fn sealed_objects(vault: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![vault.join("packs"), vault.join("index"), vault.join("manifests")];
    while let Some(directory) = left.pop() {
        let Ok(entries) = fs::read_dir(directory) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() { left.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}
