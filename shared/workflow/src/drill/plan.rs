//! Chooses what is restored and where to, and makes the job of the restore.

use super::events::{DrillInput, DrillPlanned};
use super::model::{Chosen, DrillDetail, DrillRequest, LATEST, RANDOM};
use super::{clear, request};
use crate::events::{Execution, RestoreRequest, Selection};
use crate::plan::{detail, value};
use crate::restore;
use crate::services::Services;
use holdfast_common::jobs::{Job, JobChange, JobKind, JobStore, Status};
use holdfast_connectors::{Ground, OnConflict, SourceSpec, ThrowAway};
use holdfast_vault::error::{Code, Error, Result};
use sha2::{Digest as _, Sha256};

/// So many drills of the resource before this one are looked at for targets that were not removed.
const LOOKED_BACK: u32 = 8;

pub(super) async fn plan(
    services: &Services,
    input: &DrillInput,
    execution: &Execution,
) -> Result<DrillPlanned> {
    let id = match input {
        DrillInput::Job { drill } => drill.clone(),
        DrillInput::Request(asked) => {
            request(&services.jobs, services.clock.now(), &execution.job_id()?, asked, None).await?.id
        }
    };
    let job = services.jobs.job(&id).await?;
    if job.kind != JobKind::Drill {
        return Err(Error::new(Code::JobState, format!("job {id} is a {}", job.kind)).object(id));
    }
    let change = JobChange { execution: Some(execution.execution.clone()), ..JobChange::default() };
    let job = services.jobs.transition(&id, &[Status::Pending], Status::Running, change).await?;
    remove_leftovers(services, &job).await?;
    let detail: DrillDetail = detail(&job)?;
    let chosen = choose(services, &job, &detail).await?;
    chosen.place.make_room()?;
    let request = RestoreRequest {
        backup: chosen.backup,
        resource: None,
        at: None,
        target: chosen.place.target,
        on_conflict: OnConflict::Fail,
        selection: Selection { streams: detail.request.streams, ..Selection::default() },
    };
    restore::request(services, &chosen.restore, &request).await?;
    Ok(DrillPlanned { job: id, restore: chosen.restore })
}

/// What is chosen stands in the job before anything is made of it; the first of two plans counts.
async fn choose(services: &Services, job: &Job, detail: &DrillDetail) -> Result<Chosen> {
    if let Some(chosen) = &detail.chosen {
        return Ok(chosen.clone());
    }
    let backup = pick(&services.jobs, &job.id, &detail.request).await?;
    let manifest = services.vault.manifest(&backup).await?;
    let source: SourceSpec = serde_json::from_value(manifest.source).map_err(|e| {
        Error::new(Code::Internal, format!("backup {backup} names a source that is unknown: {e}"))
    })?;
    let place = ThrowAway::of(&source, &detail.ground(services.staging.name()), &job.id)?;
    let chosen = Chosen { backup, restore: restore_id(job)?, place };
    let (job, _) = services
        .jobs
        .change_job(&job.id, |job| {
            let mut now: DrillDetail = crate::plan::detail(job)?;
            if now.chosen.is_some() {
                return Ok(false);
            }
            now.chosen = Some(chosen.clone());
            job.detail = value(&now)?;
            Ok(true)
        })
        .await?;
    let now: DrillDetail = crate::plan::detail(&job)?;
    now.chosen.ok_or_else(|| Error::new(Code::Internal, format!("drill {} chose no backup", job.id)))
}

/// The restore's id follows from the drill's, so that a repeat makes the same job.
fn restore_id(job: &Job) -> Result<String> {
    let execution = format!("restore of drill {}", job.id);
    Execution { execution, started_at: format!("{:.3}", job.created_at) }.job_id()
}

/// The backup that a request means. Chance is decided by the drill's id.
///
/// # Errors
/// `JobUnknown` if there is none, or what state gives.
pub(super) async fn pick(jobs: &JobStore, drill: &str, request: &DrillRequest) -> Result<String> {
    let resource = &request.resource;
    if ![RANDOM, LATEST].contains(&request.backup.as_str()) {
        let job = jobs.job(&request.backup).await?;
        if !job.is_restorable() || job.resource != *resource {
            let message = format!("{} is no completed backup of {resource}", request.backup);
            return Err(Error::new(Code::JobUnknown, message)
                .object(&request.backup)
                .hint(format!("see `holdfast backups {resource}`")));
        }
        return Ok(job.id);
    }
    let mut ids = Vec::new();
    let mut pages = jobs.jobs(JobKind::Backup, Some(resource));
    while let Some(page) = pages.next().await? {
        // What is to go may be gone before it is restored.
        ids.extend(page.into_iter().filter(Job::can_be_built_on).map(|job| job.id));
        if request.backup == LATEST && !ids.is_empty() {
            break;
        }
    }
    let at = if request.backup == LATEST { 0 } else { chance(drill, ids.len()) };
    ids.into_iter().nth(at).ok_or_else(|| {
        Error::new(Code::JobUnknown, format!("{resource} has no completed backup"))
            .object(resource)
            .hint(format!("make one with `holdfast backup {resource}`"))
    })
}

/// A number below `of` that the drill's id decides.
fn chance(drill: &str, of: usize) -> usize {
    let hash = Sha256::digest(drill.as_bytes());
    let drawn = hash.iter().take(8).fold(0_u64, |drawn, byte| (drawn << 8) | u64::from(*byte));
    usize::try_from(drawn % (of.max(1) as u64)).unwrap_or(0)
}

/// What an earlier drill of the resource could not remove, this one does. That it cannot either keeps it from nothing.
async fn remove_leftovers(services: &Services, job: &Job) -> Result<()> {
    let mut pages =
        services.jobs.jobs_before(JobKind::Drill, Some(&job.resource), Some(&job.id)).page_size(LOOKED_BACK);
    for earlier in pages.next().await?.unwrap_or_default() {
        let Ok(detail) = detail::<DrillDetail>(&earlier) else { continue };
        if !earlier.status.is_terminal() || detail.chosen.is_none() || detail.removed_at.is_some() {
            continue;
        }
        if let Err(error) = clear(services, &earlier).await {
            tracing::warn!(
                drill = earlier.id,
                code = error.code.as_str(),
                "an earlier drill's target is still there"
            );
        }
    }
    Ok(())
}

/// What a drill would restore, and where to; nothing is made. `id` is the drill's, which decides what chance chooses.
///
/// # Errors
/// As planning it.
pub async fn would(
    jobs: &JobStore,
    id: &str,
    request: &DrillRequest,
    ground: &Ground,
) -> Result<(String, ThrowAway)> {
    let document = jobs.resource(&request.resource).await?;
    let resource: crate::config::Resource = crate::handler::decode(document)?;
    let backup = pick(jobs, id, request).await?;
    Ok((backup, ThrowAway::of(&resource.source, ground, id)?))
}

#[cfg(test)]
mod tests {
    use super::chance;

    #[test]
    fn every_backup_may_be_drawn_and_an_id_draws_the_same() {
        let drawn: std::collections::BTreeSet<usize> =
            (0..200).map(|number| chance(&format!("drill-{number}"), 5)).collect();
        assert_eq!(drawn, (0..5).collect());
        assert_eq!(chance("x", 7), chance("x", 7));
        assert_eq!(chance("x", 0), 0);
    }
}
