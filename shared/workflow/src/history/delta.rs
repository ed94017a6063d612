//! What a backup changed.

use super::window::Window;
use crate::services::{Services, Step};
use holdfast_common::jobs::JobKind;
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::format::manifest::Manifest;

/// What a backup changed against the backup that it was built on; one that was built on none, against the completed
/// backup before it. Against nothing, where there is none: then all its records were added.
///
/// # Errors
/// `JobUnknown` if the vault holds no such backup, `InvalidInput` if it has no records, or what the vault gives.
#[must_use]
pub fn delta<'a>(services: &'a Services, backup: &'a str) -> Step<'a, Window> {
    Box::pin(async move {
        let manifest = services.vault.manifest(backup).await.map_err(|error| match error.code {
            Code::ObjectMissing => {
                Error::new(Code::JobUnknown, format!("the vault holds no backup {backup:?}"))
                    .object(backup)
                    .hint("see `holdfast backups`")
            }
            _ => error,
        })?;
        let base = match &manifest.base {
            Some(base) => Some(base.clone()),
            None => earlier(services, &manifest).await?,
        };
        match base {
            Some(base) => Window::of_backups(Some(&services.vault.manifest(&base).await?), &manifest),
            None => Window::of_backups(None, &manifest),
        }
    })
}

/// The completed backup of the same resource before this one.
async fn earlier(services: &Services, manifest: &Manifest) -> Result<Option<String>> {
    let backups = services.jobs.jobs(JobKind::Backup, Some(&manifest.resource));
    let found = backups.find(|job| job.is_restorable() && job.id < manifest.id).await?;
    Ok(found.map(|job| job.id))
}
