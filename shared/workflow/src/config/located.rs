//! YAML whose every value knows its place, so that a fault found late can still point at it.

use holdfast_vault::error::{Code, Error, Result};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, forward_to_deserialize_any};
use serde_saphyr::Spanned;
use std::fmt;

/// A line and a column, counted from 1.
type Place = (u64, u64);

/// A YAML document and the name of its file.
#[derive(Debug)]
pub(super) struct Document {
    file: String,
    text: String,
    root: Node,
}

#[derive(Debug)]
struct Node {
    at: Place,
    value: Value,
}

#[derive(Debug)]
enum Value {
    Null,
    Bool(bool),
    Integer(i64),
    Unsigned(u64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

#[derive(Debug)]
struct Key {
    at: Place,
    name: String,
}

impl Document {
    pub(super) fn read(text: &str, file: &str) -> Result<Self> {
        match serde_saphyr::from_str::<Node>(text) {
            Ok(root) => Ok(Self { file: file.to_owned(), text: text.to_owned(), root }),
            Err(error) => {
                let place = error.location().map(|at| format!(":{}:{}", at.line(), at.column()));
                let said = error.without_snippet().to_string();
                let why = said.lines().next().unwrap_or_default();
                Err(Error::new(
                    Code::InvalidInput,
                    format!("{file}{}: this is not readable YAML: {why}", place.unwrap_or_default()),
                )
                .object(file)
                .hint("the file is `resources:` and a list of resources, each with a name and a source"))
            }
        }
    }

    /// Decodes the document. Where that fails the error names the field and its place.
    pub(super) fn decode<T: DeserializeOwned>(&self) -> Result<T> {
        T::deserialize(&self.root).map_err(|fault| {
            let at = fault.at.unwrap_or(self.root.at);
            let mut error = self.fault_at(at, &fault.path(), &fault.message);
            error.hint = fault.hint;
            error
        })
    }

    /// An error about a field, by its path: `resources[0].source.path`.
    pub(super) fn fault(&self, path: &str, message: impl fmt::Display) -> Error {
        self.fault_at(self.find(path).at, path, &message.to_string())
    }

    fn fault_at(&self, (line, column): Place, path: &str, message: &str) -> Error {
        let field = if path.is_empty() { String::new() } else { format!("{path}: ") };
        let error =
            Error::new(Code::InvalidInput, format!("{}:{line}:{column}: {field}{message}", self.file));
        error.object(if path.is_empty() { self.file.as_str() } else { path })
    }

    /// An error about a number at a path or below that was read as something else than what is written.
    pub(super) fn inexact_number(&self, path: &str) -> Option<Error> {
        let mut left = vec![self.find(path)];
        while let Some(node) = left.pop() {
            match &node.value {
                Value::List(items) => left.extend(items),
                Value::Map(entries) => left.extend(entries.iter().map(|(_, node)| node)),
                Value::Float(_) | Value::Text(_) if !self.is_exact(node) => {
                    let text = "this number cannot be kept as it is written";
                    return Some(self.fault_at(node.at, path, text));
                }
                _ => {}
            }
        }
        None
    }

    /// Whether a double has the digits that are written, and a text is not a number that was too long for one.
    fn is_exact(&self, node: &Node) -> bool {
        let (line, column) = (usize::try_from(node.at.0).ok(), usize::try_from(node.at.1).ok());
        let line = line.and_then(|line| self.text.lines().nth(line.saturating_sub(1))).unwrap_or_default();
        let in_number = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '+' | '-');
        let skipped = column.unwrap_or(1).saturating_sub(1);
        let written: String = line.chars().skip(skipped).take_while(in_number).collect();
        let digits = |text: &str| {
            let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
            let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
            digits.trim_matches('0').to_owned()
        };
        match &node.value {
            Value::Float(value) => {
                // Job state keeps it as JSON, whose reader may miss the nearest double by one.
                let kept = serde_json::to_string(value).and_then(|text| serde_json::from_str::<f64>(&text));
                kept.is_ok_and(|kept| kept.to_bits() == value.to_bits())
                    && digits(&format!("{value:e}")) == digits(&written)
            }
            Value::Text(text) => {
                let number = serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok()
                    && text.starts_with(|c: char| c == '-' || c.is_ascii_digit());
                *text != written || !number
            }
            _ => true,
        }
    }

    /// The value at a path, or the deepest one above it that is there.
    fn find(&self, path: &str) -> &Node {
        let mut node = &self.root;
        for segment in path.split(['.', '[']).filter(|segment| !segment.is_empty()) {
            let next = match &node.value {
                Value::Map(entries) => {
                    entries.iter().find(|(key, _)| key.name == segment).map(|(_, node)| node)
                }
                Value::List(items) => {
                    segment.trim_end_matches(']').parse().ok().and_then(|at: usize| items.get(at))
                }
                _ => None,
            };
            let Some(next) = next else { break };
            node = next;
        }
        node
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(from)?;
        Ok(Self { at: (spanned.referenced.line(), spanned.referenced.column()), value: spanned.value })
    }
}

impl Value {
    fn found(&self) -> de::Unexpected<'_> {
        match self {
            Self::Null => de::Unexpected::Unit,
            Self::Bool(value) => de::Unexpected::Bool(*value),
            Self::Integer(value) => de::Unexpected::Signed(*value),
            Self::Unsigned(value) => de::Unexpected::Unsigned(*value),
            Self::Float(value) => de::Unexpected::Float(*value),
            Self::Text(value) => de::Unexpected::Str(value),
            Self::List(_) => de::Unexpected::Seq,
            Self::Map(_) => de::Unexpected::Map,
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct AnyValue;

        impl<'de> Visitor<'de> for AnyValue {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a YAML value")
            }

            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }

