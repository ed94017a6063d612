//! Finding the key of a record in one pass over its text, without building a tree of it.

use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::model::RecordEncoding;
use serde::Deserialize as _;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;
use std::ops::Range;

/// Where the parts of a key stand, as a tree: what is not on the way to one of them is only checked to be JSON.
#[derive(Debug, Default)]
struct Node {
    /// The part of the key that stands here.
    part: Option<usize>,
    /// The parts that stand here or below.
    parts: Vec<usize>,
    children: Vec<Child>,
}

#[derive(Debug)]
struct Child {
    name: String,
    index: Option<usize>,
    node: Node,
}

/// Reads keys of one stream.
#[derive(Debug)]
pub(crate) struct KeyReader {
    root: Node,
    parts: usize,
    /// Whether parts may be of any shape, as the values of DynamoDB's JSON are.
    any_shape: bool,
}

/// Why a line has no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyFault {
    /// The text is not one JSON value; the column of the fault, counted in bytes from 1.
    Broken(usize),
    /// The part of the key, by its place among the pointers, is not there or no string, number or boolean.
    Missing(usize),
}

/// Room for the places of a key's parts in a line, used again for every line.
#[derive(Debug, Default)]
pub(crate) struct Found {
    line: usize,
    parts: Vec<Option<Range<usize>>>,
}

impl KeyReader {
    /// For a stream's own key.
    ///
    /// # Errors
    /// As [`KeyReader::pointers`].
    pub(crate) fn new(encoding: RecordEncoding, key: &[String]) -> Result<Self> {
        match encoding {
            RecordEncoding::Json => Self::pointers(key),
            RecordEncoding::DynamodbJson => {
                let mut reader = Self { root: Node::default(), parts: key.len(), any_shape: true };
                for (part, name) in key.iter().enumerate() {
                    reader.root.insert(std::slice::from_ref(name), part);
                }
                Ok(reader)
            }
        }
    }

    /// For JSON pointers (RFC 6901).
    ///
    /// # Errors
    /// `InvalidInput` where there is none, one is malformed, or two of them could never both be met.
    pub(crate) fn pointers(key: &[String]) -> Result<Self> {
        let bad = |text: String, hint: &str| Error::new(Code::InvalidInput, text).object("key").hint(hint);
        if key.is_empty() {
            return Err(bad("key names no part of a record".to_owned(), "give JSON pointers, such as [/id]"));
        }
        let mut root = Node::default();
        for (part, pointer) in key.iter().enumerate() {
            let Some(names) = parse_pointer(pointer) else {
                let hint = "write a pointer as /id or /customer/id; in names, ~ is ~0 and / is ~1";
                return Err(bad(format!("key {pointer:?} is no JSON pointer"), hint));
            };
            if !root.insert(&names, part) {
                let text = format!("key {pointer:?} overlaps with another pointer");
                return Err(bad(text, "point each part of the key to another value"));
            }
        }
        Ok(Self { root, parts: key.len(), any_shape: false })
    }

    /// Appends the key of a line: the compact JSON array of its parts.
    pub(crate) fn read(&self, line: &str, found: &mut Found, key: &mut Vec<u8>) -> Result<(), KeyFault> {
        found.line = line.as_ptr().addr();
        found.parts.clear();
        found.parts.resize(self.parts, None);
        let broken = |fault: &serde_json::Error| KeyFault::Broken(fault.column());
        let mut json = serde_json::Deserializer::from_str(line);
        At { node: &self.root, found }.deserialize(&mut json).map_err(|fault| broken(&fault))?;
        json.end().map_err(|fault| broken(&fault))?;
        key.push(b'[');
        for (part, place) in found.parts.iter().enumerate() {
            if part > 0 {
                key.push(b',');
            }
            let value = place.clone().and_then(|place| line.get(place)).ok_or(KeyFault::Missing(part))?;
            self.write(value, key).map_err(|fault| fault.unwrap_or(KeyFault::Missing(part)))?;
        }
        key.push(b']');
        Ok(())
    }

