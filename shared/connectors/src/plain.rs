//! Records of both encodings as one kind of tree, in which numbers keep their digits.

use crate::dynamodb::item::read_item;
use crate::dynamodb::number::{Number, same_number};
use crate::dynamodb::plain::{plain_attribute, plain_item};
use crate::jsonl::array_index;
use crate::raw_json::{Members, compact, elements};
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::model::RecordEncoding;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What lies deeper is compared and shown as its text.
const DEEPEST: usize = 100;

/// A value of a record.
#[derive(Debug, Clone)]
pub(crate) enum Plain {
    Null,
    Bool(bool),
    /// As it is written.
    Number(String),
    Text(String),
    /// In base64.
    Binary(String),
    Set(SetKind, Vec<String>),
    List(Vec<Plain>),
    Map(BTreeMap<String, Plain>),
    /// Compact JSON that is not looked into: it is too deep, or a string of it is no Unicode.
    Opaque(String),
}

/// The types of set that DynamoDB has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SetKind {
    Texts,
    Numbers,
    Binaries,
}

/// A set's member such that two are equal if their values are.
type Member<'s> = (Option<Number>, &'s str);

impl Plain {
    /// Reads a record.
    ///
    /// # Errors
    /// `ObjectDamaged` if it is none of the encoding.
    pub(crate) fn record(encoding: RecordEncoding, value: &[u8]) -> Result<Self> {
        match encoding {
            RecordEncoding::Json => std::str::from_utf8(value).ok().and_then(Self::text).ok_or_else(|| {
                Error::new(Code::ObjectDamaged, "a stored record is no JSON text")
                    .hint("verify the backup it comes from")
            }),
            RecordEncoding::DynamodbJson => {
                let item = read_item(value)
                    .map_err(|error| Error { code: Code::ObjectDamaged, ..error })
                    .map_err(|error| error.hint("verify the backup it comes from"))?;
                Ok(plain_item(item))
            }
        }
    }

    /// Reads a JSON text; `None` if it is none.
    pub(crate) fn text(text: &str) -> Option<Self> {
        let raw: &RawValue = serde_json::from_str(text).ok()?;
        Some(Self::valid(raw.get(), 0))
    }

    fn valid(text: &str, depth: usize) -> Self {
        let opaque = || {
            let mut out = Vec::with_capacity(text.len());
            compact(text, &mut out);
            Self::Opaque(String::from_utf8_lossy(&out).into_owned())
        };
        match text.as_bytes().first() {
            Some(b'{' | b'[') if depth >= DEEPEST => opaque(),
            Some(b'{') => serde_json::from_str(text).map_or_else(
                |_| opaque(),
                |Members(members)| {
                    let member = |(name, raw): (String, &RawValue)| (name, Self::valid(raw.get(), depth + 1));
                    // Of a name that stands twice the last counts.
                    Self::Map(members.into_iter().map(member).collect())
                },
            ),
            Some(b'[') => {
                let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
                let inner = inner.unwrap_or_default();
                Self::List(elements(inner).map(|(_, element)| Self::valid(element, depth + 1)).collect())
            }
            Some(b'"') => serde_json::from_str(text).map_or_else(|_| opaque(), Self::Text),
            Some(b't') => Self::Bool(true),
            Some(b'f') => Self::Bool(false),
            Some(b'n') => Self::Null,
            _ => Self::Number(text.to_owned()),
        }
    }

