//! What changed inside a record: the fields of two versions that differ, for people to read.

use crate::plain::Plain;
use holdfast_vault::error::Result;
use holdfast_vault::model::RecordEncoding;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeSet;

/// So many differing places are told one by one.
const MOST: usize = 100;

/// A place where two versions of a record differ.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FieldChange {
    /// Where: a JSON pointer (RFC 6901) into the record's plain form. The empty pointer is the whole record.
    pub pointer: String,
    /// What was there; absent where nothing was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<Value>,
    /// What is there; absent where nothing is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<Value>,
}

/// A stored record as JSON for display. Of `dynamodb-json` the types go: `{"n": {"N": "5"}}` is `{"n": 5}`, binary is
/// `{"B": base64}`, a set an array. A number that no JSON number of this program holds exactly is a string.
///
/// # Errors
/// `ObjectDamaged` if it is no record of the encoding.
pub fn plain(encoding: RecordEncoding, value: &[u8]) -> Result<Value> {
    Ok(Plain::record(encoding, value)?.shown())
}

/// The deepest places where two versions of a record differ, arrays element by element, sets as wholes. Numbers are
/// compared by value. After 100 places one more change, with the empty pointer, shows the whole record. Values are
/// plain as [`plain`] shows them, but with DynamoDB's types where the type itself changed.
///
/// # Errors
/// `ObjectDamaged` if one is no record of the encoding.
pub fn changed_fields(encoding: RecordEncoding, old: &[u8], new: &[u8]) -> Result<Vec<FieldChange>> {
    let (old, new) = (Plain::record(encoding, old)?, Plain::record(encoding, new)?);
    let mut finding = Finding { encoding, pointer: String::new(), changes: Vec::new() };
    if finding.compare(&old, &new).is_err() {
        let (old, new) = (Some(old.shown()), Some(new.shown()));
        finding.changes.push(FieldChange { pointer: String::new(), old, new });
    }
    Ok(finding.changes)
}

struct Finding {
    encoding: RecordEncoding,
    pointer: String,
    changes: Vec<FieldChange>,
}

/// There are more differing places than are told.
struct TooMany;

impl Finding {
    fn compare(&mut self, old: &Plain, new: &Plain) -> Result<(), TooMany> {
        match (old, new) {
            (Plain::Map(old), Plain::Map(new)) => {
                let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
                for name in names {
                    self.below(name, old.get(name), new.get(name))?;
                }
                Ok(())
            }
            (Plain::List(old), Plain::List(new)) => {
                for at in 0..old.len().max(new.len()) {
                    self.below(&at.to_string(), old.get(at), new.get(at))?;
                }
                Ok(())
            }
            _ if old.same(new) => Ok(()),
            _ if self.encoding == RecordEncoding::DynamodbJson && !old.is_like(new) => {
                self.add(Some(old.typed()), Some(new.typed()))
            }
            _ => self.add(Some(old.shown()), Some(new.shown())),
        }
    }

    fn below(&mut self, name: &str, old: Option<&Plain>, new: Option<&Plain>) -> Result<(), TooMany> {
        let length = self.pointer.len();
        self.pointer.push('/');
        self.pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
        let compared = match (old, new) {
            (Some(old), Some(new)) => self.compare(old, new),
            (old, new) => self.add(old.map(Plain::shown), new.map(Plain::shown)),
        };
        self.pointer.truncate(length);
        compared
    }

