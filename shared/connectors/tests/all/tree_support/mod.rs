//! Trees for tests: reading one into memory, writing it into a target, and looking at one without Holdfast.

use async_trait::async_trait;
use bytes::Bytes;
use holdfast_connectors::{
    Content, Cursor, Flow, OnConflict, RangeSink, RestoreOrder, Sizing, Source, SourceRange, TreeSink, Want,
};
use holdfast_vault::error::{Error, Result};
use holdfast_vault::model::{EntryKind, EntryMeta, Mtime, Part, StreamInfo, StreamKind, Warning};
use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A small generator of numbers, so that a test's whims can be repeated.
pub(crate) struct Whim(pub(crate) u64);

impl Whim {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit.max(1)
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = usize::try_from(self.below(last as u64 + 1)).unwrap();
            items.swap(last, other);
        }
    }
}

#[derive(Default)]
pub(crate) struct Ranges(pub(crate) Vec<SourceRange>);

#[async_trait]
impl RangeSink for Ranges {
    async fn range(&mut self, range: SourceRange) -> Result<()> {
        // Ranges are kept as text between the steps of a job.
        let text = serde_json::to_string(&range).unwrap();
        self.0.push(serde_json::from_str(&text).unwrap());
        Ok(())
    }
}

type Hook = Box<dyn FnMut(&[u8]) + Send>;

/// Keeps a tree and holds the source to its order.
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) entries: BTreeMap<Vec<u8>, (EntryMeta, Vec<u8>)>,
    pub(crate) warnings: Vec<Warning>,
    pub(crate) abandoned: usize,
    /// Called with the path of each entry that begins, and of each piece that is written.
    pub(crate) on_begin: Option<Hook>,
    pub(crate) on_write: Option<Hook>,
    /// Says `Enough` now and then.
    pub(crate) whim: Option<Whim>,
    pub(crate) known: Option<Vec<u8>>,
    pub(crate) open: Option<(EntryMeta, Part, Vec<u8>)>,
    pub(crate) last: Option<(Vec<u8>, u64)>,
}

#[async_trait]
impl TreeSink for Memory {
    async fn begin(&mut self, meta: EntryMeta, part: Part) -> Result<Want> {
        assert!(self.open.is_none(), "an entry is open");
        let place = (meta.path.clone(), part.offset);
        assert!(
            self.last.as_ref().is_none_or(|last| *last < place),
            "order: {:?} after {:?}",
            place,
            self.last
        );
        assert_eq!(meta.kind == EntryKind::Directory, meta.path.ends_with(b"/"));
        if let Some(hook) = &mut self.on_begin {
            hook(&meta.path);
        }
        let want = if self.known.as_ref() == Some(&meta.path) { Want::Nothing } else { Want::Content };
        self.open = Some((meta, part, Vec::new()));
        Ok(want)
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let (meta, part, content) = self.open.as_mut().expect("an entry is open");
        content.extend_from_slice(bytes);
        assert!(content.len() as u64 <= part.length);
        if let Some(hook) = &mut self.on_write {
            hook(&meta.path);
        }
        Ok(())
    }

    async fn finish(&mut self) -> Result<Flow> {
        let (meta, part, content) = self.open.take().expect("an entry is open");
        self.last = Some((meta.path.clone(), part.offset));
        if self.known.as_ref() != Some(&meta.path) {
            assert_eq!(content.len() as u64, part.length);
        }
        let (known, bytes) =
            self.entries.entry(meta.path.clone()).or_insert_with(|| (meta.clone(), Vec::new()));
        assert_eq!(*known, meta, "all parts tell the same");
        assert_eq!(bytes.len() as u64, part.offset);
        bytes.extend_from_slice(&content);
        let enough = self.whim.as_mut().is_some_and(|whim| whim.below(3) == 0);
        Ok(if enough { Flow::Enough } else { Flow::More })
    }

    fn abandon(&mut self) {
        assert!(self.open.take().is_some(), "an entry is open");
        self.abandoned += 1;
    }

    fn warn(&mut self, warning: Warning) {
        self.warnings.push(warning);
    }
}

