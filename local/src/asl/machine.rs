//! The state machine: loading a definition, and what it needs of its surroundings.

use super::definition::{Graph, Kind, Resource};
use super::fields::{Fields, Place};
use super::json;
use super::load::Loader;
use holdfast_vault::Result;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A definition that has been read and checked, ready to run.
#[derive(Debug, Clone)]
pub struct StateMachine {
    pub(super) name: Arc<str>,
    pub(super) graph: Arc<Graph>,
    pub(super) timeout: Option<Duration>,
}

/// A Task of a machine, for checks that everything it calls exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskReference {
    /// The state's name.
    pub state: String,
    /// What it calls.
    pub resource: String,
    /// The function's name, where a function is called by a name that is not computed.
    pub function: Option<String>,
}

impl StateMachine {
    /// Reads a definition, with its `${Name}` placeholders filled.
    ///
    /// # Errors
    /// `InvalidInput`, naming the state and the field: a placeholder without a value, a field or a value that is not
    /// known or not supported, a target that does not exist, a state that is never reached.
    pub fn load(name: &str, text: &str, substitutions: &BTreeMap<String, String>) -> Result<Self> {
        let value = json::parse(name, &json::substitute(name, text, substitutions)?)?;
        let known = ["Comment", "QueryLanguage", "StartAt", "States", "TimeoutSeconds", "Version"];
        let mut fields = Fields::open(Place::machine(name), value, &[&known])?;
        fields.text("Comment")?;
        for (field, only) in [("QueryLanguage", "JSONPath"), ("Version", "1.0")] {
            if let Some(other) = fields.text(field)?.filter(|value| value != only) {
                return Err(fields.place(field).error(format!("is '{other}'"), format!("write \"{only}\"")));
            }
        }
        let timeout = fields.seconds("TimeoutSeconds")?;
        let graph = Loader::default().graph(&mut fields)?;
        fields.finish()?;
        Ok(Self { name: name.into(), graph: Arc::new(graph), timeout })
    }

    /// The name that it was loaded under.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Every Task, those inside of Map and Parallel states too.
    #[must_use]
    pub fn tasks(&self) -> Vec<TaskReference> {
        let mut tasks = Vec::new();
        let mut graphs = vec![&self.graph];
        while let Some(graph) = graphs.pop() {
            for state in graph.states.values() {
                graphs.extend(state.inner());
                let Kind::Task(task) = &state.kind else { continue };
                let (resource, function) = match &task.resource {
                    Resource::Function(resource) => {
                        let name = task.work.parameters.as_ref().and_then(|p| p.fixed_text("FunctionName"));
                        (resource, name.map(str::to_owned))
                    }
                    Resource::Service(resource) => (resource, None),
                };
                tasks.push(TaskReference { state: state.name.clone(), resource: resource.clone(), function });
            }
        }
        tasks
    }
}
