//! Storage in memory: the reference for what the port means, and what tests of the engine run on.

use crate::error::{Code, Error, Result};
use crate::storage::{ByteRange, Listing, ObjectInfo, PART_SIZE, PartSum, Put, Storage, check_key};
use async_trait::async_trait;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Objects on one page of a listing.
const PAGE: usize = 1_000;

type Objects = BTreeMap<String, Bytes>;
/// Until when objects are locked, by store and key.
type Locks = Arc<Mutex<BTreeMap<(String, String), i64>>>;

/// Several named stores that can copy from one another.
#[derive(Debug, Clone, Default)]
pub struct MemoryCloud(Arc<Mutex<BTreeMap<String, Objects>>>, Locks);

impl MemoryCloud {
    /// A cloud without stores.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The store of a name; every caller of the same name gets the same objects.
    #[must_use]
    pub fn store(&self, name: &str) -> MemoryStorage {
        self.lock().entry(name.to_owned()).or_default();
        MemoryStorage { cloud: self.clone(), name: name.to_owned() }
    }

    // Every change under the lock is whole, so a panic elsewhere leaves nothing half done.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Objects>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One store of a [`MemoryCloud`].
#[derive(Debug, Clone)]
pub struct MemoryStorage {
    cloud: MemoryCloud,
    name: String,
}

impl MemoryStorage {
    /// A store in a cloud of its own.
    #[must_use]
    pub fn new(name: &str) -> Self {
        MemoryCloud::new().store(name)
    }

    /// Replaces or adds an object, whatever is there: what no caller of the port may do, for tests of damage.
    pub fn overwrite(&self, key: &str, body: impl Into<Bytes>) {
        self.with(|objects| objects.insert(key.to_owned(), body.into()));
    }

    /// Locks an object until a time, in seconds since 1970, as a bucket with a default retention does when it is put.
    pub fn lock_until(&self, key: &str, until: i64) {
        self.with_lock(key, |lock| *lock = Some(until));
    }

    fn with_lock<T>(&self, key: &str, work: impl FnOnce(&mut Option<i64>) -> T) -> T {
        let mut locks = self.cloud.1.lock().unwrap_or_else(PoisonError::into_inner);
        let place = (self.name.clone(), key.to_owned());
        let mut lock = locks.get(&place).copied();
        let done = work(&mut lock);
        if let Some(until) = lock {
            locks.insert(place, until);
        }
        done
    }

    fn with<T>(&self, work: impl FnOnce(&mut Objects) -> T) -> T {
        work(self.cloud.lock().entry(self.name.clone()).or_default())
    }

    fn put(&self, key: &str, body: Bytes) -> Put {
        self.with(|objects| {
            if objects.contains_key(key) {
                return Put::Exists;
            }
            objects.insert(key.to_owned(), body);
            Put::Created
        })
    }

    fn missing(&self, key: &str) -> Error {
        Error::new(Code::ObjectMissing, format!("object {key} of {} is missing", self.name)).object(key)
    }

    fn body(&self, key: &str) -> Result<Bytes> {
        check_key(key)?;
        self.with(|objects| objects.get(key).cloned()).ok_or_else(|| self.missing(key))
    }
}

#[async_trait]
impl Storage for MemoryStorage {
    fn name(&self) -> &str {
        &self.name
    }

    async fn head(&self, key: &str) -> Result<ObjectInfo> {
        Ok(ObjectInfo { key: key.to_owned(), size: self.body(key)?.len() as u64 })
    }

    async fn get(&self, key: &str, range: ByteRange) -> Result<Bytes> {
        let body = self.body(key)?;
        let size = body.len() as u64;
        let (start, end) = resolve(range, key, size)?;
        let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(body.len());
        Ok(body.slice(place(start)..place(end)))
    }

    async fn put_if_absent(&self, key: &str, body: Bytes) -> Result<Put> {
        check_key(key)?;
        Ok(self.put(key, body))
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Listing> {
        Ok(self.with(|objects| {
            let from = match after {
                Some(after) if after >= prefix => Bound::Excluded(after),
                _ => Bound::Included(prefix),
            };
            let mut found = objects
                .range::<str, _>((from, Bound::Unbounded))
                .take_while(|(key, _)| key.starts_with(prefix));
            let info =
                |(key, body): (&String, &Bytes)| ObjectInfo { key: key.clone(), size: body.len() as u64 };
            let page = found.by_ref().take(PAGE).map(info).collect();
            Listing { objects: page, more: found.next().is_some() }
        }))
    }

    async fn copy_from(&self, from: &str, key: &str, to: &str, parts: &[PartSum]) -> Result<Put> {
        check_key(key)?;
        check_key(to)?;
        let source = self.cloud.lock().get(from).and_then(|objects| objects.get(key)).cloned();
        let Some(body) = source else {
            return Err(Error::new(
                Code::StagingDamaged,
                format!("staged object {key} of {from} is missing"),
            )
            .object(key));
        };
        check_parts(key, &body, parts)?;
        Ok(self.put(to, body))
    }

    async fn delete(&self, key: &str) -> Result<()> {
        check_key(key)?;
        self.with(|objects| objects.remove(key));
        Ok(())
    }

    async fn locked_until(&self, key: &str) -> Result<Option<i64>> {
        check_key(key)?;
        Ok(self.with_lock(key, |lock| *lock))
    }

    async fn keep_until(&self, key: &str, until: i64) -> Result<()> {
        check_key(key)?;
        self.with_lock(key, |lock| *lock = lock.map(|known| known.max(until)));
        Ok(())
    }
}

fn resolve(range: ByteRange, key: &str, size: u64) -> Result<(u64, u64)> {
    match range {
        ByteRange::All => Ok((0, size)),
        ByteRange::Last(bytes) => Ok((size.saturating_sub(bytes), size)),
        ByteRange::Span { start, end } if start <= end && end <= size => Ok((start, end)),
        ByteRange::Span { start, end } => {
            Err(Error::damaged(key, format_args!("it has {size} bytes, and {start} to {end} were asked for")))
        }
    }
}

fn check_parts(key: &str, body: &[u8], parts: &[PartSum]) -> Result<()> {
    let mut rest = body;
    for (at, part) in parts.iter().enumerate() {
        let size = usize::try_from(part.size).unwrap_or(usize::MAX);
        let full = part.size == PART_SIZE || at + 1 == parts.len();
        let Some((piece, after)) = rest.split_at_checked(size).filter(|_| full) else {
            return Err(staging_differs(key, at));
        };
        if hex::encode(Sha256::digest(piece)) != part.sha256 {
            return Err(staging_differs(key, at));
        }
        rest = after;
    }
    if rest.is_empty() { Ok(()) } else { Err(staging_differs(key, parts.len())) }
}

fn staging_differs(key: &str, part: usize) -> Error {
    Error::new(
        Code::StagingDamaged,
        format!("part {} of staged object {key} is not what was exported", part + 1),
    )
    .object(key)
    .hint("start the backup again")
}
