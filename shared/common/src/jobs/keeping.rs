//! How long a backup stays: what holds it, and what ends it. And how long is known what was done.

use super::{Job, JobKind, Status};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// How long the rows of an operation that did what it was to do, or was cancelled, are kept after its end. As long as the
/// record of an undo in the vault.
pub const COMPLETED_KEPT: SignedDuration = SignedDuration::from_hours(90 * 24);

/// How long the rows of an operation that failed, and of a backup that was deleted, are kept after that: why data is not
/// there is asked late.
pub const FAILED_KEPT: SignedDuration = SignedDuration::from_hours(365 * 24);

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

    /// When its rows, and those of its tasks, may go. None for what has not ended, and for a backup that can be restored:
    /// its row goes with no time, only when its manifest went.
    #[must_use]
    pub fn rows_expire_at(&self) -> Option<Timestamp> {
        if !self.status.is_terminal() || self.is_restorable() {
            return None;
        }
        let deleted = self.deletion.as_ref().and_then(|deletion| deletion.deleted_at);
        let kept =
            if self.status == Status::Failed || deleted.is_some() { FAILED_KEPT } else { COMPLETED_KEPT };
        deleted.or(self.completed_at)?.checked_add(kept).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDED: Timestamp = Timestamp::constant(1_793_491_200, 0);

    fn job(kind: JobKind, status: Status) -> Job {
        let mut job = Job::new("J", kind, "orders", ENDED, serde_json::Value::Null);
        job.status = status;
        job.completed_at = status.is_terminal().then_some(ENDED);
        job
    }

    fn days(job: &Job) -> Option<i64> {
        job.rows_expire_at().map(|at| at.duration_since(ENDED).as_hours() / 24)
    }

    #[test]
    fn what_has_not_ended_and_what_can_be_restored_stays() {
        for kind in JobKind::ALL {
            assert_eq!(
                [Status::Pending, Status::Running].map(|status| days(&job(kind, status))),
                [None, None]
            );
        }
        assert_eq!(days(&job(JobKind::Backup, Status::Completed)), None);
    }

    #[test]
    fn what_failed_is_known_for_longer() {
        for kind in JobKind::ALL {
            assert_eq!(days(&job(kind, Status::Failed)), Some(365));
            assert_eq!(days(&job(kind, Status::Cancelled)), Some(90));
        }
        for kind in [JobKind::Restore, JobKind::Undo, JobKind::Drill] {
            assert_eq!(days(&job(kind, Status::Completed)), Some(90));
        }
    }

    #[test]
    fn a_deleted_backup_is_known_for_a_year_from_then() {
        let mut backup = job(JobKind::Backup, Status::Completed);
        let deletion = Deletion {
            asked_at: ENDED,
            due_at: ENDED,
            by: DeletedBy::Operator,
            reason: String::new(),
            deleted_at: None,
        };
        backup.deletion = Some(deletion.clone());
        assert_eq!(days(&backup), None, "it can be taken back");
        let deleted_at = Some(ENDED + SignedDuration::from_hours(10 * 24));
        backup.deletion = Some(Deletion { deleted_at, ..deletion });
        assert_eq!(days(&backup), Some(375));
    }
}
