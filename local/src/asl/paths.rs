//! `JSONPath` as state machines use it: names, indexes, wildcards and slices. Filters, unions and `..` are refused.

use super::context::Data;
use super::failure::Failure;
use super::names;
use serde_json::Value;

/// A path into a state's input (`$`) or into the context object (`$$`).
#[derive(Debug, Clone)]
pub(super) struct Path {
    text: String,
    context: bool,
    steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Name(String),
    Index(usize),
    Every,
    Slice(Option<i64>, Option<i64>),
}

/// What is wrong with a path, and what would be right.
type Problem = (String, &'static str);

/// What the context object holds, two names deep.
const CONTEXT: &[(&str, &[&str])] = &[
    ("Execution", &["Id", "Input", "Name", "StartTime"]),
    ("State", &["EnteredTime", "Name", "RetryCount"]),
    ("StateMachine", &["Id", "Name"]),
    ("Map", &["Item"]),
];

impl Path {
    pub(super) fn root() -> Self {
        Self { text: "$".to_owned(), context: false, steps: Vec::new() }
    }

    pub(super) fn parse(text: &str) -> Result<Self, Problem> {
        let wrong = |problem: &str, hint| (format!("'{text}' {problem}"), hint);
        let Some(rest) = text.strip_prefix('$') else {
            return Err(wrong("is no path", "a path begins with $"));
        };
        let (context, mut rest) = match rest.strip_prefix('$') {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let (step, after) = step(rest).map_err(|hint| wrong("is no supported path", hint))?;
            steps.push(step);
            rest = after;
        }
        let path = Self { text: text.to_owned(), context, steps };
        if !path.context_known() {
            return Err(wrong(
                "is not in the context object",
                "known: Execution.Id, .Input, .Name, .StartTime; State.EnteredTime, .Name, .RetryCount; \
                 StateMachine.Id, .Name; Map.Item.Index, .Value",
            ));
        }
        Ok(path)
    }

    fn context_known(&self) -> bool {
        if !self.context {
            return true;
        }
        let inner = |first: &str| CONTEXT.iter().find(|(known, _)| *known == first).map(|(_, inner)| *inner);
        match self.steps.as_slice() {
            [] => true,
            [Step::Name(first)] => inner(first).is_some(),
            [Step::Name(first), Step::Name(second), rest @ ..] => {
                let known = inner(first).is_some_and(|inner| inner.contains(&second.as_str()));
                let item = match rest.first() {
                    None => true,
                    Some(Step::Name(third)) => ["Index", "Value"].contains(&third.as_str()),
                    Some(_) => false,
                };
                known && (second != "Item" || item)
            }
            _ => false,
        }
    }

    pub(super) fn is_context(&self) -> bool {
        self.context
    }

    pub(super) fn needs_map_item(&self) -> bool {
        self.context && self.steps.first() == Some(&Step::Name("Map".to_owned()))
    }

    /// What the path selects: one node, or, where a wildcard or a slice is in it, an array of the matching nodes.
    pub(super) fn select(&self, data: &Data<'_>) -> Option<Value> {
        let root = if self.context { data.context.object() } else { data.input };
        let mut nodes = vec![root];
        for step in &self.steps {
            nodes = nodes.into_iter().flat_map(|node| step.select(node)).collect();
        }
        if self.names_one() {
            return nodes.first().map(|node| (*node).clone());
        }
        Some(Value::Array(nodes.into_iter().cloned().collect()))
    }

    /// Like `select`; selecting nothing is a failure that says so.
    pub(super) fn get(&self, field: &str, data: &Data<'_>) -> Result<Value, Failure> {
        self.select(data).ok_or_else(|| {
            Failure::runtime(format!("the path '{}' of the field '{field}' is not in the input", self.text))
        })
    }

    fn names_one(&self) -> bool {
        self.steps.iter().all(|step| matches!(step, Step::Name(_) | Step::Index(_)))
    }
}

impl Step {
    fn select<'a>(&self, node: &'a Value) -> Vec<&'a Value> {
        match (self, node) {
            (Self::Name(name), Value::Object(map)) => map.get(name).into_iter().collect(),
            (Self::Index(index), Value::Array(values)) => values.get(*index).into_iter().collect(),
            (Self::Every, Value::Object(map)) => map.values().collect(),
            (Self::Every, Value::Array(values)) => values.iter().collect(),
            (Self::Slice(from, to), Value::Array(values)) => {
                let from = bound(from.unwrap_or(0), values.len());
                let to = to.map_or(values.len(), |to| bound(to, values.len()));
                values.get(from..to).into_iter().flatten().collect()
            }
            _ => Vec::new(),
        }
    }
}

