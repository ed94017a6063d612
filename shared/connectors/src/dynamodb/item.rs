//! DynamoDB items as bytes: the canonical form that is backed up, written and read without a tree in between.

use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_vault::error::{Code, Error, Result};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use std::collections::HashMap;
use std::fmt;

/// An item as the SDK has it.
pub(crate) type Item = HashMap<String, AttributeValue>;

/// Writes an item in canonical DynamoDB JSON: attribute names and members of sets in byte order (of their UTF-8, of
/// the numbers' text, of the bytes themselves), numbers as they are, binary in standard base64, no white space.
///
/// # Errors
/// `SourceInvalid` for a type that this version of DynamoDB's API does not have.
pub(crate) fn write_item(out: &mut Vec<u8>, item: &Item) -> Result<()> {
    let mut names: Vec<(&String, &AttributeValue)> = item.iter().collect();
    names.sort_unstable_by_key(|(name, _)| name.as_bytes());
    out.push(b'{');
    for (index, (name, value)) in names.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_text(out, name);
        out.push(b':');
        write_value(out, value)?;
    }
    out.push(b'}');
    Ok(())
}

/// Writes the canonical bytes of an item's key: the compact array of the key attributes' typed values.
///
/// # Errors
/// `SourceInvalid` if the item lacks one of them.
pub(crate) fn write_key<'a>(
    out: &mut Vec<u8>,
    item: &Item,
    names: impl IntoIterator<Item = &'a String>,
) -> Result<()> {
    out.push(b'[');
    for (index, name) in names.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        let value = item.get(name).ok_or_else(|| {
            Error::new(Code::SourceInvalid, format!("an item has no key attribute {name}"))
                .object(name.clone())
        })?;
        write_value(out, value)?;
    }
    out.push(b']');
    Ok(())
}

