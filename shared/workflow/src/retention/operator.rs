//! What an operator says of one backup.

use crate::margins::DELETE_GRACE;
use holdfast_common::clock::whole_millis;
use holdfast_common::jobs::{DeletedBy, Deletion, Hold, Job, JobKind, JobStore, Status};
use holdfast_retention::NEVER;
use holdfast_vault::error::{Code, Error, Result};
use jiff::{SignedDuration, Timestamp};
use std::num::NonZeroU32;

/// The longest reason for a hold, in characters.
const LONGEST_REASON: usize = 500;

/// When a deletion is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// After [`DELETE_GRACE`], in which it can be taken back.
    AfterGrace,
    /// At once: the next prune carries it out.
    Now,
}

/// Until when a backup is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// Until a time.
    At(Timestamp),
    /// So many days of 24 hours from its completion on.
    Days(NonZeroU32),
    /// For ever.
    Never,
    /// As its policy says.
    Policy,
}

/// Holds a backup: it and all that it needs stay, whatever its policy or anybody says, until it is released. A deletion
/// that was asked for and not carried out is taken back. A second hold changes the reason alone.
///
/// # Errors
/// As [`held`], `JobUnknown`, `StateUnavailable`.
pub async fn hold(jobs: &JobStore, now: Timestamp, id: &str, reason: &str) -> Result<Job> {
    change(jobs, id, |job| held(job, now, reason)).await
}

/// What holding a backup comes to.
///
/// # Errors
/// `InvalidInput` if there is no reason, `JobState` if it is no backup that can be restored.
pub fn held(job: Job, now: Timestamp, reason: &str) -> Result<Job> {
    let reason = reason.trim();
    if reason.is_empty() || reason.chars().count() > LONGEST_REASON {
        return Err(Error::new(Code::InvalidInput, "a hold needs a reason of 1 to 500 characters")
            .object("reason")
            .hint("say why the backup must stay, and who may release it"));
    }
    restorable(&job)?;
    let at = job.hold.as_ref().map_or(now, |hold| hold.at);
    Ok(Job { hold: Some(Hold { reason: reason.to_owned(), at }), deletion: None, ..job })
}

/// Ends a hold. From then on the backup's policy decides again.
///
/// # Errors
/// As [`released`], `JobUnknown`, `StateUnavailable`.
pub async fn release(jobs: &JobStore, id: &str) -> Result<Job> {
    change(jobs, id, released).await
}

/// What ending a hold comes to.
///
/// # Errors
/// `JobState` if it is no completed backup.
pub fn released(job: Job) -> Result<Job> {
    completed(&job)?;
    Ok(Job { hold: None, ..job })
}

/// Asks for a backup to be deleted. It can be taken back until a prune that comes when it is due carries it out.
///
/// # Errors
/// As [`deleted`], `JobUnknown`, `StateUnavailable`.
pub async fn delete(jobs: &JobStore, now: Timestamp, id: &str, due: Due) -> Result<Job> {
    change(jobs, id, |job| deleted(job, now, due)).await
}

/// What asking for a backup to be deleted comes to. Asked for again it stays as it is, but for being due at once. One that
/// its policy asked for becomes one by hand, with a grace of its own.
///
/// # Errors
/// `JobState` if it is no completed backup, or is held.
pub fn deleted(job: Job, now: Timestamp, due: Due) -> Result<Job> {
    completed(&job)?;
    let known = job.deletion.as_ref();
    if known.is_some_and(|known| known.deleted_at.is_some()) {
        return Ok(job);
    }
    if let Some(hold) = &job.hold {
        return Err(Error::new(Code::JobState, format!("backup {} is held: {}", job.id, hold.reason))
            .object(&job.id)
            .hint(format!("`holdfast release {}` ends the hold, where nothing needs it any more", job.id)));
    }
    let by_hand = known.filter(|known| known.by == DeletedBy::Operator).map(|known| known.due_at);
    // Nothing builds on it since it was first asked for, which is not to be forgotten.
    let asked_at = known.map_or(now, |known| known.asked_at);
    // By a clock that is behind that was in the future: the grace is a whole day also then.
    let in_time =
        by_hand.unwrap_or_else(|| now.max(asked_at).checked_add(DELETE_GRACE).unwrap_or(Timestamp::MAX));
    let deletion = Deletion {
        asked_at,
        due_at: match due {
            Due::AfterGrace => in_time,
            Due::Now => in_time.min(now),
        },
        by: DeletedBy::Operator,
        reason: "asked for by hand".to_owned(),
        deleted_at: None,
    };
    Ok(Job { deletion: Some(deletion), ..job })
}

