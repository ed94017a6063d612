//! Answers as the HTTP API takes them.

use holdfast_vault::error::{Class, Code, Error, Result};
use holdfast_workflow::handler;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// An answer to a request.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Answer {
    status_code: u16,
    headers: BTreeMap<&'static str, &'static str>,
    body: String,
}

impl Answer {
    /// What was asked for.
    pub(crate) fn ok<T: Serialize>(body: &T) -> Result<Self> {
        Ok(Self::new(200, &handler::encode(body)?))
    }

    /// What was asked for is under way.
    pub(crate) fn accepted(body: &Value) -> Self {
        Self::new(202, body)
    }

    /// What was asked for cannot be, or not now.
    pub(crate) fn refusal(error: &Error) -> Self {
        let mut body = Map::new();
        body.insert("code".to_owned(), json!(error.code.as_str()));
        body.insert("message".to_owned(), json!(error.message));
        body.extend(error.object.as_ref().map(|object| ("object".to_owned(), json!(object))));
        body.extend(error.hint.as_ref().map(|hint| ("hint".to_owned(), json!(hint))));
        body.insert("retryable".to_owned(), json!(error.code.retryable()));
        let mut answer = Self::new(status(error.code), &Value::Object(body));
        if matches!(answer.status_code, 429 | 503) {
            answer.headers.insert("retry-after", "5");
        }
        answer
    }

    fn new(status_code: u16, body: &Value) -> Self {
        let headers = [("content-type", "application/json"), ("cache-control", "no-store")];
        Self { status_code, headers: headers.into(), body: body.to_string() }
    }
}

/// The status that stands for an error.
fn status(code: Code) -> u16 {
    match code {
        Code::ResourceUnknown | Code::JobUnknown => 404,
        Code::JobState
        | Code::StateConflict
        | Code::Cancelled
        | Code::TargetNotEmpty
        | Code::TargetConflict => 409,
        Code::SourceThrottled | Code::TargetThrottled | Code::StorageThrottled => 429,
        // The stack is at fault, not the request.
        Code::HomeInvalid | Code::KeyWrong | Code::FormatUnsupported => 500,
        other if other.retryable() => 503,
        other if other.class() == Class::BadInput => 400,
        _ => 500,
    }
}
