//! Servers on the loopback, clients for them that can be tapped, and sinks that keep what they are given.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use async_trait::async_trait;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient,
    SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use holdfast_connectors::{
    Content, Flow, RangeSink, RecordBatch, RecordSink, Source, SourceRange, TreeSink, Want,
};
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::model::{EntryMeta, Part, StreamInfo, Warning};
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// Answers a request in the server's place, or lets it pass.
type Hook = Arc<dyn Fn(&HttpRequest) -> Option<HttpResponse> + Send + Sync>;

#[derive(Clone)]
struct Tap {
    inner: SharedHttpClient,
    hook: Hook,
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tap")
    }
}

#[derive(Debug)]
struct TapConnector(Tap, SharedHttpConnector);

impl HttpClient for Tap {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        parts: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(TapConnector(self.clone(), self.inner.http_connector(settings, parts)))
    }
}

impl HttpConnector for TapConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        match (self.0.hook)(&request) {
            Some(response) => HttpConnectorFuture::ready(Ok(response)),
            None => self.1.call(request),
        }
    }
}

pub fn answer(status: u16, body: impl Into<SdkBody>) -> HttpResponse {
    HttpResponse::new(status.try_into().unwrap(), body.into())
}

fn http(hook: impl Fn(&HttpRequest) -> Option<HttpResponse> + Send + Sync + 'static) -> Tap {
    Tap { inner: aws_smithy_http_client::Builder::new().build_http(), hook: Arc::new(hook) }
}

fn credentials() -> Credentials {
    Credentials::new("test", "test", None, None, "test")
}

pub fn dynamodb_at(
    address: SocketAddr,
    hook: impl Fn(&HttpRequest) -> Option<HttpResponse> + Send + Sync + 'static,
) -> aws_sdk_dynamodb::Client {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("eu-west-1"))
        .endpoint_url(format!("http://{address}"))
        .credentials_provider(credentials())
        .retry_config(RetryConfig::disabled())
        .http_client(http(hook))
        .build();
    aws_sdk_dynamodb::Client::from_conf(config)
}

/// A DynamoDB of its own, for as long as the test runs.
pub async fn dynamodb_server() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let database = dynoxide::Database::memory().unwrap();
    tokio::spawn(dynoxide::server::serve_with_shutdown(listener, database, std::future::pending()));
    address
}

pub async fn dynamodb() -> aws_sdk_dynamodb::Client {
    dynamodb_at(dynamodb_server().await, |_| None)
}

/// A bucket `shop` on an S3 server of its own, for as long as the directory lives and the test runs.
pub async fn s3_server(directory: &std::path::Path) -> SocketAddr {
    std::fs::create_dir(directory.join("shop")).unwrap();
    let mut builder = s3s::service::S3ServiceBuilder::new(s3s_fs::FileSystem::new(directory).unwrap());
    builder.set_auth(s3s::auth::SimpleAuth::from_single("test", "test"));
    let service = builder.build();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let server = hyper_util::server::conn::auto::Builder::new(hyper_util::rt::TokioExecutor::new());
        while let Ok((socket, _)) = listener.accept().await {
            let connection = server.serve_connection(hyper_util::rt::TokioIo::new(socket), service.clone());
            let connection = connection.into_owned();
            tokio::spawn(async move {
                let _ = connection.await;
            });
        }
    });
    address
}

pub fn s3_at(
    address: SocketAddr,
    hook: impl Fn(&HttpRequest) -> Option<HttpResponse> + Send + Sync + 'static,
) -> aws_sdk_s3::Client {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("eu-west-1"))
        .endpoint_url(format!("http://{address}"))
        .force_path_style(true)
        .credentials_provider(credentials())
        .retry_config(RetryConfig::disabled())
        .http_client(http(hook))
        .build();
    aws_sdk_s3::Client::from_conf(config)
}

/// Keeps records, and asks to stop after each call where `stop_always` is set.
#[derive(Default)]
pub struct Records {
    pub stop_always: bool,
    pub kept: BTreeMap<Vec<u8>, Vec<u8>>,
    pub seen: usize,
    pub largest_batch: usize,
}

