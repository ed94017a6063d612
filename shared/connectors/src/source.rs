//! What a source does.

use crate::batch::RecordBatch;
use async_trait::async_trait;
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::model::{EntryMeta, Part, StreamInfo, Warning};
use serde::{Deserialize, Serialize};

/// A part of a stream that one worker reads; only the connector that made it understands it.
///
/// It may hold paths and keys: it goes into job state and never into a log, an event or a state machine's input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SourceRange(pub serde_json::Value);

/// Where reading a range goes on; only the connector that made it understands it. As private as a range.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cursor(pub serde_json::Value);

/// The paths of a tree that a range answers for: what an earlier backup holds there and the range does not is gone.
///
/// The bounds of one cut cover every path once. A later part of a large file answers for none: the first part answers
/// for the file's path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PathBounds {
    /// Only paths behind this one.
    pub after: Option<Vec<u8>>,
    /// Only paths up to and with this one.
    pub until: Option<Vec<u8>>,
}

/// How large the ranges should be into which a stream is cut.
#[derive(Debug, Clone, Copy)]
pub struct Sizing {
    /// Bytes of the source in one range, about.
    pub bytes: u64,
    /// Files or records in one range, about.
    pub entries: u64,
    /// Workers that read side by side: a source that cuts by number makes at least so many ranges of a large stream.
    pub workers: u32,
}

/// Takes the ranges of a stream, in order.
#[async_trait]
pub trait RangeSink: Send {
    /// One more range.
    ///
    /// # Errors
    /// Whatever keeping it gives; the source stops.
    async fn range(&mut self, range: SourceRange) -> Result<()>;
}

/// Whether the sink takes more in this call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    More,
    /// Enough for this call: return a cursor behind what was delivered, at the next place where one can be.
    Enough,
}

/// Takes records.
#[async_trait]
pub trait RecordSink: Send {
    /// Takes a record by its value alone, if the base of the backup holds exactly it: then its key need not be looked for.
    /// `None` if it has to be delivered with its key, which is right for any record.
    ///
    /// # Errors
    /// As [`Self::records`].
    fn known(&mut self, _value: &[u8], _origin: u64) -> Result<Option<Flow>> {
        Ok(None)
    }

    /// Some records, in any order. A batch is about 1 MiB.
    ///
    /// # Errors
    /// Whatever storing them gives; the source stops.
    async fn records(&mut self, batch: &RecordBatch) -> Result<Flow>;

    /// Something the operator should see.
    fn warn(&mut self, warning: Warning);
}

/// What the sink wants to know of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// The content of the part: write all of it, then finish.
    Content,
    /// Nothing more: the content is known, or there is none. Finish without writing.
    Nothing,
}

/// Takes the entries of a tree, in byte order of their paths, parts of one file in order.
#[async_trait]
pub trait TreeSink: Send {
    /// Begins an entry. For directories and links the part is empty.
    ///
    /// # Errors
    /// `Internal` if the order is broken, or whatever storing gives.
    async fn begin(&mut self, meta: EntryMeta, part: Part) -> Result<Want>;

    /// The next bytes of the part.
    ///
    /// # Errors
    /// `SourceChanged` if more come than the part has, or whatever storing gives.
    async fn write(&mut self, bytes: &[u8]) -> Result<()>;

    /// Ends the entry.
    ///
    /// # Errors
    /// `SourceChanged` if bytes are missing, or whatever storing gives.
    async fn finish(&mut self) -> Result<Flow>;

    /// Forgets the entry that was begun: it vanished, or changed under the reader's hands. It may be begun again.
    fn abandon(&mut self);

    /// Something the operator should see.
    fn warn(&mut self, warning: Warning);

    /// Whether most entries are likely known: then a source does better not to read their content ahead.
    fn knows_most(&self) -> bool {
        false
    }
}

/// A resource that can be read.
#[async_trait]
pub trait Source: Send + Sync {
    /// What the resource holds now.
    ///
    /// # Errors
    /// `SourceMissing`, `SourceDenied`, `SourceInvalid` and their kin, naming the table, bucket or directory.
    async fn streams(&self) -> Result<Vec<StreamInfo>>;

    /// Cuts a stream into ranges that together hold all of it, each record or entry once. Memory stays bounded
    /// however large the stream. A stream of records that holds nothing may have no range; of a tree the ranges cover
    /// every path there may be ([`Source::bounds`]).
    ///
    /// # Errors
    /// As [`Source::streams`], or what the sink gives.
    async fn cut(&self, stream: &StreamInfo, sizing: &Sizing, out: &mut dyn RangeSink) -> Result<()>;

    /// Reads records of a range from its start, or from a cursor, until its end (`None`) or the sink has enough.
    ///
    /// # Errors
    /// `Source*`, or what the sink gives.
    async fn read_records(
        &self,
        stream: &StreamInfo,
        _range: &SourceRange,
        _from: Option<&Cursor>,
        _out: &mut dyn RecordSink,
    ) -> Result<Option<Cursor>> {
        Err(Error::new(Code::Internal, format!("stream {} does not hold records", stream.name)))
    }

    /// Reads entries of a range from its start, or from a cursor, until its end (`None`) or the sink has enough.
    ///
    /// # Errors
    /// `Source*`, or what the sink gives.
    async fn read_tree(
        &self,
        stream: &StreamInfo,
        _range: &SourceRange,
        _from: Option<&Cursor>,
        _out: &mut dyn TreeSink,
    ) -> Result<Option<Cursor>> {
        Err(Error::new(Code::Internal, format!("stream {} does not hold files", stream.name)))
    }

    /// Which paths a range of a tree answers for; from a cursor on, those behind it. `None` if the source does not tell.
    ///
    /// # Errors
    /// `Internal` if the range or the cursor is not the source's.
    fn bounds(
        &self,
        _stream: &StreamInfo,
        _range: &SourceRange,
        _from: Option<&Cursor>,
    ) -> Result<Option<PathBounds>> {
        Ok(None)
    }

    /// Where a record of a range stands, as an operator finds it: file and line. `origin` is the record's own.
    ///
    /// # Errors
    /// As [`Source::streams`].
    async fn describe_origin(
        &self,
        stream: &StreamInfo,
        _range: &SourceRange,
        _origin: u64,
    ) -> Result<String> {
        Ok(format!("stream {}", stream.name))
    }
}
