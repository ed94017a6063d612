//! The source `jsonl`: a directory of JSON Lines files, one record stream a file.

use super::key::{Found, KeyFault, KeyReader};
use super::lines::{Lines, count_line_feeds, each_line};
use crate::batch::RecordBatch;
use crate::local_fs::{Stamp, shown, source_error};
use crate::source::{Cursor, Flow, RangeSink, RecordSink, Sizing, Source, SourceRange};
use crate::staged_dir::plain_name;
use async_trait::async_trait;
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::model::{RecordEncoding, StreamInfo, StreamKind, Warning};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

const ENDINGS: [&str; 2] = [".jsonl", ".ndjson"];
/// Keys and values that are delivered at a time.
const BATCH: usize = 1 << 20;

/// Reads every `*.jsonl` and `*.ndjson` file of a directory as a stream of the file's name without its ending.
#[derive(Debug)]
pub struct JsonlSource {
    path: PathBuf,
    pointers: Vec<String>,
    key: KeyReader,
}

/// The lines that start in `start..end` of a file, as it was when the ranges were cut.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LineRange {
    file: String,
    start: u64,
    end: u64,
    stamp: Stamp,
}

/// A line's start in the file and its number in the range.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LineCursor {
    offset: u64,
    line: u64,
}

/// A fault of a line.
enum LineFault {
    Key(KeyFault),
    NotUtf8,
    TooLong,
}

impl JsonlSource {
    /// A source of the files in this directory, whose records have their key where these JSON pointers lead.
    ///
    /// # Errors
    /// `InvalidInput` if there is no pointer, or one that is none.
    pub fn new(path: impl Into<PathBuf>, key: Vec<String>) -> Result<Self> {
        Ok(Self { path: path.into(), key: KeyReader::pointers(&key)?, pointers: key })
    }

    /// The files by their streams' names.
    fn files(&self) -> Result<BTreeMap<String, String>> {
        let failed = |cause: io::Error| source_error("list directory", &shown(&self.path), cause);
        let mut files: BTreeMap<String, String> = BTreeMap::new();
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let Some(ending) = ENDINGS.iter().find(|ending| name.as_bytes().ends_with(ending.as_bytes()))
            else {
                continue;
            };
            let path = entry.path();
            let kind = fs::metadata(&path).map_err(|cause| source_error("read", &shown(&path), cause))?;
            if !kind.is_file() {
                continue;
            }
            let invalid = |text: String| Error::new(Code::SourceInvalid, text).object(shown(&path));
            let stem =
                name.to_str().and_then(|name| name.strip_suffix(ending)).filter(|stem| !stem.is_empty());
            let (Some(stem), Some(name)) = (stem, name.to_str()) else {
                let text = format!("{} cannot be a stream's name", shown(&path));
                return Err(invalid(text).hint("give the file a name in UTF-8 before its ending"));
            };
            if let Some(other) = files.insert(stem.to_owned(), name.to_owned()) {
                let (first, second) = if *other < *name { (&*other, name) } else { (name, &*other) };
                let text = format!("{first} and {second} in {} would be one stream", shown(&self.path));
                return Err(invalid(text).hint("rename one of them"));
            }
        }
        Ok(files)
    }

    fn open(&self, file: &str) -> Result<(File, Stamp)> {
        let failed = |cause: io::Error| source_error("read", &self.shown(file), cause);
        let file = plain_name(file).ok_or_else(unreadable)?;
        let open = File::open(self.path.join(file)).map_err(failed)?;
        let stat = rustix::fs::fstat(&open).map_err(|cause| failed(cause.into()))?;
        Ok((open, Stamp::of(&stat)))
    }

    fn shown(&self, file: &str) -> String {
        shown(&self.path.join(file))
    }

    fn check_unchanged(&self, range: &LineRange, file: &File) -> Result<()> {
        let name = self.shown(&range.file);
        let stat = rustix::fs::fstat(file).map_err(|cause| source_error("read", &name, cause))?;
        if Stamp::of(&stat) == range.stamp { Ok(()) } else { Err(changed(&name)) }
    }

    /// A fault of a line, with file and line and without what the line says.
    fn line_error(&self, range: &LineRange, line: u64, fault: &LineFault) -> Error {
        let number = match self.line_number(range, line) {
            Ok(number) => number,
            Err(error) => return error,
        };
        let (what, hint) = match fault {
            LineFault::Key(KeyFault::Broken(column)) => (
                format!("is not one JSON value (column {column})"),
                "every line must be one whole JSON value, without a byte order mark",
            ),
            LineFault::Key(KeyFault::Missing(part)) => {
                let pointer = self.pointers.get(*part).map_or("", String::as_str);
                (
                    format!("has no string, number or boolean at {pointer}"),
                    "correct the file, or the key of the resource's source",
                )
            }
            LineFault::NotUtf8 => ("is not UTF-8".to_owned(), "convert the file to UTF-8"),
            LineFault::TooLong => ("is longer than 64 MiB".to_owned(), "shorten the record"),
        };
        let file = self.shown(&range.file);
        Error::new(Code::SourceInvalid, format!("{file}, line {number} {what}"))
            .object(format!("{file}:{number}"))
            .hint(hint)
    }

    /// The number in its file of a line of a range, counted from 1.
    fn line_number(&self, range: &LineRange, line: u64) -> Result<u64> {
        let failed = |cause: io::Error| source_error("read", &self.shown(&range.file), cause);
        let (file, _) = self.open(&range.file)?;
        // The range's first line is the first that starts at its start or later.
        let before = match range.start.checked_sub(1) {
            Some(length) => 1 + count_line_feeds(&file, length).map_err(failed)?,
            None => 0,
        };
        Ok(before + line + 1)
    }

    /// Looks at one line; blank lines are no records.
    fn take(&self, line: &str, number: u64, scratch: &mut Scratch) -> Result<(), KeyFault> {
        if line.bytes().all(|b| matches!(b, b' ' | b'\t' | b'\r')) {
            scratch.blank += 1;
            return Ok(());
        }
        scratch.key.clear();
        self.key.read(line, &mut scratch.found, &mut scratch.key)?;
        scratch.batch.push(&scratch.key, line.as_bytes(), number);
        Ok(())
    }
}

