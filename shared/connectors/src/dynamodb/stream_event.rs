//! Records of a DynamoDB stream, as the service hands them to a function: each becomes a change whose key and values
//! have the bytes that a scan gives.

use super::item::{Item, read_item, write_item, write_key};
use holdfast_vault::error::{Code, Error, Result};
use serde::Deserialize;
use serde_json::Value;

const HINT: &str = "hand the stream's records on as the service gives them";

/// Which stream of which table an ARN names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamName {
    /// The table's region.
    pub region: String,
    /// The table.
    pub table: String,
    /// Tells the stream from others that the table had before or will have.
    pub label: String,
}

impl StreamName {
    /// Reads `arn:aws:dynamodb:REGION:ACCOUNT:table/TABLE/stream/LABEL`.
    ///
    /// # Errors
    /// `InvalidInput` for anything else.
    pub fn parse(arn: &str) -> Result<Self> {
        let bad = || {
            Error::new(Code::InvalidInput, format!("{arn:?} is no ARN of a table's stream"))
                .object("eventSourceARN")
                .hint(HINT)
        };
        let parts: Vec<&str> = arn.splitn(6, ':').collect();
        let [_, _, "dynamodb", region, _, path] = parts[..] else { return Err(bad()) };
        let names: Vec<&str> = path.splitn(4, '/').collect();
        let ["table", table, "stream", label] = names[..] else { return Err(bad()) };
        if table.is_empty() || label.is_empty() {
            return Err(bad());
        }
        Ok(Self { region: region.to_owned(), table: table.to_owned(), label: label.to_owned() })
    }
}

/// One write of one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamChange {
    /// When, in milliseconds since 1970.
    pub time: i64,
    /// Its place among the changes of its item: decimal digits.
    pub sequence: String,
    /// The item's canonical key.
    pub key: Vec<u8>,
    /// The canonical item before; none of an item that was added.
    pub before: Option<Vec<u8>>,
    /// The canonical item after; none of an item that was deleted.
    pub after: Option<Vec<u8>>,
}

/// A record of a stream of which no more is known than what the service tells it by.
#[derive(Debug, Clone)]
pub struct StreamRecord<'a> {
    /// Its place in the stream: decimal digits.
    pub sequence: String,
    /// The stream.
    pub stream: StreamName,
    body: &'a Value,
}

#[derive(Deserialize)]
struct Body {
    #[serde(rename = "Keys")]
    keys: Value,
    #[serde(rename = "NewImage", default)]
    new_image: Option<Value>,
    #[serde(rename = "OldImage", default)]
    old_image: Option<Value>,
    #[serde(rename = "StreamViewType", default)]
    view: String,
    #[serde(rename = "ApproximateCreationDateTime")]
    time: f64,
}

