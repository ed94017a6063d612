//! The edge of a handler: JSON in, JSON out, errors as Lambda and Step Functions know them.

use crate::fail::HINT;
use holdfast_vault::error::{Code, Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// An event of the type that a handler takes.
///
/// # Errors
/// `InvalidInput` saying what is wrong with it.
pub fn decode<T: DeserializeOwned>(event: Value) -> Result<T> {
    serde_json::from_value(event).map_err(|e| {
        Error::new(Code::InvalidInput, format!("the event is not understood: {e}")).object("event")
    })
}

/// The answer of a handler.
///
/// # Errors
/// `Internal`, which does not happen.
pub fn encode<T: Serialize>(answer: &T) -> Result<Value> {
    crate::plan::value(answer)
}

/// An error as a Lambda function answers it: Step Functions matches `errorType` and hands the whole on as `Cause`.
#[must_use]
pub fn diagnostic(error: &Error) -> Value {
    let message = match &error.hint {
        Some(hint) => format!("{}{HINT}{hint}", error.message),
        None => error.message.clone(),
    };
    json!({ "errorType": error.code.as_str(), "errorMessage": message })
}
