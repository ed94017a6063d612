//! The source `json`: one document, inline or in a file.

use super::{Collection, LARGEST, LARGEST_TEXT};
use crate::batch::RecordBatch;
use crate::jsonl::{Found, KeyFault, KeyReader};
use crate::local_fs::{Stamp, printable, shown, source_error};
use crate::raw_json::{Members, compact, elements};
use crate::source::{Cursor, Flow, RangeSink, RecordSink, Sizing, Source, SourceRange};
use async_trait::async_trait;
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::model::{RecordEncoding, StreamInfo, StreamKind};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Where the key of a record stands.
const ID: &str = "/id";
/// Keys and values that are delivered at a time.
const BATCH: usize = 1 << 20;
/// The longest record, in bytes.
const LONGEST: usize = 64 << 20;

/// Reads each collection of a JSON document as a stream of its name.
#[derive(Debug)]
pub struct DocumentSource {
    place: Place,
    id: KeyReader,
    loaded: Mutex<Option<Arc<Loaded>>>,
}

#[derive(Debug)]
enum Place {
    Inline(String),
    File(PathBuf),
}

/// A document and where its collections stand in it.
#[derive(Debug)]
struct Loaded {
    text: String,
    stamp: Option<Stamp>,
    collections: Vec<(String, Range<usize>)>,
}

/// Some elements of a collection, by the bytes that they take in the document as it was when the ranges were cut.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ElementRange {
    /// The position of the first element.
    first: u64,
    start: u64,
    end: u64,
    /// Of a file.
    stamp: Option<Stamp>,
}

/// How many elements of the range were delivered.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ElementCursor {
    done: u64,
}

/// What reading a range needs from element to element.
#[derive(Default)]
struct Scratch {
    batch: RecordBatch,
    found: Found,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl DocumentSource {
    /// A source of an inline document or of one in a file.
    ///
    /// # Errors
    /// `InvalidInput` if both or neither are given.
    pub fn new(document: Option<&serde_json::Value>, path: Option<&Path>) -> Result<Self> {
        let place = match (document, path) {
            (Some(document), None) => Place::Inline(document.to_string()),
            (None, Some(path)) => Place::File(path.to_owned()),
            _ => {
                return Err(Error::new(Code::InvalidInput, "a json source takes a document or a path")
                    .object("source")
                    .hint("give exactly one of document and path"));
            }
        };
        Ok(Self { place, id: KeyReader::pointers(&[ID.to_owned()])?, loaded: Mutex::default() })
    }

    /// The document as a message names it.
    fn label(&self) -> String {
        match &self.place {
            Place::Inline(_) => "the inline document".to_owned(),
            Place::File(path) => shown(path),
        }
    }

    fn invalid(&self, what: &str) -> Error {
        let label = self.label();
        Error::new(Code::SourceInvalid, format!("{label} {what}")).object(label)
    }

    fn changed(&self) -> Error {
        let label = self.label();
        Error::new(Code::SourceChanged, format!("{label} changed while it was read"))
            .object(label)
            .hint("run the backup again, at a time when nothing writes to the file")
    }

    fn open(path: &Path) -> Result<(File, Stamp)> {
        let failed = |cause: io::Error| source_error("read", &shown(path), cause);
        let file = File::open(path).map_err(failed)?;
        let stat = rustix::fs::fstat(&file).map_err(|cause| failed(cause.into()))?;
        Ok((file, Stamp::of(&stat)))
    }

    /// The document, read again only if its file changed.
    fn load(&self) -> Result<Arc<Loaded>> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let (text, stamp) = match &self.place {
            Place::Inline(text) => {
                if let Some(loaded) = &*loaded {
                    return Ok(Arc::clone(loaded));
                }
                (text.clone(), None)
            }
            Place::File(path) => {
                let (file, stamp) = Self::open(path)?;
                if let Some(loaded) = loaded.as_ref().filter(|loaded| loaded.stamp == Some(stamp)) {
                    return Ok(Arc::clone(loaded));
                }
                *loaded = None;
                (self.read_whole(path, &file, stamp)?, Some(stamp))
            }
        };
        let collections = self.collections(&text)?;
        Ok(Arc::clone(loaded.insert(Arc::new(Loaded { text, stamp, collections }))))
    }

