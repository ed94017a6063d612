//! What a directory holds, as the demo sees it.

use super::compare::{Entry, Snapshot};
use super::item::Sum;
use sha2::{Digest as _, Sha256};
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// What is at a path.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Node {
    File { of: Attributes, content: Sum },
    Directory(Attributes),
    Link(PathBuf),
}

/// Mode, and the time of the last change: seconds and nanoseconds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Attributes {
    mode: u32,
    modified: (i64, i64),
}

impl From<&Metadata> for Attributes {
    fn from(of: &Metadata) -> Self {
        Self { mode: of.permissions().mode() & 0o7777, modified: (of.mtime(), of.mtime_nsec()) }
    }
}

impl Attributes {
    fn difference(&self, other: &Self) -> &'static str {
        if self.mode == other.mode { "has another time" } else { "has another mode" }
    }
}

impl Entry for Node {
    const NOUN: &'static str = "path";

    fn difference(&self, other: &Self) -> &'static str {
        match (self, other) {
            (Self::File { content: was, .. }, Self::File { content: is, .. }) if was != is => {
                "has another content"
            }
            (Self::File { of: was, .. }, Self::File { of: is, .. })
            | (Self::Directory(was), Self::Directory(is)) => was.difference(is),
            (Self::Link(_), Self::Link(_)) => "points elsewhere",
            _ => "is of another kind",
        }
    }

    fn counts(&self) -> bool {
        matches!(self, Self::File { .. })
    }
}

/// Everything below a directory, by its path there; the directory itself is not part of it.
pub(super) fn snapshot(root: &Path) -> io::Result<Snapshot<Node>> {
    let mut snapshot = Snapshot::default();
    let mut left = vec![root.to_path_buf()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(&directory)? {
            let path = entry?.path();
            let of = fs::symlink_metadata(&path)?;
            let node = if of.is_symlink() {
                Node::Link(fs::read_link(&path)?)
            } else if of.is_dir() {
                left.push(path.clone());
                Node::Directory(Attributes::from(&of))
            } else {
                Node::File { of: Attributes::from(&of), content: content(&path)? }
            };
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            snapshot.entries.insert(name, node);
        }
    }
    Ok(snapshot)
}

fn content(path: &Path) -> io::Result<Sum> {
    let (mut hash, mut file, mut buffer) = (Sha256::new(), File::open(path)?, vec![0; 64 << 10]);
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(hash.finalize().into());
        }
        hash.update(&buffer[..read]);
    }
}
