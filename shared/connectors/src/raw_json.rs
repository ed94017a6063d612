//! JSON texts that are taken apart without being read: names, elements and numbers stay as they were written.

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// The members of an object as they stand, so that a doubled name is seen.
pub(crate) struct Members<'a>(pub(crate) Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Vec<(String, &'de RawValue)>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(members)
            }
        }
        from.deserialize_map(Pairs).map(Members)
    }
}

/// Walks over a JSON text by bytes and knows what is inside a string.
#[derive(Default)]
struct Scan {
    in_string: bool,
    escaped: bool,
}

impl Scan {
    /// Takes the next byte; whether it belongs to a string.
    fn take(&mut self, byte: u8) -> bool {
        if !self.in_string {
            self.in_string = byte == b'"';
            return self.in_string;
        }
        if self.escaped {
            self.escaped = false;
        } else if byte == b'\\' {
            self.escaped = true;
        } else if byte == b'"' {
            self.in_string = false;
        }
        true
    }
}

/// Appends a valid JSON text without the white space between its parts; strings and numbers stay as they are.
pub(crate) fn compact(text: &str, out: &mut Vec<u8>) {
    let mut scan = Scan::default();
    out.extend(text.bytes().filter(|byte| scan.take(*byte) || !byte.is_ascii_whitespace()));
}

/// The elements of a valid array, given the text between its brackets: each as it stands, with where it begins.
pub(crate) fn elements(inner: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    let blank = inner.bytes().all(|byte| byte.is_ascii_whitespace());
    std::iter::from_fn(move || {
        if blank || at > inner.len() {
            return None;
        }
        let rest = inner.get(at..)?;
        let length = element_length(rest);
        let element = rest.get(..length)?;
        let start = at + (element.len() - element.trim_ascii_start().len());
        at += length + 1;
        Some((start, element.trim_ascii()))
    })
}

/// Bytes up to the comma that ends the first element.
fn element_length(text: &str) -> usize {
    let (mut scan, mut depth) = (Scan::default(), 0_i64);
    for (at, byte) in text.bytes().enumerate() {
        if scan.take(byte) {
            continue;
        }
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth -= 1,
            b',' if depth == 0 => return at,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn compacted(text: &str) -> String {
        let mut out = Vec::new();
        compact(text, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn only_white_space_goes() {
        let text = " { \"b \\\" ,\" : [ 1.0 , 1e400 ,\n\t\"\\\\\" ] , \"a\" : \" \\u00e9 \" } ";
        assert_eq!(compacted(text), r#"{"b \" ,":[1.0,1e400,"\\"],"a":" \u00e9 "}"#);
    }

    #[test]
    fn elements_are_cut_at_the_commas_between_them() {
        let found: Vec<_> = elements(" 1 , [2,3],{\"a,\":\"]\"} ,\"x\\\",y\"").collect();
        assert_eq!(found, [(1, "1"), (5, "[2,3]"), (11, r#"{"a,":"]"}"#), (23, r#""x\",y""#)]);
        assert_eq!(elements(" \n ").count() + elements("").count(), 0);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(text in ".*") {
            compacted(&text);
            prop_assert!(elements(&text).count() <= text.len() + 1);
        }

        #[test]
        fn arrays_come_apart_as_serde_json_takes_them_apart(
            parts in proptest::collection::vec(("[ \n]{0,2}", any::<String>(), any::<f64>()), 0..6)
        ) {
            let texts: Vec<String> = parts
                .iter()
                .map(|(space, text, number)| {
                    format!("{space}{}{space}", serde_json::json!({ (text.clone()): [text, number] }))
                })
                .collect();
            let inner = texts.join(",");
            let found: Vec<&str> = elements(&inner).map(|(_, element)| element).collect();
            let expected: Vec<&str> = texts.iter().map(|text| text.trim_ascii()).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