/// What reading a range needs from line to line.
#[derive(Default)]
struct Scratch {
    batch: RecordBatch,
    found: Found,
    key: Vec<u8>,
    blank: u64,
}

impl Scratch {
    /// Hands on what was gathered.
    async fn deliver(&mut self, out: &mut dyn RecordSink) -> Result<Flow> {
        let flow = out.records(&self.batch).await?;
        self.batch.clear();
        Ok(flow)
    }

    fn warn_blank(&self, file: &str, out: &mut dyn RecordSink) {
        if self.blank > 0 {
            let text = format!("{} blank lines in {file} are no records and were left out", self.blank);
            out.warn(Warning::new("BlankLines", text));
        }
    }
}

#[async_trait]
impl Source for JsonlSource {
    async fn streams(&self) -> Result<Vec<StreamInfo>> {
        let files = self.files()?;
        if files.is_empty() {
            let path = shown(&self.path);
            return Err(Error::new(Code::SourceInvalid, format!("{path} holds no *.jsonl or *.ndjson file"))
                .object(path)
                .hint("name the directory that holds the files themselves; other endings are not read"));
        }
        let stream = |(name, file): (String, String)| StreamInfo {
            name,
            shape: StreamKind::Records { encoding: RecordEncoding::Json, key: self.pointers.clone() },
            schema: serde_json::json!({ "file": file }),
        };
        Ok(files.into_iter().map(stream).collect())
    }

    async fn cut(&self, stream: &StreamInfo, sizing: &Sizing, out: &mut dyn RangeSink) -> Result<()> {
        let file = stream.schema.get("file").and_then(serde_json::Value::as_str).ok_or_else(unreadable)?;
        let (_, stamp) = self.open(file)?;
        let ranges = stamp.size.div_ceil(sizing.bytes.max(1)).max(1);
        let step = stamp.size.div_ceil(ranges).max(1);
        let mut start = 0;
        while start < stamp.size {
            let end = stamp.size.min(start + step);
            let range = LineRange { file: file.to_owned(), start, end, stamp };
            out.range(SourceRange(serde_json::to_value(range).map_err(|_| unreadable())?)).await?;
            start = end;
        }
        Ok(())
    }

    async fn read_records(
        &self,
        _stream: &StreamInfo,
        range: &SourceRange,
        from: Option<&Cursor>,
        out: &mut dyn RecordSink,
    ) -> Result<Option<Cursor>> {
        let range = LineRange::deserialize(&range.0).map_err(|_| unreadable())?;
        let name = self.shown(&range.file);
        let failed = |cause: io::Error| source_error("read", &name, cause);
        let (file, stamp) = self.open(&range.file)?;
        if stamp != range.stamp {
            return Err(changed(&name));
        }
        let mut lines = Lines::new(&file, range.end);
        let mut number = 0;
        if let Some(cursor) = from {
            let cursor = LineCursor::deserialize(&cursor.0).map_err(|_| unreadable())?;
            number = cursor.line;
            lines.seek(cursor.offset);
        } else if !lines.seek_line(range.start).map_err(failed)? {
            return Ok(None);
        }
        let mut scratch = Scratch::default();
        while lines.fill().map_err(failed)? {
            let text =
                lines.text().map_err(|line| self.line_error(&range, number + line, &LineFault::NotUtf8))?;
            let mut offset = lines.offset();
            for line in each_line(text) {
                let bare = line.strip_suffix('\n').unwrap_or(line);
                let known = out.known(bare.as_bytes(), number)?;
                if known.is_none() {
                    self.take(bare, number, &mut scratch)
                        .map_err(|fault| self.line_error(&range, number, &LineFault::Key(fault)))?;
                }
                offset += line.len() as u64;
                number += 1;
                let mut flow = known.unwrap_or(Flow::More);
                let gathered = scratch.batch.bytes();
                if gathered >= BATCH || flow == Flow::Enough && gathered > 0 {
                    flow = scratch.deliver(out).await?;
                }
                if flow == Flow::Enough && offset < range.end {
                    self.check_unchanged(&range, &file)?;
                    scratch.warn_blank(&name, out);
                    let cursor = LineCursor { offset, line: number };
                    return Ok(Some(Cursor(serde_json::to_value(cursor).map_err(|_| unreadable())?)));
                }
            }
            lines.consume();
        }
        if lines.too_long() {
            return Err(self.line_error(&range, number, &LineFault::TooLong));
        }
        self.check_unchanged(&range, &file)?;
        if !scratch.batch.is_empty() {
            scratch.deliver(out).await?;
        }
        scratch.warn_blank(&name, out);
        Ok(None)
    }

    async fn describe_origin(
        &self,
        _stream: &StreamInfo,
        range: &SourceRange,
        origin: u64,
    ) -> Result<String> {
        let range = LineRange::deserialize(&range.0).map_err(|_| unreadable())?;
        let number = self.line_number(&range, origin)?;
        Ok(format!("{}, line {number}", range.file))
    }
}

fn changed(path: &str) -> Error {
    Error::new(Code::SourceChanged, format!("{path} changed while it was read"))
        .object(path)
        .hint("run the backup again, at a time when nothing writes to the file")
}

fn unreadable() -> Error {
    Error::new(Code::Internal, "a stream, range or cursor of the source jsonl cannot be read")
}
