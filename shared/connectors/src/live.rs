//! Records put back in place, where an undo works: in the resource itself, while others write to it.

use crate::clients::Clients;
use crate::dynamodb::DynamoDbLive;
use crate::jsonl::JsonlLive;
use crate::spec::{Limits, SourceSpec};
use crate::target::OnConflict;
use async_trait::async_trait;
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::model::StreamInfo;
use std::collections::HashSet;

/// What a record should be again, and what the bad writer left. The key is canonical, the values are in the stream's
/// encoding; both values have this key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revert {
    /// The record's canonical key.
    pub key: Vec<u8>,
    /// What it was; `None` if it did not exist.
    pub was: Option<Vec<u8>>,
    /// What the bad writer left; `None` if it was deleted.
    pub left: Option<Vec<u8>>,
}

/// What became of a record that should be put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reverted {
    /// Written now.
    Done,
    /// It already is what it was, as after a repeat of the call.
    Already,
    /// It is neither what it was nor what the bad writer left: somebody wrote it since.
    Conflict {
        /// What it is, or was until it was overwritten; `None` if it is gone.
        now: Option<Vec<u8>>,
        /// Whether [`OnConflict::Overwrite`] put the record back all the same.
        overwritten: bool,
    },
}

/// A resource that records are put back into. Every call may be repeated, also from another process.
#[async_trait]
pub trait Live: Send + Sync {
    /// What the resource holds now under these canonical keys, in the stream's encoding and the order of the keys.
    /// A write that was acknowledged before the call is seen.
    ///
    /// # Errors
    /// `Target*`; `SourceChanged` if writers leave no moment to read.
    async fn read(&self, stream: &StreamInfo, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>>;

    /// Puts records back and says in their order what became of each. A record that somebody wrote meanwhile stays as
    /// it is, unless the policy is [`OnConflict::Overwrite`]. [`OnConflict::Fail`] is [`OnConflict::Skip`] here: a
    /// caller that should stop sees the conflict.
    ///
    /// After an error some records may be back; a repeat finds them [`Reverted::Already`].
    ///
    /// # Errors
    /// `Target*`; `SourceChanged` if writers leave no moment to write; `Internal` if two reverts have one key, or a
    /// value has another key than its revert.
    async fn revert(
        &self,
        stream: &StreamInfo,
        reverts: &[Revert],
        on_conflict: OnConflict,
    ) -> Result<Vec<Reverted>>;
}

/// The resource of a spec, as a place for an undo. Nothing is asked of it yet.
///
/// # Errors
/// `InvalidInput` if the resource holds files, or the spec cannot be used here.
pub async fn open_live(spec: &SourceSpec, limits: Limits, clients: &dyn Clients) -> Result<Box<dyn Live>> {
    let no_records = |kind: &str| {
        Error::new(
            Code::InvalidInput,
            format!("an undo needs records, and a resource of kind {kind} has none"),
        )
        .object("source.kind")
        .hint("restore the files that you miss: holdfast restore ID --to TARGET --path GLOB")
    };
    Ok(match spec {
        SourceSpec::Files { .. } => return Err(no_records("files")),
        SourceSpec::S3 { .. } => return Err(no_records("s3")),
        SourceSpec::Json { .. } => {
            return Err(Error::new(Code::InvalidInput, "a document cannot be written in place")
                .object("source.kind")
                .hint("restore what it was: holdfast restore ID --to json:FILE"));
        }
        SourceSpec::Jsonl { path, .. } => Box::new(JsonlLive::new(path)),
        SourceSpec::Dynamodb { table, endpoint, region } => {
            let client = clients.dynamodb(endpoint.as_deref(), region.as_deref()).await?;
            Box::new(DynamoDbLive::new(client, table, limits))
        }
    })
}

/// Refuses two reverts of one record: what came first would be a conflict of the second.
pub(crate) fn check_distinct(reverts: &[Revert]) -> Result<()> {
    let mut keys = HashSet::with_capacity(reverts.len());
    if reverts.iter().all(|revert| keys.insert(&revert.key)) {
        return Ok(());
    }
    Err(Error::new(Code::Internal, "a record is to be put back twice in one call"))
}
