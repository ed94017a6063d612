//! Executions in Step Functions.

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_sfn::Client;
use aws_sdk_sfn::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_sfn::types::ExecutionStatus as Told;
use holdfast_vault::error::{Code, Error, Result};
use holdfast_workflow::executions::{Described, ExecutionStatus, Executions, Started};
use jiff::Timestamp;
use serde_json::Value;

/// Starts executions in Step Functions, and asks it for them.
#[derive(Debug, Clone)]
pub struct StepFunctions(Client);

impl StepFunctions {
    /// Those of the region, and in the name, that the configuration has.
    #[must_use]
    pub fn new(config: &SdkConfig) -> Self {
        Self(Client::new(config))
    }
}

#[async_trait]
impl Executions for StepFunctions {
    async fn start(&self, machine: &str, name: &str, input: &Value) -> Result<Started> {
        let started =
            self.0.start_execution().state_machine_arn(machine).name(name).input(input.to_string()).send();
        match started.await {
            Ok(_) => Ok(Started::Now),
            Err(error) if error.code() == Some("ExecutionAlreadyExists") => Ok(Started::Before),
            Err(error) => Err(refused(&error, &format!("start {name}"), machine)),
        }
    }

    async fn describe(&self, machine: &str, name: &str) -> Result<Option<Described>> {
        let arn = format!("{}:{name}", machine.replacen(":stateMachine:", ":execution:", 1));
        let told = match self.0.describe_execution().execution_arn(arn).send().await {
            Ok(told) => told,
            Err(error) if error.code() == Some("ExecutionDoesNotExist") => return Ok(None),
            Err(error) => return Err(refused(&error, &format!("tell of {name}"), machine)),
        };
        let status = match told.status {
            Told::Succeeded => ExecutionStatus::Succeeded,
            Told::Failed => ExecutionStatus::Failed,
            Told::TimedOut => ExecutionStatus::TimedOut,
            Told::Aborted => ExecutionStatus::Aborted,
            // Running, waiting to be run again, or what nobody knows yet: none that has ended.
            _ => ExecutionStatus::Running,
        };
        let started_at = told.start_date.to_millis().ok().and_then(|at| Timestamp::from_millisecond(at).ok());
        Ok(Some(Described { status, started_at: started_at.unwrap_or(Timestamp::UNIX_EPOCH) }))
    }
}

/// What Step Functions said, as an error that says whether to come again.
fn refused<E>(error: &SdkError<E>, doing: &str, machine: &str) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let (code, hint) = match (error, error.code().unwrap_or_default()) {
        (SdkError::ServiceError(_), "StateMachineDoesNotExist" | "StateMachineDeleting" | "InvalidArn") => {
            (Code::HomeInvalid, "deploy template.yaml again; it names the state machines to every function")
        }
        (SdkError::ServiceError(_), "AccessDeniedException") => {
            (Code::HomeInvalid, "give the function's role the permissions of template.yaml")
        }
        (SdkError::ServiceError(_), "InvalidName" | "InvalidExecutionInput" | "ValidationException") => {
            (Code::Internal, "report this")
        }
        _ => (Code::StateUnavailable, "try again a little later"),
    };
    let why = match error {
        // What the service says of an input may quote it.
        SdkError::ServiceError(_) => error.code().unwrap_or("an error without a name").to_owned(),
        other => DisplayErrorContext(other).to_string(),
    };
    Error::new(code, format!("Step Functions would not {doing}: {why}")).object(machine).hint(hint)
}
