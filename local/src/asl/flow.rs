//! Goes from state to state: data in, work, data out, retries and catches.

use super::context::{Context, Data, ExecutionInfo, MapItem};
use super::definition::{Choice, Fail, Graph, Kind, Next, Pass, State, Text, Until, Wait, Work};
use super::failure::{Failure, Halt};
use super::interpreter::Engine;
use super::names;
use super::paths::{Path, Reference};
use super::ports::{Event, Happening};
use super::scope::Scope;
use super::task::time_limit;
use super::template::Template;
use super::time::parse_timestamp;
use futures::future::BoxFuture;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// One line of states: an execution's, a branch's or an iteration's.
#[derive(Clone)]
pub(super) struct Flow {
    pub(super) engine: Arc<Engine>,
    pub(super) execution: Arc<ExecutionInfo>,
    pub(super) scope: Arc<Scope>,
    pub(super) item: Option<Arc<MapItem>>,
    /// The name of the execution that all this belongs to.
    pub(super) root: Arc<str>,
    pub(super) place: Arc<str>,
}

/// Where a state led, and with what.
struct Step {
    next: Next,
    output: Value,
}

impl Flow {
    pub(super) fn new(engine: Arc<Engine>, execution: Arc<ExecutionInfo>, scope: Arc<Scope>) -> Self {
        let root = execution.name.as_str().into();
        Self { engine, execution, scope, item: None, root, place: "".into() }
    }

    /// Runs a graph from its start to an end.
    pub(super) fn run(self, graph: Arc<Graph>, input: Value) -> BoxFuture<'static, Result<Value, Halt>> {
        Box::pin(async move {
            self.engine.check_size("the input", &input)?;
            let mut name = graph.start.clone();
            let mut data = input;
            loop {
                let state =
                    graph.states.get(&name).ok_or_else(|| Failure::runtime(format!("no state '{name}'")))?;
                let step = self.visit(state, data).await?;
                match step.next {
                    Next::End => return Ok(step.output),
                    Next::To(next) => (name, data) = (next, step.output),
                }
                // A loop of states that never wait must not keep a thread, nor outrun a stop.
                tokio::task::yield_now().await;
            }
        })
    }

    /// One state, with all its attempts.
    async fn visit(&self, state: &State, input: Value) -> Result<Step, Halt> {
        if self.scope.is_stopped() {
            return Err(Halt::Stopped);
        }
        let entered = self.engine.ports.time.now();
        self.record(1)?;
        let kind = state.type_name();
        self.observe(Happening::StateEntered { state: &state.name, kind, input: &input }).await;
        let mut retries = vec![0; state.work().map_or(0, |work| work.retry.len())];
        let step = loop {
            let context = self.context(state, entered, retries.iter().sum());
            let failure = match self.attempt(state, &input, &context).await {
                Ok(step) => break step,
                Err(Halt::Stopped) => return Err(Halt::Stopped),
                Err(Halt::Failed(failure)) => failure,
            };
            let Some(work) = state.work() else { return Err(failure.into()) };
            if !self.retry(state, work, &mut retries, &failure).await? {
                break self.catch(state, work, input, failure).await?;
            }
        };
        self.record(1)?;
        self.observe(Happening::StateExited { state: &state.name, output: &step.output }).await;
        Ok(step)
    }

    /// Waits for the next attempt, if the state's retriers grant one.
    async fn retry(
        &self,
        state: &State,
        work: &Work,
        done: &mut [u64],
        failure: &Failure,
    ) -> Result<bool, Halt> {
        let answering = work.retry.iter().zip(done).find(|(retrier, _)| retrier.answers(&failure.error));
        let Some((retrier, done)) = answering else { return Ok(false) };
        let Some(delay) = retrier.delay(*done, self.engine.ports.time.random()) else { return Ok(false) };
        *done += 1;
        let (state, retry) = (&*state.name, *done);
        self.observe(Happening::StateRetried { state, failure, retry, delay }).await;
        self.unless_stopped(self.engine.ports.time.sleep(delay)).await?;
        Ok(true)
    }

    async fn catch(&self, state: &State, work: &Work, input: Value, failure: Failure) -> Result<Step, Halt> {
        let catcher = work.catch.iter().find(|catcher| catcher.errors.matches(&failure.error));
        let Some(catcher) = catcher else { return Err(failure.into()) };
        let next = &catcher.next;
        self.observe(Happening::StateCaught { state: &state.name, failure: &failure, next }).await;
        let error = json!({ "Error": failure.error, "Cause": failure.cause });
        let output = put(catcher.result_path.as_ref(), input, error)?;
        self.engine.check_size("the output", &output)?;
        Ok(Step { next: Next::To(next.clone()), output })
    }

    /// One attempt, from the state's input to its output.
    async fn attempt(&self, state: &State, input: &Value, context: &Context) -> Result<Step, Halt> {
        let seen = project(state.input_path.as_ref(), "InputPath", &Data { input, context })?;
        let (next, output) = match &state.kind {
            Kind::Succeed => (Next::End, seen),
            Kind::Fail(fail) => return Err(failed(fail, &Data { input: &seen, context }).into()),
            Kind::Choice(choice) => (choose(choice, &Data { input: &seen, context })?, seen),
            Kind::Pass(pass) => (pass.next.clone(), passed(pass, input, seen, context)?),
            Kind::Wait(wait) => {
                let time = self.wait_time(wait, &Data { input: &seen, context })?;
                self.unless_stopped(self.engine.ports.time.sleep(time)).await?;
                (wait.next.clone(), seen)
            }
            Kind::Task(task) => {
                let limit = time_limit(task, &Data { input: &seen, context })?;
                let result = self.call(task, prepare(&task.work, seen, context)?, limit).await?;
                (task.work.next.clone(), finish(&task.work, input, &result, context)?)
            }
            Kind::Map(map) => {
                let result = self.map(&state.name, map, &seen, context).await?;
                (map.work.next.clone(), finish(&map.work, input, &result, context)?)
            }
            Kind::Parallel(parallel) => {
                let seen = prepare(&parallel.work, seen, context)?;
                let result = self.parallel(&state.name, parallel, &seen).await?;
                (parallel.work.next.clone(), finish(&parallel.work, input, &result, context)?)
            }
        };
        let output = project(state.output_path.as_ref(), "OutputPath", &Data { input: &output, context })?;
        self.engine.check_size("the output", &output)?;
        Ok(Step { next, output })
    }

    fn context(&self, state: &State, entered: Timestamp, retries: u64) -> Context {
        Context {
            execution: Arc::clone(&self.execution),
            time: Arc::clone(&self.engine.ports.time),
            state: state.name.clone(),
            entered,
            retries,
            item: self.item.clone(),
            object: OnceLock::new(),
        }
    }

    fn wait_time(&self, wait: &Wait, data: &Data<'_>) -> Result<Duration, Failure> {
        let until = match &wait.until {
            Until::Seconds(seconds) => return Ok(Duration::from_secs(*seconds)),
            Until::SecondsPath(path) => {
                let value = path.get("SecondsPath", data)?;
                let seconds = value.as_u64().filter(|seconds| *seconds <= 99_999_999);
                let seconds =
                    seconds.ok_or_else(|| Failure::runtime("SecondsPath names no number of seconds"));
                return seconds.map(Duration::from_secs);
            }
            Until::Timestamp(until) => *until,
            Until::TimestampPath(path) => {
                let value = path.get("TimestampPath", data)?;
                let until = value.as_str().and_then(parse_timestamp);
                until.ok_or_else(|| Failure::runtime("TimestampPath names no RFC 3339 time"))?
            }
        };
        // A time in the past is no wait.
        Ok(Duration::try_from(until.duration_since(self.engine.ports.time.now())).unwrap_or_default())
    }

    /// Waits for something that the execution does not own, unless it is stopped.
    pub(super) async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Result<T, Halt> {
        tokio::select! {
            biased;
            () = self.scope.stopped() => Err(Halt::Stopped),
            done = work => Ok(done),
        }
    }

    /// Adds events to the execution's history.
    pub(super) fn record(&self, events: u64) -> Result<(), Failure> {
        self.execution.record(events, self.engine.options.history_limit)
    }

    async fn observe(&self, what: Happening<'_>) {
        let ports = &self.engine.ports;
        let (execution, machine, place) = (&*self.root, &*self.execution.machine, &*self.place);
        ports.observer.observe(&Event { execution, machine, place, at: ports.time.now(), what }).await;
    }
}

