//! Storage in memory that tells what was read of it, and refuses to give some objects.
//!
//! Of the checksums that it keeps it says what a test wants.

use async_trait::async_trait;
use bytes::Bytes;
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::memory::MemoryStorage;
use holdfast_vault::storage::{ByteRange, Inspected, Listing, ObjectInfo, PartSum, Put, Storage, StoredSum};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

#[derive(Debug, Default)]
struct Watch {
    gets: Vec<(String, ByteRange)>,
    refused: BTreeMap<String, Code>,
}

/// Clones share what they saw.
#[derive(Debug, Clone)]
pub(crate) struct Watched {
    pub(crate) memory: MemoryStorage,
    sum: StoredSum,
    watch: Arc<Mutex<Watch>>,
}

impl Watched {
    pub(crate) fn over(memory: &MemoryStorage) -> Self {
        Self { memory: memory.clone(), sum: StoredSum::NotKept, watch: Arc::default() }
    }

    /// One that says this of the checksum of every object.
    pub(crate) fn telling(memory: &MemoryStorage, sum: StoredSum) -> Arc<Self> {
        Arc::new(Self { sum, ..Self::over(memory) })
    }

    /// What was read since the last call.
    pub(crate) fn gets(&self) -> Vec<(String, ByteRange)> {
        std::mem::take(&mut self.watch.lock().unwrap().gets)
    }

    /// From now on an object is listed, and reading it fails.
    pub(crate) fn refuse(&self, key: &str, code: Code) {
        self.watch.lock().unwrap().refused.insert(key.to_owned(), code);
    }

    /// Gives all objects again.
    pub(crate) fn relent(&self) {
        self.watch.lock().unwrap().refused.clear();
    }
}

#[async_trait]
impl Storage for Watched {
    fn name(&self) -> &str {
        self.memory.name()
    }

    async fn head(&self, key: &str) -> Result<ObjectInfo> {
        self.memory.head(key).await
    }

    async fn inspect(&self, key: &str, _parts: &[String]) -> Result<Inspected> {
        Ok(Inspected { size: self.head(key).await?.size, sum: self.sum })
    }

    async fn get(&self, key: &str, range: ByteRange) -> Result<Bytes> {
        {
            let mut watch = self.watch.lock().unwrap();
            watch.gets.push((key.to_owned(), range));
            if let Some(code) = watch.refused.get(key) {
                return Err(Error::new(*code, "refused").object(key));
            }
        }
        self.memory.get(key, range).await
    }

    async fn put_if_absent(&self, key: &str, body: Bytes) -> Result<Put> {
        self.memory.put_if_absent(key, body).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Listing> {
        self.memory.list(prefix, after).await
    }

    async fn copy_from(&self, from: &str, key: &str, to: &str, parts: &[PartSum]) -> Result<Put> {
        self.memory.copy_from(from, key, to, parts).await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.memory.delete(key).await
    }
}
