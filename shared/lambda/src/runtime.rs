//! Between Lambda's runtime and a handler.

use crate::environment::services;
use holdfast_common::telemetry;
use holdfast_vault::error::{Error, Result};
use holdfast_workflow::{Services, handler};
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde_json::Value;
use std::process::ExitCode;
use tokio::sync::OnceCell;

/// Serves a handler of the workflow until Lambda ends the process.
pub fn run<H>(handle: H) -> ExitCode
where
    H: AsyncFn(&Services, Value) -> Result<Value>,
{
    run_with(services, handle)
}

/// Serves a handler that works with what `open` gives. It is opened with the first event, so that a failure to open is
/// an answer with its code, and tried again with the next event.
#[expect(clippy::needless_pass_by_value, reason = "a main hands its handler over")]
pub fn run_with<C, O, H>(open: O, handle: H) -> ExitCode
where
    O: AsyncFn() -> Result<C>,
    H: AsyncFn(&C, Value) -> Result<Value>,
{
    telemetry::init_json();
    let Ok(runtime) = tokio::runtime::Builder::new_multi_thread().enable_all().build() else {
        tracing::error!("no threads could be started");
        return ExitCode::FAILURE;
    };
    let opened: OnceCell<C> = OnceCell::new();
    let (opened, open, handle) = (&opened, &open, &handle);
    let serve = lambda_runtime::run(service_fn(|event: LambdaEvent<Value>| async move {
        let request = event.context.request_id;
        let answer = match opened.get_or_try_init(|| open()).await {
            Ok(context) => handle(context, event.payload).await,
            Err(error) => Err(error),
        };
        answer.map_err(|error| failed(&request, &error))
    }));
    match runtime.block_on(serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the runtime ended");
            ExitCode::FAILURE
        }
    }
}

/// The error as Step Functions matches it: its code as `errorType`. What the message names is a field, a place or an
/// id, so it may be logged.
fn failed(request: &str, error: &Error) -> Diagnostic {
    tracing::error!(request, code = error.code.as_str(), retry = error.code.retryable(), "{}", error.message);
    let told = handler::diagnostic(error);
    let text = |name: &str| told[name].as_str().unwrap_or_default().to_owned();
    Diagnostic { error_type: text("errorType"), error_message: text("errorMessage") }
}
