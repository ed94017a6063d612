//! CloudFormation's custom resources: what they ask, and how they are answered.
//!
//! CloudFormation waits for an answer at an address that comes with the request, and waits for an hour where none comes:
//! whatever happens, a function answers.

use aws_smithy_http_client::Connector;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_runtime_api::client::http::HttpConnector as _;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use holdfast_common::wait::back_off;
use holdfast_vault::error::{Code, Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;

/// How often an answer is sent.
const TRIES: u32 = 5;
/// The largest answer that CloudFormation takes, in bytes.
const LARGEST: usize = 4_096;
/// What is kept of a reason: an answer has room for it whatever else it holds.
const LONGEST_REASON: usize = 1_024;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RequestType {
    /// The resource is new.
    Create,
    /// Its properties have changed.
    Update,
    /// It goes.
    Delete,
}

/// Where an answer goes. Whoever has it may answer in our place, so it shows in no log.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ResponseUrl(String);

impl fmt::Debug for ResponseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseUrl(..)")
    }
}

/// A request for a custom resource.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Request {
    /// What is asked for.
    pub request_type: RequestType,
    /// Where the answer goes.
    #[serde(rename = "ResponseURL")]
    pub response_url: ResponseUrl,
    /// The stack.
    pub stack_id: String,
    /// The request: the same in a repeat of it.
    pub request_id: String,
    /// The type, such as `Custom::RestoreTest`.
    pub resource_type: String,
    /// The resource's name in the template.
    pub logical_resource_id: String,
    /// What the first answer called it; none with `Create`.
    #[serde(default)]
    pub physical_resource_id: Option<String>,
    /// The properties, with the `ServiceToken` that every custom resource has.
    #[serde(default)]
    pub resource_properties: Map<String, Value>,
    /// The properties before an update.
    #[serde(default)]
    pub old_resource_properties: Map<String, Value>,
    /// The function that is asked.
    #[serde(default)]
    pub service_token: Option<String>,
}

impl Request {
    /// The properties that a template gives, without those that CloudFormation itself reads.
    ///
    /// # Errors
    /// `InvalidInput` naming what is missing, unknown or of the wrong type.
    pub fn properties<T: serde::de::DeserializeOwned>(&self) -> Result<T> {
        let mut properties = self.resource_properties.clone();
        properties.retain(|name, _| name != "ServiceToken" && name != "ServiceTimeout");
        serde_json::from_value(Value::Object(properties)).map_err(|error| {
            Error::new(
                Code::InvalidInput,
                format!("the properties of {} are not understood: {error}", self.logical_resource_id),
            )
            .object("ResourceProperties")
        })
    }
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Outcome {
    /// As it was asked.
    Success,
    /// Not: CloudFormation rolls back.
    Failed,
}

/// An answer to a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Answer {
    /// How it ended.
    pub status: Outcome,
    /// Why, where it failed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What the resource is called from now on. Another name than before makes CloudFormation delete the one before.
    pub physical_resource_id: String,
    /// As asked.
    pub stack_id: String,
    /// As asked.
    pub request_id: String,
    /// As asked.
    pub logical_resource_id: String,
    /// What `Fn::GetAtt` gives.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub data: Map<String, Value>,
}

impl Answer {
    /// An answer to a request about a resource of this name.
    #[must_use]
    pub fn success(
        request: &Request,
        physical_resource_id: impl Into<String>,
        data: Map<String, Value>,
    ) -> Self {
        Self {
            status: Outcome::Success,
            reason: String::new(),
            physical_resource_id: physical_resource_id.into(),
            stack_id: request.stack_id.clone(),
            request_id: request.request_id.clone(),
            logical_resource_id: request.logical_resource_id.clone(),
            data,
        }
    }

    /// The answer that a request failed, and why.
    #[must_use]
    pub fn failed(request: &Request, physical_resource_id: impl Into<String>, error: &Error) -> Self {
        let told = holdfast_workflow::handler::diagnostic(error);
        let reason =
            format!("{}: {}", error.code.as_str(), told["errorMessage"].as_str().unwrap_or_default());
        Self {
            status: Outcome::Failed,
            reason: reason.chars().take(LONGEST_REASON).collect(),
            ..Self::success(request, physical_resource_id, Map::new())
        }
    }
}

/// Sends an answer; CloudFormation takes a repeat for the same.
///
/// # Errors
/// `InvalidInput` if the address is neither of `https` nor on the loopback, `Internal` if the answer is too long,
/// `TargetUnavailable` if nobody took it.
pub async fn answer(url: &ResponseUrl, answer: &Answer) -> Result<()> {
    let local = ["http://127.0.0.1:", "http://localhost:"];
    if !url.0.starts_with("https://") && !local.iter().any(|start| url.0.starts_with(start)) {
        return Err(Error::new(Code::InvalidInput, "ResponseURL is no https address").object("ResponseURL"));
    }
    let body = serde_json::to_vec(answer).map_err(|error| Error::new(Code::Internal, error.to_string()))?;
    if body.len() > LARGEST {
        let told =
            format!("an answer of {} bytes is more than the {LARGEST} that CloudFormation takes", body.len());
        return Err(Error::new(Code::Internal, told).object(&answer.logical_resource_id));
    }
    let connector = Connector::builder().tls_provider(Provider::Rustls(CryptoMode::Ring)).build();
    let mut attempt = 0;
    loop {
        let Err(why) = put(&connector, url, &body).await else { return Ok(()) };
        if attempt + 1 == TRIES {
            return Err(Error::new(
                Code::TargetUnavailable,
                format!("CloudFormation was not answered: {why}"),
            )
            .object("ResponseURL"));
        }
        // What answers for CloudFormation is away for seconds rather than for milliseconds.
        back_off(attempt + 5).await;
        attempt += 1;
    }
}

/// Says why it failed without the address: an error of a client may show it.
async fn put(connector: &Connector, url: &ResponseUrl, body: &[u8]) -> Result<(), String> {
    let mut request = HttpRequest::new(SdkBody::from(body.to_vec()));
    request.set_method("PUT").map_err(|_| "it is no request")?;
    request.set_uri(url.0.as_str()).map_err(|_| "the address is not understood")?;
    // The address is signed for an empty content type.
    request.headers_mut().insert("content-type", "");
    request.headers_mut().insert("content-length", body.len().to_string());
    match connector.call(request).await {
        Ok(response) if response.status().is_success() => Ok(()),
        Ok(response) => Err(format!("status {}", response.status().as_u16())),
        Err(error) if error.is_timeout() => Err("no answer in time".to_owned()),
        Err(_) => Err("no connection".to_owned()),
    }
}
