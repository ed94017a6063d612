//! The pieces of a window, in staging.

use crate::history::sealed::{self, Recorder, Section, Unsealed};
use crate::history::{Counts, Difference, Differences};
use crate::services::Services;
use async_trait::async_trait;
use holdfast_connectors::changed_fields;
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::format::changes::Change;
use holdfast_vault::model::{RecordEncoding, StreamInfo, StreamKind};
use serde::{Deserialize, Serialize};

/// Bytes of keys and values in a piece, about.
const PIECE_BYTES: usize = 4 << 20;

/// What a section of an undo's objects holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Holds {
    /// Records of the window: before it, after it. In staging only.
    Window,
    /// What stood before the piece was put back, of records that were not as the window left them. In staging only.
    Begun,
    /// The keys that an operator listed. In staging only.
    Keys,
    /// What the undo wrote: what stood before, what it wrote.
    Written,
    /// Of a conflict: what the window left, what was to be put back.
    Wanted,
    /// Of a conflict: what the window left, what the undo found.
    Found,
}

/// What is said of a section. It binds the object to its place, so that objects cannot be swapped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct About {
    /// The undo's id.
    pub(super) undo: String,
    /// The piece's number, from 0.
    pub(super) piece: u32,
    /// What the section holds.
    pub(super) holds: Holds,
    /// The resource's name.
    pub(super) resource: String,
    /// The stream, as in a manifest.
    pub(super) stream: StreamInfo,
    /// When the window begins and ends.
    pub(super) from: String,
    pub(super) to: String,
    /// Which plan made the piece; in staging only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) plan: Option<String>,
}

/// Gathers differences into pieces of one stream each.
pub(super) struct Pieces<S> {
    stream: Option<StreamInfo>,
    waiting: Vec<Difference>,
    bytes: usize,
    /// Records so far.
    pub(super) counts: Counts,
    sink: S,
}

/// Takes pieces.
#[async_trait]
pub(super) trait PieceSink: Send {
    /// Takes the differences of a piece.
    async fn piece(&mut self, stream: &StreamInfo, differences: Vec<Difference>) -> Result<()>;
}

impl<S: PieceSink> Pieces<S> {
    pub(super) fn new(sink: S) -> Self {
        Self { stream: None, waiting: Vec::new(), bytes: 0, counts: Counts::default(), sink }
    }

    async fn flush(&mut self) -> Result<()> {
        let differences = std::mem::take(&mut self.waiting);
        self.bytes = 0;
        match &self.stream {
            Some(stream) if !differences.is_empty() => self.sink.piece(stream, differences).await,
            _ => Ok(()),
        }
    }

    /// Hands on the last piece.
    pub(super) async fn end(mut self) -> Result<(Counts, S)> {
        self.flush().await?;
        Ok((self.counts, self.sink))
    }
}

#[async_trait]
impl<S: PieceSink> Differences for Pieces<S> {
    async fn take(&mut self, stream: &StreamInfo, differences: Vec<Difference>) -> Result<()> {
        if self.stream.as_ref() != Some(stream) {
            self.flush().await?;
            self.stream = Some(stream.clone());
        }
        for difference in differences {
            self.counts.note(difference.op());
            self.bytes += difference.len();
            self.waiting.push(difference);
            if self.bytes >= PIECE_BYTES {
                self.flush().await?;
            }
        }
        Ok(())
    }
}

/// The key of a piece of the window.
pub(super) fn window_key(job: &str, plan: &str, piece: u32) -> String {
    format!("{job}/window/{plan}-{piece:06}")
}

/// The key of what stood before a piece was put back.
pub(super) fn begun_key(job: &str, piece: u32) -> String {
    format!("{job}/begun/{piece:06}")
}

/// The key of what became of a piece.
pub(super) fn outcome_key(job: &str, piece: u32) -> String {
    format!("{job}/outcome/{piece:06}")
}

/// The key of the counts of a piece that was compared.
pub(super) fn proof_key(job: &str, piece: u32) -> String {
    format!("{job}/proof/{piece:06}")
}

/// A piece of the window, as it was planned.
pub(super) struct WindowPiece {
    /// What is said of it.
    pub(super) about: About,
    /// Its records: `before` is what they should be again, `after` what the window left.
    pub(super) changes: Vec<Change>,
}

