//! One batch of records of one resource: decoded, written, noted.

use super::events::Tail;
use super::progress::Progress;
use super::{rollup, rows};
use crate::config::{CodecName, Resource};
use crate::plan;
use crate::services::Services;
use holdfast_common::jobs::CaptureRow;
use holdfast_connectors::dynamodb::{StreamName, StreamRecord};
use holdfast_vault::compress::Codec;
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::format::changes::{Change, ChangeName, ChangesDescription, Gap};
use holdfast_vault::model::{RecordEncoding, StreamKind};
use holdfast_vault::storage::Put;
use holdfast_vault::write::changes::write_changes;

/// Key hashes of changes are of this version of the vault key for ever.
pub(super) const KEY_VERSION: u32 = 1;

pub(super) struct Batch<'a> {
    services: &'a Services,
    resource: &'a Resource,
    stream: &'a StreamName,
    tail: Option<&'a Tail>,
    row: Option<CaptureRow>,
    key: Vec<String>,
    changes: Vec<Change>,
    refused: Option<Refused>,
}

struct Refused {
    at: usize,
    sequence: String,
    time: Option<i64>,
    error: Error,
}

impl<'a> Batch<'a> {
    /// Decodes the records up to the first that cannot be taken.
    pub(super) async fn new(
        services: &'a Services,
        resource: &'a Resource,
        stream: &'a StreamName,
        records: &[StreamRecord<'_>],
        tail: Option<&'a Tail>,
    ) -> Result<Self> {
        let row = rows::known(services, &resource.name).await?;
        let key = key(services, resource, stream, row.as_ref(), records).await?;
        let hasher = services.vault.keys().key_hasher(KEY_VERSION)?;
        let (mut changes, mut refused) = (Vec::with_capacity(records.len()), None);
        for (at, record) in records.iter().enumerate() {
            match record.change(&key) {
                Ok(change) => changes.push(Change {
                    hash: hasher.name(&change.key),
                    time: change.time,
                    sequence: change.sequence,
                    key: change.key,
                    before: change.before,
                    after: change.after,
                }),
                Err(error) => {
                    let (sequence, time) = (record.sequence.clone(), record.time());
                    refused = Some(Refused { at, sequence, time, error });
                    break;
                }
            }
        }
        Ok(Self { services, resource, stream, tail, row, key, changes, refused })
    }

    /// Writes the batch's object, then the row. Gives the place of the first record that could not be taken.
    pub(super) async fn store(self) -> Result<Option<(usize, Error)>> {
        let now = self.services.clock.now().as_millisecond();
        let mut progress = Progress::of(self.row.as_ref(), self.stream, self.tail, &self.changes, now);
        if let Some(refused) = &self.refused {
            progress.refuse(&refused.sequence, refused.time);
        }
        // Of a stream that gave nothing yet only a tailer knows since when nothing is missing.
        let begins = self.row.is_none() && self.tail.is_some();
        if begins || !self.changes.is_empty() || progress.gap().is_some() {
            let description = ChangesDescription {
                resource: self.resource.name.clone(),
                stream: self.stream.table.clone(),
                encoding: RecordEncoding::DynamodbJson,
                key: self.key.clone(),
                since: progress.since(),
                gaps: progress.gap().into_iter().cloned().collect(),
                replaces: Vec::new(),
                follows: self.row.as_ref().map_or_else(Vec::new, |row| row.unfollowed.clone()),
            };
            let key = put(self.services, codec(self.resource), &description, self.changes).await?;
            progress.written(key, description.follows);
        } else if self.row.is_none() {
            return Ok(self.refused.map(|refused| (refused.at, refused.error)));
        }
        let fresh = self.row.unwrap_or_default();
        let change = |known: Option<CaptureRow>| {
            let mut row = known.unwrap_or_else(|| fresh.clone());
            row.stream.clone_from(&self.stream.table);
            row.key.clone_from(&self.key);
            progress.apply(&mut row);
            Ok(row)
        };
        let row = self.services.jobs.update_capture(&self.resource.name, change).await?;
        if row.ungathered > rollup::GATHERED as u64 {
            gather(self.services, self.resource, row.ungathered).await;
        }
        Ok(self.refused.map(|refused| (refused.at, refused.error)))
    }
}

/// Gathers objects where there are many. The batch is stored, so what fails here is told and tried after the next one.
async fn gather(services: &Services, resource: &Resource, seen: u64) {
    let noted = match rollup::rollup(services, &resource.name).await {
        Ok(_) => services.jobs.update_capture(&resource.name, |row| {
            let mut row = row.unwrap_or_default();
            row.ungathered = row.ungathered.saturating_sub(seen);
            Ok(row)
        }),
        Err(error) => {
            return tracing::warn!(resource = resource.name, code = error.code.as_str(), "not gathered");
        }
    };
    if let Err(error) = noted.await {
        tracing::warn!(resource = resource.name, code = error.code.as_str(), "gathering is not noted");
    }
}

/// Records that changes between two times are missing, in the vault and in the row: for whoever finds out.
///
/// # Errors
/// `JobState` if nothing of the resource was ever captured, or what storage and state give.
pub async fn gap(services: &Services, resource: &str, gap: Gap) -> Result<()> {
    let row = rows::known(services, resource).await?.ok_or_else(|| {
        Error::new(Code::JobState, format!("no changes of {resource} are captured"))
            .object(resource)
            .hint("capture them first: policy.capture")
    })?;
    let description = ChangesDescription {
        resource: resource.to_owned(),
        stream: row.stream.clone(),
        encoding: RecordEncoding::DynamodbJson,
        key: row.key.clone(),
        since: row.since,
        gaps: vec![gap.clone()],
        replaces: Vec::new(),
        follows: row.unfollowed.clone(),
    };
    let key = put(services, Codec::Zstd, &description, Vec::new()).await?;
    let change = |known: Option<CaptureRow>| {
        let mut row = known.unwrap_or_else(|| row.clone());
        row.add_gap(gap.clone());
        row.wrote(&key, &description.follows);
        row.objects += 1;
        row.ungathered += 1;
        Ok(row)
    };
    services.jobs.update_capture(resource, change).await.map(|_| ())
}

/// Writes a change object and gives its key.
async fn put(
    services: &Services,
    codec: Codec,
    description: &ChangesDescription,
    changes: Vec<Change>,
) -> Result<String> {
    let keys = services.vault.keys();
    let folder = ChangeName::folder_of(keys, &description.resource)?;
    let (name, object) = write_changes(keys, codec, folder, 0, description, changes)?;
    let key = name.key();
    match services.vault.storage().put_if_absent(&key, object.bytes).await? {
        Put::Created => Ok(key),
        Put::Exists => Err(Error::new(Code::Internal, "the system gave the same random id twice")),
    }
}

pub(super) fn codec(resource: &Resource) -> Codec {
    match resource.policy.codec {
        CodecName::Zstd => Codec::Zstd,
        CodecName::Gzip => Codec::Gzip,
        CodecName::None => Codec::None,
    }
}

/// The names of the key's attributes, in order: as they were noted, unless the table now has others.
async fn key(
    services: &Services,
    resource: &Resource,
    stream: &StreamName,
    row: Option<&CaptureRow>,
    records: &[StreamRecord<'_>],
) -> Result<Vec<String>> {
    let noted = row.filter(|row| row.stream == stream.table).map(|row| &row.key);
    if let Some(key) = noted {
        let fits = |record: &StreamRecord<'_>| {
            let names = record.key_names();
            names.len() == key.len() && names.iter().all(|name| key.iter().any(|known| known == name))
        };
        if records.first().is_none_or(fits) {
            return Ok(key.clone());
        }
    }
    let streams = plan::source(services, resource).await?.streams().await?;
    let found = streams.into_iter().find(|info| info.name == stream.table);
    match found.map(|info| info.shape) {
        Some(StreamKind::Records { key, .. }) => Ok(key),
        _ => Err(Error::new(Code::SourceInvalid, format!("table {} has no key", stream.table))
            .object(&stream.table)),
    }
}