impl<'a> StreamRecord<'a> {
    /// Finds out what a record is called.
    ///
    /// # Errors
    /// `InvalidInput` if it cannot be named, and so not be asked for again.
    pub fn new(record: &'a Value) -> Result<Self> {
        let text = |value: Option<&'a Value>, field: &str| {
            value.and_then(Value::as_str).ok_or_else(|| {
                Error::new(Code::InvalidInput, format!("a record of a stream has no {field}"))
                    .object(field)
                    .hint(HINT)
            })
        };
        let body = record.get("dynamodb").unwrap_or(&Value::Null);
        let sequence = text(body.get("SequenceNumber"), "SequenceNumber")?;
        if sequence.is_empty() || sequence.len() > 40 || !sequence.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Error::new(
                Code::InvalidInput,
                "a record of a stream has no readable SequenceNumber",
            )
            .object("SequenceNumber")
            .hint(HINT));
        }
        let stream = StreamName::parse(text(record.get("eventSourceARN"), "eventSourceARN")?)?;
        Ok(Self { sequence: sequence.to_owned(), stream, body })
    }

    /// When the record says that it was written, in milliseconds since 1970, if it does.
    #[must_use]
    pub fn time(&self) -> Option<i64> {
        millis(self.body.get("ApproximateCreationDateTime")?.as_f64()?)
    }

    /// The names of the key's attributes, in no order.
    #[must_use]
    pub fn key_names(&self) -> Vec<&'a str> {
        let keys = self.body.get("Keys").and_then(Value::as_object);
        keys.into_iter().flatten().map(|(name, _)| name.as_str()).collect()
    }

    /// The change that the record tells of. `key` names the key's attributes, in order.
    ///
    /// # Errors
    /// `SourceInvalid` naming the record by its sequence: the stream has not both images, or the record contradicts
    /// itself or the key.
    pub fn change(&self, key: &[String]) -> Result<StreamChange> {
        let body = Body::deserialize(self.body).map_err(|_| self.unusable("is no record of a stream"))?;
        if body.view != "NEW_AND_OLD_IMAGES" {
            let why = format!("holds {:?} instead of both images", body.view);
            return Err(self
                .unusable(&why)
                .hint("switch the stream to NEW_AND_OLD_IMAGES: nothing else tells what was"));
        }
        let time = millis(body.time).ok_or_else(|| self.unusable("has a time that cannot be"))?;
        let keys = self.item(&body.keys, "Keys")?;
        if keys.len() != key.len() {
            return Err(self.unusable("has another key than the table"));
        }
        let mut canonical = Vec::new();
        write_key(&mut canonical, &keys, key).map_err(|_| self.unusable("has another key than the table"))?;
        let image = |value: &Option<Value>, name: &str| match value {
            None | Some(Value::Null) => Ok(None),
            Some(value) => self.image(value, name, key, &canonical).map(Some),
        };
        let (before, after) = (image(&body.old_image, "OldImage")?, image(&body.new_image, "NewImage")?);
        if before.is_none() && after.is_none() {
            return Err(self.unusable("has neither image"));
        }
        Ok(StreamChange { time, sequence: self.sequence.clone(), key: canonical, before, after })
    }

    fn image(&self, value: &Value, name: &str, key: &[String], canonical: &[u8]) -> Result<Vec<u8>> {
        let item = self.item(value, name)?;
        let mut of_item = Vec::with_capacity(canonical.len());
        let same = write_key(&mut of_item, &item, key).is_ok() && of_item == canonical;
        if !same {
            return Err(self.unusable(&format!("has a {name} of another key")));
        }
        let mut out = Vec::new();
        write_item(&mut out, &item)?;
        Ok(out)
    }

    fn item(&self, value: &Value, name: &str) -> Result<Item> {
        let unusable = || self.unusable(&format!("has a {name} that is no item"));
        let bytes = serde_json::to_vec(value).map_err(|_| unusable())?;
        read_item(&bytes).map_err(|_| unusable())
    }

    fn unusable(&self, why: &str) -> Error {
        let table = &self.stream.table;
        Error::new(
            Code::SourceInvalid,
            format!("record {} of the stream of table {table} {why}", self.sequence),
        )
        .object(&self.sequence)
        .hint(HINT)
    }
}

