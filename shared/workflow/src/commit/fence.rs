//! What stands between a backup and its manifest: nothing that the manifest names may be garbage to `prune` by now.
//! [`crate::margins`] says why this suffices.

use crate::margins::{CLOCK_SKEW, LONGEST_BACKUP};
use crate::prune;
use crate::services::Services;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use holdfast_common::jobs::Job;
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::format::manifest::{Manifest, StoredObject, manifest_key};

/// Refuses a backup that began so long ago that what it stored may be gone. Called again right before the manifest is
/// written.
///
/// # Errors
/// `Overdue`.
pub(super) fn in_time(services: &Services, job: &Job) -> Result<()> {
    let began = job.started_at.unwrap_or(job.created_at);
    let took = services.clock.now().duration_since(began);
    if took > LONGEST_BACKUP {
        let message = format!(
            "backup {} began {} minutes ago, and may take {}",
            job.id,
            took.as_mins(),
            LONGEST_BACKUP.as_mins()
        );
        return Err(Error::new(Code::Overdue, message)
            .object(&job.id)
            .hint("start it again, or cut the resource"));
    }
    if took < -(CLOCK_SKEW * 2) {
        let message = format!("backup {} began {} minutes from now", job.id, -took.as_mins());
        return Err(Error::new(Code::Overdue, message)
            .object(&job.id)
            .hint("set the clocks of all that work on backups, then start it again"));
    }
    Ok(())
}

/// The manifest of the backup that this one builds on.
///
/// # Errors
/// `BaseGone`, or what storage gives.
pub(super) async fn base(services: &Services, base: &str) -> Result<Manifest> {
    services.vault.manifest(base).await.map_err(|error| match error.code {
        Code::ObjectMissing => gone(base),
        _ => error,
    })
}

fn gone(base: &str) -> Error {
    Error::new(Code::BaseGone, format!("backup {base} was deleted while this one was built on it"))
        .object(base)
        .hint("start it again: it builds on another backup, or on none")
}

/// Lets a manifest pass that may be written at once: in time, on a base that is there to stay, and with no object that is
/// condemned.
///
/// # Errors
/// `Overdue`, `BaseGone`, or what storage and state give.
pub(super) async fn pass(services: &Services, job: &Job, manifest: &Manifest) -> Result<()> {
    prune::rescue(services, &manifest.objects).await?;
    base_stays(services, manifest).await?;
    in_time(services, job)
}

/// A base that is there keeps all that is taken over from it. One that is about to go is not built on, and one that is to go
/// later is looked at once more.
async fn base_stays(services: &Services, manifest: &Manifest) -> Result<()> {
    let Some(base) = &manifest.base else { return Ok(()) };
    let deletion = match services.jobs.job(base).await {
        Ok(job) => job.deletion,
        // The catalogue may have been lost; the vault counts.
        Err(error) if error.code == Code::JobUnknown => None,
        Err(error) => return Err(error),
    };
    if let Some(deletion) = deletion {
        if deletion.deleted_at.is_some() {
            return Err(gone(base));
        }
        let own = manifest.own_objects.map_or(usize::MAX, |own| own as usize);
        all_there(services, base, manifest.objects.iter().skip(own)).await?;
    }
    match services.vault.storage().head(&manifest_key(base)).await {
        Ok(_) => Ok(()),
        Err(error) if error.code == Code::ObjectMissing => Err(gone(base)),
        Err(error) => Err(error),
    }
}

async fn all_there(
    services: &Services,
    base: &str,
    objects: impl Iterator<Item = &StoredObject>,
) -> Result<()> {
    let storage = services.vault.storage();
    let looks: Vec<_> = objects
        .map(|object| {
            let key = object.key();
            async move {
                match storage.head(&key).await {
                    Ok(_) => Ok(()),
                    Err(error) if error.code == Code::ObjectMissing => Err(gone(base)),
                    Err(error) => Err(error),
                }
            }
            .boxed()
        })
        .collect();
    stream::iter(looks).buffer_unordered(services.limits.objects_at_once).try_collect().await
}
