//! A world of its own for a test: a clock that jumps, scripted functions, objects in memory, a journal.

use crate::asl::{
    Event, ExecutionOutcome, Failure, Happening, Interpreter, Objects, Observer, Options, Ports,
    StateMachine, Tasks, Time,
};
use async_trait::async_trait;
use futures::future::BoxFuture;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::oneshot;

type Answer = Result<Value, Failure>;
type Handler = Arc<dyn Fn(Value, Arc<World>) -> BoxFuture<'static, Answer> + Send + Sync>;

pub(super) const START: &str = "2026-01-02T03:04:05Z";
pub(super) const LAMBDA: &str = "arn:aws:states:::lambda:invoke";

pub(super) struct World {
    now: Mutex<Timestamp>,
    sleepers: Mutex<Vec<(Timestamp, oneshot::Sender<()>)>>,
    pub(super) slept: Mutex<Vec<Duration>>,
    activity: AtomicU64,
    pub(super) random: AtomicU64,
    handlers: Mutex<BTreeMap<String, Handler>>,
    pub(super) calls: Mutex<Vec<(String, Value)>>,
    pub(super) objects: Mutex<BTreeMap<String, Vec<u8>>>,
    pub(super) journal: Mutex<Vec<String>>,
}

impl World {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            now: Mutex::new(START.parse().unwrap()),
            sleepers: Mutex::default(),
            slept: Mutex::default(),
            activity: AtomicU64::new(0),
            random: AtomicU64::new(0),
            handlers: Mutex::default(),
            calls: Mutex::default(),
            objects: Mutex::default(),
            journal: Mutex::default(),
        })
    }

    /// Answers calls of a function, or of a resource that is no function.
    pub(super) fn on(self: &Arc<Self>, name: &str, answer: impl Fn(Value) -> Answer + Send + Sync + 'static) {
        self.on_async(name, move |payload, _| {
            let answer = answer(payload);
            Box::pin(async move { answer })
        });
    }

    pub(super) fn on_async(
        self: &Arc<Self>,
        name: &str,
        answer: impl Fn(Value, Arc<World>) -> BoxFuture<'static, Answer> + Send + Sync + 'static,
    ) {
        self.handlers.lock().unwrap().insert(name.to_owned(), Arc::new(answer));
    }

    /// Answers calls of a function with one result after another.
    pub(super) fn on_each(self: &Arc<Self>, name: &str, answers: Vec<Answer>) {
        let answers = Mutex::new(answers.into_iter());
        self.on(name, move |_| answers.lock().unwrap().next().expect("no further call was expected"));
    }

    pub(super) fn put(&self, key: &str, body: &str) {
        self.objects.lock().unwrap().insert(key.to_owned(), body.as_bytes().to_vec());
    }

    pub(super) fn interpreter(self: &Arc<Self>, options: Options) -> Interpreter {
        let port = Port(Arc::clone(self));
        let ports = Ports {
            tasks: Arc::new(port.clone()),
            objects: Arc::new(port.clone()),
            time: Arc::new(port.clone()),
            observer: Arc::new(port),
        };
        Interpreter::new(ports, options)
    }

    /// Loads and runs a definition, with time jumping ahead whenever nothing else is left to do.
    pub(super) fn run(self: &Arc<Self>, definition: &Value, input: Value) -> ExecutionOutcome {
        self.run_with(Options::default(), definition, input)
    }

    pub(super) fn run_with(
        self: &Arc<Self>,
        options: Options,
        definition: &Value,
        input: Value,
    ) -> ExecutionOutcome {
        let machine = load(definition);
        self.block_on(self.interpreter(options).run(&machine, "e1", input))
    }

    pub(super) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            tokio::pin!(work);
            loop {
                tokio::select! {
                    biased;
                    done = &mut work => return done,
                    () = self.advance() => {}
                }
            }
        })
    }

    /// Once nobody has asked the world for anything for a while, wakes who sleeps shortest.
    async fn advance(&self) {
        let (mut seen, mut quiet) = (0, 0);
        while quiet < 200 {
            tokio::task::yield_now().await;
            let activity = self.activity.load(Ordering::SeqCst);
            quiet = if activity == seen { quiet + 1 } else { 0 };
            seen = activity;
        }
        let mut sleepers = self.sleepers.lock().unwrap();
        sleepers.retain(|(_, wake)| !wake.is_closed());
        let next = (0..sleepers.len()).min_by_key(|at| sleepers[*at].0);
        let (until, wake) =
            sleepers.remove(next.expect("the execution hangs: nobody sleeps and nobody works"));
        let mut now = self.now.lock().unwrap();
        *now = until.max(*now);
        let _ = wake.send(());
    }

    pub(super) fn elapsed(&self) -> Duration {
        let start: Timestamp = START.parse().unwrap();
        Duration::try_from(self.now.lock().unwrap().duration_since(start)).unwrap()
    }

    pub(super) async fn sleep(&self, duration: Duration) {
        self.stir();
        let (wake, woken) = oneshot::channel();
        let until = *self.now.lock().unwrap() + duration;
        self.sleepers.lock().unwrap().push((until, wake));
        let _ = woken.await;
        self.stir();
    }

    fn stir(&self) {
        self.activity.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn called(&self) -> Vec<String> {
        self.calls.lock().unwrap().iter().map(|(name, _)| name.clone()).collect()
    }

    pub(super) fn slept_seconds(&self) -> Vec<f64> {
        self.slept.lock().unwrap().iter().map(Duration::as_secs_f64).collect()
    }
}

