//! Between Lambda's runtime and a handler.

use crate::environment::services;
use holdfast_common::telemetry;
use holdfast_vault::error::{Error, Result};
use holdfast_workflow::{Services, handler};
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde_json::Value;
use std::pin::Pin;
use std::process::ExitCode;
use tokio::sync::OnceCell;
use tracing::{Instrument as _, Span, field};

/// Serves a handler of the workflow until Lambda ends the process.
pub fn run<H>(handle: H) -> ExitCode
where
    H: AsyncFn(&Services, Value) -> Result<Value>,
{
    run_with(services, handle)
}

/// Serves a handler that works with what `open` gives. It is opened with the first event, so that a failure to open is
/// an answer with its code, and tried again with the next event.
pub fn run_with<C, O, H>(open: O, handle: H) -> ExitCode
where
    O: AsyncFn() -> Result<C>,
    H: AsyncFn(&C, Value) -> Result<Value>,
{
    serve(&Opened { context: OnceCell::new(), open, handle })
}

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + 'a>>;

/// A handler with what it works with, whatever that is: the runtime is built once, and not for every function.
trait Answers {
    fn answer(&self, event: Value) -> Answer<'_, Value>;
}

struct Opened<C, O, H> {
    context: OnceCell<C>,
    open: O,
    handle: H,
}

impl<C, O: AsyncFn() -> Result<C>, H: AsyncFn(&C, Value) -> Result<Value>> Answers for Opened<C, O, H> {
    fn answer(&self, event: Value) -> Answer<'_, Value> {
        Box::pin(async move {
            let context = self.context.get_or_try_init(|| boxed((self.open)())).await?;
            boxed((self.handle)(context, event)).await
        })
    }
}

fn serve(handler: &dyn Answers) -> ExitCode {
    telemetry::init_json();
    let Ok(runtime) = tokio::runtime::Builder::new_multi_thread().enable_all().build() else {
        tracing::error!("no threads could be started");
        return ExitCode::FAILURE;
    };
    let serve = lambda_runtime::run(service_fn(|event: LambdaEvent<Value>| async move {
        let span = span(&event.context.request_id, &event.payload);
        let answer = async { handler.answer(event.payload).await.map_err(|error| failed(&error)) };
        answer.instrument(span).await
    }));
    match runtime.block_on(serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the runtime ended");
            ExitCode::FAILURE
        }
    }
}

/// A future whose own depth adds nothing to that of the runtime's: the compiler lays out only so many in one another.
fn boxed<'a, T>(future: impl Future<Output = Result<T>> + 'a) -> Answer<'a, T> {
    Box::pin(future)
}

/// What every line that is logged for an event bears: the request, and the job and task that the event names.
fn span(request: &str, event: &Value) -> Span {
    let span = tracing::info_span!("request", request_id = request, job = field::Empty, task = field::Empty);
    for name in ["job", "task"] {
        match &event[name] {
            Value::String(text) => span.record(name, text.as_str()),
            Value::Number(number) => span.record(name, field::display(number)),
            _ => &span,
        };
    }
    span
}

/// The error as Step Functions matches it: its code as `errorType`. What the message names is a field, a place or an
/// id, so it may be logged.
fn failed(error: &Error) -> Diagnostic {
    tracing::error!(code = error.code.as_str(), retry = error.code.retryable(), "{}", error.message);
    let told = handler::diagnostic(error);
    let text = |name: &str| told[name].as_str().unwrap_or_default().to_owned();
    Diagnostic { error_type: text("errorType"), error_message: text("errorMessage") }
}