    /// Writes one part as it stands in the canonical key.
    fn write(&self, value: &str, key: &mut Vec<u8>) -> Result<(), Option<KeyFault>> {
        match value.as_bytes().first() {
            Some(b'"') if !value.contains('\\') => key.extend_from_slice(value.as_bytes()),
            Some(b'"') => {
                let text: String = serde_json::from_str(value).map_err(|_| Some(KeyFault::Broken(1)))?;
                serde_json::to_writer(key, &text).map_err(|_| None)?;
            }
            Some(b'-' | b'0'..=b'9' | b't' | b'f') => key.extend_from_slice(value.as_bytes()),
            Some(_) if self.any_shape => {
                let value: serde_json::Value = serde_json::from_str(value).map_err(|_| None)?;
                serde_json::to_writer(key, &value).map_err(|_| None)?;
            }
            _ => return Err(None),
        }
        Ok(())
    }
}

/// The names of a pointer, unescaped.
pub(crate) fn parse_pointer(pointer: &str) -> Option<Vec<String>> {
    if pointer.is_empty() {
        return Some(Vec::new());
    }
    pointer.strip_prefix('/')?.split('/').map(unescape).collect()
}

fn unescape(name: &str) -> Option<String> {
    let mut out = String::with_capacity(name.len());
    let mut rest = name.chars();
    while let Some(c) = rest.next() {
        out.push(match c {
            '~' => match rest.next()? {
                '0' => '~',
                '1' => '/',
                _ => return None,
            },
            c => c,
        });
    }
    Some(out)
}

/// The index that a name means in an array: decimal, without leading zeros.
pub(crate) fn array_index(name: &str) -> Option<usize> {
    let canonical = name == "0" || (!name.starts_with('0') && name.bytes().all(|b| b.is_ascii_digit()));
    if canonical { name.parse().ok() } else { None }
}

impl Node {
    /// Adds a part; false if it stands where another one does, above it or below it.
    fn insert(&mut self, names: &[String], part: usize) -> bool {
        self.parts.push(part);
        if self.part.is_some() {
            return false;
        }
        let Some((name, rest)) = names.split_first() else {
            self.part = Some(part);
            return self.children.is_empty();
        };
        let place = self.children.iter().position(|child| child.name == *name).unwrap_or_else(|| {
            let (name, index, node) = (name.clone(), array_index(name), Node::default());
            self.children.push(Child { name, index, node });
            self.children.len() - 1
        });
        self.children[place].node.insert(rest, part)
    }
}

/// Reads the value that a node stands for.
struct At<'n, 'f> {
    node: &'n Node,
    found: &'f mut Found,
}

impl<'de> DeserializeSeed<'de> for At<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        // Of a name that stands twice in an object the last one counts.
        for part in &self.node.parts {
            self.found.parts[*part] = None;
        }
        let Some(part) = self.node.part else { return deserializer.deserialize_any(self) };
        let value = <&RawValue>::deserialize(deserializer)?.get();
        let start = value.as_ptr().addr() - self.found.line;
        self.found.parts[part] = Some(start..start + value.len());
        Ok(())
    }
}

impl<'de> Visitor<'de> for At<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(child) = map.next_key_seed(Name(&self.node.children))? {
            match child {
                Some(child) => map.next_value_seed(At { node: &child.node, found: self.found })?,
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        for index in 0.. {
            let child = self.node.children.iter().find(|child| child.index == Some(index));
            let more = match child {
                Some(child) => seq.next_element_seed(At { node: &child.node, found: self.found })?.is_some(),
                None => seq.next_element::<IgnoredAny>()?.is_some(),
            };
            if !more {
                break;
            }
        }
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// Reads a member's name and tells which child it is.
struct Name<'n>(&'n [Child]);

impl<'de, 'n> DeserializeSeed<'de> for Name<'n> {
    type Value = Option<&'n Child>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'n> Visitor<'_> for Name<'n> {
    type Value = Option<&'n Child>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().find(|child| child.name == name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(pointers: &[&str], line: &str) -> Result<String, KeyFault> {
        let pointers: Vec<String> = pointers.iter().map(|p| (*p).to_owned()).collect();
        let mut key = Vec::new();
        KeyReader::pointers(&pointers).unwrap().read(line, &mut Found::default(), &mut key)?;
        Ok(String::from_utf8(key).unwrap())
    }

