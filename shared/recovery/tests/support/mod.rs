//! AWS as its API references describe it: answers that a test scripts, in the services' own shapes, and tables in a
//! DynamoDB inside the process.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

pub mod cbor;
pub mod tables;

use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use futures::FutureExt as _;
use holdfast_common::clock::{Clock, ManualClock};
use holdfast_local::dynamodb::EmbeddedDynamoDb;
use holdfast_recovery::Recovery;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

pub const ROLE: &str = "arn:aws:iam::123456789012:role/shop-restore";

/// A status and a body.
pub type Answer = (u16, Value);
type Handler = Arc<dyn Fn(&Value) -> Answer + Send + Sync>;

/// The services, and all that was asked of them. Operations are named as the APIs name them (`DescribeTable`); those of
/// AWS Backup by method and path (`PUT /restore-jobs`).
#[derive(Clone)]
pub struct Aws {
    handlers: Arc<Mutex<BTreeMap<String, Handler>>>,
    calls: Arc<Mutex<Vec<(String, Value)>>>,
    pub tables: EmbeddedDynamoDb,
}

impl fmt::Debug for Aws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Aws")
    }
}

/// A refusal, in the shape that all of the services share.
pub fn refusal(status: u16, name: &str, message: &str) -> Answer {
    (status, json!({ "__type": name, "message": message, "Message": message }))
}

impl Aws {
    pub fn new() -> Self {
        Self { handlers: Arc::default(), calls: Arc::default(), tables: EmbeddedDynamoDb::memory().unwrap() }
    }

    /// Answers an operation.
    pub fn on(&self, operation: &str, answer: impl Fn(&Value) -> Answer + Send + Sync + 'static) {
        self.handlers.lock().unwrap().insert(operation.to_owned(), Arc::new(answer));
    }

    /// Answers an operation with one body after the other, and then with the last.
    pub fn on_each(&self, operation: &str, answers: Vec<Answer>) {
        let next = Mutex::new(answers.into_iter().peekable());
        let last = Mutex::new(None);
        self.on(operation, move |_| {
            let mut last = last.lock().unwrap();
            if let Some(answer) = next.lock().unwrap().next() {
                *last = Some(answer);
            }
            last.clone().unwrap()
        });
    }

    /// What was asked of an operation, in order.
    pub fn asked(&self, operation: &str) -> Vec<Value> {
        let calls = self.calls.lock().unwrap();
        calls.iter().filter(|(name, _)| name == operation).map(|(_, body)| body.clone()).collect()
    }

    /// The names of all operations that were called and begin so.
    pub fn called(&self, prefix: &str) -> Vec<String> {
        let calls = self.calls.lock().unwrap();
        calls.iter().map(|(name, _)| name.clone()).filter(|name| name.starts_with(prefix)).collect()
    }

    /// The tables' own answer to an operation.
    pub fn table(&self, operation: &str, body: &Value) -> Answer {
        let mut request = HttpRequest::new(SdkBody::from(body.to_string()));
        request.headers_mut().insert("x-amz-target", format!("DynamoDB_20120810.{operation}"));
        let answer = HttpConnector::call(&self.tables, request).now_or_never().unwrap().unwrap();
        let text = answer.body().bytes().unwrap();
        (answer.status().as_u16(), serde_json::from_slice(text).unwrap())
    }

    pub fn config(&self) -> SdkConfig {
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("eu-west-1"))
            .credentials_provider(SharedCredentialsProvider::new(Credentials::new(
                "test", "test", None, None, "test",
            )))
            .retry_config(RetryConfig::disabled())
            .http_client(SharedHttpClient::new(self.clone()))
            .build()
    }

    pub fn recovery(&self) -> (Recovery, Arc<ManualClock>) {
        // Tables tell when they were made by the machine's clock.
        let clock = Arc::new(ManualClock::new(Timestamp::now()));
        (Recovery::new(&self.config(), clock.clone() as Arc<dyn Clock>, Some(ROLE.to_owned())), clock)
    }

    fn answer(&self, request: &HttpRequest) -> HttpResponse {
        let bytes = request.body().bytes().unwrap_or_default();
        let uri: String = request.uri().chars().skip("https://".len()).skip_while(|c| *c != '/').collect();
        let (path, query) = uri.split_once('?').unwrap_or((&uri, ""));
        let in_cbor = request.headers().get("smithy-protocol").is_some();
        let target = request.headers().get("x-amz-target").and_then(|target| target.split_once('.'));
        let (name, mut body) = if in_cbor {
            (path.rsplit('/').next().unwrap().to_owned(), cbor::decode(bytes))
        } else {
            let body = serde_json::from_slice(bytes).unwrap_or_else(|_| json!({}));
            match target {
                Some((_, operation)) => (operation.to_owned(), body),
                None => (format!("{} {}", request.method(), unescaped(path)), body),
            }
        };
        if !query.is_empty() {
            body["?"] = json!(unescaped(query));
        }
        self.calls.lock().unwrap().push((name.clone(), body.clone()));
        let handler = self.handlers.lock().unwrap().get(&name).cloned();
        let of_tables = target.is_some_and(|(service, _)| service.starts_with("DynamoDB"));
        let (status, answer) = match handler {
            Some(handler) => handler(&body),
            None if of_tables => self.table(&name, &body),
            None => panic!("nobody answers {name}: {body}"),
        };
        let mut response = if in_cbor {
            HttpResponse::new(status.try_into().unwrap(), SdkBody::from(cbor::encode(&answer)))
        } else {
            HttpResponse::new(status.try_into().unwrap(), SdkBody::from(answer.to_string()))
        };
        if in_cbor {
            response.headers_mut().insert("smithy-protocol", "rpc-v2-cbor");
        }
        if let Some(error) = answer["__type"].as_str() {
            response.headers_mut().insert("x-amzn-errortype", error.to_owned());
        }
        response
    }
}

fn unescaped(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        match (first, after) {
            (b'%', [high, low, after @ ..]) => {
                let digits = [*high, *low];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
                rest = after;
            }
            _ => bytes.push(*first),
        }
    }
    String::from_utf8(bytes).unwrap()
}

impl HttpClient for Aws {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Aws {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::ready(Ok(self.answer(&request)))
    }
}
