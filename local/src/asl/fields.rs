//! Reads the fields of a definition, knowing where it is, so that every error names state and field.

use super::expression::Expression;
use super::json;
use super::paths::{Path, Reference};
use super::template::Template;
use holdfast_vault::{Code, Error, Result};
use serde_json::{Map, Value};
use std::ops::RangeInclusive;
use std::time::Duration;

/// Where in a definition something stands.
#[derive(Debug, Clone)]
pub(super) struct Place {
    machine: String,
    state: Option<String>,
    field: String,
    /// Whether a map's item is known here: in an `ItemSelector` and in the states of an inline Map.
    pub(super) map_item: bool,
}

impl Place {
    pub(super) fn machine(name: &str) -> Self {
        Self { machine: name.to_owned(), state: None, field: String::new(), map_item: false }
    }

    pub(super) fn state(&self, name: &str) -> Self {
        Self { state: Some(name.to_owned()), field: String::new(), ..self.clone() }
    }

    pub(super) fn field(&self, name: &str) -> Self {
        let field = if self.field.is_empty() { name.to_owned() } else { format!("{}.{name}", self.field) };
        Self { field, ..self.clone() }
    }

    pub(super) fn index(&self, index: usize) -> Self {
        Self { field: format!("{}[{index}]", self.field), ..self.clone() }
    }

    pub(super) fn with_map_item(&self, map_item: bool) -> Self {
        Self { map_item, ..self.clone() }
    }

    /// The field alone.
    pub(super) fn label(&self) -> String {
        self.field.clone()
    }

    /// An error about this place: what is wrong, and what would be right.
    pub(super) fn error(&self, problem: impl AsRef<str>, hint: impl Into<String>) -> Error {
        let state = self.state.as_ref().map(|state| format!(", state \"{state}\"")).unwrap_or_default();
        let field = if self.field.is_empty() { String::new() } else { format!(", field \"{}\"", self.field) };
        let message = format!("state machine {}{state}{field}: {}", self.machine, problem.as_ref());
        let object = self.state.clone().unwrap_or_else(|| self.machine.clone());
        Error::new(Code::InvalidInput, message).object(object).hint(hint)
    }

    /// Reads a path that stands here.
    pub(super) fn path(&self, text: &str) -> Result<Path> {
        let path = Path::parse(text).map_err(|(problem, hint)| self.error(problem, hint))?;
        if path.needs_map_item() && !self.map_item {
            return Err(self.error(
                format!("'{text}' has no map item here"),
                "$$.Map.Item is known in an ItemSelector and in the states of an inline Map only",
            ));
        }
        Ok(path)
    }
}

/// The fields of one JSON object of a definition.
pub(super) struct Fields {
    place: Place,
    map: Map<String, Value>,
}

impl Fields {
    /// Opens an object that may hold the known fields and no others.
    pub(super) fn open(place: Place, value: Value, known: &[&[&str]]) -> Result<Self> {
        let Value::Object(map) = value else {
            return Err(place.error(format!("is {}", json::kind(&value)), "write an object"));
        };
        let known = known.concat();
        for name in map.keys() {
            if !known.contains(&name.as_str()) {
                return Err(place.field(name).error("is not known here", hint(name, &known)));
            }
        }
        Ok(Self { place, map })
    }

    pub(super) fn place(&self, name: &str) -> Place {
        self.place.field(name)
    }

    pub(super) fn here(&self) -> &Place {
        &self.place
    }

