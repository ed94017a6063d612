//! Runs state machines: executions, their time limit, and stopping them.

use super::context::ExecutionInfo;
use super::failure::{Failure, Halt};
use super::flow::Flow;
use super::machine::StateMachine;
use super::names;
use super::outcome::ExecutionOutcome;
use super::ports::{Event, Happening, Ports};
use super::scope::Scope;
use serde_json::Value;
use std::sync::{Arc, OnceLock};
use tokio::task::JoinHandle;

/// The limits that an interpreter holds its executions to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How many children of one Map run at the same time at most, whatever its `MaxConcurrency` says.
    pub max_concurrency: usize,
    /// The most bytes of a state's input or output.
    pub data_limit: usize,
    /// The most events of one execution's history, counted as the service counts them.
    pub history_limit: u64,
}

impl Default for Options {
    /// The service's limits, and eight children at a time.
    fn default() -> Self {
        Self { max_concurrency: 8, data_limit: 262_144, history_limit: 25_000 }
    }
}

/// What all executions of an interpreter share.
pub(super) struct Engine {
    pub(super) ports: Ports,
    pub(super) options: Options,
}

/// Runs state machines.
#[derive(Clone)]
pub struct Interpreter {
    engine: Arc<Engine>,
}

/// Stops an execution.
#[derive(Debug, Clone)]
pub struct Stopper {
    scope: Arc<Scope>,
    reason: Arc<OnceLock<Failure>>,
}

impl Stopper {
    fn new() -> Self {
        Self { scope: Scope::new(), reason: Arc::default() }
    }

    /// Ends the execution as aborted, with what it is doing dropped at its next await. The first reason counts; an
    /// execution that has ended stays as it is.
    pub fn stop(&self, error: impl Into<String>, cause: impl Into<String>) {
        // Losing to an earlier call is fine: its reason stands.
        let _ = self.reason.set(Failure::new(error, cause));
        self.scope.stop();
    }

    fn aborted(&self) -> ExecutionOutcome {
        let reason = self.reason.get().cloned().unwrap_or_else(|| Failure::new("", ""));
        ExecutionOutcome::Aborted { error: reason.error, cause: reason.cause }
    }
}

/// An execution that runs by itself; it goes on when this is dropped.
#[derive(Debug)]
pub struct Execution {
    stopper: Stopper,
    task: JoinHandle<ExecutionOutcome>,
}

impl Execution {
    /// A handle that stops the execution.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Ends the execution as aborted; see [`Stopper::stop`].
    pub fn stop(&self, error: impl Into<String>, cause: impl Into<String>) {
        self.stopper.stop(error, cause);
    }

    /// Waits for the end.
    pub async fn outcome(self) -> ExecutionOutcome {
        self.task.await.unwrap_or_else(|_| Failure::runtime("the process is shutting down").into())
    }
}

impl Interpreter {
    /// An interpreter over these ports.
    #[must_use]
    pub fn new(ports: Ports, options: Options) -> Self {
        Self { engine: Arc::new(Engine { ports, options }) }
    }

    /// Runs a machine to its end. Dropping the future drops what the execution is doing.
    pub async fn run(&self, machine: &StateMachine, name: &str, input: Value) -> ExecutionOutcome {
        self.execute(machine, name, input, &Stopper::new()).await
    }

    /// Starts a machine on the current tokio runtime.
    #[must_use]
    pub fn start(&self, machine: &StateMachine, name: &str, input: Value) -> Execution {
        let stopper = Stopper::new();
        let (interpreter, machine, name, handle) =
            (self.clone(), machine.clone(), name.to_owned(), stopper.clone());
        let task = tokio::spawn(async move { interpreter.execute(&machine, &name, input, &handle).await });
        Execution { stopper, task }
    }

    async fn execute(
        &self,
        machine: &StateMachine,
        name: &str,
        input: Value,
        stopper: &Stopper,
    ) -> ExecutionOutcome {
        let ports = &self.engine.ports;
        let observe = async |what: Happening<'_>| {
            let at = ports.time.now();
            ports
                .observer
                .observe(&Event { execution: name, machine: machine.name(), place: "", at, what })
                .await;
        };
        observe(Happening::ExecutionStarted { input: &input }).await;
        let info =
            ExecutionInfo::new(Arc::clone(&machine.name), name.to_owned(), input.clone(), ports.time.now());
        let flow = Flow::new(Arc::clone(&self.engine), Arc::new(info), Arc::clone(&stopper.scope));
        let outcome = match self.limited(flow, machine, input).await {
            Some(Ok(output)) => ExecutionOutcome::Succeeded { output },
            Some(Err(Halt::Failed(failure))) => failure.into(),
            Some(Err(Halt::Stopped)) => stopper.aborted(),
            None => ExecutionOutcome::TimedOut,
        };
        observe(Happening::ExecutionEnded { outcome: &outcome }).await;
        outcome
    }

    /// Runs the machine's states within its time limit; `None` when that is over.
    async fn limited(&self, flow: Flow, machine: &StateMachine, input: Value) -> Option<Result<Value, Halt>> {
        let scope = Arc::clone(&flow.scope);
        let mut work = flow.run(Arc::clone(&machine.graph), input);
        let Some(limit) = machine.timeout else { return Some(work.await) };
        let end = self.engine.ports.time.sleep(limit);
        tokio::select! {
            biased;
            result = &mut work => return Some(result),
            () = end => {}
        }
        // Children end before the execution does, so that nothing runs on behind its back.
        scope.stop();
        let _ = work.await;
        None
    }
}

impl Engine {
    /// Fails data that is larger than the service takes.
    pub(super) fn check_size(&self, what: &str, value: &Value) -> Result<(), Failure> {
        self.check_bytes(what, super::json::size(value))
    }

    pub(super) fn check_bytes(&self, what: &str, bytes: usize) -> Result<(), Failure> {
        let limit = self.options.data_limit;
        if bytes <= limit {
            return Ok(());
        }
        Err(Failure::new(names::DATA_LIMIT, format!("{what} has {bytes} bytes; at most {limit} are allowed")))
    }
}