            fn visit_none<E>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }

            fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
                Value::deserialize(from)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
                Ok(Value::Bool(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
                Ok(Value::Integer(value))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
                Ok(Value::Unsigned(value))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
                Ok(Value::Float(value))
            }

            fn visit_str<E>(self, value: &str) -> Result<Value, E> {
                Ok(Value::Text(value.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Value, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(seq)).map(Value::List)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(key) = map.next_key::<Spanned<String>>()? {
                    let at = (key.referenced.line(), key.referenced.column());
                    entries.push((Key { at, name: key.value }, map.next_value()?));
                }
                Ok(Value::Map(entries))
            }
        }

        from.deserialize_any(AnyValue)
    }
}

/// Why a document cannot be decoded: what is wrong, in which field, and where.
#[derive(Debug)]
pub(super) struct Fault {
    kind: Kind,
    message: String,
    hint: Option<String>,
    /// From the inside out.
    segments: Vec<String>,
    at: Option<Place>,
}

/// What the faults have to say that is looked into once their place is known.
#[derive(Debug, PartialEq)]
enum Kind {
    UnknownField(String),
    UnknownVariant(String),
    MissingField(&'static str),
    /// With what was found.
    WrongValue(String),
    Other,
}

impl Fault {
    fn new(kind: Kind, message: String) -> Self {
        Self { kind, message, hint: None, segments: Vec::new(), at: None }
    }

    fn path(&self) -> String {
        let path: String = self.segments.iter().rev().map(String::as_str).collect();
        path.trim_start_matches('.').to_owned()
    }

    /// The first time on its way out that a fault passes a value, it is told the place within that value.
    fn within(mut self, node: &Node) -> Self {
        if self.at.is_some() {
            return self;
        }
        self.at = Some(node.at);
        let Value::Map(entries) = &node.value else { return self };
        match &self.kind {
            Kind::UnknownField(name) => {
                if let Some((key, _)) = entries.iter().find(|(key, _)| key.name == *name) {
                    self.at = Some(key.at);
                }
            }
            Kind::UnknownVariant(text) => {
                let holds = |node: &Node| matches!(&node.value, Value::Text(value) if value == text);
                if let Some((key, value)) = entries.iter().find(|(_, node)| holds(node)) {
                    self.at = Some(value.at);
                    self.segments.push(format!(".{}", key.name));
                }
            }
            Kind::MissingField(name) => {
                let known = [*name];
                let meant = entries.iter().find(|(key, _)| nearest(&key.name, &known).is_some());
                if let Some((key, _)) = meant.filter(|(key, _)| key.name != *name) {
                    self.at = Some(key.at);
                    self.message = unknown("field", &key.name, &known);
                }
            }
            Kind::WrongValue(found) => {
                // A tagged value is buffered before it is decoded: what was found tells its field, if only one holds it.
                let mut holding = entries.iter().filter(|(_, node)| node.value.found().to_string() == *found);
                if let (Some((key, value)), None) = (holding.next(), holding.next()) {
                    self.at = Some(value.at);
                    self.segments.push(format!(".{}", key.name));
                }
            }
            Kind::Other => {}
        }
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(Kind::Other, message.to_string())
    }

