//! The storage port: the few things that Holdfast asks of an object store.
//!
//! Adapters: [`crate::memory::MemoryStorage`] here, a directory and S3 in `holdfast-common`. Every adapter passes
//! [`crate::conformance`]. Keys are ASCII, `/`-separated, without `.` or `..` segments (see [`check_key`]).

use crate::error::{Code, Error, Result};
use async_trait::async_trait;
use bytes::Bytes;
use std::fmt;

/// Which bytes of an object to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteRange {
    /// The whole object.
    All,
    /// From `start` (inclusive) to `end` (exclusive). Reaching past the end of the object is an error.
    Span {
        /// First byte.
        start: u64,
        /// One past the last byte.
        end: u64,
    },
    /// The last so many bytes, or the whole object where it is shorter.
    Last(u64),
}

/// What is known of an object without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// The object's key.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
}

/// Some of the objects below a prefix, ordered by key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// The objects, in byte order of their keys.
    pub objects: Vec<ObjectInfo>,
    /// Whether more follow; ask again with the last key as `after`.
    pub more: bool,
}

/// What a put did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// The object is there now and was not before.
    Created,
    /// An object of that key was there and is untouched.
    Exists,
}

/// The size and SHA-256 of one part of an object that is copied part by part.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PartSum {
    /// Bytes in this part. All parts but the last are of [`PART_SIZE`].
    pub size: u64,
    /// SHA-256 of the part, in hex.
    pub sha256: String,
}

impl fmt::Debug for PartSum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.size, self.sha256)
    }
}

/// The size of a part in a copy between stores: at least what S3 asks for (5 MiB).
pub const PART_SIZE: u64 = 16 << 20;

/// What a store says of an object out of its own records, without anyone reading the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inspected {
    /// The object's size in bytes.
    pub size: u64,
    /// What becomes of the checksum that the store keeps.
    pub sum: StoredSum,
}

/// A checksum that a store keeps, beside the one that is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredSum {
    /// The store keeps the checksum of what it was given, and it is the expected one.
    Same,
    /// It keeps another.
    Differs,
    /// It keeps none, or none that can be compared.
    NotKept,
}

/// An object store, as Holdfast uses it.
///
/// Errors carry codes of the `Storage*` family, or `ObjectMissing` where a key does not exist. A put that failed
/// may or may not have happened; nobody sees half an object.
#[async_trait]
pub trait Storage: Send + Sync + fmt::Debug {
    /// The store's own name: a bucket, a directory. [`Storage::copy_from`] of the same kind of store understands it.
    fn name(&self) -> &str;

    /// The object's size.
    ///
    /// # Errors
    /// `ObjectMissing` if there is none, `Storage*` if the store cannot say.
    async fn head(&self, key: &str) -> Result<ObjectInfo>;

    /// The object's size, and the checksum that the store itself keeps beside the one of these parts: SHA-256 in hex of
    /// each [`PART_SIZE`] bytes, the last part shorter. Nothing of the object is read.
    ///
    /// # Errors
    /// As [`Storage::head`].
    async fn inspect(&self, key: &str, _parts: &[String]) -> Result<Inspected> {
        Ok(Inspected { size: self.head(key).await?.size, sum: StoredSum::NotKept })
    }

    /// Bytes of an object.
    ///
    /// # Errors
    /// `ObjectMissing` if there is none, `ObjectDamaged` if the range ends past its end, `Storage*` otherwise.
    async fn get(&self, key: &str, range: ByteRange) -> Result<Bytes>;

    /// Writes a whole object unless one of that key exists. Atomic: of two writers one creates, the other finds.
    ///
    /// # Errors
    /// `Storage*`; nothing half written remains.
    async fn put_if_absent(&self, key: &str, body: Bytes) -> Result<Put>;

    /// Up to 1,000 objects whose keys start with `prefix` and come after `after`, in byte order.
    ///
    /// # Errors
    /// `Storage*`.
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Listing>;

    /// Copies an object of the store named `from` here, part by part, each compared with its sum, unless `to` exists.
    ///
    /// # Errors
    /// `StagingDamaged` if the source is missing or a part differs, `Storage*` otherwise; then `to` does not exist.
    async fn copy_from(&self, from: &str, key: &str, to: &str, parts: &[PartSum]) -> Result<Put>;

    /// Removes an object. Removing what is not there succeeds.
    ///
    /// # Errors
    /// `Storage*`.
    async fn delete(&self, key: &str) -> Result<()>;

    /// Until when the store itself keeps an object from being deleted, in seconds since 1970; `None` where nothing does: it
    /// is not locked, not there, or the store knows no locks.
    ///
    /// # Errors
    /// `InvalidInput` for what is no key, `Storage*`.
    async fn locked_until(&self, key: &str) -> Result<Option<i64>> {
        check_key(key).map(|()| None)
    }

    /// Has the store keep a locked object from being deleted until a time, in seconds since 1970, unless its lock lasts as
    /// long already. A lock is never shortened, and an object without one gets none.
    ///
    /// # Errors
    /// `InvalidInput` for what is no key, `Storage*`.
    async fn keep_until(&self, key: &str, _until: i64) -> Result<()> {
        check_key(key)
    }
}

/// Refuses keys that a directory could not hold safely.
///
/// # Errors
/// `InvalidInput` for an empty key or segment, `.` and `..`, a leading `/`, control characters, or non-ASCII.
pub fn check_key(key: &str) -> Result<()> {
    let fits = |s: &str| {
        !s.is_empty()
            && s != "."
            && s != ".."
            && s.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    if key.len() <= 512 && key.split('/').all(fits) {
        return Ok(());
    }
    Err(Error::new(Code::InvalidInput, format!("{key:?} is no object key")).object(key))
}

/// Lists everything below a prefix, however many pages it takes.
///
/// # Errors
/// What [`Storage::list`] gives.
pub async fn list_all(storage: &dyn Storage, prefix: &str) -> Result<Vec<ObjectInfo>> {
    let mut all: Vec<ObjectInfo> = Vec::new();
    loop {
        let after = all.last().map(|o| o.key.clone());
        let page = storage.list(prefix, after.as_deref()).await?;
        let more = page.more && !page.objects.is_empty();
        all.extend(page.objects);
        if !more {
            return Ok(all);
        }
    }
}