/// A slice's bound as an index: negative ones count from the end.
fn bound(at: i64, len: usize) -> usize {
    let magnitude = usize::try_from(at.unsigned_abs()).unwrap_or(usize::MAX);
    if at < 0 { len.saturating_sub(magnitude) } else { magnitude.min(len) }
}

fn step(rest: &str) -> Result<(Step, &str), &'static str> {
    if rest.starts_with("..") {
        return Err("'..' is not supported: name each step");
    }
    if let Some(after) = rest.strip_prefix(".*") {
        return Ok((Step::Every, after));
    }
    if let Some(after) = rest.strip_prefix('.') {
        let end = after.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-')).unwrap_or(after.len());
        let (name, after) = after.split_at(end);
        if name.is_empty() {
            return Err("a name of letters, digits, '_' and '-' follows a dot; write others as ['name']");
        }
        if after.starts_with('(') {
            return Err(
                "functions are not supported in paths: use an intrinsic function such as States.ArrayLength",
            );
        }
        return Ok((Step::Name(name.to_owned()), after));
    }
    if let Some(after) = rest.strip_prefix("['") {
        return quoted(after);
    }
    if let Some(after) = rest.strip_prefix('[') {
        let (inside, after) = after.split_once(']').ok_or("'[' needs ']'")?;
        return Ok((bracket(inside)?, after));
    }
    Err("after $ come .name, ['name'], [0], [*] or [0:2]")
}

fn quoted(text: &str) -> Result<(Step, &str), &'static str> {
    let mut name = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => name.push(chars.next().ok_or("a character follows '\\'")?.1),
            '\'' => {
                let after = text[at + 1..]
                    .strip_prefix(']')
                    .ok_or("['name'] holds one name: unions are not supported")?;
                return Ok((Step::Name(name), after));
            }
            c => name.push(c),
        }
    }
    Err("['name'] needs its closing quote")
}

fn bracket(inside: &str) -> Result<Step, &'static str> {
    if inside == "*" {
        return Ok(Step::Every);
    }
    if inside.starts_with('?') {
        return Err("filters are not supported: select in the code that is called");
    }
    if inside.contains(',') {
        return Err("unions are not supported: select one by one");
    }
    if let Some((from, to)) = inside.split_once(':') {
        let number = |text: &str| match text {
            "" => Ok(None),
            text => text.parse::<i64>().map(Some).map_err(|_| "a slice is [from:to]"),
        };
        return Ok(Step::Slice(number(from)?, number(to)?));
    }
    let digits = !inside.is_empty() && inside.bytes().all(|b| b.is_ascii_digit());
    let index = if digits { inside.parse().ok() } else { None };
    index.map(Step::Index).ok_or("an index is a number from 0: [0]")
}

/// A path of names and indexes, which selects, and can place, one node.
#[derive(Debug, Clone)]
pub(super) struct Reference(Path);

impl Reference {
    pub(super) fn new(path: Path) -> Option<Self> {
        path.names_one().then_some(Self(path))
    }

    pub(super) fn get(&self, field: &str, data: &Data<'_>) -> Result<Value, Failure> {
        self.0.get(field, data)
    }

    /// Puts `value` where the path points, making the objects on the way there.
    pub(super) fn place(&self, root: Value, value: Value) -> Result<Value, Failure> {
        let mut root = root;
        let mut node = &mut root;
        let mut fresh = false;
        for step in &self.0.steps {
            if fresh {
                *node = Value::Object(serde_json::Map::new());
            }
            node = match (step, node) {
                (Step::Name(name), Value::Object(map)) => {
                    fresh = !map.contains_key(name);
                    map.entry(name.clone()).or_insert(Value::Null)
                }
                (Step::Index(index), Value::Array(values)) if *index < values.len() && !fresh => {
                    &mut values[*index]
                }
                _ => return Err(self.unplaceable()),
            };
        }
        *node = value;
        Ok(root)
    }

    fn unplaceable(&self) -> Failure {
        Failure::new(names::RESULT_PATH, format!("the input has no room for a result at '{}'", self.0.text))
    }
}