fn write_value(out: &mut Vec<u8>, value: &AttributeValue) -> Result<()> {
    match value {
        AttributeValue::S(text) => tagged(out, "S", |out| write_text(out, text)),
        AttributeValue::N(number) => tagged(out, "N", |out| write_text(out, number)),
        AttributeValue::B(bytes) => tagged(out, "B", |out| write_binary(out, bytes.as_ref())),
        AttributeValue::Bool(true) => out.extend_from_slice(br#"{"BOOL":true}"#),
        AttributeValue::Bool(false) => out.extend_from_slice(br#"{"BOOL":false}"#),
        AttributeValue::Null(_) => out.extend_from_slice(br#"{"NULL":true}"#),
        AttributeValue::Ss(members) => write_set(out, "SS", members, |out, text| write_text(out, text)),
        AttributeValue::Ns(members) => write_set(out, "NS", members, |out, number| write_text(out, number)),
        AttributeValue::Bs(members) => {
            write_set(out, "BS", members, |out, bytes| write_binary(out, bytes.as_ref()));
        }
        AttributeValue::M(members) => {
            out.extend_from_slice(br#"{"M":"#);
            write_item(out, members)?;
            out.push(b'}');
        }
        AttributeValue::L(members) => {
            out.extend_from_slice(br#"{"L":["#);
            for (index, member) in members.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_value(out, member)?;
            }
            out.extend_from_slice(b"]}");
        }
        _ => {
            return Err(Error::new(
                Code::SourceInvalid,
                "an item has an attribute of a type unknown to this version",
            )
            .hint("use a newer version of holdfast"));
        }
    }
    Ok(())
}

fn tagged(out: &mut Vec<u8>, tag: &str, write: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(b"{\"");
    out.extend_from_slice(tag.as_bytes());
    out.extend_from_slice(b"\":");
    write(out);
    out.push(b'}');
}

fn write_set<M: AsRef<[u8]>>(out: &mut Vec<u8>, tag: &str, members: &[M], write: impl Fn(&mut Vec<u8>, &M)) {
    let mut sorted: Vec<&M> = members.iter().collect();
    sorted.sort_unstable_by(|left, right| left.as_ref().cmp(right.as_ref()));
    tagged(out, tag, |out| {
        out.push(b'[');
        for (index, member) in sorted.into_iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            write(out, member);
        }
        out.push(b']');
    });
}

fn write_binary(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    out.extend_from_slice(STANDARD.encode(bytes).as_bytes());
    out.push(b'"');
}

/// The bytes that `serde_json` writes for a string: the shortest escapes, and all that is not ASCII as it is.
fn write_text(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let bytes = text.as_bytes();
    let mut copied = 0;
    out.push(b'"');
    for (at, byte) in bytes.iter().enumerate() {
        let short = match byte {
            b'"' | b'\\' => *byte,
            0x08 => b'b',
            0x09 => b't',
            0x0a => b'n',
            0x0c => b'f',
            0x0d => b'r',
            0x00..0x20 => b'u',
            _ => continue,
        };
        out.extend_from_slice(&bytes[copied..at]);
        out.extend_from_slice(&[b'\\', short]);
        if short == b'u' {
            out.extend_from_slice(&[b'0', b'0', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
        copied = at + 1;
    }
    out.extend_from_slice(&bytes[copied..]);
    out.push(b'"');
}

/// Reads DynamoDB JSON, strictly: one known type a value, base64 without slips, no attribute twice.
///
/// # Errors
/// `Internal`: it was written by [`write_item`] and proved since.
pub(crate) fn read_item(bytes: &[u8]) -> Result<Item> {
    // The parser's message says where and what, and quotes no value but a type's name.
    serde_json::from_slice::<Attributes>(bytes).map(|attributes| attributes.0).map_err(|error| {
        Error::new(
            Code::Internal,
            format!("a record is no DynamoDB JSON: {:?} at column {}", error.classify(), error.column()),
        )
    })
}

/// Reads what [`write_key`] wrote: the key attributes, by their names.
///
/// # Errors
/// `Internal` if it is no key of so many parts.
pub(crate) fn read_key(bytes: &[u8], names: &[String]) -> Result<Item> {
    let parts: Vec<Attribute> = serde_json::from_slice(bytes).unwrap_or_default();
    if parts.len() != names.len() {
        return Err(Error::new(Code::Internal, "a record's key is not one of its table"));
    }
    Ok(names.iter().cloned().zip(parts.into_iter().map(|part| part.0)).collect())
}

struct Attributes(Item);

impl<'de> Deserialize<'de> for Attributes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = Attributes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of attributes")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Attributes, A::Error> {
                let mut item = Item::new();
                while let Some((name, value)) = map.next_entry::<String, Attribute>()? {
                    if item.insert(name, value.0).is_some() {
                        return Err(A::Error::custom("an attribute stands twice"));
                    }
                }
                Ok(Attributes(item))
            }
        }
        from.deserialize_map(Names)
    }
}

struct Attribute(AttributeValue);

impl<'de> Deserialize<'de> for Attribute {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Typed;
        impl<'de> Visitor<'de> for Typed {
            type Value = Attribute;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of one type and its value")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Attribute, A::Error> {
                let tag =
                    map.next_key::<String>()?.ok_or_else(|| A::Error::custom("a value without a type"))?;
                let value = read_value(&tag, &mut map)?;
                match map.next_key::<String>()? {
                    None => Ok(Attribute(value)),
                    Some(_) => Err(A::Error::custom("a value of two types")),
                }
            }
        }
        from.deserialize_map(Typed)
    }
}

fn read_value<'de, A: MapAccess<'de>>(tag: &str, map: &mut A) -> Result<AttributeValue, A::Error> {
    Ok(match tag {
        "S" => AttributeValue::S(map.next_value()?),
        "N" => AttributeValue::N(map.next_value()?),
        "B" => AttributeValue::B(map.next_value::<Binary>()?.0),
        "BOOL" => AttributeValue::Bool(map.next_value()?),
        "NULL" => AttributeValue::Null(map.next_value()?),
        "SS" => AttributeValue::Ss(map.next_value()?),
        "NS" => AttributeValue::Ns(map.next_value()?),
        "BS" => {
            AttributeValue::Bs(map.next_value::<Vec<Binary>>()?.into_iter().map(|binary| binary.0).collect())
        }
        "M" => AttributeValue::M(map.next_value::<Attributes>()?.0),
        "L" => {
            AttributeValue::L(map.next_value::<Vec<Attribute>>()?.into_iter().map(|value| value.0).collect())
        }
        _ => return Err(A::Error::custom("an unknown type")),
    })
}