    #[test]
    fn parts_are_canonical_and_in_the_order_of_the_pointers() {
        let line = r#" {"b":{"c":[1,{"d":"x"}]},"a":"\u00e9\/\n","n":-1.50e+3,"t":true} "#;
        assert_eq!(key(&["/a"], line).unwrap(), "[\"é/\\n\"]");
        assert_eq!(key(&["/n", "/b/c/1/d", "/t", "/b/c/0"], line).unwrap(), r#"[-1.50e+3,"x",true,1]"#);
        assert_eq!(key(&[""], "5").unwrap(), "[5]");
        assert_eq!(key(&["/a~1b", "/m~0n", "/"], r#"{"a/b":1,"m~n":2,"":3}"#).unwrap(), "[1,2,3]");
        assert_eq!(key(&["/0"], r#"{"0":"object"}"#).unwrap(), r#"["object"]"#);
    }

    #[test]
    fn the_last_of_equal_names_counts() {
        assert_eq!(key(&["/id"], r#"{"id":1,"id":2}"#).unwrap(), "[2]");
        assert_eq!(key(&["/a/id"], r#"{"a":{"id":1},"a":{}}"#), Err(KeyFault::Missing(0)));
    }

    #[test]
    fn what_is_no_scalar_is_missing() {
        for line in
            [r#"{"id":null}"#, r#"{"id":{}}"#, r#"{"id":[1]}"#, "{}", "[]", "3", "null", r#""id""#, "1.5"]
        {
            assert_eq!(key(&["/id"], line), Err(KeyFault::Missing(0)), "{line}");
        }
        assert_eq!(key(&["/a", "/b"], r#"{"a":1}"#), Err(KeyFault::Missing(1)));
        assert_eq!(key(&["/a/01"], r#"{"a":[1,2]}"#), Err(KeyFault::Missing(0)));
    }

    #[test]
    fn what_is_not_one_json_value_is_broken() {
        let lines = [
            r#"{"id":1"#,
            r#"{"id":1}}"#,
            r#"{"id":1} {"id":2}"#,
            r#"{"id":1,}"#,
            r#"{"id":01}"#,
            r#"{"x":"\q","id":1}"#,
            "{\"x\":\"\t\",\"id\":1}",
            r#"{"id":"\ud800"}"#,
            r#"{"x":[1,2,"id":1}"#,
            "\u{feff}{\"id\":1}",
        ];
        for line in lines {
            assert!(matches!(key(&["/id"], line), Err(KeyFault::Broken(_))), "{line}");
        }
    }

    #[test]
    fn deep_values_beside_the_key_do_no_harm() {
        let deep = format!(r#"{{"x":{}{},"id":1}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(key(&["/id"], &deep).unwrap(), "[1]");
    }

    #[test]
    fn pointers_that_cannot_be_met_are_refused() {
        for bad in [
            &["id"][..],
            &["/a~"],
            &["/a~2"],
            &[],
            &["/a", "/a"],
            &["/a", "/a/b"],
            &["/a/b", "/a"],
            &["", "/a"],
        ] {
            let pointers: Vec<String> = bad.iter().map(|p| (*p).to_owned()).collect();
            let error = KeyReader::pointers(&pointers).unwrap_err();
            assert_eq!(error.code, Code::InvalidInput, "{bad:?}");
        }
    }

    #[test]
    fn dynamodb_keys_are_whole_attributes() {
        let reader = KeyReader::new(RecordEncoding::DynamodbJson, &["a/b".into(), "n".into()]).unwrap();
        let mut key = Vec::new();
        reader.read(r#"{"n": {"N": "1"}, "a/b": {"S":"x"}}"#, &mut Found::default(), &mut key).unwrap();
        assert_eq!(key, br#"[{"S":"x"},{"N":"1"}]"#);
    }
}