/// Seconds since 1970 in milliseconds, from 1970 to the year 9999.
#[allow(clippy::cast_possible_truncation, reason = "the value was checked to be in range")]
fn millis(seconds: f64) -> Option<i64> {
    (0.0..253_402_300_800.0).contains(&seconds).then(|| (seconds * 1000.0).round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ARN: &str = "arn:aws:dynamodb:eu-central-1:1:table/orders/stream/2026-11-21T00:00:00.000";

    fn record() -> Value {
        json!({"eventID": "1", "eventName": "MODIFY", "eventSourceARN": ARN, "dynamodb": {
            "Keys": {"r": {"N": "5"}, "h": {"S": "a"}},
            "OldImage": {"r": {"N": "5"}, "h": {"S": "a"}, "s": {"SS": ["b", "a"]}},
            "NewImage": {"h": {"S": "a"}, "r": {"N": "5"}, "n": {"NS": ["9", "10"]}, "b": {"BS": ["/w==", "AA=="]}},
            "SequenceNumber": "111", "StreamViewType": "NEW_AND_OLD_IMAGES",
            "ApproximateCreationDateTime": 1_479_499_740.25}})
    }

    fn key() -> Vec<String> {
        vec!["h".to_owned(), "r".to_owned()]
    }

    #[test]
    fn a_record_becomes_a_change_in_canonical_bytes() {
        let record = record();
        let named = StreamRecord::new(&record).unwrap();
        assert_eq!((named.stream.table.as_str(), named.stream.region.as_str()), ("orders", "eu-central-1"));
        assert_eq!(named.stream.label, "2026-11-21T00:00:00.000");
        let change = named.change(&key()).unwrap();
        assert_eq!((change.time, change.sequence.as_str()), (1_479_499_740_250, "111"));
        assert_eq!(change.key, br#"[{"S":"a"},{"N":"5"}]"#);
        assert_eq!(change.before.unwrap(), br#"{"h":{"S":"a"},"r":{"N":"5"},"s":{"SS":["a","b"]}}"#);
        let after = r#"{"b":{"BS":["AA==","/w=="]},"h":{"S":"a"},"n":{"NS":["10","9"]},"r":{"N":"5"}}"#;
        assert_eq!(String::from_utf8(change.after.unwrap()).unwrap(), after);
    }

    #[test]
    fn records_that_cannot_be_right_are_refused_by_their_sequence() {
        let broken: [(&str, Value); 9] = [
            ("/dynamodb/StreamViewType", json!("NEW_IMAGE")),
            ("/dynamodb/StreamViewType", json!(7)),
            ("/dynamodb/Keys", json!({"h": {"S": "a"}})),
            ("/dynamodb/Keys", json!({"h": {"S": "a"}, "x": {"N": "5"}})),
            ("/dynamodb/NewImage", json!({"h": {"S": "b"}, "r": {"N": "5"}})),
            ("/dynamodb/OldImage", json!({"h": {"S": "a"}, "r": {"N": "5"}, "q": {"S": 1}})),
            ("/dynamodb/OldImage", json!([])),
            ("/dynamodb/ApproximateCreationDateTime", json!(-1.0)),
            ("/dynamodb/ApproximateCreationDateTime", json!("now")),
        ];
        for (place, value) in broken {
            let mut record = record();
            *record.pointer_mut(place).unwrap() = value.clone();
            let error = StreamRecord::new(&record).unwrap().change(&key()).unwrap_err();
            assert_eq!(error.code, Code::SourceInvalid, "{place} {value}");
            assert_eq!(error.object.as_deref(), Some("111"));
            assert!(!error.message.contains("\"S\""), "{}", error.message);
        }
        let mut none = record();
        let body = none["dynamodb"].as_object_mut().unwrap();
        body.remove("OldImage");
        body.remove("NewImage");
        assert!(StreamRecord::new(&none).unwrap().change(&key()).is_err());
    }

    #[test]
    fn records_that_cannot_be_named_are_refused() {
        for (place, value) in [
            ("/dynamodb/SequenceNumber", json!(5)),
            ("/dynamodb/SequenceNumber", json!("")),
            ("/dynamodb/SequenceNumber", json!("12a")),
            ("/dynamodb", json!(null)),
            ("/eventSourceARN", json!("arn:aws:s3:::bucket")),
            ("/eventSourceARN", json!("arn:aws:dynamodb:r:1:table/orders")),
            ("/eventSourceARN", json!(null)),
        ] {
            let mut record = record();
            *record.pointer_mut(place).unwrap() = value;
            assert_eq!(StreamRecord::new(&record).unwrap_err().code, Code::InvalidInput, "{place}");
        }
        assert!(StreamRecord::new(&json!("text")).is_err());
    }
}