/// Takes it back that a backup is to be deleted, whoever asked for that. What its policy asked for it may ask for again.
///
/// # Errors
/// As [`undeleted`], `JobUnknown`, `StateUnavailable`.
pub async fn undelete(jobs: &JobStore, id: &str) -> Result<Job> {
    change(jobs, id, undeleted).await
}

/// What taking a deletion back comes to.
///
/// # Errors
/// `JobState` if it is no backup that can be restored.
pub fn undeleted(job: Job) -> Result<Job> {
    restorable(&job)?;
    Ok(Job { deletion: None, ..job })
}

/// Says until when a backup is kept, in place of what its policy says of age. A deletion that its policy asked for is taken
/// back: the next prune decides anew.
///
/// # Errors
/// As [`expiring`], `JobUnknown`, `StateUnavailable`.
pub async fn set_expiry(jobs: &JobStore, id: &str, expiry: Expiry) -> Result<Job> {
    change(jobs, id, |job| expiring(job, expiry)).await
}

/// What another expiry comes to.
///
/// # Errors
/// `JobState` if it is no backup that can be restored.
pub fn expiring(job: Job, expiry: Expiry) -> Result<Job> {
    restorable(&job)?;
    let expires_at = match expiry {
        Expiry::At(time) => Some(whole_millis(time).min(NEVER)),
        Expiry::Days(days) => {
            let since = job.completed_at.unwrap_or(job.created_at);
            let days = SignedDuration::from_hours(24 * i64::from(days.get()));
            Some(since.checked_add(days).map_or(NEVER, |at| at.min(NEVER)))
        }
        Expiry::Never => Some(NEVER),
        Expiry::Policy => None,
    };
    if job.expires_at == expires_at {
        return Ok(job);
    }
    let deletion = job.deletion.clone().filter(|deletion| deletion.by == DeletedBy::Operator);
    Ok(Job { expires_at, deletion, ..job })
}

/// Makes of a row what `to` makes of it as it is then.
async fn change(jobs: &JobStore, id: &str, to: impl Fn(Job) -> Result<Job>) -> Result<Job> {
    let changed = jobs.change_job(id, |job| {
        let after = to(job.clone())?;
        let changed = after != *job;
        *job = after;
        Ok(changed)
    });
    Ok(changed.await?.0)
}

/// Refuses what is no completed backup.
fn completed(job: &Job) -> Result<()> {
    if job.kind == JobKind::Backup && job.status == Status::Completed {
        return Ok(());
    }
    Err(Error::new(
        Code::JobState,
        format!("{} {} is {}: it is no completed backup", job.kind, job.id, job.status),
    )
    .object(&job.id)
    .hint("`holdfast backups` lists the backups"))
}

/// Refuses what is no backup that can be restored.
fn restorable(job: &Job) -> Result<()> {
    completed(job)?;
    match job.deletion.as_ref().and_then(|deletion| deletion.deleted_at) {
        None => Ok(()),
        Some(at) => Err(Error::new(Code::JobState, format!("backup {} was deleted at {at:.0}", job.id))
            .object(&job.id)
            .hint(format!("`holdfast backups {}` lists those that can be restored", job.resource))),
    }
}
