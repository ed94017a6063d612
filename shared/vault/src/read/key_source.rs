//! Where a vault's keys come from, and how an open vault learns of the versions that are made after it was opened.

use crate::crypto::SecretKey;
use crate::error::{Code, Error, Result};
use crate::format::header::Id;
use crate::format::root::{WrappedKey, Wrapping, version_of, wrapped_key_name};
use crate::keys::KeyRing;
use crate::storage::{ByteRange, Put, Storage, list_all};
use async_trait::async_trait;
use futures::lock::Mutex;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The folder of the wrapped versions.
const FOLDER: &str = "keys/";
/// A name has eight digits.
const LAST_VERSION: u32 = 99_999_999;

/// What opens wrapped versions of a vault key: a key file, KMS, a recovery key.
#[async_trait]
pub trait Unwrap: Send + Sync {
    /// Opens a wrapped version.
    ///
    /// # Errors
    /// `KeyWrong` if it is not for this to open, or what KMS gives.
    async fn unwrap(&self, wrapped: &WrappedKey) -> Result<SecretKey>;

    /// The versions of a vault that are held already: their objects in the vault are not looked at, and need not be there.
    ///
    /// # Errors
    /// `KeyWrong` if they are of another vault.
    fn held(&self, _vault: Id) -> Result<BTreeMap<u32, SecretKey>> {
        Ok(BTreeMap::new())
    }

    /// A version that could not be opened. It keeps the vault closed, unless this takes it as it is: then only what was
    /// written under it cannot be read.
    ///
    /// # Errors
    /// The error, as a rule.
    fn unopened(&self, error: Error) -> Result<()> {
        Err(error)
    }
}

/// The wrapped versions of a vault, and what opens them.
pub(super) struct KeySource {
    vault: Id,
    storage: Arc<dyn Storage>,
    unwrap: Arc<dyn Unwrap>,
    /// Many readers that meet a new version at once ask for it once.
    asking: Mutex<()>,
}

impl fmt::Debug for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySource").field("vault", &self.vault).finish_non_exhaustive()
    }
}

impl KeySource {
    pub(super) fn new(vault: Id, storage: Arc<dyn Storage>, unwrap: Arc<dyn Unwrap>) -> Self {
        Self { vault, storage, unwrap, asking: Mutex::new(()) }
    }

    pub(super) fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// Every version there is.
    pub(super) async fn first(&self) -> Result<BTreeMap<u32, SecretKey>> {
        let mut versions = self.unwrap.held(self.vault)?;
        versions.extend(self.others(|version| versions.contains_key(&version)).await?);
        Ok(versions)
    }

    pub(super) async fn refresh(&self, keys: &KeyRing) -> Result<()> {
        let _alone = self.asking.lock().await;
        keys.learn(self.others(|version| keys.holds(version)).await?);
        Ok(())
    }

    pub(super) async fn need(&self, keys: &KeyRing, version: u32) -> Result<()> {
        if keys.holds(version) {
            return Ok(());
        }
        let _alone = self.asking.lock().await;
        if !keys.holds(version) {
            keys.learn(self.others(|version| keys.holds(version)).await?);
        }
        Ok(())
    }

    /// The versions that are there and not held.
    async fn others(&self, held: impl Fn(u32) -> bool) -> Result<BTreeMap<u32, SecretKey>> {
        let mut versions = BTreeMap::new();
        for object in list_all(self.storage.as_ref(), FOLDER).await? {
            if version_of(&object.key).is_some_and(&held) {
                continue;
            }
            match self.open(&object.key).await {
                Ok((version, key)) => {
                    versions.insert(version, key);
                }
                Err(error) if error.code.retryable() => return Err(error),
                Err(error) => self.unwrap.unopened(error)?,
            }
        }
        Ok(versions)
    }

    async fn open(&self, name: &str) -> Result<(u32, SecretKey)> {
        let wrapped = read(self.storage.as_ref(), name).await?;
        if wrapped.vault != self.vault || wrapped_key_name(wrapped.version) != name {
            return Err(Error::damaged(name, "it belongs to another vault or version"));
        }
        Ok((wrapped.version, self.unwrap.unwrap(&wrapped).await?))
    }

    pub(super) async fn make_version(
        &self,
        keys: &KeyRing,
        version: u32,
        wrap: impl AsyncFn(Id, u32, &SecretKey) -> Result<WrappedKey>,
    ) -> Result<Put> {
        let name = wrapped_key_name(version);
        self.refresh(keys).await?;
        if keys.holds(version) {
            return Ok(Put::Exists);
        }
        let (next, _) = next_version(self.storage.as_ref(), keys).await?;
        if version < next {
            // Somebody made it a moment ago, or it is there and out of reach.
            self.refresh(keys).await?;
            return Ok(Put::Exists);
        }
        if version > next {
            let message =
                format!("version {version} cannot be made: the next version of the vault key is {next}");
            return Err(Error::new(Code::InvalidInput, message).object(name));
        }
        let fresh = SecretKey::random()?;
        let wrapped = wrap(self.vault, version, &fresh).await?;
        // Nobody could read what is written under a key that does not come out of its wrapping again.
        if self.unwrap.unwrap(&wrapped).await?.expose() != fresh.expose() {
            let message = format!("version {version} of the vault key does not come out as it was wrapped");
            return Err(Error::new(Code::KeyWrong, message).object(name));
        }
        let put = self.storage.put_if_absent(&name, super::vault::json(&wrapped)?).await?;
        // Of two that make it at once the first one's stands, and both go on with that.
        self.refresh(keys).await?;
        Ok(put)
    }
}

/// The version that comes after all that are there or held, and what wraps the newest one that is there.
pub(super) async fn next_version(storage: &dyn Storage, keys: &KeyRing) -> Result<(u32, Option<Wrapping>)> {
    let names = list_all(storage, FOLDER).await?;
    let newest = names.iter().filter_map(|object| version_of(&object.key)).max();
    let wrapping = match newest {
        Some(version) => Some(read(storage, &wrapped_key_name(version)).await?.wrapped_by),
        None => None,
    };
    let last = newest.unwrap_or(0).max(keys.newest_version());
    if last >= LAST_VERSION {
        return Err(Error::new(Code::InvalidInput, "the vault key has had its last version").object(FOLDER));
    }
    Ok((last + 1, wrapping))
}

async fn read(storage: &dyn Storage, name: &str) -> Result<WrappedKey> {
    let bytes = storage.get(name, ByteRange::All).await?;
    serde_json::from_slice(&bytes).map_err(|error| Error::damaged(name, error))
}
