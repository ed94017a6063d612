//! Choosing records by what stands in them, and by how their keys begin.

use crate::jsonl::parse_pointer;
use crate::plain::Plain;
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::model::RecordEncoding;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Chooses records. One without conditions chooses all.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordFilter {
    /// All of them must hold for one version of a record.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    fields: Vec<FieldIs>,
    /// What the text of the key's first part begins with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_prefix: Option<String>,
}

/// A field and what it must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FieldIs {
    /// The names that lead to it.
    path: Vec<String>,
    value: String,
}

impl RecordFilter {
    /// Reads conditions as `FIELD=VALUE`. FIELD is a JSON pointer, such as `/price/currency`, or the name of a
    /// top-level field. VALUE is a string field's text, or another field's JSON form; numbers are equal by value.
    ///
    /// # Errors
    /// `InvalidInput` naming the condition.
    pub fn parse(conditions: &[String], key_prefix: Option<String>) -> Result<Self> {
        let fields = conditions.iter().map(|text| condition(text)).collect::<Result<_>>()?;
        Ok(Self { fields, key_prefix })
    }

    /// Whether it chooses every record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.key_prefix.as_ref().is_none_or(String::is_empty)
    }

    /// Whether a record is chosen, by its canonical key and what it was and is; `None` where it was or is not there.
    /// Its old or its new version must meet all conditions.
    ///
    /// # Errors
    /// `ObjectDamaged` if a version, or the key, cannot be read.
    pub fn matches(
        &self,
        encoding: RecordEncoding,
        key: &[u8],
        old: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<bool> {
        if let Some(prefix) = self.key_prefix.as_ref().filter(|prefix| !prefix.is_empty()) {
            let parts = Plain::key(encoding, key);
            let first = parts.as_deref().and_then(<[_]>::first).ok_or_else(|| {
                Error::new(Code::ObjectDamaged, "a stored record has no readable key")
                    .hint("verify the backup it comes from")
            })?;
            if !part_text(first).starts_with(prefix.as_str()) {
                return Ok(false);
            }
        }
        if self.fields.is_empty() {
            return Ok(true);
        }
        for version in [old, new].into_iter().flatten() {
            let record = Plain::record(encoding, version)?;
            let holds =
                |field: &FieldIs| record.at(&field.path).is_some_and(|value| value.is_written(&field.value));
            if self.fields.iter().all(holds) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn condition(text: &str) -> Result<FieldIs> {
    let bad = |why: &str| {
        Error::new(Code::InvalidInput, format!("{text:?} {why}"))
            .object(text)
            .hint("write a condition as FIELD=VALUE, such as status=open or /price/currency=EUR")
    };
    let (field, value) = text.split_once('=').ok_or_else(|| bad("has no ="))?;
    let path = match field {
        "" => return Err(bad("names no field")),
        pointer if pointer.starts_with('/') => {
            parse_pointer(pointer).ok_or_else(|| bad("has a broken JSON pointer: ~ is ~0 and / is ~1"))?
        }
        name => vec![name.to_owned()],
    };
    Ok(FieldIs { path, value: value.to_owned() })
}

/// A canonical key as it is shown to an operator, who may type it so too: one part as its text, `abc` or `5`; several
/// parts, and what has no plain text, as a compact JSON array, `["a",5]`.
#[must_use]
pub fn key_text(encoding: RecordEncoding, key: &[u8]) -> String {
    let raw = || String::from_utf8_lossy(key).into_owned();
    let Some(parts) = Plain::key(encoding, key) else { return raw() };
    match parts.as_slice() {
        // A text that looks like an array is told apart from one.
        [Plain::Text(text)] if !text.starts_with('[') => text.clone(),
        [Plain::Number(text)] if is_json(text) => text.clone(),
        [Plain::Bool(value)] => value.to_string(),
        parts if encoding == RecordEncoding::DynamodbJson => {
            let parts: Vec<String> = parts.iter().map(part_json).collect();
            format!("[{}]", parts.join(","))
        }
        _ => raw(),
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok()
}

/// A part of an item's key as JSON; with its type where the value alone does not tell it.
fn part_json(part: &Plain) -> String {
    match part {
        Plain::Text(text) => serde_json::Value::from(text.as_str()).to_string(),
        Plain::Number(text) if is_json(text) => text.clone(),
        part => part.typed().to_string(),
    }
}

fn part_text(part: &Plain) -> String {
    match part {
        Plain::Text(text) | Plain::Number(text) | Plain::Binary(text) => text.clone(),
        part => part.shown().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::KeyFinder;
    use holdfast_vault::model::{StreamInfo, StreamKind};
    use proptest::prelude::*;
    use serde_json::json;

    const JSON: RecordEncoding = RecordEncoding::Json;
    const ITEMS: RecordEncoding = RecordEncoding::DynamodbJson;

    fn filter(conditions: &[&str]) -> RecordFilter {
        let conditions: Vec<String> = conditions.iter().map(|text| (*text).to_owned()).collect();
        RecordFilter::parse(&conditions, None).unwrap()
    }

    fn chooses(encoding: RecordEncoding, condition: &str, record: &str) -> bool {
        filter(&[condition]).matches(encoding, b"[1]", Some(record.as_bytes()), None).unwrap()
    }

    #[test]
    fn fields_are_compared_by_text_or_by_value() {
        let record = r#"{"s":"5","n":1.50,"t":true,"z":null,"o":{"a/b":[{"x":"=y"}]},"a/b":"top","e":""}"#;
        for condition in [
            "s=5",
            "n=1.5",
            "n=15e-1",
            "t=true",
            "z=null",
            "/o/a~1b/0/x==y",
            "a/b=top",
            "e=",
            r#"o={"a/b": [{"x":"=y"}]}"#,
            r#"/o/a~1b=[{"x":"=y"}]"#,
        ] {
            assert!(chooses(JSON, condition, record), "{condition}");
        }
        for condition in
            ["s=\"5\"", "s=5.0", "n=1", "t=1", "z=", "x=null", "/o/a~1b/1/x=y", "o={", "n=", "s/0=5"]
        {
            assert!(!chooses(JSON, condition, record), "{condition}");
        }
    }

    #[test]
    fn items_are_compared_by_their_plain_form() {
        let item = r#"{"b":{"B":"AA=="},"m":{"M":{"l":{"L":[{"N":"1"},{"S":"x"}]}}},"n":{"N":"5"},"s":{"NS":["1","2"]}}"#;
        for condition in
            ["n=5.0", "b=AA==", r#"b={"B":"AA=="}"#, "s=[2,1.0]", "/m/l/1=x", r#"m={"l":[1,"x"]}"#]
        {
            assert!(chooses(ITEMS, condition, item), "{condition}");
        }
        assert!(!chooses(ITEMS, "s=[1]", item) && !chooses(ITEMS, r#"n={"N":"5"}"#, item));
    }

    #[test]
    fn one_version_must_meet_all_conditions() {
        let both = filter(&["a=1", "b=2"]);
        let matches = |old: Option<&str>, new: Option<&str>| {
            both.matches(JSON, b"[1]", old.map(str::as_bytes), new.map(str::as_bytes)).unwrap()
        };
        assert!(matches(Some(r#"{"a":1,"b":2}"#), Some("{}")));
        assert!(matches(None, Some(r#"{"a":1,"b":2}"#)));
        assert!(!matches(Some(r#"{"a":1}"#), Some(r#"{"b":2}"#)));
        assert!(!matches(None, None));
        assert!(RecordFilter::default().matches(JSON, b"", None, None).unwrap());
        assert!(both.matches(JSON, b"[1]", Some(b"{"), None).is_err());
    }

    #[test]
    fn prefixes_are_of_the_first_part_as_text() {
        let begins = |encoding, key: &str, prefix: &str| {
            let filter = RecordFilter::parse(&[], Some(prefix.to_owned())).unwrap();
            filter.matches(encoding, key.as_bytes(), None, None).unwrap()
        };
        assert!(
            begins(JSON, r#"["a\"b",5]"#, "a\"")
                && begins(JSON, "[512]", "51")
                && begins(JSON, "[true]", "t")
        );
        assert!(begins(ITEMS, r#"[{"S":"é1"},{"N":"5"}]"#, "é") && begins(ITEMS, r#"[{"N":"512"}]"#, "51"));
        assert!(begins(JSON, "broken", ""));
        assert!(!begins(JSON, r#"["b","a"]"#, "a") && !begins(ITEMS, r#"[{"S":"b"}]"#, "S"));
        let broken = RecordFilter::parse(&[], Some("a".into())).unwrap().matches(JSON, b"[", None, None);
        assert_eq!(broken.unwrap_err().code, Code::ObjectDamaged);
    }

    #[test]
    fn bad_conditions_are_named() {
        for text in ["", "price", "=5", "/a~2=5"] {
            let error = RecordFilter::parse(&[text.to_owned()], None).unwrap_err();
            assert_eq!((error.code, error.object.as_deref()), (Code::InvalidInput, Some(text)));
        }
    }

    #[test]
    fn a_filter_can_be_kept() {
        let filter = RecordFilter::parse(&["/a/b=1".into()], Some("x".into())).unwrap();
        let kept = serde_json::to_value(&filter).unwrap();
        assert_eq!(kept, json!({"fields": [{"path": ["a", "b"], "value": "1"}], "key_prefix": "x"}));
        assert_eq!(serde_json::from_value::<RecordFilter>(kept).unwrap(), filter);
        assert_eq!(serde_json::to_value(RecordFilter::default()).unwrap(), json!({}));
    }

    #[test]
    fn keys_are_shown_plainly() {
        for (encoding, key, text) in [
            (JSON, r#"["a\nb"]"#, "a\nb"),
            (JSON, "[1.50]", "1.50"),
            (JSON, "[true]", "true"),
            (JSON, r#"["a",5]"#, r#"["a",5]"#),
            (JSON, r#"["[\"a\"]"]"#, r#"["[\"a\"]"]"#),
            (ITEMS, r#"[{"S":"a"}]"#, "a"),
            (ITEMS, r#"[{"N":"5"}]"#, "5"),
            (ITEMS, r#"[{"S":"a"},{"N":"5"}]"#, r#"["a",5]"#),
            (ITEMS, r#"[{"B":"AA=="}]"#, r#"[{"B":"AA=="}]"#),
            (JSON, "broken", "broken"),
        ] {
            assert_eq!(key_text(encoding, key.as_bytes()), text);
        }
    }

    fn part() -> impl Strategy<Value = (String, String)> {
        let string = prop_oneof![any::<String>(), "[\\[\"{0-9a]{0,4}"];
        prop_oneof![
            string.prop_map(|text| {
                let json = serde_json::Value::from(text).to_string();
                (format!(r#"{{"S":{json}}}"#), json)
            }),
            "-?[1-9][0-9]{0,30}(\\.[0-9]{1,5})?".prop_map(|text| (format!(r#"{{"N":"{text}"}}"#), text)),
        ]
    }

    proptest! {
        #[test]
        fn what_is_shown_can_be_typed(parts in proptest::collection::vec(part(), 1..3), items: bool) {
            let encoding = if items { ITEMS } else { JSON };
            let texts: Vec<&str> =
                parts.iter().map(|(typed, plain)| if items { typed.as_str() } else { plain.as_str() }).collect();
            let key = format!("[{}]", texts.join(",")).into_bytes();
            let names = ["/a", "/b"][..parts.len()].iter().map(|name| (*name).to_owned()).collect();
            let shape = StreamKind::Records { encoding, key: names };
            let stream = StreamInfo { name: "s".into(), shape, schema: json!(null) };
            let candidates = KeyFinder::new(&stream).unwrap().candidates(&key_text(encoding, &key));
            prop_assert!(candidates.contains(&key));
        }

        #[test]
        fn no_bytes_make_it_panic(
            key in proptest::collection::vec(any::<u8>(), 0..30), record in "[\\[\\]{}\",:0-9a-zN]{0,20}",
            condition in "[/~a-c0-9]{1,5}=.{0,5}", items: bool
        ) {
            let encoding = if items { ITEMS } else { JSON };
            let _ = key_text(encoding, &key);
            let _ = key_text(encoding, record.as_bytes());
            if let Ok(filter) = RecordFilter::parse(&[condition], Some("a".into())) {
                let _ = filter.matches(encoding, &key, Some(record.as_bytes()), None);
                let _ = filter.matches(encoding, b"[\"a\"]", Some(record.as_bytes()), Some(&key));
            }
        }
    }
}
