//! Executions: started by a job's id, followed to their end, and what their end means.

use super::Stack;
use super::fault::{fault, name_of};
use aws_sdk_sfn::types::{ExecutionStatus, HistoryEvent};
use holdfast_common::jobs::{Job, JobChange, JobError, Status};
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::model::Warning;
use holdfast_workflow::events::{Caught, Refusal};
use holdfast_workflow::fail::job_error;
use serde_json::Value;
use std::time::Duration;

/// How soon an execution is looked at first, and how seldom later.
const FIRST: Duration = Duration::from_millis(250);
const LAST: Duration = Duration::from_secs(3);
/// So often in a row nobody may answer while an execution is followed: some minutes.
const MISSES: u32 = 60;
/// The state of every machine that clears up; what failed before it is why.
const CLEARS: &str = "Fail";
/// What an error has as its object where nothing was started.
const START: &str = "StartExecution";

/// The state machines that commands start.
#[derive(Debug, Clone, Copy)]
pub(super) enum Machine {
    Backup,
    Restore,
    Verify,
    Undo,
    Prune,
    Drill,
}

/// How an execution ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Ended {
    /// Well, with this output.
    Succeeded(Value),
    /// By this error.
    Failed(Caught),
    /// It ran longer than it may.
    TimedOut,
    /// Somebody stopped it.
    Aborted,
}

impl From<Ended> for Error {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Failed(caught) => error_of(&job_error(&caught)),
            Ended::TimedOut => {
                let timeout = Caught { error: "States.Timeout".to_owned(), cause: String::new() };
                error_of(&job_error(&timeout))
            }
            Ended::Aborted => {
                Self::new(Code::Interrupted, "the execution was stopped").hint("start it again")
            }
            Ended::Succeeded(_) => {
                Self::new(Code::Internal, "the execution succeeded, and its job did not complete")
            }
        }
    }
}

/// Whether an error says that no execution was started.
pub(super) fn is_unstarted(error: &Error) -> bool {
    error.object.as_deref() == Some(START)
}

impl Stack {
    /// Starts an execution for a job and returns the job as it ended.
    ///
    /// # Errors
    /// Why it did not complete, as in a home.
    pub(super) async fn run(&self, machine: Machine, id: &str, input: &Value) -> Result<Job> {
        let ended = self.execute(machine, id, input).await?;
        let job = match self.jobs.job(id).await {
            Ok(job) => job,
            // It failed before a job was made of it.
            Err(error) if error.code == Code::JobUnknown => {
                return Err(self.refused(machine, id, ended).await);
            }
            Err(error) => return Err(error),
        };
        match job.status {
            Status::Completed => self.followed_up(job, &ended).await,
            Status::Cancelled => {
                Err(Error::new(Code::Cancelled, format!("{} {id} was cancelled", job.kind)).object(id))
            }
            Status::Failed => Err(job.error.as_ref().map_or_else(|| ended.into(), error_of).object(id)),
            Status::Pending | Status::Running => Err(abandoned(&job, ended)),
        }
    }

    /// Why the execution of a job that is there came to nothing.
    pub(super) async fn why_of(&self, id: &str, ended: &Ended) -> Result<Error> {
        let job = self.jobs.job(id).await?;
        Ok(job.error.as_ref().map_or_else(|| ended.clone().into(), error_of))
    }

    /// Starts an execution under an id and waits for its end.
    ///
    /// # Errors
    /// What keeps it from being started or followed.
    pub(super) async fn execute(&self, machine: Machine, id: &str, input: &Value) -> Result<Ended> {
        self.start(machine, id, input).await?;
        self.follow(&self.execution(machine, id)).await.map_err(|error| {
            let later = match machine {
                Machine::Backup | Machine::Restore | Machine::Undo | Machine::Drill => {
                    format!("see `holdfast show {id}` later")
                }
                Machine::Prune => "a prune that runs twice does no harm".to_owned(),
                Machine::Verify => "`holdfast backups` tells later what it found".to_owned(),
            };
            error.object(id).hint(format!("it goes on without this command: {later}"))
        })
    }

    fn machine(&self, machine: Machine) -> &str {
        match machine {
            Machine::Backup => &self.outputs.backup,
            Machine::Restore => &self.outputs.restore,
            Machine::Verify => &self.outputs.verify,
            Machine::Undo => &self.outputs.undo,
            Machine::Prune => &self.outputs.prune,
            Machine::Drill => &self.outputs.drill,
        }
    }

    /// The ARN of an execution.
    fn execution(&self, machine: Machine, id: &str) -> String {
        format!("{}:{id}", self.machine(machine).replacen(":stateMachine:", ":execution:", 1))
    }

    async fn start(&self, machine: Machine, id: &str, input: &Value) -> Result<()> {
        let sent = self
            .executions
            .start_execution()
            .state_machine_arn(self.machine(machine))
            .name(id)
            .input(input.to_string())
            .send()
            .await;
        match sent {
            Ok(_) => Ok(()),
            // The id is new: the one that exists is this one, whose answer was lost.
            Err(error) if name_of(&error) == Some("ExecutionAlreadyExists") => Ok(()),
            Err(error) => {
                Err(fault(&format!("start an execution of {}", self.machine(machine)), &error).object(START))
            }
        }
    }