    /// The same fields, seen from another place.
    pub(super) fn within(self, place: Place) -> Self {
        Self { place, ..self }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.map.contains_key(name)
    }

    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.map.remove(name)
    }

    pub(super) fn require(&mut self, name: &str) -> Result<Value> {
        self.take(name).ok_or_else(|| self.place(name).error("is missing", format!("add {name}")))
    }

    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong(name, &other, "write a string")),
        }
    }

    pub(super) fn required_text(&mut self, name: &str) -> Result<String> {
        let value = self.require(name)?;
        match value {
            Value::String(text) => Ok(text),
            other => Err(self.wrong(name, &other, "write a string")),
        }
    }

    pub(super) fn array(&mut self, name: &str) -> Result<Option<Vec<Value>>> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Array(values)) => Ok(Some(values)),
            Some(other) => Err(self.wrong(name, &other, "write an array")),
        }
    }

    pub(super) fn integer(&mut self, name: &str, range: RangeInclusive<u64>) -> Result<Option<u64>> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let fits = value.as_u64().filter(|n| range.contains(n));
        let hint = format!("write a whole number from {} to {}", range.start(), range.end());
        fits.map(Some).ok_or_else(|| self.place(name).error(format!("is {value}"), hint))
    }

    pub(super) fn seconds(&mut self, name: &str) -> Result<Option<Duration>> {
        Ok(self.integer(name, 1..=99_999_999)?.map(Duration::from_secs))
    }

    /// A path, or `None` in the place of a path that is null.
    pub(super) fn projection(&mut self, name: &str) -> Result<Option<Path>> {
        match self.take(name) {
            Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => self.place(name).path(&text).map(Some),
            Some(other) => Err(self.wrong(name, &other, "write a path like \"$.a\", or null")),
            None => Ok(Some(Path::root())),
        }
    }

    pub(super) fn path(&mut self, name: &str) -> Result<Option<Path>> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        self.place(name).path(&text).map(Some)
    }

    /// A path that names exactly one node.
    pub(super) fn reference(&mut self, name: &str) -> Result<Option<Reference>> {
        let Some(path) = self.path(name)? else { return Ok(None) };
        self.as_reference(name, path).map(Some)
    }

    /// Where a result goes: `$` if not given, nowhere if null.
    pub(super) fn result_path(&mut self) -> Result<Option<Reference>> {
        let name = "ResultPath";
        let Some(path) = self.projection(name)? else { return Ok(None) };
        if path.is_context() {
            return Err(self
                .place(name)
                .error("the context object cannot be written", "write a path like \"$.a\""));
        }
        self.as_reference(name, path).map(Some)
    }

    fn as_reference(&self, name: &str, path: Path) -> Result<Reference> {
        Reference::new(path).ok_or_else(|| {
            self.place(name).error("names more than one node", "use names and indexes only: \"$.a.b[0]\"")
        })
    }

    pub(super) fn template(&mut self, name: &str) -> Result<Option<Template>> {
        let Some(value) = self.take(name) else { return Ok(None) };
        Template::load(&self.place(name), value).map(Some)
    }

    /// A path or an intrinsic function.
    pub(super) fn expression(&mut self, name: &str) -> Result<Option<Expression>> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        Expression::parse(&self.place(name), &text).map(Some)
    }

    fn wrong(&self, name: &str, value: &Value, hint: &str) -> Error {
        self.place(name).error(format!("is {}", json::kind(value)), hint)
    }

    /// Refuses fields that were allowed and then not read.
    pub(super) fn finish(self) -> Result<()> {
        match self.map.keys().next() {
            None => Ok(()),
            Some(name) => Err(self.place.field(name).error("does not fit the other fields", "remove it")),
        }
    }
}

fn hint(name: &str, known: &[&str]) -> String {
    let advice = match name {
        "Assign" | "Output" | "Arguments" | "Condition" | "Items" => {
            Some("variables and JSONata are not supported: use the JSONPath fields")
        }
        "Iterator" => Some("write ItemProcessor"),
        "Parameters" if known.contains(&"ItemSelector") => Some("write ItemSelector"),
        "ItemBatcher" => Some("let what writes the items group them"),
        "ResultWriter" => Some("let the children keep their results"),
        "Credentials" => Some("roles of other accounts are not supported"),
        _ => None,
    };
    let listed = known.iter().filter(|known| **known != "Comment").copied().collect::<Vec<_>>().join(", ");
    match advice {
        Some(advice) => format!("{advice}; known here: {listed}"),
        None => format!("known here: {listed}"),
    }
}
