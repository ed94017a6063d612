//! The context object (`$$`), and what paths are evaluated against.

use super::failure::Failure;
use super::ports::Time;
use super::time::format_timestamp;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// One execution, or one child of a distributed Map, which counts as an execution of its own.
#[derive(Debug)]
pub(super) struct ExecutionInfo {
    pub(super) machine: Arc<str>,
    pub(super) name: String,
    pub(super) input: Value,
    pub(super) started: Timestamp,
    history: AtomicU64,
}

impl ExecutionInfo {
    pub(super) fn new(machine: Arc<str>, name: String, input: Value, started: Timestamp) -> Self {
        Self { machine, name, input, started, history: AtomicU64::new(1) }
    }

    /// Adds events to the history, which may not grow without end.
    pub(super) fn record(&self, events: u64, limit: u64) -> Result<(), Failure> {
        let before = self.history.fetch_add(events, Ordering::Relaxed);
        if before + events > limit {
            return Err(Failure::runtime(format!("the execution's history has reached {limit} events")));
        }
        Ok(())
    }
}

/// The item that an iteration works on.
#[derive(Debug)]
pub(super) struct MapItem {
    pub(super) index: usize,
    pub(super) value: Value,
}

/// What `$$` shows to one attempt of one state.
pub(super) struct Context {
    pub(super) execution: Arc<ExecutionInfo>,
    pub(super) time: Arc<dyn Time>,
    pub(super) state: String,
    pub(super) entered: Timestamp,
    pub(super) retries: u64,
    pub(super) item: Option<Arc<MapItem>>,
    pub(super) object: OnceLock<Value>,
}

impl Context {
    /// The context object, made on first use: most states do not look at it.
    pub(super) fn object(&self) -> &Value {
        self.object.get_or_init(|| {
            let execution = &self.execution;
            let arn = |kind: &str, rest: &str| format!("arn:aws:states:local:000000000000:{kind}:{rest}");
            let mut object = json!({
                "Execution": {
                    "Id": arn("execution", &format!("{}:{}", execution.machine, execution.name)),
                    "Input": execution.input,
                    "Name": execution.name,
                    "StartTime": format_timestamp(execution.started),
                },
                "State": {
                    "EnteredTime": format_timestamp(self.entered),
                    "Name": self.state,
                    "RetryCount": self.retries,
                },
                "StateMachine": {
                    "Id": arn("stateMachine", &execution.machine),
                    "Name": &*execution.machine,
                },
            });
            if let Some(item) = &self.item {
                object["Map"] = json!({ "Item": { "Index": item.index, "Value": item.value } });
            }
            object
        })
    }

    /// The same state, looking at one item of its map.
    pub(super) fn with_item(&self, item: Arc<MapItem>) -> Self {
        Self {
            execution: Arc::clone(&self.execution),
            time: Arc::clone(&self.time),
            state: self.state.clone(),
            item: Some(item),
            object: OnceLock::new(),
            ..*self
        }
    }

    pub(super) fn random(&self) -> u64 {
        self.time.random()
    }
}

/// What a path can point into.
pub(super) struct Data<'a> {
    pub(super) input: &'a Value,
    pub(super) context: &'a Context,
}