    async fn follow(&self, execution: &str) -> Result<Ended> {
        let (mut wait, mut misses) = (FIRST, 0);
        loop {
            match self.look(execution).await {
                Ok(Some(ended)) => return Ok(ended),
                Ok(None) => misses = 0,
                Err(error) if error.code.retryable() && misses < MISSES => misses += 1,
                Err(error) => return Err(error),
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 3 / 2).min(LAST);
        }
    }

    /// How an execution ended; `None` while it has not.
    async fn look(&self, execution: &str) -> Result<Option<Ended>> {
        let asked = self.executions.describe_execution().execution_arn(execution).send().await;
        let said = match asked {
            Ok(said) => said,
            // What was started a moment ago is not known everywhere.
            Err(error) if name_of(&error) == Some("ExecutionDoesNotExist") => {
                return Err(Error::new(Code::StateUnavailable, format!("there is no execution {execution}")));
            }
            Err(error) => return Err(fault("follow the execution", &error)),
        };
        Ok(match said.status {
            ExecutionStatus::Running | ExecutionStatus::PendingRedrive => None,
            ExecutionStatus::Succeeded => {
                let output = said.output.unwrap_or_default();
                let output = serde_json::from_str(&output).map_err(|e| {
                    Error::new(Code::Internal, format!("the execution's output is no JSON: {e}"))
                        .object(execution)
                })?;
                Some(Ended::Succeeded(output))
            }
            ExecutionStatus::TimedOut => Some(Ended::TimedOut),
            ExecutionStatus::Aborted => Some(Ended::Aborted),
            _ => Some(Ended::Failed(caught(said.error, said.cause))),
        })
    }

    /// Why an execution failed before it made a job: the failure that led to its clearing up.
    async fn refused(&self, machine: Machine, id: &str, ended: Ended) -> Error {
        let execution = self.execution(machine, id);
        let history = self.executions.get_execution_history().execution_arn(&execution).send().await;
        let first = history.ok().and_then(|history| first_failure(history.events()));
        let error: Error = match (first, ended) {
            (Some(caught), Ended::Failed(_)) => Ended::Failed(caught).into(),
            (_, ended) => ended.into(),
        };
        if error.object.is_some() { error } else { error.object(execution) }
    }

    /// A job that completed, while what comes after it (verifying, notifying) did not: said, not hidden.
    async fn followed_up(&self, job: Job, ended: &Ended) -> Result<Job> {
        let what = match ended {
            Ended::Succeeded(_) => return Ok(job),
            Ended::Failed(caught) => caught.error.as_str(),
            Ended::TimedOut => "States.Timeout",
            Ended::Aborted => "Aborted",
        };
        let message = format!("the {} completed, and what follows it failed with {what}", job.kind);
        let warnings = vec![Warning::new("NotFollowedUp", message)];
        self.jobs.update_job(&job.id, JobChange { warnings, ..JobChange::default() }).await
    }
}

fn caught(error: Option<String>, cause: Option<String>) -> Caught {
    Caught { error: error.unwrap_or_default(), cause: cause.unwrap_or_default() }
}

/// The last failure before the state that clears up.
fn first_failure(events: &[HistoryEvent]) -> Option<Caught> {
    let clears = |event: &&HistoryEvent| {
        event.state_entered_event_details().is_some_and(|entered| entered.name() == CLEARS)
    };
    let before = events.iter().take_while(|event| !clears(event));
    before.filter_map(failure).last()
}

fn failure(event: &HistoryEvent) -> Option<Caught> {
    if let Some(failed) = event.task_failed_event_details() {
        return Some(caught(failed.error.clone(), failed.cause.clone()));
    }
    if let Some(failed) = event.task_timed_out_event_details() {
        return Some(caught(failed.error.clone(), failed.cause.clone()));
    }
    let failed = event.lambda_function_failed_event_details()?;
    Some(caught(failed.error.clone(), failed.cause.clone()))
}

/// An error of a job as the error that a command ends with.
fn error_of(of: &JobError) -> Error {
    let JobError { code, message, hint } = of.clone();
    let known = Code::ALL.iter().any(|known| known.as_str() == code);
    let message = match (known, message.is_empty()) {
        (true, _) => message,
        (false, true) => code.clone(),
        (false, false) => format!("{code}: {message}"),
    };
    Refusal { code, message, object: None, hint }.into()
}

/// A job that has not ended, while its execution has.
fn abandoned(job: &Job, ended: Ended) -> Error {
    let Error { code, message, .. } = ended.into();
    Error::new(
        code,
        format!("{} {} is still {}, and its execution has ended: {message}", job.kind, job.id, job.status),
    )
    .object(&job.id)
    .hint("the stack ends such jobs within some minutes; start a new one then")
}