    fn read_whole(&self, path: &Path, file: &File, stamp: Stamp) -> Result<String> {
        if stamp.size > LARGEST {
            return Err(self
                .invalid(&format!("is larger than {LARGEST_TEXT}"))
                .hint("split it, or keep its collections as JSON Lines, a source of kind jsonl"));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(stamp.size).unwrap_or(0));
        let failed = |cause: io::Error| source_error("read", &shown(path), cause);
        file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(failed)?;
        let stat = rustix::fs::fstat(file).map_err(|cause| failed(cause.into()))?;
        if Stamp::of(&stat) != stamp || bytes.len() as u64 != stamp.size {
            return Err(self.changed());
        }
        String::from_utf8(bytes).map_err(|_| self.invalid("is not UTF-8").hint("convert the file to UTF-8"))
    }

    fn collections(&self, text: &str) -> Result<Vec<(String, Range<usize>)>> {
        const HINT: &str = "the document is an object of named collections, such as {\"orders\": [...]}";
        let Members(members) = serde_json::from_str(text).map_err(|fault: serde_json::Error| {
            let place = format!("line {}, column {}", fault.line(), fault.column());
            self.invalid(&format!("is not one JSON object ({place})")).hint(HINT)
        })?;
        if members.is_empty() {
            return Err(self.invalid("holds no collection").hint(HINT));
        }
        let mut names = HashSet::new();
        if let Some((name, _)) = members.iter().find(|(name, _)| !names.insert(name.as_str())) {
            let text = format!("has two collections named {}", printable(name.as_bytes()));
            return Err(self.invalid(&text).object(name).hint("rename one of them"));
        }
        let span = |value: &str| {
            let start = value.as_ptr().addr() - text.as_ptr().addr();
            start..start + value.len()
        };
        Ok(members.into_iter().map(|(name, value)| (name, span(value.get()))).collect())
    }

    fn stream(&self, name: &str, text: &str) -> Result<StreamInfo> {
        let collection = Collection::of_text(text);
        let keyed = collection == Collection::Array && self.is_keyed(name, text)?;
        let key = if keyed { vec![ID.to_owned()] } else { Vec::new() };
        Ok(StreamInfo {
            name: name.to_owned(),
            shape: StreamKind::Records { encoding: RecordEncoding::Json, key },
            schema: collection.schema(),
        })
    }

    /// Whether every element of an array has an id. An array of none may get some that have.
    fn is_keyed(&self, name: &str, array: &str) -> Result<bool> {
        let (mut found, mut key) = (Found::default(), Vec::new());
        for (number, (_, element)) in (0_u64..).zip(elements(inner(array))) {
            if !element.starts_with('{') {
                return Ok(false);
            }
            key.clear();
            match self.id.read(element, &mut found, &mut key) {
                Ok(()) => {}
                Err(KeyFault::Missing(_)) => return Ok(false),
                Err(KeyFault::Broken(_)) => return Err(self.broken(name, number)),
            }
        }
        Ok(true)
    }

    fn broken(&self, collection: &str, number: u64) -> Error {
        let text = format!("{}: {} is not readable JSON", self.label(), element_name(collection, number));
        Error::new(Code::SourceInvalid, text)
            .object(collection)
            .hint("look for a broken escape in a name or an id")
    }

    fn too_long(&self, collection: &str, number: u64) -> Error {
        let text = format!("{}: {} is longer than 64 MiB", self.label(), element_name(collection, number));
        Error::new(Code::SourceInvalid, text).object(collection).hint("shorten the record")
    }

    /// The text of a range, of the document as it was cut.
    fn span(&self, range: &ElementRange) -> Result<String> {
        let length = usize::try_from(range.end.saturating_sub(range.start)).map_err(|_| unreadable())?;
        match &self.place {
            Place::Inline(text) => {
                let start = usize::try_from(range.start).map_err(|_| unreadable())?;
                Ok(text.get(start..start + length).ok_or_else(unreadable)?.to_owned())
            }
            Place::File(path) => {
                let (file, stamp) = Self::open(path)?;
                if Some(stamp) != range.stamp || range.end > stamp.size {
                    return Err(self.changed());
                }
                let mut bytes = vec![0; length];
                file.read_exact_at(&mut bytes, range.start)
                    .map_err(|cause| source_error("read", &shown(path), cause))?;
                let stat =
                    rustix::fs::fstat(&file).map_err(|cause| source_error("read", &shown(path), cause))?;
                if Stamp::of(&stat) != stamp {
                    return Err(self.changed());
                }
                String::from_utf8(bytes).map_err(|_| self.changed())
            }
        }
    }

