//! Starts what is due, and ends what died. A repeat of it, and another one beside it, start nothing twice.

mod backups;
mod dead;
mod drills;
mod rpo;
mod tally;
mod verifies;

pub use backups::Dispatched;
pub use dead::{EXECUTION_LIMIT, NEVER_STARTED, SETTLING};
pub use tally::Tally;

use holdfast_common::clock::Clock;
use holdfast_common::jobs::{JobKind, JobStore};
use holdfast_common::telemetry::Metrics;
use holdfast_common::wait::back_off;
use holdfast_lambda::{Control, Environment, control};
use holdfast_vault::error::{Code, Error, Result};
use holdfast_workflow::executions::{Executions, Started};
use holdfast_workflow::handler;
use holdfast_workflow::verify::Level;
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;

/// Calls under way at a time.
const AT_ONCE: usize = 32;
/// How often a start that is to be slower is tried.
const TRIES: u32 = 20;

/// The ARNs of the state machines.
#[derive(Debug, Clone)]
pub struct Machines {
    /// Backs up.
    pub backup: String,
    /// Restores.
    pub restore: String,
    /// Takes writes back.
    pub undo: String,
    /// Verifies.
    pub verify: String,
    /// Tests restores, and restores for that.
    pub restore_test: String,
    /// Drills, and restores for that.
    pub drill: String,
    /// Ends jobs whose executions died.
    pub fail: String,
}

impl Machines {
    /// Those that may work on a job of a kind.
    fn of(&self, kind: JobKind) -> Vec<&str> {
        match kind {
            JobKind::Backup => vec![&self.backup],
            JobKind::Restore => vec![&self.restore, &self.restore_test, &self.drill],
            JobKind::Undo => vec![&self.undo],
            JobKind::Drill => vec![&self.drill],
        }
    }
}

/// What the dispatcher works with.
pub struct Dispatch {
    /// Job state.
    pub jobs: JobStore,
    /// Where executions are started.
    pub executions: Arc<dyn Executions>,
    /// Where figures go.
    pub metrics: Arc<dyn Metrics>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The state machines.
    pub machines: Machines,
    /// How thorough the daily verification is.
    pub verify_level: Level,
}

/// What is to be dispatched.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Event {
    task: Task,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Task {
    /// Backups that are due, and jobs that died.
    Backups,
    /// The daily verification.
    Verify,
    /// The drills that are due.
    Drills,
}

/// The dispatcher of the stack that the environment names.
///
/// # Errors
/// `HomeInvalid` if a variable is missing or makes no sense.
pub async fn open() -> Result<Dispatch> {
    let Control { jobs, executions, metrics, clock } = control().await?;
    let level = Environment::get(Environment::VERIFY_LEVEL).unwrap_or_else(|_| Level::Full.to_string());
    Ok(Dispatch {
        jobs,
        executions,
        metrics,
        clock,
        machines: Machines {
            backup: Environment::get(Environment::BACKUP_MACHINE)?,
            restore: Environment::get(Environment::RESTORE_MACHINE)?,
            undo: Environment::get(Environment::UNDO_MACHINE)?,
            verify: Environment::get(Environment::VERIFY_MACHINE)?,
            restore_test: Environment::get(Environment::RESTORE_TEST_MACHINE)?,
            drill: Environment::get(Environment::DRILL_MACHINE)?,
            fail: Environment::get(Environment::FAIL_MACHINE)?,
        },
        verify_level: level.parse().map_err(|error: Error| Error {
            code: Code::HomeInvalid,
            object: Some(Environment::VERIFY_LEVEL.to_owned()),
            ..error
        })?,
    })
}

/// Decodes the event, does the work, encodes the answer: how many of each, no names.
///
/// # Errors
/// `InvalidInput` if the event is none of this function's, `StateUnavailable` if job state cannot be read. What fails for
/// one resource or one job alone is logged and counted.
pub async fn handle(dispatch: &Dispatch, event: Value) -> Result<Value> {
    let event: Event = handler::decode(event)?;
    match event.task {
        Task::Backups => handler::encode(&backups::dispatch(dispatch).await?),
        Task::Verify => handler::encode(&verifies::dispatch(dispatch).await?),
        Task::Drills => handler::encode(&drills::dispatch(dispatch).await?),
    }
}

impl Dispatch {
    /// Starts an execution, as often as it takes while the service asks to slow down.
    async fn start(&self, machine: &str, name: &str, input: &Value) -> Result<Started> {
        let mut attempt = 0;
        loop {
            match self.executions.start(machine, name, input).await {
                Err(error) if error.code.retryable() && attempt < TRIES => back_off(attempt).await,
                other => return other,
            }
            attempt += 1;
        }
    }
}

/// Says what failed for one resource or job, while the others go on.
fn told(what: &str, name: &str, error: &Error) {
    tracing::error!(name, code = error.code.as_str(), "{what} failed: {}", error.message);
}
