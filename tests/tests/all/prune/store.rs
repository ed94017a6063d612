//! A store that gives short pages, fails, hides what it has, or is meddled with while it is listed.

use super::bench::Shop;
use async_trait::async_trait;
use bytes::Bytes;
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::memory::MemoryStorage;
use holdfast_vault::read::Vault;
use holdfast_vault::storage::{ByteRange, Listing, ObjectInfo, PartSum, Put, Storage};
use holdfast_workflow::Services;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

type Meanwhile = Pin<Box<dyn Future<Output = ()> + Send>>;

#[derive(Default)]
pub(crate) struct Moods {
    /// How many objects a listing gives at a time; all of them where absent.
    pub(crate) page: Option<usize>,
    /// Keys that cannot be asked for or read, by how they begin.
    pub(crate) failing: Option<String>,
    /// A key that listings do not know yet.
    pub(crate) unlisted: Option<String>,
    /// What happens once before manifests are listed.
    pub(crate) meanwhile: Option<Meanwhile>,
}

#[derive(Clone)]
pub(crate) struct Odd {
    inner: MemoryStorage,
    moods: Arc<Mutex<Moods>>,
}

impl Odd {
    /// The shop's services over its vault, with a store that is as it is told to be.
    pub(crate) fn over(shop: &Shop, moods: Moods) -> (Self, Services) {
        let odd = Self { inner: shop.bench.vault.clone(), moods: Arc::new(Mutex::new(moods)) };
        let vault = Vault::with_keys(Arc::new(odd.clone()), shop.services.vault.keys().clone());
        (odd, Services { vault, ..shop.services.clone() })
    }

    pub(crate) fn becomes(&self, moods: Moods) {
        *self.moods.lock().unwrap() = moods;
    }

    fn answers(&self, key: &str) -> Result<()> {
        match &self.moods.lock().unwrap().failing {
            Some(prefix) if key.starts_with(prefix) => {
                Err(Error::new(Code::StorageUnavailable, "it does not answer").object(key))
            }
            _ => Ok(()),
        }
    }
}

impl std::fmt::Debug for Odd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl Storage for Odd {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn head(&self, key: &str) -> Result<ObjectInfo> {
        self.answers(key)?;
        self.inner.head(key).await
    }

    async fn get(&self, key: &str, range: ByteRange) -> Result<Bytes> {
        self.answers(key)?;
        self.inner.get(key, range).await
    }

    async fn put_if_absent(&self, key: &str, body: Bytes) -> Result<Put> {
        self.inner.put_if_absent(key, body).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Listing> {
        let meanwhile = self.moods.lock().unwrap().meanwhile.take_if(|_| prefix.starts_with("manifests/"));
        if let Some(meanwhile) = meanwhile {
            meanwhile.await;
        }
        let mut listing = self.inner.list(prefix, after).await?;
        let moods = self.moods.lock().unwrap();
        listing.objects.retain(|object| moods.unlisted.as_ref() != Some(&object.key));
        if let Some(page) = moods.page {
            listing.more |= listing.objects.len() > page;
            listing.objects.truncate(page);
        }
        Ok(listing)
    }

    async fn copy_from(&self, from: &str, key: &str, to: &str, parts: &[PartSum]) -> Result<Put> {
        self.inner.copy_from(from, key, to, parts).await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.inner.delete(key).await
    }

    async fn locked_until(&self, key: &str) -> Result<Option<i64>> {
        self.inner.locked_until(key).await
    }

    async fn keep_until(&self, key: &str, until: i64) -> Result<()> {
        self.inner.keep_until(key, until).await
    }
}
