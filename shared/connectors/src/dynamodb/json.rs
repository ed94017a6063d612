//! JSON documents as items: how a record of another source becomes one of a table.

use super::item::Item;
use super::number::Number;
use super::schema::KeyPart;
use crate::raw_json::Members;
use aws_sdk_dynamodb::types::AttributeValue;
use serde::de::Deserialize;
use serde_json::value::RawValue;
use std::fmt;

/// DynamoDB's bound on maps and lists inside each other.
const DEEPEST: usize = 32;

/// Why a document cannot be an item. Holds no value of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// It is no JSON text, or has a name twice.
    Broken,
    /// It is no JSON object.
    NoObject,
    /// A number has more than 38 significant digits, or is too large or too small.
    Number,
    /// Maps and lists lie too deep in each other.
    Deep,
    /// A part of the key is absent, or of another type than the table's.
    Key(String),
    /// A number that is part of the key can be written in another way too: two records would become one item.
    KeyNumber(String),
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken => f.write_str("is no JSON text without doubled names"),
            Self::NoObject => f.write_str("is no JSON object"),
            Self::Number => f.write_str("has a number beyond DynamoDB's 38 digits or its range"),
            Self::Deep => f.write_str("is nested deeper than DynamoDB's 32 levels"),
            Self::Key(name) => write!(f, "has no {name} of the type that the table's key has"),
            Self::KeyNumber(name) => write!(f, "has a number as {name} that is not in its plain form"),
        }
    }
}

/// The item that holds what a JSON object holds: text, numbers as they are written, truth values, null, maps, lists.
pub(crate) fn item_of_json(document: &[u8], key: &[KeyPart]) -> Result<Item, Unfit> {
    let raw: &RawValue = serde_json::from_slice(document).map_err(|_| Unfit::Broken)?;
    let AttributeValue::M(item) = value(raw, 0)? else { return Err(Unfit::NoObject) };
    for part in key {
        match (part.kind.as_str(), item.get(&part.name)) {
            ("S", Some(AttributeValue::S(_))) => {}
            ("N", Some(AttributeValue::N(text))) => {
                if !Number::parse(text).is_some_and(|number| number.is_plain(text)) {
                    return Err(Unfit::KeyNumber(part.name.clone()));
                }
            }
            _ => return Err(Unfit::Key(part.name.clone())),
        }
    }
    Ok(item)
}

fn value(raw: &RawValue, depth: usize) -> Result<AttributeValue, Unfit> {
    let text = raw.get();
    if depth > DEEPEST {
        return Err(Unfit::Deep);
    }
    Ok(match text.as_bytes().first() {
        Some(b'{') => {
            let Members(members) = parse(text)?;
            let mut map = Item::with_capacity(members.len());
            for (name, member) in members {
                if map.insert(name, value(member, depth + 1)?).is_some() {
                    return Err(Unfit::Broken);
                }
            }
            AttributeValue::M(map)
        }
        Some(b'[') => {
            let members: Vec<&RawValue> = parse(text)?;
            AttributeValue::L(
                members.into_iter().map(|member| value(member, depth + 1)).collect::<Result<_, _>>()?,
            )
        }
        Some(b'"') => AttributeValue::S(parse(text)?),
        Some(b't' | b'f') => AttributeValue::Bool(parse(text)?),
        Some(b'n') => AttributeValue::Null(true),
        _ => {
            if !Number::parse(text).ok_or(Unfit::Broken)?.fits() {
                return Err(Unfit::Number);
            }
            AttributeValue::N(text.to_owned())
        }
    })
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Unfit> {
    serde_json::from_str(text).map_err(|_| Unfit::Broken)
}

#[cfg(test)]
mod tests {
    use super::{Unfit, item_of_json};
    use crate::dynamodb::item::write_item;
    use crate::dynamodb::schema::KeyPart;

    fn convert(document: &str, kind: &str) -> Result<String, Unfit> {
        let key = [KeyPart { name: "id".to_owned(), kind: kind.to_owned() }];
        let item = item_of_json(document.as_bytes(), &key)?;
        let mut out = Vec::new();
        write_item(&mut out, &item).unwrap();
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn json_becomes_typed_attributes() {
        assert_eq!(
            convert(r#"{"id": "a", "n": -1.50e2, "l": [true, null, {"x": ""}], "e": {}}"#, "S").unwrap(),
            r#"{"e":{"M":{}},"id":{"S":"a"},"l":{"L":[{"BOOL":true},{"NULL":true},{"M":{"x":{"S":""}}}]},"n":{"N":"-1.50e2"}}"#
        );
        assert!(convert(r#"{"id": 5}"#, "N").is_ok());
    }

    #[test]
    fn what_a_table_cannot_hold_is_refused() {
        let id = || "id".to_owned();
        let digits = format!(r#"{{"id":"a","n":{}}}"#, "1".repeat(39));
        let deep = format!(r#"{{"id":"a","d":{}{}}}"#, "[".repeat(33), "]".repeat(33));
        for (document, kind, why) in [
            ("nothing", "S", Unfit::Broken),
            (r#"{"id":"a","id":"b"}"#, "S", Unfit::Broken),
            (r#"["id"]"#, "S", Unfit::NoObject),
            (digits.as_str(), "S", Unfit::Number),
            (deep.as_str(), "S", Unfit::Deep),
            (r#"{"x":"a"}"#, "S", Unfit::Key(id())),
            (r#"{"id":5}"#, "S", Unfit::Key(id())),
            (r#"{"id":"5"}"#, "N", Unfit::Key(id())),
            (r#"{"id":5.0}"#, "N", Unfit::KeyNumber(id())),
        ] {
            assert_eq!(convert(document, kind).unwrap_err(), why, "{document}");
        }
    }
}
