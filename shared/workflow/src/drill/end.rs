//! The end of a drill, whichever it is: the target goes, and the job says what came of it.

use super::compare::chosen_streams;
use super::events::{DrillAnswer, Drilled};
use super::model::{Chosen, Compared, DrillDetail};
use super::running;
use crate::events::JobEvent;
use crate::plan::{detail, value};
use crate::services::Services;
use crate::{fail, metrics, restore, staging};
use holdfast_common::jobs::{Job, JobChange, JobError, JobKind, Status, StreamShape, StreamSummary, Totals};
use holdfast_connectors::throw_away;
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::model::Warning;

pub(super) async fn remove(services: &Services, event: &JobEvent) -> Result<DrillAnswer> {
    let (job, detail, _) = running(services, &event.job).await?;
    remove_target(services, &job, &detail).await?;
    Ok(DrillAnswer { job: job.id, more: false })
}

/// Removes the target, and notes that it is gone.
async fn remove_target(services: &Services, job: &Job, detail: &DrillDetail) -> Result<()> {
    let Some(chosen) = &detail.chosen else { return Ok(()) };
    throw_away::remove(&chosen.place.target, &job.id, services.clients.as_ref()).await?;
    let now = services.clock.now();
    services
        .jobs
        .change_job(&job.id, |job| {
            let mut detail: DrillDetail = crate::plan::detail(job)?;
            let ended = job.status.is_terminal() && detail.progress.take().is_some();
            if detail.removed_at.is_some() && !ended {
                return Ok(false);
            }
            detail.removed_at.get_or_insert(now);
            job.detail = value(&detail)?;
            Ok(true)
        })
        .await?;
    Ok(())
}

pub(super) async fn finish(services: &Services, event: &JobEvent) -> Result<Drilled> {
    let job = services.jobs.job(&event.job).await?;
    if job.status == Status::Completed {
        return answer(&job);
    }
    let (job, mut detail, chosen) = running(services, &event.job).await?;
    let manifest = services.vault.manifest(&chosen.backup).await?;
    let streams = chosen_streams(&manifest, &detail)?;
    if detail.compared.len() != streams.len() || detail.removed_at.is_none() {
        return Err(Error::new(Code::Internal, format!("drill {} is not at its end", job.id))
            .object(job.id)
            .hint("start it again"));
    }
    let restored = services.jobs.job(&chosen.restore).await?;
    let took = restored.completed_at.map(|completed| completed.duration_since(restored.created_at));
    detail.rto_ms = Some(took.map_or(0, |took| u64::try_from(took.as_millis()).unwrap_or(0)));
    let shapes = streams.iter().map(|stream| crate::commit::summary(stream).kind);
    let summaries: Vec<_> = detail.compared.iter().zip(shapes).map(|(of, kind)| summary(of, kind)).collect();
    let mut totals = Totals::default();
    for stream in &summaries {
        totals.records += stream.records;
        totals.files += stream.files;
        totals.bytes += stream.bytes;
    }
    let mut warnings = restored.warnings;
    warnings.extend(detail.compared.iter().filter(|stream| !stream.equal).map(differs));
    let change = JobChange {
        warnings,
        totals: Some(totals),
        streams: Some(summaries),
        detail: Some(value(&detail)?),
        ..JobChange::default()
    };
    let (job, done) = services.jobs.enter(&job.id, &[Status::Running], Status::Completed, change).await?;
    if done {
        metrics::drill_completed(services, &job, &detail).await;
    }
    answer(&job)
}

fn answer(job: &Job) -> Result<Drilled> {
    let detail: DrillDetail = detail(job)?;
    Ok(Drilled { job: job.id.clone(), equal: detail.equal(), rto_ms: detail.rto_ms.unwrap_or_default() })
}

fn summary(of: &Compared, kind: StreamShape) -> StreamSummary {
    let found = &of.found;
    StreamSummary {
        name: of.stream.clone(),
        kind,
        records: found.records,
        files: found.files,
        bytes: found.bytes,
    }
}

fn differs(of: &Compared) -> Warning {
    let (name, found) = (&of.stream, &of.found);
    let why = match &of.unreadable {
        Some(code) => format!("what was restored cannot be read: {code}"),
        None if found.missing + found.unexpected + found.changed > 0 => format!(
            "{} entries are missing, {} are not of the backup, {} are changed",
            found.missing, found.unexpected, found.changed
        ),
        None => format!(
            "{} records and {} files of {} bytes were found, and the digest is not the manifest's",
            found.records, found.files, found.bytes
        ),
    };
    Warning::new("DrillDiffers", format!("stream {name} was restored otherwise than it was backed up: {why}"))
}

/// Ends what a drill that did not complete has under way: its restore, what that made, and the target. May be repeated,
/// also after the target is gone.
///
/// # Errors
/// What state, staging or the target give.
pub async fn clear(services: &Services, job: &Job) -> Result<()> {
    let detail: DrillDetail = detail(job)?;
    let Some(chosen) = &detail.chosen else { return Ok(()) };
    match services.jobs.job(&chosen.restore).await {
        Ok(restore) => end_restore(services, job, chosen, restore).await?,
        // The plan ended between its choice and its job.
        Err(error) if error.code == Code::JobUnknown => {}
        Err(error) => return Err(error),
    }
    remove_target(services, job, &detail).await
}

async fn end_restore(services: &Services, drill: &Job, chosen: &Chosen, restore: Job) -> Result<()> {
    let why = drill.error.clone().unwrap_or_else(|| JobError {
        code: Code::Cancelled.to_string(),
        message: format!("drill {} was cancelled", drill.id),
        hint: None,
    });
    let restore = fail::end(services, restore, &why).await?;
    staging::clear(services, &restore.id).await?;
    if restore.status != Status::Completed {
        // A target of files looks for what it made where it would have made it, also after all of that is gone.
        chosen.place.make_room()?;
        restore::abandon(services, &restore).await?;
    }
    services.jobs.forget_work(&restore.id).await
}

/// The job whose tasks tell why a drill's map failed: the restore's. Any other job's are its own.
#[must_use]
pub fn worker(job: &Job) -> String {
    let chosen = (job.kind == JobKind::Drill).then(|| detail::<DrillDetail>(job).ok()?.chosen).flatten();
    chosen.map_or_else(|| job.id.clone(), |chosen| chosen.restore)
}
