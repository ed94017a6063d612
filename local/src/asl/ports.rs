//! What the interpreter asks of the world around it.

use super::failure::Failure;
use super::outcome::ExecutionOutcome;
use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// What Task states call.
#[async_trait]
pub trait Tasks: Send + Sync {
    /// Calls a resource with the state's effective parameters and gives its result.
    ///
    /// For `arn:aws:states:::lambda:invoke` the parameters hold `FunctionName` and `Payload`, and the result is the
    /// function's own answer: the interpreter wraps it as the service does. The future may be dropped before it ends,
    /// when the state times out or the execution is stopped.
    ///
    /// # Errors
    /// A failure whose error name `ErrorEquals` matches.
    async fn call(&self, resource: &str, parameters: Value) -> Result<Value, Failure>;
}

/// The objects that an `ItemReader` reads.
#[async_trait]
pub trait Objects: Send + Sync {
    /// Some bytes of an object from `offset` on, as many as suits; none at its end.
    ///
    /// # Errors
    /// A failure that says why; the state fails with `States.ItemReaderFailed` and this cause.
    async fn read(&self, bucket: &str, key: &str, offset: u64) -> Result<Vec<u8>, Failure>;
}

/// The clock, and chance.
#[async_trait]
pub trait Time: Send + Sync {
    /// The time now.
    fn now(&self) -> Timestamp;

    /// Ends after so long.
    async fn sleep(&self, duration: Duration);

    /// 64 random bits, for jitter and for the intrinsics that need chance.
    fn random(&self) -> u64;
}

/// Is told what happens, for progress and for a journal.
#[async_trait]
pub trait Observer: Send + Sync {
    /// Called before the execution goes on; of concurrent children, concurrently.
    async fn observe(&self, event: &Event<'_>);
}

/// Observes nothing.
#[async_trait]
impl Observer for () {
    async fn observe(&self, _event: &Event<'_>) {}
}

/// One thing that happened in an execution.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// The execution's name. Children of a distributed Map tell their parent's.
    pub execution: &'a str,
    /// The state machine's name.
    pub machine: &'a str,
    /// Which iteration or branch, such as `Process[3]/`; empty outside of them.
    pub place: &'a str,
    /// When.
    pub at: Timestamp,
    /// What.
    pub what: Happening<'a>,
}

/// The kinds of events.
#[derive(Debug, Clone, Copy)]
pub enum Happening<'a> {
    /// The execution begins; nothing has run yet.
    ExecutionStarted {
        /// Its input.
        input: &'a Value,
    },
    /// A state begins.
    StateEntered {
        /// Its name.
        state: &'a str,
        /// Its type, such as `Task`.
        kind: &'static str,
        /// Its input.
        input: &'a Value,
    },
    /// A state failed and will be tried again.
    StateRetried {
        /// Its name.
        state: &'a str,
        /// Why it failed.
        failure: &'a Failure,
        /// The number of the next retry, from 1.
        retry: u64,
        /// How long it waits before.
        delay: Duration,
    },
    /// A state failed and a catcher took over.
    StateCaught {
        /// Its name.
        state: &'a str,
        /// Why it failed.
        failure: &'a Failure,
        /// Where it goes on.
        next: &'a str,
    },
    /// A state ended well, or was caught.
    StateExited {
        /// Its name.
        state: &'a str,
        /// Its output.
        output: &'a Value,
    },
    /// The execution ended; the last event.
    ExecutionEnded {
        /// How.
        outcome: &'a ExecutionOutcome,
    },
}

/// Everything that the interpreter asks of the world.
#[derive(Clone)]
pub struct Ports {
    /// What Task states call.
    pub tasks: Arc<dyn Tasks>,
    /// What `ItemReader`s read.
    pub objects: Arc<dyn Objects>,
    /// The clock, and chance.
    pub time: Arc<dyn Time>,
    /// Who is told.
    pub observer: Arc<dyn Observer>,
}
