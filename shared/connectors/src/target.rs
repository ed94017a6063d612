//! What a target does.

use crate::batch::RecordBatch;
use async_trait::async_trait;
use bytes::Bytes;
use holdfast_vault::error::Result;
use holdfast_vault::model::{EntryMeta, StreamInfo, Warning};
use serde::{Deserialize, Serialize};

/// What to do where the target already holds another value. A value equal to the restored one is no conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnConflict {
    /// End the restore. Also asks that the target is empty or new before anything is written.
    #[default]
    Fail,
    /// Keep what the target holds.
    Skip,
    /// Write over it.
    Overwrite,
}

/// What a restore will write, told to the target before the first write.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RestoreOrder {
    /// The restore's id: names what is made on the way, so that a repeat finds it and an abandon removes it.
    pub restore_id: String,
    /// The policy for conflicts.
    pub on_conflict: OnConflict,
    /// The streams that will be written.
    pub streams: Vec<StreamInfo>,
    /// Whether only some records or paths of them will be written.
    pub partial: bool,
}

/// Where a batch stands in its stream, the same in every repeat of a call, so that repeats write to the same place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// Bytes of all values of the stream before this batch.
    pub bytes: u64,
    /// Records of the stream before this batch.
    pub records: u64,
}

/// What writing did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Written {
    /// Records or entries that the target now holds as restored: written, or found equal.
    pub written: u64,
    /// Records or entries that differed and were kept, or overwritten, as the policy says.
    pub conflicts: u64,
    /// Bytes of content written.
    pub bytes: u64,
}

impl std::ops::AddAssign for Written {
    fn add_assign(&mut self, other: Self) {
        self.written += other.written;
        self.conflicts += other.conflicts;
        self.bytes += other.bytes;
    }
}

/// The content of a file on its way to a target, already proved to be what was backed up.
#[async_trait]
pub trait Content: Send {
    /// The next bytes, `None` at the end.
    ///
    /// # Errors
    /// `ObjectDamaged` or `ObjectMissing` of the vault: the target removes what it wrote of this file.
    async fn next(&mut self) -> Result<Option<Bytes>>;
}

/// A place to restore into. Made for one restore; every call may be repeated, also from another process.
#[async_trait]
pub trait Target: Send + Sync {
    /// Whether the target can take what is ordered; changes nothing. Called by a dry run too.
    ///
    /// # Errors
    /// `TargetNotEmpty`, `TargetInvalid`, `TargetDenied` and their kin, naming the target.
    async fn check(&self, order: &RestoreOrder) -> Result<()>;

    /// Makes what the restore writes into: a table, a directory.
    ///
    /// # Errors
    /// As [`Target::check`].
    async fn prepare(&self, order: &RestoreOrder) -> Result<()>;

    /// Writes records of a stream.
    ///
    /// # Errors
    /// `TargetConflict` under [`OnConflict::Fail`], or `Target*`.
    async fn write_records(&self, stream: &StreamInfo, at: Position, batch: &RecordBatch) -> Result<Written>;

    /// Writes one whole entry of a tree.
    ///
    /// # Errors
    /// `TargetConflict` under [`OnConflict::Fail`], `TargetInvalid` for a path that would leave the target, `Target*`,
    /// or what the content gives.
    async fn write_entry(
        &self,
        stream: &StreamInfo,
        meta: &EntryMeta,
        content: &mut dyn Content,
    ) -> Result<Written>;

    /// Completes the target after all is written: modification times of directories, settings of a table, the rename
    /// that makes all of it visible at once.
    ///
    /// # Errors
    /// `Target*`.
    async fn finish(&self, order: &RestoreOrder) -> Result<Vec<Warning>>;

    /// Removes what this restore made, as far as it made it itself, after a failure.
    ///
    /// # Errors
    /// `Target*`.
    async fn abandon(&self, order: &RestoreOrder) -> Result<()>;
}
