//! The steps of the state machine.

use crate::request::{name, order};
use holdfast_lambda::custom_resource::{Answer, Outcome, Request, answer};
use holdfast_recovery::test::{self, Test, Tester};
use holdfast_vault::error::{Code, Error, Result};
use holdfast_workflow::events::Caught;
use holdfast_workflow::fail::job_error;
use holdfast_workflow::handler;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// One step: the state machine says which.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "step", rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum Step {
    /// Decides what is restored.
    Begin {
        /// What CloudFormation asked.
        request: Value,
        /// When the execution started.
        started_at: String,
    },
    /// Compares the restored table with its source.
    Compare {
        /// What the last step answered.
        test: Box<Test>,
    },
    /// Answers CloudFormation.
    Answer {
        /// Everything that the execution knows.
        state: State,
    },
    /// Removes the restored table.
    Remove {
        /// Everything that the execution knows.
        state: State,
    },
}

/// What an execution knows at its end, however it came there.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct State {
    request: Value,
    #[serde(default)]
    test: Option<Known>,
    #[serde(default)]
    native: Value,
    #[serde(default)]
    error: Option<Caught>,
}

/// The test, as far as it is.
#[derive(Debug, Clone, Deserialize)]
struct Known {
    progress: Box<Test>,
}

pub(crate) async fn step(tester: &Tester, step: Step) -> Result<Value> {
    match step {
        Step::Begin { request, started_at } => {
            let request: Request = handler::decode(request)?;
            let test = test::begin(tester, &order(&request)?, &request.request_id, &started_at).await?;
            handler::encode(&test)
        }
        Step::Compare { test } => handler::encode(&test::compare(tester, *test).await?),
        Step::Answer { state } => {
            let request: Request = handler::decode(state.request.clone())?;
            let said = said(&request, &state);
            answer(&request.response_url, &said).await?;
            tracing::info!(status = ?said.status, "CloudFormation was answered");
            Ok(json!({ "status": said.status }))
        }
        Step::Remove { state } => {
            let Some(Known { progress }) = &state.test else { return Err(lost()) };
            let job = state.native["progress"]["restoreJob"].as_str();
            handler::encode(&test::remove(tester, progress, job).await?)
        }
    }
}

fn lost() -> Error {
    Error::new(Code::InvalidInput, "the state names no test").object("test")
}

/// What CloudFormation is told.
fn said(request: &Request, state: &State) -> Answer {
    if let Some(caught) = &state.error {
        let error = job_error(caught);
        let reason = match error.hint {
            Some(hint) => format!("{} ({hint})", error.message),
            None => error.message,
        };
        return failed(request, &format!("{}: {reason}", error.code));
    }
    let Some(Known { progress: test }) = &state.test else { return failed(request, &lost().message) };
    let Some(compared) = &test.compared else { return failed(request, "Internal: nothing was compared") };
    if let Some(failure) = &test.failure {
        return failed(request, &format!("the restore is not good enough: {failure}"));
    }
    let kind = serde_json::to_value(test.kind).unwrap_or_default();
    let mut data = Map::from_iter([
        ("Kind".to_owned(), kind),
        ("Table".to_owned(), json!(test.table)),
        ("RestoredCount".to_owned(), json!(compared.restored_count.to_string())),
        ("Compared".to_owned(), json!(compared.compared.to_string())),
        ("Missing".to_owned(), json!(compared.missing.to_string())),
        ("Differing".to_owned(), json!(compared.differing.to_string())),
        ("Seconds".to_owned(), json!(test.seconds().unwrap_or_default().to_string())),
    ]);
    let known = [
        ("Source", test.source.clone()),
        ("SourceCount", compared.source_count.map(|count| count.to_string())),
        ("Backup", test.backup.clone()),
    ];
    data.extend(known.into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!(value?)))));
    Answer::success(request, name(request), data)
}

fn failed(request: &Request, reason: &str) -> Answer {
    /// Characters of a reason: an answer has room for it whatever else it holds.
    const LONGEST: usize = 1_000;
    Answer {
        status: Outcome::Failed,
        reason: reason.chars().take(LONGEST).collect(),
        ..Answer::success(request, name(request), Map::new())
    }
}