    fn take(&self, stream: &StreamInfo, number: u64, element: &str, scratch: &mut Scratch) -> Result<()> {
        if element.len() > LONGEST {
            return Err(self.too_long(&stream.name, number));
        }
        scratch.key.clear();
        scratch.value.clear();
        compact(element, &mut scratch.value);
        let value = std::str::from_utf8(&scratch.value).map_err(|_| unreadable())?;
        if is_keyed(stream) {
            let read = self.id.read(value, &mut scratch.found, &mut scratch.key);
            read.map_err(|_| self.changed())?;
        } else {
            serde_json::from_str::<&serde_json::value::RawValue>(value).map_err(|_| self.changed())?;
            scratch.key.extend_from_slice(format!("[{number}]").as_bytes());
        }
        scratch.batch.push(&scratch.key, &scratch.value, number);
        Ok(())
    }
}

#[async_trait]
impl Source for DocumentSource {
    async fn streams(&self) -> Result<Vec<StreamInfo>> {
        let loaded = self.load()?;
        let stream = |(name, span): &(String, Range<usize>)| self.stream(name, &loaded.text[span.clone()]);
        loaded.collections.iter().map(stream).collect()
    }

    async fn cut(&self, stream: &StreamInfo, sizing: &Sizing, out: &mut dyn RangeSink) -> Result<()> {
        let loaded = self.load()?;
        let span = loaded.collections.iter().find(|(name, _)| *name == stream.name).map(|(_, span)| span);
        let span = span.ok_or_else(|| self.changed())?.clone();
        let text = &loaded.text[span.clone()];
        if self.stream(&stream.name, text)? != *stream {
            return Err(self.changed());
        }
        let (text, offset) = match Collection::of_text(text) {
            Collection::Array => (inner(text), span.start + 1),
            Collection::Value => (text, span.start),
        };
        for mut range in cut_elements(text, sizing) {
            range.start += offset as u64;
            range.end += offset as u64;
            range.stamp = loaded.stamp;
            out.range(SourceRange(serde_json::to_value(range).map_err(|_| unreadable())?)).await?;
        }
        Ok(())
    }

    async fn read_records(
        &self,
        stream: &StreamInfo,
        range: &SourceRange,
        from: Option<&Cursor>,
        out: &mut dyn RecordSink,
    ) -> Result<Option<Cursor>> {
        let range = ElementRange::deserialize(&range.0).map_err(|_| unreadable())?;
        let done = match from {
            Some(cursor) => ElementCursor::deserialize(&cursor.0).map_err(|_| unreadable())?.done,
            None => 0,
        };
        let text = self.span(&range)?;
        let mut scratch = Scratch::default();
        let skip = usize::try_from(done).map_err(|_| unreadable())?;
        let mut rest = (done..).zip(elements(&text).skip(skip)).peekable();
        while let Some((at, (_, element))) = rest.next() {
            self.take(stream, range.first + at, element, &mut scratch)?;
            if scratch.batch.bytes() >= BATCH {
                let flow = out.records(&scratch.batch).await?;
                scratch.batch.clear();
                if flow == Flow::Enough && rest.peek().is_some() {
                    let cursor = serde_json::to_value(ElementCursor { done: at + 1 });
                    return Ok(Some(Cursor(cursor.map_err(|_| unreadable())?)));
                }
            }
        }
        if !scratch.batch.is_empty() {
            out.records(&scratch.batch).await?;
        }
        Ok(None)
    }

    async fn describe_origin(&self, stream: &StreamInfo, _: &SourceRange, origin: u64) -> Result<String> {
        Ok(element_name(&stream.name, origin))
    }
}

/// An element as an operator finds it, counted from 0 as JSON pointers count.
fn element_name(collection: &str, number: u64) -> String {
    format!("element {number} of collection {}", printable(collection.as_bytes()))
}

fn is_keyed(stream: &StreamInfo) -> bool {
    matches!(&stream.shape, StreamKind::Records { key, .. } if !key.is_empty())
}

/// The text between the brackets of an array.
fn inner(array: &str) -> &str {
    array.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or_default()
}

/// Ranges of whole elements, by their places in the text.
fn cut_elements(text: &str, sizing: &Sizing) -> Vec<ElementRange> {
    let mut ranges: Vec<ElementRange> = Vec::new();
    for (number, (start, element)) in (0_u64..).zip(elements(text)) {
        let (start, end) = (start as u64, (start + element.len()) as u64);
        match ranges.last_mut() {
            Some(last) if end - last.start <= sizing.bytes && number - last.first < sizing.entries.max(1) => {
                last.end = end;
            }
            _ => ranges.push(ElementRange { first: number, start, end, stamp: None }),
        }
    }
    ranges
}

fn unreadable() -> Error {
    Error::new(Code::Internal, "a stream, range or cursor of the source json cannot be read")
}
