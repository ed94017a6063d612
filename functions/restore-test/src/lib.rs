//! A CloudFormation custom resource that proves a restore, and the steps of the state machine that does it.
//!
//! A restore takes longer than a function may run: a request is handed to a state machine, which answers CloudFormation
//! itself when it knows how the test ended.

mod request;
mod step;

use holdfast_common::Clock;
use holdfast_common::clock::SystemClock;
use holdfast_connectors::EnvironmentClients;
use holdfast_lambda::{Environment, StepFunctions, aws_config};
use holdfast_recovery::Recovery;
use holdfast_recovery::test::Tester;
use holdfast_vault::error::{Code, Error, Result};
use holdfast_workflow::executions::Executions;
use holdfast_workflow::handler;
use serde_json::Value;
use std::sync::Arc;

/// What tests are made with.
#[derive(Clone)]
pub struct RestoreTest {
    /// What the steps work with.
    pub tester: Tester,
    /// Starts executions.
    pub executions: Arc<dyn Executions>,
    /// The state machine's ARN.
    pub machine: String,
}

/// What the environment names.
///
/// # Errors
/// `HomeInvalid` if a variable is missing.
pub async fn open() -> Result<RestoreTest> {
    let config = aws_config().await;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let tester = Tester {
        recovery: Recovery::new(&config, clock.clone(), None),
        jobs: Environment::jobs(&config, &clock)?,
        clients: Arc::new(EnvironmentClients),
    };
    let executions = Arc::new(StepFunctions::new(&config));
    Ok(RestoreTest { tester, executions, machine: Environment::get(Environment::RESTORE_TEST_MACHINE)? })
}

/// Decodes the event, does the work, encodes the answer. An event with a `step` is the state machine's, any other a
/// request of CloudFormation.
///
/// # Errors
/// `InvalidInput` if the event is none of this function's, or what the work gives.
pub async fn handle(test: &RestoreTest, event: Value) -> Result<Value> {
    if event.get("step").is_some() {
        return step::step(&test.tester, handler::decode(event)?).await;
    }
    if event.get("RequestType").is_none() {
        return Err(Error::new(Code::InvalidInput, "the event is no request of CloudFormation and no step")
            .object("RequestType"));
    }
    request::begin(test, event).await
}