#[async_trait]
impl RecordSink for Records {
    async fn records(&mut self, batch: &RecordBatch) -> Result<Flow> {
        self.largest_batch = self.largest_batch.max(batch.bytes());
        for record in batch.iter() {
            self.seen += 1;
            self.kept.insert(record.key.to_vec(), record.value.to_vec());
        }
        Ok(if self.stop_always { Flow::Enough } else { Flow::More })
    }

    fn warn(&mut self, warning: Warning) {
        panic!("{warning:?}");
    }
}

/// Keeps ranges.
#[derive(Default)]
pub struct Ranges(pub Vec<SourceRange>);

#[async_trait]
impl RangeSink for Ranges {
    async fn range(&mut self, range: SourceRange) -> Result<()> {
        self.0.push(range);
        Ok(())
    }
}

/// Keeps entries, and asks to stop after every `stop_after` of them.
#[derive(Default)]
pub struct Tree {
    pub stop_after: usize,
    /// Paths whose content is not wanted.
    pub known: Vec<String>,
    pub entries: Vec<(EntryMeta, Part, Vec<u8>)>,
    pub warnings: Vec<Warning>,
    pub open: Option<(EntryMeta, Part, Vec<u8>, bool)>,
    pub since: usize,
}

impl Tree {
    pub fn content(&self, path: &str) -> Vec<u8> {
        let parts = self.entries.iter().filter(|(meta, ..)| meta.path == path.as_bytes());
        parts.flat_map(|(.., content)| content.clone()).collect()
    }

    pub fn paths(&self) -> Vec<String> {
        self.entries.iter().map(|(meta, ..)| String::from_utf8(meta.path.clone()).unwrap()).collect()
    }
}

#[async_trait]
impl TreeSink for Tree {
    async fn begin(&mut self, meta: EntryMeta, part: Part) -> Result<Want> {
        assert!(self.open.is_none());
        if let Some((last, last_part, _)) = self.entries.last() {
            let follows = last.path == meta.path && last_part.offset + last_part.length == part.offset;
            assert!(last.path < meta.path || follows, "out of order");
        }
        let known = self.known.iter().any(|path| path.as_bytes() == meta.path);
        self.open = Some((meta, part, Vec::new(), known));
        Ok(if known { Want::Nothing } else { Want::Content })
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let (_, part, content, known) = self.open.as_mut().unwrap();
        assert!(!*known);
        content.extend_from_slice(bytes);
        if content.len() as u64 > part.length {
            return Err(Error::new(Code::SourceChanged, "too many bytes"));
        }
        Ok(())
    }

    async fn finish(&mut self) -> Result<Flow> {
        let (meta, part, content, known) = self.open.take().unwrap();
        assert!(known || content.len() as u64 == part.length, "missing bytes");
        self.entries.push((meta, part, content));
        self.since += 1;
        if self.since == self.stop_after {
            self.since = 0;
            return Ok(Flow::Enough);
        }
        Ok(Flow::More)
    }

    fn abandon(&mut self) {
        self.open.take().unwrap();
    }

    fn warn(&mut self, warning: Warning) {
        self.warnings.push(warning);
    }
}

/// Content in pieces.
pub struct Pieces(std::vec::IntoIter<Bytes>);

impl Pieces {
    pub fn of(content: &[u8]) -> Self {
        Self(content.chunks(1 << 20).map(Bytes::copy_from_slice).collect::<Vec<_>>().into_iter())
    }
}

#[async_trait]
impl Content for Pieces {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        Ok(self.0.next())
    }
}

/// Reads a range of records to its end, call by call, and says how many calls that took.
pub async fn read_records(
    source: &dyn Source,
    stream: &StreamInfo,
    range: &SourceRange,
    sink: &mut Records,
) -> usize {
    let (mut cursor, mut calls) = (None, 0);
    loop {
        cursor = source.read_records(stream, range, cursor.as_ref(), sink).await.unwrap();
        calls += 1;
        if cursor.is_none() {
            return calls;
        }
    }
}

/// Reads a range of a tree to its end, call by call, and says how many calls that took.
pub async fn read_tree(
    source: &dyn Source,
    stream: &StreamInfo,
    range: &SourceRange,
    sink: &mut Tree,
) -> usize {
    let (mut cursor, mut calls) = (None, 0);
    loop {
        cursor = source.read_tree(stream, range, cursor.as_ref(), sink).await.unwrap();
        calls += 1;
        if cursor.is_none() {
            return calls;
        }
    }
}
