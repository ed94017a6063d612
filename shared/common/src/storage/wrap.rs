//! Wrappers around any store: one counts requests, one makes them fail as planned.

use async_trait::async_trait;
use bytes::Bytes;
use holdfast_vault::error::{Error, Result};
use holdfast_vault::storage::{ByteRange, Inspected, Listing, ObjectInfo, PartSum, Put, Storage};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// The requests of the storage port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// [`Storage::head`] and [`Storage::inspect`], which are one request of S3.
    Head,
    /// [`Storage::get`].
    Get,
    /// [`Storage::put_if_absent`].
    Put,
    /// [`Storage::list`].
    List,
    /// [`Storage::copy_from`].
    Copy,
    /// [`Storage::delete`].
    Delete,
    /// [`Storage::locked_until`] and [`Storage::keep_until`].
    Lock,
}

#[derive(Debug, Default)]
struct Counts(Mutex<BTreeMap<Operation, u64>>);

impl Counts {
    /// Counts one more, and returns how many there were before.
    fn next(&self, operation: Operation) -> u64 {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(operation).or_default();
        *count += 1;
        *count - 1
    }

    fn all(&self) -> BTreeMap<Operation, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Counts the requests that reach a store.
#[derive(Debug, Clone)]
pub struct Counting {
    inner: Arc<dyn Storage>,
    counts: Arc<Counts>,
}

impl Counting {
    /// Counts from zero.
    #[must_use]
    pub fn new(inner: Arc<dyn Storage>) -> Self {
        Self { inner, counts: Arc::default() }
    }

    /// How many requests there were of an operation.
    #[must_use]
    pub fn count(&self, operation: Operation) -> u64 {
        self.counts().get(&operation).copied().unwrap_or_default()
    }

    /// How many requests there were of each operation; none where there was none.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<Operation, u64> {
        self.counts.all()
    }
}

#[async_trait]
impl Storage for Counting {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn head(&self, key: &str) -> Result<ObjectInfo> {
        self.counts.next(Operation::Head);
        self.inner.head(key).await
    }

    async fn inspect(&self, key: &str, parts: &[String]) -> Result<Inspected> {
        self.counts.next(Operation::Head);
        self.inner.inspect(key, parts).await
    }

    async fn get(&self, key: &str, range: ByteRange) -> Result<Bytes> {
        self.counts.next(Operation::Get);
        self.inner.get(key, range).await
    }

    async fn put_if_absent(&self, key: &str, body: Bytes) -> Result<Put> {
        self.counts.next(Operation::Put);
        self.inner.put_if_absent(key, body).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Listing> {
        self.counts.next(Operation::List);
        self.inner.list(prefix, after).await
    }

    async fn copy_from(&self, from: &str, key: &str, to: &str, parts: &[PartSum]) -> Result<Put> {
        self.counts.next(Operation::Copy);
        self.inner.copy_from(from, key, to, parts).await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.counts.next(Operation::Delete);
        self.inner.delete(key).await
    }

    async fn locked_until(&self, key: &str) -> Result<Option<i64>> {
        self.counts.next(Operation::Lock);
        self.inner.locked_until(key).await
    }

    async fn keep_until(&self, key: &str, until: i64) -> Result<()> {
        self.counts.next(Operation::Lock);
        self.inner.keep_until(key, until).await
    }
}

/// A request that is about to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call<'a> {
    /// What is asked.
    pub operation: Operation,
    /// The key; the prefix of a listing, the target of a copy.
    pub key: &'a str,
    /// How many requests of this operation came before.
    pub number: u64,
}

/// How a request fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Nothing happens, and the caller gets the error.
    Before(Error),
    /// The request succeeds, and the caller gets the error all the same.
    After(Error),
}

type Plan = dyn Fn(Call<'_>) -> Option<Fault> + Send + Sync;

/// Makes the requests to a store fail as a plan says.
#[derive(Clone)]
pub struct Faulty {
    inner: Arc<dyn Storage>,
    plan: Arc<Plan>,
    counts: Arc<Counts>,
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faulty").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl Faulty {
    /// Asks the plan about each request.
    #[must_use]
    pub fn new(
        inner: Arc<dyn Storage>,
        plan: impl Fn(Call<'_>) -> Option<Fault> + Send + Sync + 'static,
    ) -> Self {
        Self { inner, plan: Arc::new(plan), counts: Arc::default() }
    }

    async fn ask<T>(
        &self,
        operation: Operation,
        key: &str,
        request: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        match (self.plan)(Call { operation, key, number: self.counts.next(operation) }) {
            None => request.await,
            Some(Fault::Before(error)) => Err(error),
            Some(Fault::After(error)) => request.await.and(Err(error)),
        }
    }
}

#[async_trait]
impl Storage for Faulty {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn head(&self, key: &str) -> Result<ObjectInfo> {
        self.ask(Operation::Head, key, self.inner.head(key)).await
    }

    async fn inspect(&self, key: &str, parts: &[String]) -> Result<Inspected> {
        self.ask(Operation::Head, key, self.inner.inspect(key, parts)).await
    }

    async fn get(&self, key: &str, range: ByteRange) -> Result<Bytes> {
        self.ask(Operation::Get, key, self.inner.get(key, range)).await
    }

    async fn put_if_absent(&self, key: &str, body: Bytes) -> Result<Put> {
        self.ask(Operation::Put, key, self.inner.put_if_absent(key, body)).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Listing> {
        self.ask(Operation::List, prefix, self.inner.list(prefix, after)).await
    }

    async fn copy_from(&self, from: &str, key: &str, to: &str, parts: &[PartSum]) -> Result<Put> {
        self.ask(Operation::Copy, to, self.inner.copy_from(from, key, to, parts)).await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.ask(Operation::Delete, key, self.inner.delete(key)).await
    }

    async fn locked_until(&self, key: &str) -> Result<Option<i64>> {
        self.ask(Operation::Lock, key, self.inner.locked_until(key)).await
    }

    async fn keep_until(&self, key: &str, until: i64) -> Result<()> {
        self.ask(Operation::Lock, key, self.inner.keep_until(key, until)).await
    }
}