/// What a path selects; nothing, as an empty object, where the path is null.
fn project(path: Option<&Path>, field: &str, data: &Data<'_>) -> Result<Value, Failure> {
    match path {
        Some(path) => path.get(field, data),
        None => Ok(Value::Object(Map::new())),
    }
}

/// Puts a result into the input, or drops it where the path is null.
fn put(path: Option<&Reference>, input: Value, result: Value) -> Result<Value, Failure> {
    match path {
        Some(path) => path.place(input, result),
        None => Ok(input),
    }
}

fn fill(template: Option<&Template>, input: Value, context: &Context) -> Result<Value, Failure> {
    match template {
        Some(template) => template.evaluate(&Data { input: &input, context }),
        None => Ok(input),
    }
}

fn prepare(work: &Work, seen: Value, context: &Context) -> Result<Value, Failure> {
    fill(work.parameters.as_ref(), seen, context)
}

/// What a state that worked gives on: its result, shaped and put into its input.
fn finish(work: &Work, input: &Value, result: &Value, context: &Context) -> Result<Value, Failure> {
    let result = fill(work.selector.as_ref(), result.clone(), context)?;
    put(work.result_path.as_ref(), input.clone(), result)
}

fn passed(pass: &Pass, input: &Value, seen: Value, context: &Context) -> Result<Value, Failure> {
    let seen = fill(pass.parameters.as_ref(), seen, context)?;
    put(pass.result_path.as_ref(), input.clone(), pass.result.clone().unwrap_or(seen))
}

fn choose(choice: &Choice, data: &Data<'_>) -> Result<Next, Failure> {
    for (rule, next) in &choice.rules {
        if rule.holds(data)? {
            return Ok(Next::To(next.clone()));
        }
    }
    let default = choice.default.clone().map(Next::To);
    default.ok_or_else(|| Failure::new(names::NO_CHOICE, "no rule holds, and there is no Default"))
}

fn failed(fail: &Fail, data: &Data<'_>) -> Failure {
    let text = |text: &Text| match text {
        Text::Absent => Ok(String::new()),
        Text::Fixed(text) => Ok(text.clone()),
        Text::Computed(field, expression) => match expression.evaluate(field, data)? {
            Value::String(text) => Ok(text),
            _ => Err(Failure::runtime(format!("the field '{field}' gives no string"))),
        },
    };
    match (text(&fail.error), text(&fail.cause)) {
        (Ok(error), Ok(cause)) => Failure { error, cause },
        (Err(failure), _) | (_, Err(failure)) => failure,
    }
}
