//! Ends a backup: its manifest goes, and with it the backup.

use super::keeping::{Fate, fate};
use super::{condemned, locks, reach};
use crate::services::Services;
use holdfast_common::jobs::{DeletedBy, Deletion, Job};
use holdfast_vault::error::{Class, Code, Result};
use holdfast_vault::format::manifest::manifest_key;

/// What became of a backup that was to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// Its manifest is gone.
    Gone,
    /// The store keeps its manifest for now.
    Locked,
    /// It is to stay after all.
    Kept,
}

/// Ends a backup whose time is up. First its row says so, if nothing has come to hold it: a hold and an end exclude each
/// other there. Then it is forgotten that any of its objects was condemned, so that each waits from now on. Then the
/// manifest goes. What a crash leaves undone the next prune does.
///
/// # Errors
/// What storage and state give.
pub(super) async fn end(services: &Services, id: &str) -> Result<Ended> {
    let key = manifest_key(id);
    if locks::is_locked(services, &key).await? {
        return Ok(Ended::Locked);
    }
    let now = services.clock.now();
    let decide = |job: &mut Job| {
        if fate(job, now) != Fate::Goes {
            return Ok(false);
        }
        let deletion = job.deletion.get_or_insert_with(|| Deletion {
            asked_at: now,
            due_at: now,
            by: DeletedBy::Retention,
            reason: format!("the backup is {}", job.status),
            deleted_at: None,
        });
        deletion.deleted_at = Some(now);
        Ok(true)
    };
    let (job, _) = services.jobs.change_job(id, decide).await?;
    if !reach::is_ended(&job) || job.hold.is_some() {
        return Ok(Ended::Kept);
    }
    match services.vault.manifest(id).await {
        Ok(manifest) => condemned::rescue(services, &manifest.objects).await?,
        Err(error) if error.code == Code::ObjectMissing => return Ok(Ended::Gone),
        // What it named cannot be told, so everything waits anew.
        Err(error) if error.code.class() == Class::Damage => condemned::rescue_all(services).await?,
        Err(error) => return Err(error),
    }
    services.vault.storage().delete(&key).await?;
    tracing::info!(backup = id, "ended: its manifest is deleted");
    Ok(Ended::Gone)
}
