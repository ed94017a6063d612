//! Reads states out of a definition.

use super::choice::Rule;
use super::definition::{
    Choice, Fail, Graph, Kind, Next, Parallel, Pass, Setting, State, Task, Text, Until, Wait, Work,
};
use super::fields::{Fields, Place};
use super::resources;
use super::retry::{Catcher, Retrier};
use super::time::parse_timestamp;
use holdfast_vault::Result;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

const COMMON: &[&str] = &["Type", "Comment"];
const PATHS: &[&str] = &["InputPath", "OutputPath"];
const NEXT: &[&str] = &["Next", "End"];
pub(super) const WORK: &[&str] = &["ResultSelector", "ResultPath", "Retry", "Catch"];

/// Reads one definition; holds the names that it has met, since they must differ in all of it.
#[derive(Default)]
pub(super) struct Loader {
    names: BTreeSet<String>,
}

impl Loader {
    /// Reads `StartAt` and `States`, and checks that they hang together.
    pub(super) fn graph(&mut self, fields: &mut Fields) -> Result<Graph> {
        let start = fields.required_text("StartAt")?;
        let place = fields.place("States");
        let Value::Object(listed) = fields.require("States")? else {
            return Err(place.error("is no object", "write an object: a name and its state"));
        };
        let mut states = BTreeMap::new();
        for (name, value) in listed {
            let here = place.state(&name);
            if name.is_empty() || name.chars().count() > 80 {
                return Err(here.error("the name is empty or too long", "use 1 to 80 characters"));
            }
            if !self.names.insert(name.clone()) {
                return Err(here.error("the name is used twice in the machine", "rename one of the two"));
            }
            let state = self.state(&here, &name, value)?;
            states.insert(name, state);
        }
        let graph = Graph { start, states };
        graph.check(fields.here())?;
        Ok(graph)
    }

    fn state(&mut self, place: &Place, name: &str, value: Value) -> Result<State> {
        let kind = value.get("Type").and_then(Value::as_str).unwrap_or_default().to_owned();
        let open = |known: &[&[&str]]| Fields::open(place.clone(), value, &[&[COMMON], known].concat());
        let mut fields = match kind.as_str() {
            "Task" => open(&[PATHS, NEXT, WORK, resources::TASK])?,
            "Map" => open(&[PATHS, NEXT, WORK, super::load_map::MAP])?,
            "Parallel" => open(&[PATHS, NEXT, WORK, &["Parameters", "Branches"]])?,
            "Pass" => open(&[PATHS, NEXT, &["Parameters", "Result", "ResultPath"]])?,
            "Wait" => open(&[PATHS, NEXT, &["Seconds", "SecondsPath", "Timestamp", "TimestampPath"]])?,
            "Choice" => open(&[PATHS, &["Choices", "Default"]])?,
            "Succeed" => open(&[PATHS])?,
            "Fail" => open(&[&["Error", "ErrorPath", "Cause", "CausePath"]])?,
            other => {
                let types = "write one of Task, Map, Parallel, Pass, Choice, Wait, Succeed, Fail";
                return Err(place.field("Type").error(format!("'{other}' is no type of state"), types));
            }
        };
        fields.take("Type");
        fields.text("Comment")?;
        let (input_path, output_path) = (fields.projection("InputPath")?, fields.projection("OutputPath")?);
        let kind = match kind.as_str() {
            "Task" => Kind::Task(task(&mut fields)?),
            "Map" => Kind::Map(Box::new(self.map(&mut fields)?)),
            "Parallel" => Kind::Parallel(self.parallel(&mut fields)?),
            "Pass" => Kind::Pass(pass(&mut fields)?),
            "Wait" => Kind::Wait(wait(&mut fields)?),
            "Choice" => Kind::Choice(choice(&mut fields)?),
            "Fail" => Kind::Fail(fail(&mut fields)?),
            _ => Kind::Succeed,
        };
        fields.finish()?;
        Ok(State { name: name.to_owned(), input_path, output_path, kind })
    }

    fn parallel(&mut self, fields: &mut Fields) -> Result<Parallel> {
        let place = fields.place("Branches");
        let listed = fields.array("Branches")?.unwrap_or_default();
        if listed.is_empty() {
            return Err(place.error("is missing or empty", "write at least one branch: {StartAt, States}"));
        }
        let mut branches = Vec::with_capacity(listed.len());
        for (at, value) in listed.into_iter().enumerate() {
            let mut branch = Fields::open(place.index(at), value, &[&["Comment", "StartAt", "States"]])?;
            branch.text("Comment")?;
            branches.push(Arc::new(self.graph(&mut branch)?));
            branch.finish()?;
        }
        Ok(Parallel { branches, work: work(fields)? })
    }
}

