//! The HTTP API: asks for backups, restores and verifications, tells of them, cancels them. It does none of the work.

mod answer;
mod request;
mod routes;

use answer::Answer;
use holdfast_common::clock::{Clock, Ids, RandomIds};
use holdfast_common::jobs::JobStore;
use holdfast_lambda::{Control, Environment, control};
use holdfast_vault::error::Result;
use holdfast_workflow::executions::Executions;
use holdfast_workflow::handler;
use request::Request;
use serde_json::Value;
use std::sync::Arc;

/// The ARNs of the state machines.
#[derive(Debug, Clone)]
pub struct Machines {
    /// Backs up.
    pub backup: String,
    /// Restores.
    pub restore: String,
    /// Verifies.
    pub verify: String,
}

/// What the API works with.
pub struct Api {
    /// Job state.
    pub jobs: JobStore,
    /// Where executions are started.
    pub executions: Arc<dyn Executions>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The ids of new jobs.
    pub ids: Arc<dyn Ids>,
    /// The state machines.
    pub machines: Machines,
}

/// The API of the stack that the environment names.
///
/// # Errors
/// `HomeInvalid` if a variable is missing.
pub async fn open() -> Result<Api> {
    let Control { jobs, executions, clock, .. } = control().await?;
    Ok(Api {
        jobs,
        executions,
        ids: Arc::new(RandomIds::new(clock.clone())),
        clock,
        machines: Machines {
            backup: Environment::get(Environment::BACKUP_MACHINE)?,
            restore: Environment::get(Environment::RESTORE_MACHINE)?,
            verify: Environment::get(Environment::VERIFY_MACHINE)?,
        },
    })
}

/// Decodes a request of the HTTP API (payload 2.0), does what it asks for, encodes the answer.
///
/// # Errors
/// `InvalidInput` if the event is no such request. What is wrong with a request is an answer.
pub async fn handle(api: &Api, event: Value) -> Result<Value> {
    let request: Request = handler::decode(event)?;
    let answer = match routes::route(api, &request).await {
        Ok(answer) => answer,
        Err(error) => {
            tracing::warn!(route = request.route(), code = error.code.as_str(), "{}", error.message);
            Answer::refusal(&error)
        }
    };
    handler::encode(&answer)
}
