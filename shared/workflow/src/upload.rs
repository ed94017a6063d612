//! Admits a staged step into the vault: the only step that writes packs there.

use crate::events::{TaskAnswer, TaskEvent};
use crate::export::seen::Seen;
use crate::export::{StagedStep, TaskCursor};
use crate::plan::value;
use crate::services::{Services, Step};
use crate::staging;
use holdfast_common::jobs::{JobError, PackRow, Status, StepEnd, Task};
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::format::manifest::StoredObject;
use holdfast_vault::storage::{PART_SIZE, PartSum};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a step left behind, as a row of job state keeps it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Registered {
    /// What it saw in the source.
    Seen {
        /// That.
        seen: Seen,
    },
    /// An object that stays in staging for a join.
    Kept {
        /// The object.
        kept: StoredObject,
    },
    /// An object that is in the vault.
    Object(StoredObject),
}

/// What a step left behind, read from its row.
///
/// # Errors
/// `Internal` if it is unreadable.
pub fn registered(row: &PackRow) -> Result<Registered> {
    Registered::deserialize(&row.value)
        .map_err(|e| Error::new(Code::Internal, format!("a row of job {} is unreadable: {e}", row.job)))
}

/// Copies what a task has staged into the vault, every part compared with its checksum, and registers it.
///
/// # Errors
/// `StagingDamaged`, `Storage*`, `Cancelled`, or what state gives.
#[must_use]
pub fn upload_part<'a>(services: &'a Services, event: &'a TaskEvent) -> Step<'a, TaskAnswer> {
    Box::pin(async move {
        let job = services.jobs.job(&event.job).await?;
        if job.status == Status::Cancelled {
            return Err(
                Error::new(Code::Cancelled, format!("backup {} was cancelled", job.id)).object(&job.id)
            );
        }
        let task = services.jobs.task(&event.job, event.task).await?;
        let Some(staged) = task.staged.clone() else {
            return Ok(event.answer(task.status != Status::Completed));
        };
        match admit(services, event, &task, staged).await {
            Ok(done) => Ok(event.answer(!done)),
            Err(error) => {
                // A twin of this call may have admitted the step meanwhile, and removed it from staging.
                let now = services.jobs.task(&event.job, event.task).await?;
                if now.step > task.step {
                    return Ok(event.answer(now.status != Status::Completed));
                }
                services.jobs.fail_task(&event.job, event.task, &JobError::from(&error)).await?;
                Err(error)
            }
        }
    })
}

async fn admit(services: &Services, event: &TaskEvent, task: &Task, staged: Value) -> Result<bool> {
    let step: StagedStep = serde_json::from_value(staged).map_err(|e| {
        Error::new(Code::Internal, format!("task {} staged what is unreadable: {e}", task.task))
    })?;
    let mut rows = Vec::with_capacity(step.objects.len());
    let mut staged_keys = Vec::with_capacity(step.objects.len());
    let mut row = |value: Value| {
        let index = u32::try_from(rows.len()).unwrap_or(u32::MAX);
        rows.push(PackRow { job: event.job.clone(), task: task.task, step: task.step, index, value });
    };
    for object in &step.objects {
        if step.kept {
            row(value(&Registered::Kept { kept: object.clone() })?);
            continue;
        }
        let from = staging::exported(&event.job, task.task, task.step, &object.id.to_string());
        let parts = part_sums(object);
        let staging_name = services.staging.name();
        services.vault.storage().copy_from(staging_name, &from, &object.key(), &parts).await?;
        row(value(&Registered::Object(object.clone()))?);
        staged_keys.push(from);
    }
    if let Some(seen) = step.seen {
        row(value(&Registered::Seen { seen })?);
    }
    let done = step.cursor.is_none();
    let cursor = match step.cursor {
        Some(source) => Some(value(&TaskCursor { source, next_sequence: step.next_sequence })?),
        None => None,
    };
    let end = StepEnd { cursor, done, totals: step.totals, warnings: step.warnings };
    services.jobs.admit_step(&event.job, task.task, task.step, &rows, &end).await?;
    staging::remove(services, staged_keys).await?;
    Ok(done)
}

fn part_sums(object: &StoredObject) -> Vec<PartSum> {
    let mut left = object.size;
    let sum = |sha256: &String| {
        let size = left.min(PART_SIZE);
        left -= size;
        PartSum { size, sha256: sha256.clone() }
    };
    object.parts.iter().map(sum).collect()
}
