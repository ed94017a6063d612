//! Expressions that let a write happen only while an item is what it should be.
//!
//! DynamoDB takes 4 KiB of an expression and 300 operators in it, so a condition names at most [`MOST_TERMS`]
//! attributes, those first that the write would change.

use super::item::Item;
use super::number::same_value;
use aws_sdk_dynamodb::types::AttributeValue;
use std::collections::{BTreeSet, HashMap};

/// A term is a comparison or a function, and an `AND` but for the first.
const MOST_TERMS: usize = 128;
const MOST_BYTES: usize = 4000;

/// The expressions of one request, and what their placeholders mean.
#[derive(Debug, Default)]
pub(super) struct Expressions {
    pub condition: String,
    /// `SET ... REMOVE ...`; empty where nothing is to be updated.
    pub update: String,
    pub names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
}

impl Expressions {
    /// The values, which must be absent where there are none.
    pub(super) fn values(&self) -> Option<HashMap<String, AttributeValue>> {
        (!self.values.is_empty()).then(|| self.values.clone())
    }

    fn exists(hash: &str) -> Self {
        let names = HashMap::from([("#k".to_owned(), hash.to_owned())]);
        Self { condition: "attribute_exists(#k)".to_owned(), names, ..Self::default() }
    }

    /// Adds that an attribute is as `from` has it; false if there is no room.
    fn hold(&mut self, place: usize, name: &str, from: &Item) -> bool {
        let term = match from.get(name) {
            Some(_) => format!(" AND #a{place} = :o{place}"),
            None => format!(" AND attribute_not_exists(#a{place})"),
        };
        // The attribute that stands for existence is a term too.
        if place + 1 >= MOST_TERMS || self.condition.len() + term.len() > MOST_BYTES {
            return false;
        }
        self.condition.push_str(&term);
        self.names.insert(format!("#a{place}"), name.to_owned());
        if let Some(value) = from.get(name) {
            self.values.insert(format!(":o{place}"), value.clone());
        }
        true
    }
}

/// That the item exists and its attributes are as `from` has them: as many as fit, first those that differ in `to`.
pub(super) fn still(key: &[String], from: &Item, to: Option<&Item>) -> Expressions {
    let (changed, same) = compare(key, from, to.unwrap_or(from));
    let mut out = Expressions::exists(hash(key));
    for (place, name) in changed.into_iter().chain(same).enumerate() {
        if !out.hold(place, name, from) {
            break;
        }
    }
    out
}

/// As [`still`], with an update that makes `to` of `from` and touches only what differs. `None` where more attributes
/// differ than a condition can name.
pub(super) fn update(key: &[String], from: &Item, to: &Item) -> Option<Expressions> {
    let (changed, same) = compare(key, from, to);
    let mut out = Expressions::exists(hash(key));
    let (mut set, mut remove) = (Vec::new(), Vec::new());
    let count = changed.len();
    for (place, name) in changed.into_iter().enumerate() {
        if !out.hold(place, name, from) {
            return None;
        }
        if let Some(value) = to.get(name) {
            set.push(format!("#a{place} = :n{place}"));
            out.values.insert(format!(":n{place}"), value.clone());
        } else {
            remove.push(format!("#a{place}"));
        }
    }
    for (place, name) in same.into_iter().enumerate() {
        if !out.hold(count + place, name, from) {
            break;
        }
    }
    for (word, parts) in [("SET", set), ("REMOVE", remove)] {
        if !parts.is_empty() {
            let space = if out.update.is_empty() { "" } else { " " };
            out.update.push_str(space);
            out.update.push_str(word);
            out.update.push(' ');
            out.update.push_str(&parts.join(", "));
        }
    }
    Some(out)
}

fn hash(key: &[String]) -> &str {
    key.first().map_or("", String::as_str)
}

/// The attributes beside the key that differ, and those that do not.
fn compare<'i>(key: &[String], from: &'i Item, to: &'i Item) -> (Vec<&'i str>, Vec<&'i str>) {
    let names: BTreeSet<&str> = from.keys().chain(to.keys()).map(String::as_str).collect();
    let others = names.into_iter().filter(|name| !key.iter().any(|part| part == name));
    others.partition(|name| match (from.get(*name), to.get(*name)) {
        (Some(from), Some(to)) => !same_value(from, to),
        _ => true,
    })
}

#[cfg(test)]
mod tests {
    use super::{Item, MOST_BYTES, MOST_TERMS, still, update};
    use aws_sdk_dynamodb::types::AttributeValue;

    fn item<const N: usize>(attributes: [(&str, &str); N]) -> Item {
        let value = |(name, value): (&str, &str)| (name.to_owned(), AttributeValue::S(value.to_owned()));
        attributes.into_iter().map(value).collect()
    }

    fn wide(from: usize, to: usize, value: &str) -> Item {
        let value = |number| (format!("a{number:04}"), AttributeValue::S(value.to_owned()));
        item([("id", "x")]).into_iter().chain((from..to).map(value)).collect()
    }

    #[test]
    fn an_update_holds_all_and_touches_what_differs() {
        let key = ["id".to_owned()];
        let (from, to) = (
            item([("id", "x"), ("a", "2"), ("b", "1"), ("c", "1")]),
            item([("id", "x"), ("a", "1"), ("b", "1"), ("d", "1")]),
        );
        let out = update(&key, &from, &to).unwrap();
        assert_eq!(
            out.condition,
            "attribute_exists(#k) AND #a0 = :o0 AND #a1 = :o1 AND attribute_not_exists(#a2) AND #a3 = :o3"
        );
        assert_eq!(out.update, "SET #a0 = :n0, #a2 = :n2 REMOVE #a1");
        assert_eq!(out.names["#a3"], "b");
        assert_eq!(out.values().unwrap().len(), 5);
    }

    #[test]
    fn a_condition_keeps_within_the_limits_and_holds_first_what_changes() {
        let key = ["id".to_owned()];
        let from = wide(0, 500, "1");
        let mut to = from.clone();
        to.insert("a0499".to_owned(), AttributeValue::S("2".to_owned()));
        let out = update(&key, &from, &to).unwrap();
        assert!(out.condition.contains("#a0 = :o0") && out.names["#a0"] == "a0499");
        assert_eq!(out.condition.matches(" AND ").count(), MOST_TERMS - 1);
        assert_eq!(out.update, "SET #a0 = :n0");
        assert_eq!(still(&key, &from, Some(&to)).names["#a0"], "a0499");
    }

    #[test]
    fn too_many_changes_are_no_update() {
        let key = ["id".to_owned()];
        assert!(update(&key, &wide(0, 128, "1"), &wide(0, 128, "2")).is_none());
        let out = update(&key, &wide(0, 127, "1"), &wide(0, 127, "2")).unwrap();
        assert!(out.condition.len() <= MOST_BYTES && out.update.len() <= MOST_BYTES);
        assert!(
            update(&key, &wide(0, 0, ""), &wide(0, 127, "1"))
                .is_none_or(|out| out.condition.len() <= MOST_BYTES)
        );
    }

    #[test]
    fn an_item_of_nothing_but_its_key_is_held_to_exist() {
        let out = still(&["id".to_owned()], &item([("id", "x")]), None);
        assert_eq!(out.condition, "attribute_exists(#k)");
        assert!(out.values().is_none());
    }
}
