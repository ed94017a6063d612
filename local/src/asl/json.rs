//! JSON as definitions and limits need it: placeholders filled, no key twice, sizes in bytes.

use holdfast_vault::{Code, Error, Result};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt;
use std::io;

/// Fills every `${Name}` of a definition as a deployment's `DefinitionSubstitutions` do.
pub(super) fn substitute(machine: &str, text: &str, values: &BTreeMap<String, String>) -> Result<String> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        filled.push_str(before);
        let name = after.split_once('}').map(|(name, _)| name).filter(|name| is_name(name));
        let Some(name) = name else {
            return Err(invalid(machine, "has a '${' that opens no placeholder")
                .hint("write ${Name}: letters, digits and ':_-.' between braces"));
        };
        let Some(value) = values.get(name) else {
            return Err(invalid(machine, format!("has a placeholder ${{{name}}} without a value"))
                .object(name)
                .hint("add it to the DefinitionSubstitutions, or remove the placeholder"));
        };
        let quoted = Value::String(value.clone()).to_string();
        filled.push_str(&quoted[1..quoted.len() - 1]);
        rest = &after[name.len() + 1..];
    }
    filled.push_str(rest);
    Ok(filled)
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || ":_-.".contains(c))
}

fn invalid(machine: &str, problem: impl fmt::Display) -> Error {
    Error::new(Code::InvalidInput, format!("state machine {machine} {problem}")).object(machine)
}

/// Parses a definition. A key that stands twice in one object is an error: one of the two would be lost.
pub(super) fn parse(machine: &str, text: &str) -> Result<Value> {
    let mut input = serde_json::Deserializer::from_str(text);
    let parsed = Strict.deserialize(&mut input).and_then(|value| input.end().map(|()| value));
    parsed.map_err(|e| invalid(machine, format!("is not valid JSON: {e}")).hint("correct the definition"))
}

struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = seq.next_element_seed(Strict)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(Strict)?;
            if map.contains_key(&key) {
                return Err(serde::de::Error::custom(format!(
                    "the key \"{key}\" stands twice in one object"
                )));
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

/// The bytes that a value takes as compact JSON, which is what the limits count.
pub(super) fn size(value: &Value) -> usize {
    struct Count(usize);
    impl io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // Neither a Value nor a counter can fail to be written.
    let _ = serde_json::to_writer(&mut count, value);
    count.0
}

/// What kind of value it is, for messages that must not show the value.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
