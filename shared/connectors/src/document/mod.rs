//! JSON documents: an object of named collections, each one record stream, as a source and as a target.
//!
//! A record is an element of a collection, as compact JSON with its members in their order and its numbers as they are
//! written. Where every element of an array is an object with a string, number or boolean as its `id`, that is the
//! key. Other arrays are kept by position: the stream's list of keys is empty, and the canonical key of an element,
//! stored beside it, is `[0]`, `[1]` and so on. A collection that is no array is one record at position 0. The stream's
//! schema, `{"collection": "array"}` or `{"collection": "value"}`, tells the two apart.

mod source;
mod target;

pub use source::DocumentSource;
pub use target::DocumentTarget;

use holdfast_vault::model::StreamInfo;

/// The largest document, in bytes: it is held in memory where it is cut and where it is put together.
const LARGEST: u64 = 256 << 20;
const LARGEST_TEXT: &str = "256 MiB";

/// What a collection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Collection {
    Array,
    Value,
}

impl Collection {
    fn of_text(text: &str) -> Self {
        if text.starts_with('[') { Self::Array } else { Self::Value }
    }

    /// As the stream's schema says; streams of other sources become arrays.
    fn of_stream(stream: &StreamInfo) -> Self {
        match stream.schema.get("collection").and_then(serde_json::Value::as_str) {
            Some("value") => Self::Value,
            _ => Self::Array,
        }
    }

    fn schema(self) -> serde_json::Value {
        let name = match self {
            Self::Array => "array",
            Self::Value => "value",
        };
        serde_json::json!({ "collection": name })
    }
}
