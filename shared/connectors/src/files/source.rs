//! The source `files`: a directory as one tree stream.

use super::walk::{Found, Span, Walk};
use crate::local_fs::{Stamp, mode_of, printable, shown, source_error};
use crate::source::{Cursor, Flow, PathBounds, RangeSink, Sizing, Source, SourceRange, TreeSink, Want};
use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::model::{EntryKind, EntryMeta, Mtime, Part, StreamInfo, StreamKind, Warning};
use rustix::fs::{FileType, Mode, OFlags, Stat, fstat, openat, readlinkat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// Bytes that are read at a time.
const PIECE: usize = 1 << 20;
/// How often a file is read that changes meanwhile.
const ATTEMPTS: u32 = 4;

/// Reads a directory: every directory, file and link below it, in byte order of the paths.
#[derive(Debug, Clone)]
pub struct FilesSource {
    path: PathBuf,
}

/// A range of the stream `files`; paths are base64, since they may be any bytes.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum FilesRange {
    Span {
        #[serde(skip_serializing_if = "Option::is_none")]
        after: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        until: Option<String>,
    },
    Part(FilePart),
}

/// Some bytes of one large file, and the file as it was when the ranges were cut: all its parts tell the same.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FilePart {
    path: String,
    /// Behind which path the ranges before the file end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<String>,
    offset: u64,
    length: u64,
    mode: u32,
    stamp: Stamp,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FilesCursor {
    after: String,
}

/// How reading a file went.
enum Outcome {
    Finished(Flow),
    Vanished,
}

impl FilesSource {
    /// A source of what is below this directory.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    fn open(&self) -> Result<OwnedFd> {
        let path = shown(&self.path);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(&self.path, flags, Mode::empty()).map_err(|cause| match cause {
            Errno::NOTDIR => Error::new(Code::SourceInvalid, format!("{path} is no directory"))
                .object(path)
                .hint("name the directory that holds the files"),
            cause => source_error("open directory", &path, cause),
        })
    }

    fn walk(&self, span: Span) -> Result<Walk> {
        Walk::new(shown(&self.path), self.open()?, span)
    }
}

#[async_trait]
impl Source for FilesSource {
    async fn streams(&self) -> Result<Vec<StreamInfo>> {
        self.open()?;
        Ok(vec![StreamInfo {
            name: "files".to_owned(),
            shape: StreamKind::Tree,
            schema: serde_json::Value::Null,
        }])
    }

    async fn cut(&self, _stream: &StreamInfo, sizing: &Sizing, out: &mut dyn RangeSink) -> Result<()> {
        let mut walk = self.walk(Span::default())?;
        let (limit, most) = (sizing.bytes.max(1), sizing.entries.max(1));
        let (mut bytes, mut entries) = (0_u64, 0_u64);
        let mut after: Option<String> = None;
        let mut last: Vec<u8> = Vec::new();
        while let Some(found) = walk.next()? {
            let Found::Entry(stat) = found else { continue };
            let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
            let stamp = Stamp::of(&stat);
            if is_file && stamp.size > limit {
                if entries > 0 {
                    let until = STANDARD.encode(&last);
                    out.range(to_json(&FilesRange::Span { after, until: Some(until.clone()) })?).await?;
                    after = Some(until);
                }
                cut_file(walk.path(), after.as_ref(), &stat, limit, out).await?;
                (bytes, entries, after) = (0, 0, Some(STANDARD.encode(walk.path())));
                continue;
            }
            entries += 1;
            bytes += if is_file { stamp.size } else { 0 };
            last.clear();
            last.extend_from_slice(walk.path());
            if bytes >= limit || entries >= most {
                let until = STANDARD.encode(&last);
                out.range(to_json(&FilesRange::Span { after, until: Some(until.clone()) })?).await?;
                (bytes, entries, after) = (0, 0, Some(until));
            }
        }
        // Even where nothing stands there now: an earlier backup may know of something.
        out.range(to_json(&FilesRange::Span { after, until: None })?).await
    }

    fn bounds(
        &self,
        _stream: &StreamInfo,
        range: &SourceRange,
        from: Option<&Cursor>,
    ) -> Result<Option<PathBounds>> {
        let decoded = |path: Option<String>| path.map(|path| decode(&path)).transpose();
        let mut bounds = match from_json(&range.0)? {
            FilesRange::Span { after, until } => {
                PathBounds { after: decoded(after)?, until: decoded(until)? }
            }
            FilesRange::Part(part) => {
                let path = decode(&part.path)?;
                let after = if part.offset == 0 { decoded(part.after)? } else { Some(path.clone()) };
                PathBounds { after, until: Some(path) }
            }
        };
        if let Some(cursor) = from {
            bounds.after = Some(decode(&from_json::<FilesCursor>(&cursor.0)?.after)?);
        }
        Ok(Some(bounds))
    }

