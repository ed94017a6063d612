//! Records as the demo sees them, and its own digest of them, which shares nothing with the one that is being shown.

use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// A record: attributes by name.
pub(super) type Item = BTreeMap<String, Attribute>;

/// A SHA-256.
pub(super) type Sum = [u8; 32];

/// A value of a record. Sets are ordered, so that equal ones look alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Attribute {
    Text(String),
    Number(String),
    Bytes(Vec<u8>),
    Bool(bool),
    Null,
    List(Vec<Attribute>),
    Map(Item),
    Texts(BTreeSet<String>),
    Numbers(BTreeSet<String>),
    Blobs(BTreeSet<Vec<u8>>),
    /// A type that is not known here, as it is told.
    Other(String),
}

/// The digest of a record: every attribute with its name, its type and its value, in the order of the names.
pub(super) fn sum(item: &Item) -> Sum {
    let mut hash = Sha256::new();
    map(&mut hash, item);
    hash.finalize().into()
}

/// A name for a record: the values of its key.
pub(super) fn name(item: &Item, key: &[String]) -> String {
    let part = |attribute: &String| match item.get(attribute) {
        Some(Attribute::Text(text) | Attribute::Number(text)) => text.clone(),
        other => format!("{other:?}"),
    };
    key.iter().map(part).collect::<Vec<_>>().join("/")
}

/// A number as a database gives it back: without zeros that say nothing.
fn shortest(number: &str) -> &str {
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number }
}

fn attribute(hash: &mut Sha256, of: &Attribute) {
    match of {
        Attribute::Text(text) => bytes(hash, b'S', text.as_bytes()),
        Attribute::Number(number) => bytes(hash, b'N', shortest(number).as_bytes()),
        Attribute::Bytes(blob) => bytes(hash, b'B', blob),
        Attribute::Bool(value) => bytes(hash, b'b', &[u8::from(*value)]),
        Attribute::Null => bytes(hash, b'0', &[]),
        Attribute::List(list) => {
            length(hash, b'L', list.len());
            for value in list {
                attribute(hash, value);
            }
        }
        Attribute::Map(item) => map(hash, item),
        Attribute::Texts(set) => {
            length(hash, b's', set.len());
            for text in set {
                bytes(hash, b'S', text.as_bytes());
            }
        }
        Attribute::Numbers(set) => {
            length(hash, b'n', set.len());
            for number in set {
                bytes(hash, b'N', number.as_bytes());
            }
        }
        Attribute::Blobs(set) => {
            length(hash, b'x', set.len());
            for blob in set {
                bytes(hash, b'B', blob);
            }
        }
        Attribute::Other(text) => bytes(hash, b'?', text.as_bytes()),
    }
}

fn map(hash: &mut Sha256, item: &Item) {
    length(hash, b'M', item.len());
    for (name, value) in item {
        bytes(hash, b'K', name.as_bytes());
        attribute(hash, value);
    }
}

fn bytes(hash: &mut Sha256, kind: u8, content: &[u8]) {
    length(hash, kind, content.len());
    hash.update(content);
}

/// Types and lengths go in front, so that no two values are written alike.
fn length(hash: &mut Sha256, kind: u8, length: usize) {
    hash.update([kind]);
    hash.update((length as u64).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: Attribute) -> Sum {
        sum(&Item::from([("a".to_owned(), value)]))
    }

    #[test]
    fn what_differs_has_another_digest() {
        let text = |text: &str| Attribute::Text(text.to_owned());
        let values = [
            text("1"),
            text(""),
            Attribute::Number("1".to_owned()),
            Attribute::Bytes(b"1".to_vec()),
            Attribute::Bool(true),
            Attribute::Null,
            Attribute::List(vec![]),
            Attribute::List(vec![text("1")]),
            Attribute::List(vec![text("1"), text("")]),
            Attribute::Map(Item::new()),
            Attribute::Texts(BTreeSet::from(["1".to_owned()])),
            Attribute::Numbers(BTreeSet::from(["1".to_owned()])),
            Attribute::Blobs(BTreeSet::from([b"1".to_vec()])),
        ];
        let sums: BTreeSet<Sum> = values.iter().cloned().map(of).collect();
        assert_eq!(sums.len(), values.len());
        assert_eq!(of(text("1")), of(text("1")));
    }
}