/// Reads `Next` or `End`: exactly one of the two.
fn next(fields: &mut Fields) -> Result<Next> {
    match (fields.text("Next")?, fields.take("End")) {
        (Some(name), None) => Ok(Next::To(name)),
        (None, Some(Value::Bool(true))) => Ok(Next::End),
        _ => Err(fields.here().error("leads nowhere", "write either \"Next\": \"a state\" or \"End\": true")),
    }
}

pub(super) fn work(fields: &mut Fields) -> Result<Work> {
    Ok(Work {
        parameters: fields.template("Parameters")?,
        selector: fields.template("ResultSelector")?,
        result_path: fields.result_path()?,
        retry: Retrier::load_list(fields)?,
        catch: Catcher::load_list(fields)?,
        next: next(fields)?,
    })
}

/// Reads a number, or a path to one; not both.
pub(super) fn setting<T>(
    fields: &mut Fields,
    name: &str,
    path: &'static str,
    read: impl FnOnce(&mut Fields) -> Result<Option<T>>,
) -> Result<Setting<T>> {
    match (read(fields)?, fields.reference(path)?) {
        (None, None) => Ok(Setting::Absent),
        (Some(value), None) => Ok(Setting::Fixed(value)),
        (None, Some(reference)) => Ok(Setting::Path(path, reference)),
        (Some(_), Some(_)) => {
            Err(fields.place(path).error(format!("stands beside {name}"), "keep one of the two"))
        }
    }
}

fn task(fields: &mut Fields) -> Result<Task> {
    let place = fields.place("Resource");
    let resource = resources::load(&place, fields.required_text("Resource")?)?;
    let timeout = setting(fields, "TimeoutSeconds", "TimeoutSecondsPath", |f| f.seconds("TimeoutSeconds"))?;
    if let Some(heartbeat) = fields.seconds("HeartbeatSeconds")? {
        let longest =
            if let Setting::Fixed(timeout) = timeout { timeout } else { Duration::from_secs(99_999_999) };
        if heartbeat >= longest {
            let place = fields.place("HeartbeatSeconds");
            return Err(place.error("is not less than TimeoutSeconds", "write a smaller number"));
        }
    }
    let work = work(fields)?;
    resources::check(fields.here(), &resource, work.parameters.as_ref())?;
    Ok(Task { resource, timeout, work })
}

fn pass(fields: &mut Fields) -> Result<Pass> {
    let result = fields.take("Result");
    let parameters = fields.template("Parameters")?;
    Ok(Pass { result, parameters, result_path: fields.result_path()?, next: next(fields)? })
}

fn wait(fields: &mut Fields) -> Result<Wait> {
    let seconds = fields.integer("Seconds", 0..=99_999_999)?.map(Until::Seconds);
    let seconds_path = fields.reference("SecondsPath")?.map(Until::SecondsPath);
    let timestamp = match fields.text("Timestamp")? {
        None => None,
        Some(text) => Some(Until::Timestamp(parse_timestamp(&text).ok_or_else(|| {
            let place = fields.place("Timestamp");
            place.error(format!("'{text}' is no time"), "write RFC 3339, such as \"2026-01-31T12:00:00Z\"")
        })?)),
    };
    let timestamp_path = fields.reference("TimestampPath")?.map(Until::TimestampPath);
    let mut given = [seconds, seconds_path, timestamp, timestamp_path].into_iter().flatten();
    let (Some(until), None) = (given.next(), given.next()) else {
        let hint = "write exactly one of Seconds, SecondsPath, Timestamp, TimestampPath";
        return Err(fields.here().error("does not say how long to wait", hint));
    };
    Ok(Wait { until, next: next(fields)? })
}

fn choice(fields: &mut Fields) -> Result<Choice> {
    let place = fields.place("Choices");
    let listed = fields.array("Choices")?.unwrap_or_default();
    if listed.is_empty() {
        return Err(place.error("is missing or empty", "write at least one rule with a Next"));
    }
    let mut rules = Vec::with_capacity(listed.len());
    for (at, mut value) in listed.into_iter().enumerate() {
        let here = place.index(at);
        let next = value.as_object_mut().and_then(|map| map.remove("Next"));
        let Some(Value::String(next)) = next else {
            return Err(here.field("Next").error("is missing or no string", "name the state to go to"));
        };
        rules.push((Rule::load(&here, value)?, next));
    }
    Ok(Choice { rules, default: fields.text("Default")? })
}

fn fail(fields: &mut Fields) -> Result<Fail> {
    Ok(Fail { error: text(fields, "Error", "ErrorPath")?, cause: text(fields, "Cause", "CausePath")? })
}

fn text(fields: &mut Fields, name: &str, path: &'static str) -> Result<Text> {
    match (fields.text(name)?, fields.expression(path)?) {
        (None, None) => Ok(Text::Absent),
        (Some(text), None) => Ok(Text::Fixed(text)),
        (None, Some(expression)) => Ok(Text::Computed(path, expression)),
        (Some(_), Some(_)) => {
            Err(fields.place(path).error(format!("stands beside {name}"), "keep one of the two"))
        }
    }
}
