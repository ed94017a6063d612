//! How long a backup stays: what holds it, and what ends it.

use super::{Job, JobKind, Status};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Why a backup, and all that it needs, survives everything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// What the operator gave as the reason.
    pub reason: String,
    /// Since when.
    #[serde(with = "super::time")]
    pub at: Timestamp,
}

/// Who asked for a backup to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeletedBy {
    /// By hand.
    Operator,
    /// By its policy: nothing keeps it any more.
    Retention,
}

/// That a backup is to go. It can be taken back until `deleted_at` is told; from `asked_at` on nothing builds on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deletion {
    /// When that was asked for.
    #[serde(with = "super::time")]
    pub asked_at: Timestamp,
    /// When its manifest may go, at the earliest.
    #[serde(with = "super::time")]
    pub due_at: Timestamp,
    /// Who asked.
    pub by: DeletedBy,
    /// Why, in a few words.
    pub reason: String,
    /// When its manifest went.
    #[serde(default, with = "super::time::option", skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<Timestamp>,
}

impl Job {
    /// Whether it is a backup that completed and whose manifest is in the vault.
    #[must_use]
    pub fn is_restorable(&self) -> bool {
        let deleted = self.deletion.as_ref().is_some_and(|deletion| deletion.deleted_at.is_some());
        self.kind == JobKind::Backup && self.status == Status::Completed && !deleted
    }

    /// Whether a new backup may build on it: what is to go may be gone when the new one completes.
    #[must_use]
    pub fn can_be_built_on(&self) -> bool {
        self.is_restorable() && self.deletion.is_none()
    }
}
