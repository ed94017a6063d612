//! Ends a job that came to nothing: its status, its staging, its target.

use crate::commit;
use crate::drill::{self, DrillInput};
use crate::events::{Caught, FailAnswer, FailEvent, JobEvent, RestoreInput, UndoInput};
use crate::metrics;
use crate::restore;
use crate::services::{Services, Step};
use crate::staging;
use crate::undo;
use holdfast_common::jobs::{Job, JobChange, JobError, JobKind, Status};
use holdfast_vault::error::{Class, Code, Result};
use serde_json::Value;

/// Marks the job of an execution as failed, and removes what it left.
///
/// # Errors
/// What state, staging or the target give; the state machine tries again.
#[must_use]
pub fn fail<'a>(services: &'a Services, event: &'a FailEvent) -> Step<'a, FailAnswer> {
    Box::pin(async move {
        let id = job_id(event)?;
        let error = job_error(&event.error);
        let job = match services.jobs.job(&id).await {
            Ok(job) => job,
            Err(unknown) if unknown.code == Code::JobUnknown => {
                return Ok(FailAnswer { job: id, kind: "job".to_owned(), status: None, code: error.code });
            }
            Err(other) => return Err(other),
        };
        let error = first_of_tasks(services, &drill::worker(&job), error).await?;
        let job = if is_committed(services, &job).await? {
            // Who failed came to nothing only after the manifest was written, and with it the backup is complete.
            commit::commit(services, &JobEvent { job: id.clone() }).await?;
            services.jobs.job(&id).await?
        } else {
            end(services, job, &error).await?
        };
        if job.status == Status::Completed {
            // Its last step may have ended after it said so, and before it cleared up.
            staging::clear(services, &job.id).await?;
            services.jobs.forget_work(&job.id).await?;
        } else {
            clean(services, &job).await?;
        }
        tracing::warn!(job = job.id, status = %job.status, code = error.code, "ended without completing");
        Ok(FailAnswer {
            job: job.id,
            kind: job.kind.to_string(),
            status: Some(job.status.to_string()),
            code: error.code,
        })
    })
}

/// Whether a backup is in the vault, though its job does not say so yet.
async fn is_committed(services: &Services, job: &Job) -> Result<bool> {
    if job.kind != JobKind::Backup || job.status != Status::Running {
        return Ok(false);
    }
    match services.vault.manifest(&job.id).await {
        Ok(_) => Ok(true),
        Err(error) if error.code.class() == Class::Damage => Ok(false),
        Err(error) => Err(error),
    }
}

/// A map ends with a name of its own; why it did stands with the task that failed.
async fn first_of_tasks(services: &Services, id: &str, error: JobError) -> Result<JobError> {
    if !error.code.starts_with("States.") || error.code == "States.Timeout" {
        return Ok(error);
    }
    let mut tasks = services.jobs.tasks(id);
    while let Some(page) = tasks.next().await? {
        if let Some(cause) = page.into_iter().find_map(|task| task.error) {
            return Ok(cause);
        }
    }
    Ok(error)
}

/// Marks a job as failed unless it has ended.
///
/// # Errors
/// What state gives.
pub(crate) async fn end(services: &Services, job: Job, error: &JobError) -> Result<Job> {
    if job.status.is_terminal() {
        return Ok(job);
    }
    let change = JobChange { error: Some(error.clone()), ..JobChange::default() };
    match services.jobs.enter(&job.id, &[Status::Pending, Status::Running], Status::Failed, change).await {
        Ok((job, failed)) => {
            if failed {
                metrics::job_failed(services, &job).await;
            }
            Ok(job)
        }
        Err(raced) if matches!(raced.code, Code::JobState | Code::Cancelled) => {
            services.jobs.job(&job.id).await
        }
        Err(other) => Err(other),
    }
}

/// Removes what a job that did not complete left in staging, in job state and in its target; of a drill its restore's
/// too.
///
/// # Errors
/// What staging, state or the target give.
pub async fn clean(services: &Services, job: &Job) -> Result<()> {
    if job.kind == JobKind::Undo {
        undo::abandon(services, job).await?;
    }
    staging::clear(services, &job.id).await?;
    if job.kind == JobKind::Restore {
        restore::abandon(services, job).await?;
    }
    if job.kind == JobKind::Drill {
        drill::clear(services, job).await?;
    }
    services.jobs.forget_work(&job.id).await
}

fn job_id(event: &FailEvent) -> Result<String> {
    if let Ok(RestoreInput::Job { restore }) = serde_json::from_value(event.input.clone()) {
        return Ok(restore);
    }
    if let Ok(DrillInput::Job { drill }) = serde_json::from_value(event.input.clone()) {
        return Ok(drill);
    }
    if let Ok(UndoInput { undo }) = serde_json::from_value(event.input.clone()) {
        return Ok(undo);
    }
    event.execution.job_id()
}

/// The error of a job, out of what Step Functions caught.
#[must_use]
pub fn job_error(caught: &Caught) -> JobError {
    let cause: Value = serde_json::from_str(&caught.cause).unwrap_or(Value::Null);
    let said = cause.get("errorMessage").and_then(Value::as_str).unwrap_or(&caught.cause);
    let (message, hint) = match said.split_once(HINT) {
        Some((message, hint)) => (message.to_owned(), Some(hint.to_owned())),
        None => (said.to_owned(), None),
    };
    match caught.error.as_str() {
        "States.Timeout" => JobError {
            code: Code::TimedOut.to_string(),
            message: "the job ran longer than it may".to_owned(),
            hint: Some("raise the state machine's TimeoutSeconds, or cut the resource".to_owned()),
        },
        code => JobError { code: code.to_owned(), message, hint },
    }
}

/// What stands between message and hint where an error travels as one text.
pub const HINT: &str = "\nhint: ";