    /// A part of a canonical key.
    fn key_part(encoding: RecordEncoding, part: &str) -> Option<Self> {
        match encoding {
            RecordEncoding::Json => Self::text(part),
            RecordEncoding::DynamodbJson => {
                let mut item = read_item(format!(r#"{{"k":{part}}}"#).as_bytes()).ok()?;
                item.remove("k").map(plain_attribute)
            }
        }
    }

    /// The parts of a canonical key; `None` if it is none.
    pub(crate) fn key(encoding: RecordEncoding, key: &[u8]) -> Option<Vec<Self>> {
        let text = std::str::from_utf8(key).ok()?;
        let raw: &RawValue = serde_json::from_str(text).ok()?;
        let inner = raw.get().strip_prefix('[')?.strip_suffix(']')?;
        elements(inner).map(|(_, part)| Self::key_part(encoding, part)).collect()
    }

    /// Whether two values are of one type.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Set(left, _), Self::Set(right, _)) => left == right,
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }

    /// Whether two values are equal: numbers by value, sets in any order.
    pub(crate) fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(left), Self::Bool(right)) => left == right,
            (Self::Number(left), Self::Number(right)) => same_number(left, right),
            (Self::Text(left), Self::Text(right))
            | (Self::Binary(left), Self::Binary(right))
            | (Self::Opaque(left), Self::Opaque(right)) => left == right,
            (Self::Set(left_kind, left), Self::Set(right_kind, right)) => {
                left_kind == right_kind && sorted(*left_kind, left) == sorted(*right_kind, right)
            }
            (Self::List(left), Self::List(right)) => {
                left.len() == right.len() && left.iter().zip(right).all(|(left, right)| left.same(right))
            }
            (Self::Map(left), Self::Map(right)) => {
                let same =
                    |(name, value): (&String, &Self)| right.get(name).is_some_and(|other| value.same(other));
                left.len() == right.len() && left.iter().all(same)
            }
            _ => false,
        }
    }

    /// Whether the value is what an operator wrote: a string by its text, all else by its JSON form.
    pub(crate) fn is_written(&self, text: &str) -> bool {
        match self {
            Self::Text(value) => value == text,
            Self::Number(value) => same_number(value, text),
            Self::Binary(value) if value == text => true,
            value => Self::text(text).is_some_and(|given| value.shown_as(&given)),
        }
    }

    /// Whether the value's plain form is a given JSON value.
    fn shown_as(&self, given: &Self) -> bool {
        match (self, given) {
            (Self::Binary(value), Self::Map(map)) => {
                map.len() == 1 && matches!(map.get("B"), Some(Self::Text(given)) if given == value)
            }
            (Self::Set(kind, members), Self::List(given)) => {
                let text = |value: &Self| match (kind, value) {
                    (SetKind::Numbers, Self::Number(text))
                    | (SetKind::Texts | SetKind::Binaries, Self::Text(text)) => Some(text.clone()),
                    _ => None,
                };
                let given: Option<Vec<String>> = given.iter().map(text).collect();
                given.is_some_and(|given| sorted(*kind, members) == sorted(*kind, &given))
            }
            (Self::List(values), Self::List(given)) => {
                values.len() == given.len()
                    && values.iter().zip(given).all(|(value, given)| value.shown_as(given))
            }
            (Self::Map(values), Self::Map(given)) => {
                let shown = |(name, value): (&String, &Self)| {
                    given.get(name).is_some_and(|given| value.shown_as(given))
                };
                values.len() == given.len() && values.iter().all(shown)
            }
            (value, given) => value.same(given),
        }
    }

    /// The value below, by the names of a pointer.
    pub(crate) fn at(&self, names: &[String]) -> Option<&Self> {
        names.iter().try_fold(self, |value, name| match value {
            Self::Map(members) => members.get(name),
            Self::List(values) => values.get(array_index(name)?),
            _ => None,
        })
    }

    /// For people: numbers keep their value, or are strings; binary is `{"B": base64}`, sets are arrays.
    pub(crate) fn shown(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => (*value).into(),
            Self::Number(text) => shown_number(text),
            Self::Text(text) | Self::Opaque(text) => text.as_str().into(),
            Self::Binary(text) => json!({ "B": text }),
            Self::Set(SetKind::Numbers, members) => members.iter().map(|text| shown_number(text)).collect(),
            Self::Set(_, members) => members.iter().map(String::as_str).collect(),
            Self::List(values) => values.iter().map(Self::shown).collect(),
            Self::Map(values) => values.iter().map(|(name, value)| (name.clone(), value.shown())).collect(),
        }
    }

    /// With DynamoDB's types, where two values differ in nothing else.
    pub(crate) fn typed(&self) -> Value {
        match self {
            Self::Null => json!({ "NULL": true }),
            Self::Bool(value) => json!({ "BOOL": value }),
            Self::Number(text) => json!({ "N": text }),
            Self::Text(text) | Self::Opaque(text) => json!({ "S": text }),
            Self::Binary(text) => json!({ "B": text }),
            Self::Set(SetKind::Texts, members) => json!({ "SS": members }),
            Self::Set(SetKind::Numbers, members) => json!({ "NS": members }),
            Self::Set(SetKind::Binaries, members) => json!({ "BS": members }),
            Self::List(values) => json!({ "L": values.iter().map(Self::typed).collect::<Vec<_>>() }),
            Self::Map(values) => {
                let typed: serde_json::Map<String, Value> =
                    values.iter().map(|(name, value)| (name.clone(), value.typed())).collect();
                json!({ "M": typed })
            }
        }
    }
}

