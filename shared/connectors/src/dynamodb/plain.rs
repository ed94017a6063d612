//! Attribute values as plain ones.

use super::item::Item;
use crate::plain::{Plain, SetKind};
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// An item without its types, but for sets and binary.
pub(crate) fn plain_item(item: Item) -> Plain {
    plain_attribute(AttributeValue::M(item))
}

/// An attribute's value without its type, but for sets and binary.
pub(crate) fn plain_attribute(value: AttributeValue) -> Plain {
    let binary = |bytes: Blob| STANDARD.encode(bytes);
    match value {
        AttributeValue::S(text) => Plain::Text(text),
        AttributeValue::N(number) => Plain::Number(number),
        AttributeValue::B(bytes) => Plain::Binary(binary(bytes)),
        AttributeValue::Bool(value) => Plain::Bool(value),
        AttributeValue::Ss(members) => Plain::Set(SetKind::Texts, members),
        AttributeValue::Ns(members) => Plain::Set(SetKind::Numbers, members),
        AttributeValue::Bs(members) => {
            Plain::Set(SetKind::Binaries, members.into_iter().map(binary).collect())
        }
        AttributeValue::L(members) => Plain::List(members.into_iter().map(plain_attribute).collect()),
        AttributeValue::M(members) => {
            Plain::Map(members.into_iter().map(|(name, value)| (name, plain_attribute(value))).collect())
        }
        // `NULL`, and nothing else: `read_item` knows no further type.
        _ => Plain::Null,
    }
}