impl WindowPiece {
    pub(super) async fn read(services: &Services, job: &str, plan: &str, number: u32) -> Result<Self> {
        let key = window_key(job, plan, number);
        let mut object = open(services, &key, (job, number)).await?.ok_or_else(|| missing(&key))?;
        match object.sections.pop() {
            Some(Section { description, changes })
                if description.holds == Holds::Window && description.plan.as_deref() == Some(plan) =>
            {
                Ok(Self { about: description, changes })
            }
            _ => {
                Err(Error::new(Code::StagingDamaged, format!("staged object {key} is another one"))
                    .object(key))
            }
        }
    }

    pub(super) fn encoding(&self) -> RecordEncoding {
        encoding(&self.about.stream)
    }

    pub(super) fn keys(&self) -> Vec<Vec<u8>> {
        self.changes.iter().map(|change| change.key.clone()).collect()
    }
}

/// How the records of a stream are to be read.
pub(super) fn encoding(stream: &StreamInfo) -> RecordEncoding {
    match stream.shape {
        StreamKind::Records { encoding, .. } => encoding,
        StreamKind::Tree => RecordEncoding::Json,
    }
}

fn missing(key: &str) -> Error {
    Error::new(Code::StagingDamaged, format!("staged object {key} is missing")).object(key)
}

/// Opens a staged object of a piece; `None` if it is not there.
pub(super) async fn open(
    services: &Services,
    key: &str,
    (job, piece): (&str, u32),
) -> Result<Option<Unsealed<About>>> {
    let Some(object) = sealed::open::<About>(&services.vault, services.staging.as_ref(), key).await? else {
        return Ok(None);
    };
    let fits =
        |section: &Section<About>| section.description.undo == job && section.description.piece == piece;
    if object.sections.iter().all(fits) {
        return Ok(Some(object));
    }
    Err(Error::new(Code::StagingDamaged, format!("staged object {key} is another one")).object(key))
}

/// Stages a sealed object unless one is there, and gives the one that is there then.
pub(super) async fn stage(
    services: &Services,
    key: &str,
    of: (&str, u32),
    sections: Vec<Section<About>>,
) -> Result<Unsealed<About>> {
    let object = sealed::seal(services.vault.keys(), sections)?;
    services.staging.put_if_absent(key, object.bytes).await?;
    open(services, key, of).await?.ok_or_else(|| missing(key))
}

/// Whether two values of a record are the same. Items are compared by value, as DynamoDB does.
pub(super) fn same(encoding: RecordEncoding, one: Option<&[u8]>, other: Option<&[u8]>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) if one != other => {
            encoding == RecordEncoding::DynamodbJson
                && changed_fields(encoding, one, other).is_ok_and(|changes| changes.is_empty())
        }
        (one, other) => one.is_some() == other.is_some(),
    }
}

fn keys_key(job: &str) -> String {
    format!("{job}/keys")
}

/// Keeps a list of typed keys, sealed: job state and state machines must not hold them.
pub(super) async fn keep_keys(services: &Services, job: &str, keys: &[String]) -> Result<()> {
    let mut changes = Vec::with_capacity(keys.len());
    for (number, typed) in (0_i64..).zip(keys) {
        // Changes are sorted by key hash; the time is the key's place in the list.
        changes.push(Recorder::new(services.vault.keys(), number)?.change(typed.as_bytes(), None, None));
    }
    let stream = StreamInfo { name: String::new(), shape: StreamKind::Tree, schema: serde_json::Value::Null };
    let description = About {
        undo: job.to_owned(),
        piece: 0,
        holds: Holds::Keys,
        resource: String::new(),
        stream,
        from: String::new(),
        to: String::new(),
        plan: None,
    };
    let section = Section { description, changes };
    stage(services, &keys_key(job), (job, 0), vec![section]).await.map(|_| ())
}

/// The list that was kept.
pub(super) async fn kept_keys(services: &Services, job: &str) -> Result<Vec<String>> {
    let key = keys_key(job);
    let object = open(services, &key, (job, 0)).await?.ok_or_else(|| missing(&key))?;
    let mut keys: Vec<Change> = object.sections.into_iter().flat_map(|section| section.changes).collect();
    keys.sort_by_key(|change| change.time);
    Ok(keys.into_iter().map(|change| String::from_utf8_lossy(&change.key).into_owned()).collect())
}
