//! A part of a store: what stands below a prefix, by keys without it.

use async_trait::async_trait;
use bytes::Bytes;
use holdfast_vault::error::Result;
use holdfast_vault::storage::{ByteRange, Inspected, Listing, ObjectInfo, PartSum, Put, Storage, check_key};
use std::sync::Arc;

/// The objects of a store below a prefix, such as a vault that shares its bucket.
///
/// [`Storage::copy_from`] copies into it, and not out of it: other stores do not understand its name.
#[derive(Debug, Clone)]
pub struct Prefixed {
    inner: Arc<dyn Storage>,
    prefix: String,
    name: String,
}

impl Prefixed {
    /// What stands below `prefix` and a `/`.
    ///
    /// # Errors
    /// `InvalidInput` if the prefix is none that keys can begin with.
    pub fn new(inner: Arc<dyn Storage>, prefix: &str) -> Result<Self> {
        let prefix = prefix.trim_end_matches('/');
        check_key(prefix)?;
        let name = format!("{}/{prefix}", inner.name());
        Ok(Self { inner, prefix: format!("{prefix}/"), name })
    }

    fn key(&self, key: &str) -> Result<String> {
        check_key(key)?;
        Ok(format!("{}{key}", self.prefix))
    }

    fn own(&self, mut object: ObjectInfo) -> ObjectInfo {
        if let Some(own) = object.key.strip_prefix(&self.prefix) {
            object.key = own.to_owned();
        }
        object
    }
}

#[async_trait]
impl Storage for Prefixed {
    fn name(&self) -> &str {
        &self.name
    }

    async fn head(&self, key: &str) -> Result<ObjectInfo> {
        Ok(self.own(self.inner.head(&self.key(key)?).await?))
    }

    async fn inspect(&self, key: &str, parts: &[String]) -> Result<Inspected> {
        self.inner.inspect(&self.key(key)?, parts).await
    }

    async fn get(&self, key: &str, range: ByteRange) -> Result<Bytes> {
        self.inner.get(&self.key(key)?, range).await
    }

    async fn put_if_absent(&self, key: &str, body: Bytes) -> Result<Put> {
        self.inner.put_if_absent(&self.key(key)?, body).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Listing> {
        let after = after.filter(|after| !after.is_empty()).map(|after| format!("{}{after}", self.prefix));
        let listing = self.inner.list(&format!("{}{prefix}", self.prefix), after.as_deref()).await?;
        let objects = listing.objects.into_iter().map(|object| self.own(object)).collect();
        Ok(Listing { objects, more: listing.more })
    }

    async fn copy_from(&self, from: &str, key: &str, to: &str, parts: &[PartSum]) -> Result<Put> {
        self.inner.copy_from(from, key, &self.key(to)?, parts).await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.inner.delete(&self.key(key)?).await
    }

    async fn locked_until(&self, key: &str) -> Result<Option<i64>> {
        self.inner.locked_until(&self.key(key)?).await
    }

    async fn keep_until(&self, key: &str, until: i64) -> Result<()> {
        self.inner.keep_until(&self.key(key)?, until).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_vault::memory::MemoryCloud;

    #[tokio::test]
    async fn keys_stand_below_the_prefix_and_are_listed_without_it() {
        let store = MemoryCloud::new().store("bucket");
        store.put_if_absent("other", Bytes::new()).await.unwrap();
        let part = Prefixed::new(Arc::new(store.clone()), "vaults/shop/").unwrap();
        assert_eq!(part.name(), "bucket/vaults/shop");
        for key in ["a/1", "a/2", "b"] {
            part.put_if_absent(key, Bytes::from_static(b"x")).await.unwrap();
        }
        assert_eq!(store.head("vaults/shop/a/1").await.unwrap().size, 1);
        assert_eq!(part.head("b").await.unwrap().key, "b");
        let keys = |listing: Listing| listing.objects.into_iter().map(|at| at.key).collect::<Vec<_>>();
        assert_eq!(keys(part.list("", None).await.unwrap()), ["a/1", "a/2", "b"]);
        assert_eq!(keys(part.list("a/", Some("a/1")).await.unwrap()), ["a/2"]);
        for bad in ["", "/", "a//b", "../x"] {
            assert!(Prefixed::new(Arc::new(store.clone()), bad).is_err(), "{bad:?}");
        }
    }
}