    fn add(&mut self, old: Option<Value>, new: Option<Value>) -> Result<(), TooMany> {
        if self.changes.len() == MOST {
            return Err(TooMany);
        }
        self.changes.push(FieldChange { pointer: self.pointer.clone(), old, new });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn changes(old: &str, new: &str) -> Vec<(String, Option<Value>, Option<Value>)> {
        told(RecordEncoding::Json, old, new)
    }

    fn told(encoding: RecordEncoding, old: &str, new: &str) -> Vec<(String, Option<Value>, Option<Value>)> {
        let found = changed_fields(encoding, old.as_bytes(), new.as_bytes()).unwrap();
        found.into_iter().map(|change| (change.pointer, change.old, change.new)).collect()
    }

    #[test]
    fn the_deepest_places_are_told() {
        assert_eq!(
            changes(
                r#"{"a":{"b/c":1,"d~":[1,2,3]},"gone":null,"same":1.0,"kind":"5"}"#,
                r#"{"a":{"b/c":2,"d~":[1,5]},"same":1,"kind":5,"more":{}}"#
            ),
            [
                ("/a/b~1c".into(), Some(json!(1)), Some(json!(2))),
                ("/a/d~0/1".into(), Some(json!(2)), Some(json!(5))),
                ("/a/d~0/2".into(), Some(json!(3)), None),
                ("/gone".into(), Some(json!(null)), None),
                ("/kind".into(), Some(json!("5")), Some(json!(5))),
                ("/more".into(), None, Some(json!({}))),
            ]
        );
        assert_eq!(changes("[1]", "5"), [(String::new(), Some(json!([1])), Some(json!(5)))]);
    }

    #[test]
    fn items_are_told_without_types_unless_those_changed() {
        let encoding = RecordEncoding::DynamodbJson;
        let old = r#"{"b":{"B":"AA=="},"id":{"S":"a"},"m":{"M":{"x":{"N":"1.0"}}},"n":{"N":"5"},"s":{"NS":["1","2"]}}"#;
        let new = r#"{"b":{"B":"AQ=="},"id":{"S":"a"},"m":{"M":{"x":{"N":"1"}}},"n":{"S":"5"},"s":{"NS":["2","1.0"]},"t":{"SS":["x"]}}"#;
        assert_eq!(
            told(encoding, old, new),
            [
                ("/b".into(), Some(json!({"B": "AA=="})), Some(json!({"B": "AQ=="}))),
                ("/n".into(), Some(json!({"N": "5"})), Some(json!({"S": "5"}))),
                ("/t".into(), None, Some(json!(["x"]))),
            ]
        );
        assert_eq!(
            plain(encoding, old.as_bytes()).unwrap(),
            json!({"b": {"B": "AA=="}, "id": "a", "m": {"x": 1.0}, "n": 5, "s": [1, 2]})
        );
        assert!(plain(encoding, b"{}x").is_err() && plain(RecordEncoding::Json, b"\xff").is_err());
    }

    #[test]
    fn many_changes_end_with_the_whole() {
        let record = |number: u32, names: u32| {
            let members = (0..names).map(|name| (name.to_string(), json!(number)));
            Value::Object(members.collect()).to_string()
        };
        assert_eq!(changes(&record(1, 100), &record(2, 100)).len(), 100);
        let many = changes(&record(1, 101), &record(2, 101));
        assert_eq!(many.len(), 101);
        let (pointer, old, new) = &many[100];
        assert_eq!((pointer.as_str(), old.is_some(), new.is_some()), ("", true, true));
    }

    #[test]
    fn what_was_absent_is_left_out_and_null_is_not() {
        let change = &changed_fields(RecordEncoding::Json, b"{}", br#"{"a":null}"#).unwrap()[0];
        assert_eq!(serde_json::to_string(change).unwrap(), r#"{"pointer":"/a","new":null}"#);
    }

    fn apply(record: &mut Value, changes: &[FieldChange]) {
        let split = |pointer: &str| {
            let (above, name) = pointer.rsplit_once('/').unwrap();
            (above.to_owned(), name.replace("~1", "/").replace("~0", "~"))
        };
        for change in changes.iter().rev().filter(|change| change.new.is_none()) {
            let (above, name) = split(&change.pointer);
            match record.pointer_mut(&above).unwrap() {
                Value::Object(members) => drop(members.remove(&name).unwrap()),
                Value::Array(values) => drop(values.remove(name.parse().unwrap())),
                other => panic!("{other} holds nothing"),
            }
        }
        for change in changes {
            let Some(new) = change.new.clone() else { continue };
            if let Some(place) = record.pointer_mut(&change.pointer) {
                *place = new;
                continue;
            }
            let (above, name) = split(&change.pointer);
            match record.pointer_mut(&above).unwrap() {
                Value::Object(members) => drop(members.insert(name, new)),
                Value::Array(values) => values.insert(name.parse().unwrap(), new),
                other => panic!("{other} holds nothing"),
            }
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-3..3_i64).prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[ab/~é]{0,2}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::btree_map("[ab/~0]{0,2}", inner, 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn changes_make_the_new_from_the_old(old in value(), new in value()) {
            let (before, after) = (old.to_string(), new.to_string());
            let found = changed_fields(RecordEncoding::Json, before.as_bytes(), after.as_bytes()).unwrap();
            prop_assert_eq!(found.is_empty(), old == new);
            let mut applied = old;
            apply(&mut applied, &found);
            prop_assert_eq!(applied, new);
        }

        #[test]
        fn plain_is_what_serde_json_reads(record in value()) {
            prop_assert_eq!(plain(RecordEncoding::Json, record.to_string().as_bytes()).unwrap(), record);
        }

        #[test]
        fn no_bytes_make_it_panic(
            old in proptest::collection::vec(any::<u8>(), 0..40), new in "[\\[\\]{}\",:0-9a-zN]{0,20}", item: bool
        ) {
            let encoding = if item { RecordEncoding::DynamodbJson } else { RecordEncoding::Json };
            let _ = changed_fields(encoding, &old, new.as_bytes());
            let _ = changed_fields(encoding, new.as_bytes(), new.as_bytes());
            let _ = plain(encoding, &old);
        }
    }
}