    async fn read_tree(
        &self,
        _stream: &StreamInfo,
        range: &SourceRange,
        from: Option<&Cursor>,
        out: &mut dyn TreeSink,
    ) -> Result<Option<Cursor>> {
        let mut span = match from_json(&range.0)? {
            FilesRange::Part(_) if from.is_some() => return Ok(None),
            FilesRange::Part(part) => return self.read_part(&part, out).await,
            FilesRange::Span { after, until } => Span {
                after: after.map(|p| decode(&p)).transpose()?,
                until: until.map(|p| decode(&p)).transpose()?,
            },
        };
        if let Some(cursor) = from {
            span.after = Some(decode(&from_json::<FilesCursor>(&cursor.0)?.after)?);
        }
        let mut buffer = Vec::new();
        let mut walk = self.walk(span)?;
        while let Some(found) = walk.next()? {
            if read_found(&walk, &found, &mut buffer, out).await? == Flow::Enough {
                if walk.at_end() {
                    return Ok(None);
                }
                let cursor = FilesCursor { after: STANDARD.encode(walk.path()) };
                return Ok(Some(Cursor(serde_json::to_value(cursor).map_err(|_| unreadable())?)));
            }
        }
        Ok(None)
    }
}

async fn cut_file(
    path: &[u8],
    after: Option<&String>,
    stat: &Stat,
    limit: u64,
    out: &mut dyn RangeSink,
) -> Result<()> {
    let stamp = Stamp::of(stat);
    let mut offset = 0;
    // Parts of a fixed length, so that a file that grows keeps those that it has.
    while offset < stamp.size {
        let length = limit.min(stamp.size - offset);
        let (path, after) = (STANDARD.encode(path), after.cloned());
        let part = FilePart { path, after, offset, length, mode: mode_of(stat), stamp };
        out.range(to_json(&FilesRange::Part(part))?).await?;
        offset += length;
    }
    Ok(())
}

/// Delivers what the walk found.
async fn read_found(
    walk: &Walk,
    found: &Found,
    buffer: &mut Vec<u8>,
    out: &mut dyn TreeSink,
) -> Result<Flow> {
    let vanished = || Warning::new("FileVanished", format!("{} vanished while it was read", walk.shown()));
    let Found::Entry(stat) = found else {
        out.warn(vanished());
        return Ok(Flow::More);
    };
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => deliver_empty(meta_of(walk.path(), EntryKind::Directory, stat), out).await,
        FileType::RegularFile => match read_file(walk, *stat, buffer, out).await? {
            Outcome::Finished(flow) => Ok(flow),
            Outcome::Vanished => {
                out.warn(vanished());
                Ok(Flow::More)
            }
        },
        FileType::Symlink => {
            let target =
                walk.place().map_or(Err(Errno::NOENT), |(dir, name)| readlinkat(dir, name, Vec::new()));
            match target {
                Ok(target) => {
                    let kind = EntryKind::Symlink { target: target.into_bytes() };
                    deliver_empty(meta_of(walk.path(), kind, stat), out).await
                }
                Err(Errno::NOENT | Errno::INVAL) => {
                    out.warn(vanished());
                    Ok(Flow::More)
                }
                Err(cause) => Err(source_error("read link", &walk.shown(), cause)),
            }
        }
        other => {
            out.warn(Warning::new(
                "SpecialFileSkipped",
                format!(
                    "{} is no file, directory or link but a {} and was left out",
                    walk.shown(),
                    special(other)
                ),
            ));
            Ok(Flow::More)
        }
    }
}

async fn deliver_empty(meta: EntryMeta, out: &mut dyn TreeSink) -> Result<Flow> {
    out.begin(meta, Part { offset: 0, length: 0 }).await?;
    out.finish().await
}

/// Reads a file until it stays as it is for the time of a reading, or the attempts are used up.
async fn read_file(
    walk: &Walk,
    mut stat: Stat,
    buffer: &mut Vec<u8>,
    out: &mut dyn TreeSink,
) -> Result<Outcome> {
    let failed = |cause: Errno| source_error("read", &walk.shown(), cause);
    // Opened only when the content is wanted, and then kept, so that a second attempt reads what it announced.
    let mut opened: Option<File> = None;
    for attempt in 1..=ATTEMPTS {
        let meta = meta_of(walk.path(), EntryKind::File, &stat);
        let part = Part { offset: 0, length: meta.size };
        if out.begin(meta, part).await? == Want::Nothing {
            return Ok(Outcome::Finished(out.finish().await?));
        }
        if opened.is_none() {
            let found = walk.place().map(|(directory, name)| open_file(directory, name)).transpose();
            let Some((file, now)) = found.map_err(failed)?.flatten() else {
                out.abandon();
                return Ok(Outcome::Vanished);
            };
            opened = Some(file);
            if !same_file(&now, &stat) {
                out.abandon();
                stat = now;
                continue;
            }
        }
        let Some(file) = &opened else { break };
        let whole = copy(file, part, &walk.shown(), buffer, out).await?;
        let after = fstat(file).map_err(failed)?;
        let same = Stamp::of(&after) == Stamp::of(&stat);
        if whole && (same || attempt == ATTEMPTS) {
            if !same {
                out.warn(Warning::new("FileChanged", format!("{} changed while it was read", walk.shown())));
            }
            return Ok(Outcome::Finished(out.finish().await?));
        }
        out.abandon();
        stat = after;
    }
    Err(changed(&walk.shown()))
}

