//! Keys of stored records: read from their values, or meant by what an operator typed.

use crate::jsonl::{Found, KeyReader};
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::model::{RecordEncoding, StreamInfo, StreamKind};
use serde_json::{Value, json};

/// Finds the keys of a stream's records.
#[derive(Debug)]
pub struct KeyFinder {
    reader: KeyReader,
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
            return Err(Error::new(Code::InvalidInput, format!("stream {} holds files, not records", stream.name))
                .object(&stream.name)
                .hint("choose files with --path"));
        };
        Ok(Self { reader: KeyReader::new(*encoding, key)?, encoding: *encoding, parts: key.len() })
    }

    /// The canonical key of a record.
    ///
    /// # Errors
    /// `ObjectDamaged` if the record has none, which a record that was backed up has.
    pub fn key(&self, value: &[u8]) -> Result<Vec<u8>> {
        let unreadable = || Error::new(Code::ObjectDamaged, "a stored record has no readable key");
        let text = std::str::from_utf8(value).map_err(|_| unreadable())?;
        let (mut found, mut key) = (Found::default(), Vec::new());
        self.reader.read(text, &mut found, &mut key).map_err(|_| unreadable())?;
        Ok(key)
    }

    /// The canonical keys that a typed key may mean: `abc` the text or the number, `["a",5]` exactly these parts.
    #[must_use]
    pub fn candidates(&self, typed: &str) -> Vec<Vec<u8>> {
        let given: Option<Vec<Value>> =
            serde_json::from_str(typed).ok().filter(|parts: &Vec<Value>| parts.len() == self.parts);
        let mut readings: Vec<Vec<Value>> = Vec::new();
        readings.extend(given);
        if self.parts == 1 {
            readings.push(vec![Value::String(typed.to_owned())]);
            let scalar = serde_json::from_str(typed).ok().filter(|v: &Value| v.is_number() || v.is_boolean());
            readings.extend(scalar.map(|value| vec![value]));
        }
        let canonical = |parts: Vec<Value>| match self.encoding {
            RecordEncoding::Json => serde_json::to_vec(&parts).ok(),
            RecordEncoding::DynamodbJson => {
                serde_json::to_vec(&parts.into_iter().map(typed_value).collect::<Vec<_>>()).ok()
            }
        };
        readings.into_iter().filter_map(canonical).collect()
    }
}

/// A plain value as DynamoDB's JSON writes it; what is typed already stays.
fn typed_value(value: Value) -> Value {
    match value {
        Value::String(text) => json!({ "S": text }),
        Value::Number(number) => json!({ "N": number.to_string() }),
        other => other,
    }
}
