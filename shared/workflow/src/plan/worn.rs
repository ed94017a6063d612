//! Packs of a base of which little is needed any more. When a tree's layers are merged, what such packs hold is read from the
//! source and stored again, so that they go with the backups before.

use super::BackupDetail;
use crate::services::Services;
use crate::staging;
use bytes::Bytes;
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::format::header::Id;
use holdfast_vault::format::manifest::Manifest;
use holdfast_vault::model::StreamKind;
use holdfast_vault::read::wear;
use holdfast_vault::storage::ByteRange;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Finds the worn packs of all trees whose layers are merged, and leaves them in staging for the tasks.
pub(super) async fn mark(
    services: &Services,
    job: &str,
    base: &Arc<Manifest>,
    detail: &mut BackupDetail,
) -> Result<()> {
    let percent = detail.resource.policy.compaction.worn_percent;
    for (number, (info, plan)) in (0_u32..).zip(detail.streams.iter().zip(&mut detail.plans)) {
        if percent == 0 || !plan.compact || info.shape != StreamKind::Tree {
            continue;
        }
        let stream = super::base_stream(base, &info.name)?;
        let worn = wear::worn_packs(&services.vault, base, stream, percent).await?;
        if worn.is_empty() {
            continue;
        }
        let list = serde_json::to_vec(&worn)
            .map_err(|e| Error::new(Code::Internal, format!("a list of packs has no JSON form: {e}")))?;
        services.staging.put_if_absent(&staging::worn(job, &base.id, number), Bytes::from(list)).await?;
        plan.worn = u32::try_from(worn.len()).unwrap_or(u32::MAX);
        tracing::info!(
            job,
            stream = info.name,
            packs = plan.worn,
            "packs with little that is needed are written anew"
        );
    }
    Ok(())
}

/// The worn packs of a stream of the base, as the plan left them.
///
/// # Errors
/// `Storage*`, `ObjectMissing`, or `Internal` if the list cannot be read.
pub(crate) async fn of(services: &Services, job: &str, base: &str, stream: u32) -> Result<BTreeSet<Id>> {
    let list = services.staging.get(&staging::worn(job, base, stream), ByteRange::All).await?;
    serde_json::from_slice(&list)
        .map_err(|e| Error::new(Code::Internal, format!("the list of worn packs is unreadable: {e}")))
}
