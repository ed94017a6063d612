//! Keys of stored records: read from their values, or meant by what an operator typed.

use crate::jsonl::{Found, KeyReader};
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::model::{RecordEncoding, StreamInfo, StreamKind};
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Finds the keys of a stream's records.
#[derive(Debug)]
pub struct KeyFinder {
    /// `None` where the stream's records carry no key: then it is stored beside them.
    reader: Option<KeyReader>,
    encoding: RecordEncoding,
    parts: usize,
}

impl KeyFinder {
    /// For a stream of records.
    ///
    /// # Errors
    /// `InvalidInput` if the stream holds files, or its key is malformed.
    pub fn new(stream: &StreamInfo) -> Result<Self> {
        let StreamKind::Records { encoding, key } = &stream.shape else {
            return Err(Error::new(
                Code::InvalidInput,
                format!("stream {} holds files, not records", stream.name),
            )
            .object(&stream.name)
            .hint("choose files with --path"));
        };
        let reader = if key.is_empty() { None } else { Some(KeyReader::new(*encoding, key)?) };
        // A key that is stored is a position: one part.
        Ok(Self { reader, encoding: *encoding, parts: key.len().max(1) })
    }

    /// The canonical key of a record that a run or a batch holds: the one stored beside it, else read from the value.
    ///
    /// # Errors
    /// As [`KeyFinder::key`].
    pub fn key_beside<'k>(&self, stored: &'k [u8], value: &[u8]) -> Result<Cow<'k, [u8]>> {
        if stored.is_empty() { self.key(value).map(Cow::Owned) } else { Ok(Cow::Borrowed(stored)) }
    }

    /// The canonical key of a record, read from its value.
    ///
    /// # Errors
    /// `ObjectDamaged` if the record has none, which a record that was backed up has, unless its key is stored beside it.
    pub fn key(&self, value: &[u8]) -> Result<Vec<u8>> {
        let unreadable = || Error::new(Code::ObjectDamaged, "a stored record has no readable key");
        let text = std::str::from_utf8(value).map_err(|_| unreadable())?;
        let (mut found, mut key) = (Found::default(), Vec::new());
        let reader = self.reader.as_ref().ok_or_else(unreadable)?;
        reader.read(text, &mut found, &mut key).map_err(|_| unreadable())?;
        Ok(key)
    }

    /// The canonical keys that a typed key may mean: `abc` the text or the number, `["a",5]` exactly these parts.
    #[must_use]
    pub fn candidates(&self, typed: &str) -> Vec<Vec<u8>> {
        let mut readings: Vec<Vec<String>> = Vec::new();
        let given: Option<Vec<&RawValue>> = serde_json::from_str(typed).ok();
        if let Some(parts) = given.filter(|parts| parts.len() == self.parts) {
            readings.extend(parts.into_iter().map(canonical).collect::<Option<_>>());
        }
        if self.parts == 1 {
            readings.extend(serde_json::to_string(typed).ok().map(|text| vec![text]));
            let scalar: Option<&RawValue> = serde_json::from_str(typed).ok();
            let scalar = scalar.filter(|value| !value.get().starts_with(['"', '[', '{', 'n']));
            readings.extend(scalar.map(|value| vec![value.get().to_owned()]));
        }
        let key = |parts: Vec<String>| match self.encoding {
            RecordEncoding::Json => format!("[{}]", parts.join(",")),
            RecordEncoding::DynamodbJson => {
                format!("[{}]", parts.into_iter().map(typed_value).collect::<Vec<_>>().join(","))
            }
        };
        readings.into_iter().map(|parts| key(parts).into_bytes()).collect()
    }
}

/// A part of a key as it stands in canonical keys: numbers as they are typed, since more digits count than a float has.
fn canonical(part: &RawValue) -> Option<String> {
    let text = part.get();
    if text.starts_with(['"', '[', '{']) {
        let value: Value = serde_json::from_str(text).ok()?;
        return serde_json::to_string(&value).ok();
    }
    Some(text.to_owned())
}

/// A plain value as DynamoDB's JSON writes it; what is typed already stays.
fn typed_value(value: String) -> String {
    match value.as_bytes().first() {
        Some(b'"') => format!(r#"{{"S":{value}}}"#),
        Some(b'-' | b'0'..=b'9') => format!(r#"{{"N":"{value}"}}"#),
        _ => value,
    }
}