pub(crate) async fn cut(source: &dyn Source, bytes: u64, entries: u64) -> Result<Vec<SourceRange>> {
    let streams = source.streams().await?;
    let mut ranges = Ranges::default();
    source.cut(&streams[0], &Sizing { bytes, entries, workers: 2 }, &mut ranges).await?;
    Ok(ranges.0)
}

pub(crate) async fn read(source: &dyn Source, ranges: &[SourceRange], sink: &mut Memory) -> Result<()> {
    let streams = source.streams().await?;
    for range in ranges {
        let mut from: Option<Cursor> = None;
        loop {
            from = source.read_tree(&streams[0], range, from.as_ref(), sink).await?;
            if from.is_none() {
                break;
            }
        }
    }
    Ok(())
}

/// All of a directory, in ranges so large that there is one.
pub(crate) async fn read_whole(path: &Path, sink: &mut Memory) -> Result<()> {
    let source = holdfast_connectors::files::FilesSource::new(path);
    let ranges = cut(&source, u64::MAX, u64::MAX).await?;
    read(&source, &ranges, sink).await
}

/// What a tree holds, seen with the standard library alone.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) kind: &'static str,
    pub(crate) mode: u32,
    pub(crate) mtime: (i64, i64),
    pub(crate) content: Vec<u8>,
}

pub(crate) fn look(root: &Path) -> BTreeMap<Vec<u8>, Seen> {
    let mut seen = BTreeMap::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let found = fs::symlink_metadata(&path).unwrap();
            let (kind, content) = if found.is_dir() {
                waiting.push(path.clone());
                ("directory", Vec::new())
            } else if found.is_symlink() {
                ("link", fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec())
            } else {
                ("file", fs::read(&path).unwrap())
            };
            let mode = if kind == "link" { 0 } else { found.mode() & 0o7777 };
            let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
            seen.insert(name, Seen { kind, mode, mtime: (found.mtime(), found.mtime_nsec()), content });
        }
    }
    seen
}

/// Content in pieces, ended by a failure where one is given.
pub(crate) struct Pieces {
    pieces: VecDeque<Bytes>,
    failure: Option<Error>,
}

impl Pieces {
    pub(crate) fn of(content: &[u8], piece: usize) -> Self {
        let pieces = content.chunks(piece.max(1)).map(Bytes::copy_from_slice).collect();
        Self { pieces, failure: None }
    }

    pub(crate) fn then(mut self, failure: Error) -> Self {
        self.failure = Some(failure);
        self
    }
}

#[async_trait]
impl Content for Pieces {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        match (self.pieces.pop_front(), self.failure.take()) {
            (Some(piece), failure) => {
                self.failure = failure;
                Ok(Some(piece))
            }
            (None, Some(failure)) => Err(failure),
            (None, None) => Ok(None),
        }
    }
}

pub(crate) fn tree(name: &str) -> StreamInfo {
    StreamInfo { name: name.into(), shape: StreamKind::Tree, schema: serde_json::Value::Null }
}

pub(crate) fn order(on_conflict: OnConflict, streams: &[StreamInfo]) -> RestoreOrder {
    RestoreOrder { restore_id: "01RESTORE".into(), on_conflict, streams: streams.to_vec(), partial: false }
}

pub(crate) fn file(path: &[u8], content: &[u8]) -> EntryMeta {
    EntryMeta {
        path: path.to_vec(),
        kind: EntryKind::File,
        size: content.len() as u64,
        mode: Some(0o640),
        mtime: Some(Mtime { seconds: 1_600_000_000, nanos: 123_456_789 }),
        attributes: BTreeMap::new(),
    }
}

pub(crate) fn directory(path: &[u8], mode: u32) -> EntryMeta {
    EntryMeta { kind: EntryKind::Directory, size: 0, mode: Some(mode), ..file(path, b"") }
}

pub(crate) fn link(path: &[u8], target: &[u8]) -> EntryMeta {
    EntryMeta { kind: EntryKind::Symlink { target: target.to_vec() }, ..file(path, b"") }
}
