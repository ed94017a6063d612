//! A request as the HTTP API hands it over.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use holdfast_vault::error::{Code, Error, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;

/// What is read of a request: the service adds what it likes to the rest.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Request {
    /// The method and the path as the API declares them.
    route_key: String,
    #[serde(default)]
    path_parameters: Option<BTreeMap<String, String>>,
    #[serde(default)]
    query_string_parameters: Option<BTreeMap<String, String>>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: bool,
}

impl Request {
    pub(crate) fn route(&self) -> &str {
        &self.route_key
    }

    /// A part of the path.
    pub(crate) fn path(&self, name: &str) -> Result<&str> {
        let found = self.path_parameters.as_ref().and_then(|all| all.get(name));
        found.map(String::as_str).ok_or_else(|| wrong(name, format!("the path has no {name}")))
    }

    /// The parameters after the path, of which only some are known.
    pub(crate) fn query(&self, known: &[&str]) -> Result<BTreeMap<&str, &str>> {
        let all: BTreeMap<&str, &str> = self
            .query_string_parameters
            .iter()
            .flatten()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        match all.keys().find(|name| !known.contains(name)) {
            None => Ok(all),
            Some(unknown) => {
                Err(wrong(unknown, format!("unknown parameter {unknown:?}")).hint(match known {
                    [] => "this route takes none".to_owned(),
                    known => format!("known are {}", known.join(", ")),
                }))
            }
        }
    }

    /// The body; an empty one is an empty object.
    pub(crate) fn body<T: DeserializeOwned>(&self) -> Result<T> {
        let text = self.body.as_deref().unwrap_or_default().as_bytes();
        let decoded;
        let bytes = if self.is_base64_encoded {
            decoded = BASE64.decode(text).map_err(|_| wrong("body", "the body is no base64"))?;
            decoded.as_slice()
        } else {
            text
        };
        let bytes = if bytes.trim_ascii().is_empty() { b"{}" } else { bytes };
        // A list would be taken for the fields in their order.
        if !bytes.trim_ascii_start().starts_with(b"{") {
            return Err(wrong("body", "the body is no JSON object"));
        }
        serde_json::from_slice(bytes)
            .map_err(|error| wrong("body", format!("the body is not understood: {error}")))
    }
}

pub(crate) fn wrong(object: &str, message: impl Into<String>) -> Error {
    Error::new(Code::InvalidInput, message).object(object)
}
