//! How long backups are kept: what the policy says of each, what an operator says of one, and marking those that are to go.
//!
//! A backup goes in two steps. It is *asked for*, by its policy ([`mark`]) or by hand ([`delete`]): from then on nothing
//! builds on it, and until it is due that can be taken back. Then `prune` ends it: it notes `deleted_at` in the backup's row
//! first, and removes the manifest after. What the manifest named goes when no other manifest names it, so that a backup
//! which others were built on may go without harm to them.
//!
//! Everything here is one conditional change of one row. What is decided on a list is decided again on the row as it is
//! then: a hold, an expiry or a deletion by hand that came meanwhile wins.

mod explain;
mod mark;
mod operator;
mod rules;

pub use explain::{Explained, Fate, explain};
pub use holdfast_retention::{NEVER, Reason, Retention};
pub use mark::{Marked, mark, mark_at};
pub use operator::{
    Due, Expiry, delete, deleted, expiring, held, hold, release, released, set_expiry, undelete, undeleted,
};
pub use rules::{Origin, Rules, SCHEDULED_DAYS};

use holdfast_common::jobs::{DeletedBy, Job, JobKind, JobStore};
use holdfast_retention::Backup;
use holdfast_vault::error::Result;

/// The backups of a resource that can be restored, newest first.
async fn restorable(jobs: &JobStore, resource: &str) -> Result<Vec<Job>> {
    let mut found = Vec::new();
    let mut pages = jobs.jobs(JobKind::Backup, Some(resource));
    while let Some(page) = pages.next().await? {
        found.extend(page.into_iter().filter(Job::is_restorable));
    }
    Ok(found)
}

/// A backup as the rules see it: all of its row that counts.
fn as_backup(job: &Job) -> Backup {
    Backup {
        expires_at: job.expires_at,
        held: job.hold.is_some(),
        damaged: job.verified.as_ref().is_some_and(|verified| !verified.valid),
        leaving: job.deletion.as_ref().is_some_and(|deletion| deletion.by == DeletedBy::Operator),
        ..Backup::new(&job.id, job.completed_at.unwrap_or(job.created_at))
    }
}