fn same_file(a: &Stat, b: &Stat) -> bool {
    Stamp::of(a) == Stamp::of(b) && a.st_ino == b.st_ino && mode_of(a) == mode_of(b)
}

/// Opens a file, unless it is gone or no file any more. Never waits, as opening a pipe would.
fn open_file(directory: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<Option<(File, Stat)>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match openat(directory, name, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO) => return Ok(None),
        Err(cause) => return Err(cause),
    };
    let stat = fstat(&file)?;
    let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    Ok(is_file.then(|| (File::from(file), stat)))
}

/// Gives the bytes of a part to the sink. Whether all of them were there.
async fn copy(
    file: &File,
    part: Part,
    name: &str,
    buffer: &mut Vec<u8>,
    out: &mut dyn TreeSink,
) -> Result<bool> {
    let piece = usize::try_from(part.length).map_or(PIECE, |length| length.min(PIECE));
    if buffer.len() < piece {
        buffer.resize(piece, 0);
    }
    let mut done = 0;
    while done < part.length {
        let most = usize::try_from(part.length - done).map_or(PIECE, |left| left.min(PIECE));
        match file.read_at(&mut buffer[..most], part.offset + done) {
            Ok(0) => return Ok(false),
            Ok(read) => {
                out.write(&buffer[..read]).await?;
                done += read as u64;
            }
            Err(cause) if cause.kind() == std::io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(source_error("read", name, cause)),
        }
    }
    Ok(true)
}

impl FilesSource {
    async fn read_part(&self, part: &FilePart, out: &mut dyn TreeSink) -> Result<Option<Cursor>> {
        let path = decode(&part.path)?;
        let name = format!("{}/{}", shown(&self.path), printable(&path));
        let failed = |cause: Errno| source_error("read", &name, cause);
        let planned = |stat: &Stat| Stamp::of(stat) == part.stamp;
        let Some((file, stat)) = open_below(self.open()?, &path).map_err(failed)? else {
            return Err(changed(&name));
        };
        if !planned(&stat) {
            return Err(changed(&name));
        }
        let meta = EntryMeta {
            path,
            kind: EntryKind::File,
            size: part.stamp.size,
            mode: Some(part.mode),
            mtime: Some(Mtime { seconds: part.stamp.seconds, nanos: part.stamp.nanos }),
            attributes: BTreeMap::new(),
        };
        let bytes = Part { offset: part.offset, length: part.length };
        if out.begin(meta, bytes).await? == Want::Content {
            let whole = copy(&file, bytes, &name, &mut Vec::new(), out).await?;
            if !whole || !planned(&fstat(&file).map_err(failed)?) {
                out.abandon();
                return Err(changed(&name));
            }
        }
        out.finish().await?;
        Ok(None)
    }
}

/// Opens a file by its path below a directory, following no link.
fn open_below(root: OwnedFd, path: &[u8]) -> rustix::io::Result<Option<(File, Stat)>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut directory = root;
    let mut rest = path;
    while let Some(slash) = rest.iter().position(|b| *b == b'/') {
        directory = match openat(&directory, OsStr::from_bytes(&rest[..slash]), flags, Mode::empty()) {
            Ok(next) => next,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
            Err(cause) => return Err(cause),
        };
        rest = &rest[slash + 1..];
    }
    open_file(directory.as_fd(), OsStr::from_bytes(rest))
}

fn meta_of(path: &[u8], kind: EntryKind, stat: &Stat) -> EntryMeta {
    let stamp = Stamp::of(stat);
    EntryMeta {
        path: path.to_vec(),
        size: if kind == EntryKind::File { stamp.size } else { 0 },
        kind,
        mode: Some(mode_of(stat)),
        mtime: Some(Mtime { seconds: stamp.seconds, nanos: stamp.nanos }),
        attributes: BTreeMap::new(),
    }
}

fn special(kind: FileType) -> &'static str {
    match kind {
        FileType::Fifo => "pipe",
        FileType::Socket => "socket",
        FileType::CharacterDevice | FileType::BlockDevice => "device",
        _ => "special file",
    }
}

fn changed(path: &str) -> Error {
    Error::new(Code::SourceChanged, format!("{path} changed while it was read"))
        .object(path)
        .hint("run the backup again, at a time when nothing writes to the file")
}

fn unreadable() -> Error {
    Error::new(Code::Internal, "a range or cursor of the source files cannot be read")
}

fn to_json(range: &FilesRange) -> Result<SourceRange> {
    serde_json::to_value(range).map(SourceRange).map_err(|_| unreadable())
}

fn from_json<T: serde::de::DeserializeOwned>(value: &serde_json::Value) -> Result<T> {
    T::deserialize(value).map_err(|_| unreadable())
}

fn decode(path: &str) -> Result<Vec<u8>> {
    STANDARD.decode(path).map_err(|_| unreadable())
}
