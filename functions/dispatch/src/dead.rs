//! Jobs whose executions died without ending them.

use crate::{AT_ONCE, Dispatch, told};
use futures::StreamExt as _;
use futures::stream;
use holdfast_common::jobs::{Job, JobKind, Status};
use holdfast_vault::error::{Code, Result};
use holdfast_workflow::events::{Caught, Execution, FailEvent};
use holdfast_workflow::executions::{ExecutionStatus, Started};
use holdfast_workflow::handler;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// A job whose status changed so recently is left alone: its execution may be about to change it again.
pub const SETTLING: SignedDuration = SignedDuration::from_mins(5);
/// No execution runs longer: the machines' `TimeoutSeconds`, and a margin for what ends it.
pub const EXECUTION_LIMIT: SignedDuration = SignedDuration::from_mins(6 * 60 + 15);
/// Who asks for a restore or an undo makes its job first. An execution that has not come by then comes no more.
pub const NEVER_STARTED: SignedDuration = SignedDuration::from_hours(1);

/// Hands jobs that died to the machine that ends them. Gives how many, and for how many that failed.
pub(super) async fn end(dispatch: &Dispatch, now: Timestamp, open: Vec<Job>) -> (u64, u64) {
    let each: Vec<_> = open.into_iter().map(|job| one(dispatch, now, job)).collect();
    let mut outcomes = stream::iter(each).buffer_unordered(AT_ONCE);
    let (mut ended, mut failed) = (0, 0);
    while let Some(outcome) = outcomes.next().await {
        match outcome {
            Ok(true) => ended += 1,
            Ok(false) => {}
            Err(()) => failed += 1,
        }
    }
    (ended, failed)
}

async fn one(dispatch: &Dispatch, now: Timestamp, job: Job) -> Result<bool, ()> {
    end_if_dead(dispatch, now, &job).await.map_err(|error| told("ending a dead job", &job.id, &error))
}

async fn end_if_dead(dispatch: &Dispatch, now: Timestamp, job: &Job) -> Result<bool> {
    let changed = job.history.last().map_or(job.created_at, |change| change.at);
    if now.duration_since(changed) < SETTLING {
        return Ok(false);
    }
    let Some(error) = cause(dispatch, now, job).await? else { return Ok(false) };
    // The execution has ended, so nothing changes the job any more: what is read now is its last word.
    let job = dispatch.jobs.job(&job.id).await?;
    if job.status.is_terminal() {
        return Ok(false);
    }
    let input = match job.kind {
        JobKind::Backup => json!({ "resource": job.resource }),
        JobKind::Restore => json!({ "restore": job.id }),
        JobKind::Undo => json!({ "undo": job.id }),
        JobKind::Drill => json!({ "drill": job.id }),
    };
    // The job's own id is the name of an execution that the job follows from.
    let execution = Execution { execution: job.id.clone(), started_at: format!("{:.3}", job.created_at) };
    let event = handler::encode(&FailEvent { execution, input, error })?;
    start(dispatch, now, &job, &event).await
}

/// Why the execution of a job will not end it; `None` while it may.
async fn cause(dispatch: &Dispatch, now: Timestamp, job: &Job) -> Result<Option<Caught>> {
    let execution = job.execution.as_ref().unwrap_or(&job.id);
    let mut known = None;
    for machine in dispatch.machines.of(job.kind) {
        known = dispatch.executions.describe(machine, execution).await?;
        if known.is_some() {
            break;
        }
    }
    let interrupted =
        |cause: &str| Some(Caught { error: Code::Interrupted.to_string(), cause: cause.to_owned() });
    let timed_out = || {
        let cause = "the execution ran longer than it may".to_owned();
        Some(Caught { error: "States.Timeout".to_owned(), cause })
    };
    let Some(known) = known else {
        let waited = now.duration_since(job.created_at);
        let may_come = job.status == Status::Pending && job.kind != JobKind::Backup && waited < NEVER_STARTED;
        return Ok(if may_come { None } else { interrupted("there is no execution that works on the job") });
    };
    Ok(match known.status {
        ExecutionStatus::Running if now.duration_since(known.started_at) < EXECUTION_LIMIT => None,
        ExecutionStatus::Running | ExecutionStatus::TimedOut => timed_out(),
        ExecutionStatus::Aborted => interrupted("the execution was stopped"),
        ExecutionStatus::Failed => interrupted("the execution failed before it ended the job"),
        ExecutionStatus::Succeeded => interrupted("the execution ended before the job did"),
    })
}

async fn start(dispatch: &Dispatch, now: Timestamp, job: &Job, event: &Value) -> Result<bool> {
    let machine = &dispatch.machines.fail;
    let mut name = format!("fail-{}", job.id);
    let mut started = dispatch.start(machine, &name, event).await?;
    if started == Started::Before {
        let first = dispatch.executions.describe(machine, &name).await?;
        if first.is_some_and(|first| first.status == ExecutionStatus::Running) {
            return Ok(false);
        }
        // It could not end the job either. Every hour one more may try, until what keeps them from it is gone.
        name = format!("{name}-{}", now.strftime("%Y%m%dT%H"));
        started = dispatch.start(machine, &name, event).await?;
    }
    if started == Started::Now {
        tracing::warn!(job = job.id, kind = job.kind.as_str(), execution = name, "the job's execution died");
    }
    Ok(started == Started::Now)
}