    fn invalid_type(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::new(Kind::WrongValue(found.to_string()), format!("{found} stands where {expected} belongs"))
    }

    fn invalid_value(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn unknown_field(field: &str, known: &'static [&'static str]) -> Self {
        let fault = Self::new(Kind::UnknownField(field.to_owned()), unknown("field", field, known));
        Self { hint: Some(format!("known fields are {}", known.join(", "))), ..fault }
    }

    fn unknown_variant(variant: &str, known: &'static [&'static str]) -> Self {
        let fault = Self::new(Kind::UnknownVariant(variant.to_owned()), unknown("value", variant, known));
        Self { hint: Some(format!("known values are {}", known.join(", "))), ..fault }
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(Kind::MissingField(field), format!("the field {field:?} is missing"))
    }
}

fn unknown(what: &str, name: &str, known: &[&str]) -> String {
    match nearest(name, known) {
        Some(near) => format!("unknown {what} {name:?}, did you mean {near:?}?"),
        None => format!("unknown {what} {name:?}"),
    }
}

/// The known name that is most like this one, if any is like it.
fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let likeness = |known: &str| strsim::damerau_levenshtein(&name.to_lowercase(), known);
    let best = known.iter().min_by_key(|known| likeness(known))?;
    (likeness(best) <= best.len().max(name.len()).div_ceil(3)).then_some(*best)
}

impl<'de> Deserializer<'de> for &'de Node {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Integer(value) => visitor.visit_i64(*value),
            Value::Unsigned(value) => visitor.visit_u64(*value),
            Value::Float(value) => visitor.visit_f64(*value),
            Value::Text(value) => visitor.visit_borrowed_str(value),
            Value::List(items) => visitor.visit_seq(Items { items, next: 0 }),
            Value::Map(entries) => visitor.visit_map(Entries { entries, next: 0 }),
        }
        .map_err(|fault| fault.within(self))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if matches!(self.value, Value::Null) { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match &self.value {
            Value::Text(text) => {
                visitor.visit_enum(IntoDeserializer::<Fault>::into_deserializer(text.as_str()))
            }
            Value::Map(entries) => MapAccessDeserializer::new(Entries { entries, next: 0 })
                .deserialize_enum(name, variants, visitor),
            _ => return self.deserialize_any(visitor),
        }
        .map_err(|fault| fault.within(self))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

struct Items<'de> {
    items: &'de [Node],
    next: usize,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let Some(node) = self.items.get(self.next) else { return Ok(None) };
        let at = self.next;
        self.next += 1;
        seed.deserialize(node).map(Some).map_err(|fault| {
            let mut fault = fault.within(node);
            fault.segments.push(format!("[{at}]"));
            fault
        })
    }
}

struct Entries<'de> {
    entries: &'de [(Key, Node)],
    next: usize,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        let Some((key, _)) = self.entries.get(self.next) else { return Ok(None) };
        self.next += 1;
        seed.deserialize(IntoDeserializer::<Fault>::into_deserializer(key.name.as_str())).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Fault> {
        let Some((key, node)) = self.next.checked_sub(1).and_then(|at| self.entries.get(at)) else {
            return Err(de::Error::custom("a value was asked for before its name"));
        };
        seed.deserialize(node).map_err(|fault| {
            let mut fault = fault.within(node);
            fault.segments.push(format!(".{}", key.name));
            fault
        })
    }
}