fn sorted(kind: SetKind, members: &[String]) -> Vec<Member<'_>> {
    let member = |text| match kind {
        SetKind::Numbers => match Number::parse(text) {
            Some(number) => (Some(number), ""),
            None => (None, text),
        },
        SetKind::Texts | SetKind::Binaries => (None, text),
    };
    let mut sorted: Vec<Member<'_>> = members.iter().map(|text| member(text.as_str())).collect();
    sorted.sort_unstable();
    sorted
}

/// A JSON number where one holds the same value, else the text.
fn shown_number(text: &str) -> Value {
    if let Ok(number) = text.parse::<i64>() {
        return number.into();
    }
    if let Ok(number) = text.parse::<u64>() {
        return number.into();
    }
    let exact = |number: &f64| number.is_finite() && same_number(&format!("{number:e}"), text);
    text.parse::<f64>().ok().filter(exact).map_or_else(|| text.into(), Value::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(left: &str, right: &str) -> bool {
        Plain::text(left).unwrap().same(&Plain::text(right).unwrap())
    }

    #[test]
    fn json_is_equal_by_value() {
        for (left, right) in [
            ("1.0", "1"),
            ("1e400", "10e399"),
            (r#"{"a":1,"b":[null]}"#, r#" { "b" : [ null ] , "a" : 1e0 } "#),
            (r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
            (r#""\u0061""#, r#""a""#),
            (r#"["\ud800"]"#, r#"[ "\ud800" ]"#),
        ] {
            assert!(same(left, right), "{left} {right}");
        }
        let longest = "1".repeat(60);
        for (left, right) in
            [("1", "\"1\""), ("[]", "{}"), ("[1]", "[1,1]"), (longest.as_str(), "1e59"), ("null", "false")]
        {
            assert!(!same(left, right), "{left} {right}");
        }
    }

    #[test]
    fn depth_is_no_danger() {
        let deep = format!("{}1.0{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(same(&deep, &deep));
        assert!(!same(&deep, &deep.replace("1.0", "2.0")));
        let mut shown = &Plain::text(&deep).unwrap().shown();
        while let Some(inner) = shown.get(0) {
            shown = inner;
        }
        assert!(shown.as_str().is_some_and(|text| text.starts_with("[[")));
    }

    #[test]
    fn numbers_are_shown_with_all_their_digits() {
        for (text, shown) in [
            ("5", json!(5)),
            ("18446744073709551615", json!(u64::MAX)),
            ("1.50", json!(1.5)),
            ("1e400", json!("1e400")),
            ("0.12345678901234567890123", json!("0.12345678901234567890123")),
            ("123456789012345678901234567890", json!("123456789012345678901234567890")),
        ] {
            assert_eq!(shown_number(text), shown, "{text}");
        }
    }
}
