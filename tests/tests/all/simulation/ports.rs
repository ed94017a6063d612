//! The ports as actors of the stage reach them: storage, job state, the clock.

use super::model::Model;
use super::stage::{Fate, Stage};
use super::tally::{Happened, Tally};
use async_trait::async_trait;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use bytes::Bytes;
use holdfast_common::clock::Clock;
use holdfast_common::jobs::{PARTITION_KEY, SORT_KEY};
use holdfast_local::dynamodb::EmbeddedDynamoDb;
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::memory::MemoryStorage;
use holdfast_vault::storage::{ByteRange, Inspected, Listing, ObjectInfo, PartSum, Put, Storage};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

type Work<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// The clock of who acts.
#[derive(Debug)]
pub(super) struct ActorsClock(pub(super) Stage);

impl Clock for ActorsClock {
    fn now(&self) -> Timestamp {
        holdfast_common::clock::whole_millis(self.0.told_time())
    }
}

/// When an object was there.
#[derive(Debug, Clone, Copy)]
struct Presence {
    from: Timestamp,
    to: Option<Timestamp>,
    size: u64,
}

/// A store whose calls go wrong as the weather of the actor is. It watches what is written and deleted, so that a broken
/// rule is found when it breaks.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) inner: MemoryStorage,
    pub(super) stage: Stage,
    pub(super) tally: Arc<Tally>,
    /// Of the vault: what must hold.
    pub(super) model: Option<Arc<Model>>,
    was_there: Mutex<BTreeMap<String, Vec<Presence>>>,
}

fn away() -> Error {
    Error::new(Code::StorageUnavailable, "the store is away")
}

impl Port {
    pub(super) fn new(
        inner: MemoryStorage,
        stage: &Stage,
        tally: &Arc<Tally>,
        model: Option<Arc<Model>>,
    ) -> Self {
        Self { inner, stage: stage.clone(), tally: tally.clone(), model, was_there: Mutex::default() }
    }

    /// Makes a call as its fate is.
    async fn made<'a, T: Send>(&self, call: impl Fn() -> Work<'a, T> + Send + Sync) -> Result<T> {
        match self.stage.call().await {
            Fate::Fine => call().await,
            Fate::Before => {
                self.tally.count(Happened::Error);
                Err(away())
            }
            Fate::After => {
                self.tally.count(Happened::Timeout);
                call().await.and(Err(away()))
            }
            Fate::Twice => {
                self.tally.count(Happened::Duplicate);
                let first = call().await;
                let second = call().await;
                self.stage.chance(|chance| if chance.percent(50) { first } else { second })
            }
            Fate::CrashAfter => {
                call().await?;
                self.stage.crash().await;
                Err(away())
            }
        }
    }

    async fn put(&self, key: &str, body: Bytes) -> Result<Put> {
        let size = body.len() as u64;
        let put = self.inner.put_if_absent(key, body).await?;
        self.appeared(key, put, size).await;
        Ok(put)
    }

    async fn copy(&self, from: &str, key: &str, to: &str, parts: &[PartSum]) -> Result<Put> {
        let put = self.inner.copy_from(from, key, to, parts).await?;
        let size = self.inner.head(to).await?.size;
        self.appeared(to, put, size).await;
        Ok(put)
    }

    async fn appeared(&self, key: &str, put: Put, size: u64) {
        if put == Put::Exists {
            return;
        }
        let from = self.stage.now();
        self.was_there.lock().unwrap().entry(key.to_owned()).or_default().push(Presence {
            from,
            to: None,
            size,
        });
        if let Some(model) = &self.model {
            model.created(key).await;
        }
    }

    async fn remove(&self, key: &str) -> Result<()> {
        let there = self.inner.head(key).await.is_ok();
        if let (Some(model), true) = (&self.model, there) {
            model.deleting(key).await;
        }
        self.inner.delete(key).await?;
        if let Some(last) = self.was_there.lock().unwrap().get_mut(key).and_then(|all| all.last_mut()) {
            last.to.get_or_insert(self.stage.now());
        }
        Ok(())
    }

    async fn listed(&self, prefix: &str, after: Option<&str>) -> Result<Listing> {
        let old = self.stage.staleness();
        let is_new = prefix.starts_with("changes/") && self.stage.reads_changes();
        if old.is_zero() || is_new {
            return self.inner.list(prefix, after).await;
        }
        self.tally.count(Happened::StaleList);
        let time = self.stage.now() - old;
        let was = |all: &[Presence]| {
            let at = all.iter().find(|at| at.from <= time && at.to.is_none_or(|to| to > time));
            at.map(|at| at.size)
        };
        let known = self.was_there.lock().unwrap();
        let objects = known
            .iter()
            .filter(|(key, _)| key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after))
            .filter_map(|(key, all)| was(all).map(|size| ObjectInfo { key: key.clone(), size }));
        let objects: Vec<ObjectInfo> = objects.collect();
        Ok(Listing { objects, more: false })
    }
}

