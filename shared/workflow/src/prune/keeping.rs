//! What the catalogue says of backups: which are to be there, which are to go.

use super::reach::is_ended;
use super::shards::Until;
use crate::margins::{CONDEMNED_FOR, DELETE_GRACE};
use crate::plan::BackupDetail;
use crate::restore::RestoreDetail;
use crate::retention;
use crate::services::Services;
use holdfast_common::jobs::{Job, JobKind, Status};
use holdfast_vault::error::Result;
use jiff::Timestamp;
use serde::Deserialize as _;
use std::collections::{HashMap, HashSet};

/// What is to become of a backup's manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is to be there.
    Stays,
    /// It may be there, and is not to be touched: nobody has acknowledged the backup.
    Unsettled,
    /// Its time is up.
    Goes,
    /// It was ended before, and its manifest may still be there.
    Ended,
}

/// What is to become of a backup, by its row.
pub(super) fn fate(job: &Job, now: Timestamp) -> Fate {
    if is_ended(job) {
        return if job.hold.is_none() { Fate::Ended } else { Fate::Unsettled };
    }
    match job.status {
        Status::Completed if job.hold.is_some() => Fate::Stays,
        Status::Completed => match &job.deletion {
            Some(deletion) if deletion.due_at <= now => Fate::Goes,
            _ => Fate::Stays,
        },
        // A commit that came too late may have written the manifest of a job that had failed.
        Status::Failed | Status::Cancelled if job.hold.is_none() => {
            let waited = job.completed_at.and_then(|ended| ended.checked_add(CONDEMNED_FOR).ok());
            if waited.is_some_and(|end| end <= now) { Fate::Goes } else { Fate::Unsettled }
        }
        _ => Fate::Unsettled,
    }
}

/// Until when the policies keep backups, by their ids.
pub(super) type Lasting = HashMap<String, Until>;

/// Has the policy of each resource say which backups are to go, and until when the others stay.
///
/// # Errors
/// What is wrong with a resource, or what state gives.
pub(super) async fn settle(services: &Services) -> Result<Lasting> {
    let mut lasting = Lasting::new();
    let mut resources = services.jobs.resources();
    while let Some(page) = resources.next().await? {
        for (name, _) in page {
            retention::mark(services, &name).await?;
            let told = retention::explain(&services.jobs, services.clock.now(), &name).await?;
            let staying = told.backups.into_iter().filter(|backup| backup.keep);
            lasting.extend(staying.map(|backup| (backup.id, backup.until.map_or(Until::Open, Until::Time))));
        }
    }
    Ok(lasting)
}

/// Until when a backup is kept at the least: as its row says, or its policy.
pub(super) fn until(job: &Job, lasting: &Lasting) -> Until {
    if job.hold.is_some() {
        return Until::Open;
    }
    match (&job.deletion, lasting.get(&job.id)) {
        (Some(deletion), _) => Until::Time(deletion.due_at),
        (None, Some(until)) => *until,
        (None, None) => job.expires_at.map_or(Until::Untold, Until::Time),
    }
}

/// The backups that a restore reads or another backup builds on, at this moment. One that is to go waits for them. What has
/// been at work for a day is not waited for: it is dead.
///
/// # Errors
/// What state gives.
pub(super) async fn in_use(services: &Services) -> Result<HashSet<String>> {
    let since = services.clock.now().checked_sub(DELETE_GRACE).unwrap_or(Timestamp::MIN);
    let mut used = HashSet::new();
    let mut open = services.jobs.open_jobs();
    while let Some(page) = open.next().await? {
        for job in page.into_iter().filter(|job| job.started_at.unwrap_or(job.created_at) > since) {
            match job.kind {
                JobKind::Backup => {
                    used.extend(BackupDetail::deserialize(&job.detail).ok().and_then(|of| of.base));
                }
                _ => used.extend(RestoreDetail::deserialize(&job.detail).ok().map(|of| of.request.backup)),
            }
        }
    }
    Ok(used)
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_common::jobs::{DeletedBy, Deletion, Hold};
    use jiff::SignedDuration;
    use serde_json::Value;

    fn now() -> Timestamp {
        "2026-11-21T00:00:00Z".parse().unwrap()
    }

    fn backup(status: Status) -> Job {
        let mut job = Job::new("B", JobKind::Backup, "shop", now(), Value::Null);
        (job.status, job.completed_at) = (status, status.is_terminal().then(now));
        job
    }

    fn going(due_at: Timestamp, deleted_at: Option<Timestamp>) -> Deletion {
        let (by, reason) = (DeletedBy::Retention, "old".to_owned());
        Deletion { asked_at: now(), due_at, by, reason, deleted_at }
    }

    fn held() -> Hold {
        Hold { reason: "court".to_owned(), at: now() }
    }

    #[test]
    fn a_backup_goes_when_its_deletion_is_due_and_nothing_holds_it() {
        let tick = SignedDuration::from_millis(1);
        let stays = backup(Status::Completed);
        assert_eq!(fate(&stays, now()), Fate::Stays);
        assert_eq!(
            fate(&Job { deletion: Some(going(now() + tick, None)), ..stays.clone() }, now()),
            Fate::Stays
        );
        let due = Job { deletion: Some(going(now(), None)), ..stays };
        assert_eq!(fate(&due, now()), Fate::Goes);
        assert_eq!(fate(&Job { hold: Some(held()), ..due.clone() }, now()), Fate::Stays);
        let ended = Job { deletion: Some(going(now(), Some(now()))), ..due };
        assert_eq!(fate(&ended, now()), Fate::Ended);
        assert_eq!(fate(&Job { hold: Some(held()), ..ended }, now()), Fate::Unsettled);
    }

    #[test]
    fn a_backup_that_came_to_nothing_goes_when_no_commit_of_it_can_be_under_way() {
        for status in [Status::Pending, Status::Running] {
            assert_eq!(fate(&backup(status), now() + CONDEMNED_FOR * 9), Fate::Unsettled);
        }
        for status in [Status::Failed, Status::Cancelled] {
            assert_eq!(fate(&backup(status), now()), Fate::Unsettled);
            assert_eq!(fate(&backup(status), now() + CONDEMNED_FOR), Fate::Goes);
            assert_eq!(
                fate(&Job { hold: Some(held()), ..backup(status) }, now() + CONDEMNED_FOR),
                Fate::Unsettled
            );
        }
    }

    #[test]
    fn a_row_says_how_long_a_backup_is_kept() {
        let job = backup(Status::Completed);
        let end = now() + DELETE_GRACE;
        let (none, policy) = (Lasting::new(), Lasting::from([("B".to_owned(), Until::Time(end))]));
        assert_eq!(until(&job, &none), Until::Untold);
        assert_eq!(until(&job, &policy), Until::Time(end));
        let expiring = Job { expires_at: Some(now()), ..job };
        assert_eq!(until(&expiring, &none), Until::Time(now()));
        let going = Job { deletion: Some(going(now(), None)), ..expiring };
        assert_eq!(until(&going, &policy), Until::Time(now()));
        assert_eq!(until(&Job { hold: Some(held()), ..going }, &policy), Until::Open);
    }
}