#[derive(Clone)]
struct Port(Arc<World>);

#[async_trait]
impl Tasks for Port {
    async fn call(&self, resource: &str, parameters: Value) -> Answer {
        self.0.stir();
        let (name, payload) = if resource == LAMBDA {
            (parameters["FunctionName"].as_str().unwrap().to_owned(), parameters["Payload"].clone())
        } else {
            (resource.to_owned(), parameters)
        };
        self.0.calls.lock().unwrap().push((name.clone(), payload.clone()));
        let handler = self.0.handlers.lock().unwrap().get(&name).cloned();
        let handler = handler.unwrap_or_else(|| panic!("no function {name}"));
        let answer = handler(payload, Arc::clone(&self.0)).await;
        self.0.stir();
        answer
    }
}

#[async_trait]
impl Objects for Port {
    async fn read(&self, bucket: &str, key: &str, offset: u64) -> Result<Vec<u8>, Failure> {
        self.0.stir();
        let objects = self.0.objects.lock().unwrap();
        let body = objects.get(&format!("{bucket}/{key}"));
        let body = body.ok_or_else(|| Failure::new("ObjectMissing", "there is no such object"))?;
        // Short reads, so that lines run across them.
        let rest = &body[usize::try_from(offset).unwrap().min(body.len())..];
        Ok(rest[..rest.len().min(7)].to_vec())
    }
}

#[async_trait]
impl Time for Port {
    fn now(&self) -> Timestamp {
        *self.0.now.lock().unwrap()
    }

    async fn sleep(&self, duration: Duration) {
        self.0.slept.lock().unwrap().push(duration);
        self.0.sleep(duration).await;
    }

    fn random(&self) -> u64 {
        self.0.random.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Observer for Port {
    async fn observe(&self, event: &Event<'_>) {
        self.0.stir();
        let place = event.place;
        let line = match event.what {
            Happening::ExecutionStarted { .. } => format!("start {}/{}", event.machine, event.execution),
            Happening::StateEntered { state, kind, .. } => format!("enter {place}{state} {kind}"),
            Happening::StateRetried { state, failure, retry, delay } => {
                format!("retry {place}{state} {retry} after {} in {}s", failure.error, delay.as_secs())
            }
            Happening::StateCaught { state, failure, next } => {
                format!("catch {place}{state} {} to {next}", failure.error)
            }
            Happening::StateExited { state, .. } => format!("exit {place}{state}"),
            Happening::ExecutionEnded { outcome } => format!("end {}", outcome_name(outcome)),
        };
        self.0.journal.lock().unwrap().push(line);
    }
}

fn outcome_name(outcome: &ExecutionOutcome) -> &str {
    match outcome {
        ExecutionOutcome::Succeeded { .. } => "succeeded",
        ExecutionOutcome::Failed { error, .. } => error,
        ExecutionOutcome::TimedOut => "timed out",
        ExecutionOutcome::Aborted { .. } => "aborted",
    }
}

pub(super) fn load(definition: &Value) -> StateMachine {
    StateMachine::load("m", &definition.to_string(), &BTreeMap::new()).unwrap()
}

/// A machine of these states; the first one named starts.
pub(super) fn machine(start: &str, states: Value) -> Value {
    json!({ "StartAt": start, "States": states })
}

/// A machine of one state that ends, named "S".
pub(super) fn single(mut state: Value) -> Value {
    if !["Succeed", "Fail", "Choice"].contains(&state["Type"].as_str().unwrap_or_default()) {
        state["End"] = json!(true);
    }
    machine("S", json!({ "S": state }))
}

/// A Task that calls a function with its whole input and gives the bare answer.
pub(super) fn function(name: &str) -> Value {
    json!({
        "Type": "Task",
        "Resource": LAMBDA,
        "Parameters": { "FunctionName": name, "Payload.$": "$" },
        "ResultSelector": { "answer.$": "$.Payload" },
        "End": true,
    })
}

/// A value with some of its fields replaced or added.
pub(super) fn with(mut value: Value, fields: Value) -> Value {
    let Value::Object(fields) = fields else { panic!("fields are an object") };
    value.as_object_mut().unwrap().extend(fields);
    value
}

pub(super) fn without(mut value: Value, field: &str) -> Value {
    value.as_object_mut().unwrap().remove(field);
    value
}

#[track_caller]
pub(super) fn succeeded(outcome: ExecutionOutcome) -> Value {
    match outcome {
        ExecutionOutcome::Succeeded { output } => output,
        other => panic!("did not succeed: {other:?}"),
    }
}

#[track_caller]
pub(super) fn failed(outcome: ExecutionOutcome) -> (String, String) {
    match outcome {
        ExecutionOutcome::Failed { error, cause } => (error, cause),
        other => panic!("did not fail: {other:?}"),
    }
}

pub(super) fn failure<T>(error: &str) -> Result<T, Failure> {
    Err(Failure::new(error, "because"))
}