#[async_trait]
impl Storage for Port {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn head(&self, key: &str) -> Result<ObjectInfo> {
        self.made(|| Box::pin(self.inner.head(key))).await
    }

    async fn inspect(&self, key: &str, parts: &[String]) -> Result<Inspected> {
        self.made(|| Box::pin(self.inner.inspect(key, parts))).await
    }

    async fn get(&self, key: &str, range: ByteRange) -> Result<Bytes> {
        self.made(|| Box::pin(self.inner.get(key, range))).await
    }

    async fn put_if_absent(&self, key: &str, body: Bytes) -> Result<Put> {
        self.made(|| Box::pin(self.put(key, body.clone()))).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Listing> {
        self.made(|| Box::pin(self.listed(prefix, after))).await
    }

    async fn copy_from(&self, from: &str, key: &str, to: &str, parts: &[PartSum]) -> Result<Put> {
        self.made(|| Box::pin(self.copy(from, key, to, parts))).await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.made(|| Box::pin(self.remove(key))).await
    }

    async fn locked_until(&self, key: &str) -> Result<Option<i64>> {
        self.made(|| Box::pin(self.inner.locked_until(key))).await
    }

    async fn keep_until(&self, key: &str, until: i64) -> Result<()> {
        self.made(|| Box::pin(self.inner.keep_until(key, until))).await
    }
}

/// The embedded DynamoDB, whose calls go wrong likewise. What a query tells may be old when it arrives.
#[derive(Debug, Clone)]
struct Table {
    inner: EmbeddedDynamoDb,
    stage: Stage,
    tally: Arc<Tally>,
    model: Arc<Model>,
}

/// A client whose calls go wrong as the weather of the actor is.
pub(super) fn client(
    inner: &EmbeddedDynamoDb,
    stage: &Stage,
    tally: &Arc<Tally>,
    model: &Arc<Model>,
) -> aws_sdk_dynamodb::Client {
    let (stage, tally, model) = (stage.clone(), tally.clone(), model.clone());
    let table = Table { inner: inner.clone(), stage, tally, model };
    let config = inner.client().config().to_builder().http_client(table);
    aws_sdk_dynamodb::Client::from_conf(config.retry_config(RetryConfig::disabled()).build())
}

/// The key of the object that a request notes as condemned.
fn condemned(target: &str, body: &[u8]) -> Option<String> {
    if !target.ends_with(".PutItem") {
        return None;
    }
    let put: serde_json::Value = serde_json::from_slice(body).ok()?;
    let partition = put["Item"][PARTITION_KEY]["S"].as_str()?;
    let key = put["Item"][SORT_KEY]["S"].as_str()?;
    partition.starts_with("CONDEMNED#").then(|| key.to_owned())
}

impl HttpClient for Table {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Table {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let table = self.clone();
        let lost = || ConnectorError::timeout("no answer".into());
        HttpConnectorFuture::new(async move {
            let Table { inner, stage, tally, model } = table;
            let target = request.headers().get("x-amz-target").unwrap_or_default();
            if let Some(key) = condemned(target, request.body().bytes().unwrap_or_default()) {
                model.condemned(&key);
            }
            let asks = target.ends_with(".Query") || target.ends_with(".Scan");
            match stage.call().await {
                Fate::Fine => {
                    let answer = inner.call(request).await;
                    let old = if asks { stage.staleness() } else { jiff::SignedDuration::ZERO };
                    if !old.is_zero() {
                        tally.count(Happened::StaleQuery);
                        stage.after(old).await;
                    }
                    answer
                }
                Fate::Before => {
                    tally.count(Happened::Error);
                    Err(lost())
                }
                Fate::After => {
                    tally.count(Happened::Timeout);
                    inner.call(request).await?;
                    Err(lost())
                }
                Fate::Twice => {
                    tally.count(Happened::Duplicate);
                    if let Some(same) = request.try_clone() {
                        inner.call(same).await?;
                    }
                    inner.call(request).await
                }
                Fate::CrashAfter => {
                    inner.call(request).await?;
                    stage.crash().await;
                    Err(lost())
                }
            }
        })
    }
}