struct Binary(aws_sdk_dynamodb::primitives::Blob);

impl<'de> Deserialize<'de> for Binary {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let bytes = STANDARD.decode(text).map_err(|_| D::Error::custom("broken base64"))?;
        Ok(Self(aws_sdk_dynamodb::primitives::Blob::new(bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::{AttributeValue, Item, read_item, write_item, write_key};
    use aws_sdk_dynamodb::primitives::Blob;
    use proptest::prelude::*;

    fn canonical(item: &Item) -> Vec<u8> {
        let mut out = Vec::new();
        write_item(&mut out, item).unwrap();
        out
    }

    fn value() -> impl Strategy<Value = AttributeValue> {
        let text = || any::<String>();
        let bytes = || proptest::collection::vec(any::<u8>(), 0..20).prop_map(Blob::new);
        let leaf = prop_oneof![
            text().prop_map(AttributeValue::S),
            "-?[1-9][0-9]{0,37}".prop_map(AttributeValue::N),
            bytes().prop_map(AttributeValue::B),
            any::<bool>().prop_map(AttributeValue::Bool),
            Just(AttributeValue::Null(true)),
            proptest::collection::vec(text(), 1..5).prop_map(AttributeValue::Ss),
            proptest::collection::vec("[0-9]{1,5}", 1..5).prop_map(AttributeValue::Ns),
            proptest::collection::vec(bytes(), 1..5).prop_map(AttributeValue::Bs),
        ];
        leaf.prop_recursive(5, 30, 5, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(AttributeValue::L),
                proptest::collection::hash_map(any::<String>(), inner, 0..5).prop_map(AttributeValue::M),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_and_is_what_serde_json_writes(
            item in proptest::collection::hash_map(any::<String>(), value(), 0..6)
        ) {
            let written = canonical(&item);
            let again = read_item(&written).unwrap();
            prop_assert_eq!(&canonical(&again), &written);
            let parsed: serde_json::Value = serde_json::from_slice(&written).unwrap();
            prop_assert_eq!(serde_json::to_vec(&parsed).unwrap(), written);
        }
    }

    #[test]
    fn the_form_is_the_documented_one() {
        let item = Item::from([
            ("b".to_owned(), AttributeValue::Ns(vec!["9".into(), "10".into()])),
            ("B".to_owned(), AttributeValue::Bs(vec![Blob::new([255]), Blob::new([0])])),
            ("a\n".to_owned(), AttributeValue::S("\u{1}\"é".to_owned())),
        ]);
        assert_eq!(
            String::from_utf8(canonical(&item)).unwrap(),
            r#"{"B":{"BS":["AA==","/w=="]},"a\n":{"S":"\u0001\"é"},"b":{"NS":["10","9"]}}"#
        );
        let mut key = Vec::new();
        let item = Item::from([
            ("h".to_owned(), AttributeValue::S("1".into())),
            ("r".to_owned(), AttributeValue::N("5".into())),
        ]);
        write_key(&mut key, &item, &["h".to_owned(), "r".to_owned()]).unwrap();
        assert_eq!(key, br#"[{"S":"1"},{"N":"5"}]"#);
    }

    #[test]
    fn broken_items_are_refused() {
        for broken in [
            "",
            "[]",
            r#"{"a":1}"#,
            r#"{"a":{}}"#,
            r#"{"a":{"X":"1"}}"#,
            r#"{"a":{"S":"1","N":"1"}}"#,
            r#"{"a":{"S":1}}"#,
            r#"{"a":{"B":"?"}}"#,
            r#"{"a":{"S":"1"},"a":{"S":"2"}}"#,
            r#"{"a":{"S":"1"}} x"#,
        ] {
            assert_eq!(read_item(broken.as_bytes()).unwrap_err().code.as_str(), "Internal", "{broken}");
        }
    }
}
