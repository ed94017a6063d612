//! What the capture function is called with, and what it answers.

use holdfast_vault::error::{Code, Error};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// Records of a table's stream, as the service hands them to a function.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaptureEvent {
    /// The records, in the order of the stream.
    #[serde(rename = "Records", default)]
    pub records: Vec<Value>,
    /// What only a tailer knows, which reads the stream itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<Tail>,
}

impl fmt::Debug for CaptureEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CaptureEvent({} records, {:?})", self.records.len(), self.tail)
    }
}

/// What a tailer knows of the records that it hands on. Times are in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tail {
    /// The resource.
    pub resource: String,
    /// The stream's ARN.
    pub stream: String,
    /// From then on the stream holds every change.
    pub complete_from: i64,
    /// Whether the stream no longer reaches back to what was captured last.
    pub trimmed: bool,
    /// Up to then, these records are all that there are; absent where more follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up_to: Option<i64>,
}

/// Which records could not be taken, as the service wants to be told.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CaptureAnswer {
    /// The first record that could not be taken, if any.
    #[serde(rename = "batchItemFailures")]
    pub failures: Vec<ItemFailure>,
    /// Why; told to a tailer only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<Refusal>,
}

/// A record that is to be delivered again, and all that follow it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemFailure {
    /// Its sequence.
    #[serde(rename = "itemIdentifier")]
    pub sequence: String,
}

/// Why a record could not be taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The error's code.
    pub code: String,
    /// One sentence.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl Refusal {
    pub(super) fn new(error: &Error) -> Self {
        Self { code: error.code.to_string(), message: error.message.clone(), hint: error.hint.clone() }
    }

    /// The error that it tells of.
    #[must_use]
    pub fn error(&self) -> Error {
        let code =
            Code::ALL.iter().copied().find(|code| code.as_str() == self.code).unwrap_or(Code::Internal);
        let mut error = Error::new(code, self.message.clone());
        error.hint.clone_from(&self.hint);
        error
    }
}
