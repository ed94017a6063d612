//! A state machine as it runs: only what a strict reading of a definition can make.

use super::choice::Rule;
use super::expression::Expression;
use super::paths::{Path, Reference};
use super::retry::{Catcher, Retrier};
use super::template::Template;
use jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// States, and where they start: a machine, a branch, or what a Map does with an item.
#[derive(Debug)]
pub(super) struct Graph {
    pub(super) start: String,
    pub(super) states: BTreeMap<String, State>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) name: String,
    /// What of the input the state sees; `None` is an empty object.
    pub(super) input_path: Option<Path>,
    /// What of its output the state passes on; `None` is an empty object.
    pub(super) output_path: Option<Path>,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    Task(Task),
    Map(Box<Map>),
    Parallel(Parallel),
    Pass(Pass),
    Choice(Choice),
    Wait(Wait),
    Succeed,
    Fail(Fail),
}

/// Where a state leads.
#[derive(Debug, Clone)]
pub(super) enum Next {
    To(String),
    End,
}

/// What the states that do work have in common.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) parameters: Option<Template>,
    pub(super) selector: Option<Template>,
    pub(super) result_path: Option<Reference>,
    pub(super) retry: Vec<Retrier>,
    pub(super) catch: Vec<Catcher>,
    pub(super) next: Next,
}

#[derive(Debug)]
pub(super) struct Task {
    pub(super) resource: Resource,
    pub(super) timeout: Setting<Duration>,
    pub(super) work: Work,
}

/// What a Task calls.
#[derive(Debug)]
pub(super) enum Resource {
    /// A function, whose answer is wrapped as `Payload`.
    Function(String),
    /// Another service integration.
    Service(String),
}

/// A number that the definition gives, or a path to it in the state's input.
#[derive(Debug)]
pub(super) enum Setting<T> {
    Absent,
    Fixed(T),
    Path(&'static str, Reference),
}

#[derive(Debug)]
pub(super) struct Map {
    pub(super) items: Items,
    pub(super) selector: Option<Template>,
    pub(super) concurrency: Setting<u64>,
    pub(super) mode: Mode,
    pub(super) processor: Arc<Graph>,
    pub(super) work: Work,
}

/// Where a Map's items come from.
#[derive(Debug)]
pub(super) enum Items {
    /// An array in the state's input.
    Path(Reference),
    /// The lines of a JSON Lines object; the template gives `Bucket` and `Key`.
    Lines(Template),
}

#[derive(Debug)]
pub(super) enum Mode {
    /// Iterations are part of the execution.
    Inline,
    /// Iterations are executions of their own.
    Distributed { tolerated_count: Setting<u64>, tolerated_percentage: Setting<f64>, label: String },
}

#[derive(Debug)]
pub(super) struct Parallel {
    pub(super) branches: Vec<Arc<Graph>>,
    pub(super) work: Work,
}

#[derive(Debug)]
pub(super) struct Pass {
    pub(super) result: Option<Value>,
    pub(super) parameters: Option<Template>,
    pub(super) result_path: Option<Reference>,
    pub(super) next: Next,
}

#[derive(Debug)]
pub(super) struct Choice {
    pub(super) rules: Vec<(Rule, String)>,
    pub(super) default: Option<String>,
}

#[derive(Debug)]
pub(super) struct Wait {
    pub(super) until: Until,
    pub(super) next: Next,
}

#[derive(Debug)]
pub(super) enum Until {
    Seconds(u64),
    SecondsPath(Reference),
    Timestamp(Timestamp),
    TimestampPath(Reference),
}

/// A text that the definition gives, or that is computed.
#[derive(Debug)]
pub(super) enum Text {
    Absent,
    Fixed(String),
    Computed(&'static str, Expression),
}

#[derive(Debug)]
pub(super) struct Fail {
    pub(super) error: Text,
    pub(super) cause: Text,
}

impl State {
    pub(super) fn type_name(&self) -> &'static str {
        match &self.kind {
            Kind::Task(_) => "Task",
            Kind::Map(_) => "Map",
            Kind::Parallel(_) => "Parallel",
            Kind::Pass(_) => "Pass",
            Kind::Choice(_) => "Choice",
            Kind::Wait(_) => "Wait",
            Kind::Succeed => "Succeed",
            Kind::Fail(_) => "Fail",
        }
    }

    pub(super) fn work(&self) -> Option<&Work> {
        match &self.kind {
            Kind::Task(task) => Some(&task.work),
            Kind::Map(map) => Some(&map.work),
            Kind::Parallel(parallel) => Some(&parallel.work),
            _ => None,
        }
    }

    /// Every state that may come next, with the field that says so.
    pub(super) fn targets(&self) -> Vec<(String, &str)> {
        let mut targets = Vec::new();
        let next = match &self.kind {
            Kind::Pass(pass) => Some(&pass.next),
            Kind::Wait(wait) => Some(&wait.next),
            _ => self.work().map(|work| &work.next),
        };
        if let Some(Next::To(name)) = next {
            targets.push(("Next".to_owned(), name.as_str()));
        }
        for (at, catcher) in
            self.work().map(|work| work.catch.as_slice()).unwrap_or_default().iter().enumerate()
        {
            targets.push((format!("Catch[{at}].Next"), &catcher.next));
        }
        if let Kind::Choice(choice) = &self.kind {
            for (at, (_, name)) in choice.rules.iter().enumerate() {
                targets.push((format!("Choices[{at}].Next"), name));
            }
            targets.extend(choice.default.iter().map(|name| ("Default".to_owned(), name.as_str())));
        }
        targets
    }

    pub(super) fn is_terminal(&self) -> bool {
        match &self.kind {
            Kind::Succeed | Kind::Fail(_) => true,
            Kind::Pass(pass) => matches!(pass.next, Next::End),
            Kind::Wait(wait) => matches!(wait.next, Next::End),
            _ => self.work().is_some_and(|work| matches!(work.next, Next::End)),
        }
    }

    /// The graphs inside the state.
    pub(super) fn inner(&self) -> Vec<&Arc<Graph>> {
        match &self.kind {
            Kind::Map(map) => vec![&map.processor],
            Kind::Parallel(parallel) => parallel.branches.iter().collect(),
            _ => Vec::new(),
        }
    }
}
