//! The keys of an open vault: all versions of the vault key, and what is derived from them.

use crate::crypto::{Namer, Sealer, SecretKey};
use crate::error::{Code, Error, Result};
use crate::format::header::{Header, Id};
use crate::format::root::wrapped_key_name;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

/// Every version of a vault's key that could be unwrapped. Clones share what is learnt: a version that was made after
/// the vault was opened is in all of them once one has met it.
#[derive(Clone)]
pub struct KeyRing {
    vault: Id,
    held: Arc<RwLock<Versions>>,
}

struct Versions {
    newest: u32,
    keys: BTreeMap<u32, SecretKey>,
}

impl KeyRing {
    /// A ring of at least one key; versions count from 1.
    ///
    /// # Errors
    /// `KeyMissing` if there is none.
    pub fn new(vault: Id, versions: BTreeMap<u32, SecretKey>) -> Result<Self> {
        let newest = versions.last_key_value().map(|(version, _)| *version).ok_or_else(|| {
            Error::new(Code::KeyMissing, "the vault holds no key")
                .object("keys/")
                .hint("copy keys/ with the vault")
        })?;
        Ok(Self { vault, held: Arc::new(RwLock::new(Versions { newest, keys: versions })) })
    }

    /// The vault's id.
    #[must_use]
    pub fn vault(&self) -> Id {
        self.vault
    }

    /// The version that new objects use.
    #[must_use]
    pub fn newest_version(&self) -> u32 {
        self.read(|held| held.newest)
    }

    /// The versions that are held, the oldest first.
    #[must_use]
    pub fn versions(&self) -> Vec<u32> {
        self.read(|held| held.keys.keys().copied().collect())
    }

    /// Whether a version is held.
    #[must_use]
    pub fn holds(&self, version: u32) -> bool {
        self.read(|held| held.keys.contains_key(&version))
    }

    /// All versions with their keys, for a recovery key: whoever has them and the vault has the data.
    #[must_use]
    pub fn expose(&self) -> BTreeMap<u32, SecretKey> {
        self.read(|held| held.keys.clone())
    }

    /// Takes versions in. A version that is held stays as it is: a version is one key for ever.
    pub(crate) fn learn(&self, versions: BTreeMap<u32, SecretKey>) {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        for (version, key) in versions {
            held.newest = held.newest.max(version);
            held.keys.entry(version).or_insert(key);
        }
    }

    fn read<T>(&self, of: impl FnOnce(&Versions) -> T) -> T {
        of(&self.held.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn derive(&self, version: u32, salt: &[u8], info: &[u8]) -> Result<SecretKey> {
        self.read(|held| held.keys.get(&version).map(|key| key.derive(salt, info))).ok_or_else(|| {
            let name = wrapped_key_name(version);
            Error::new(Code::KeyMissing, format!("version {version} of the vault key is missing ({name})"))
                .object(name)
                .hint("copy all of keys/ with the vault")
        })
    }

    /// The sealer of an object, from a key that only this object has.
    ///
    /// # Errors
    /// `KeyMissing` if the header's version is not in the ring.
    pub fn sealer(&self, header: &Header) -> Result<Sealer> {
        Ok(Sealer::new(&self.derive(header.key_version, &header.object.0, b"holdfast/1/object")?))
    }

    /// Names chunks: of the SHA-256 of their content.
    ///
    /// # Errors
    /// `KeyMissing` if the version is not in the ring.
    pub fn chunk_namer(&self, version: u32) -> Result<Namer> {
        Ok(Namer::new(&self.derive(version, &self.vault.0, b"holdfast/1/chunk-name")?))
    }

    /// Names the folders of change objects. Of version 1 for ever, so that a folder outlives rotations.
    ///
    /// # Errors
    /// `KeyMissing` if that version is not in the ring.
    pub fn change_namer(&self) -> Result<Namer> {
        Ok(Namer::new(&self.derive(1, &self.vault.0, b"holdfast/1/change-folder")?))
    }

    /// Hashes the keys of records.
    ///
    /// # Errors
    /// `KeyMissing` if the version is not in the ring.
    pub fn key_hasher(&self, version: u32) -> Result<Namer> {
        Ok(Namer::new(&self.derive(version, &self.vault.0, b"holdfast/1/key-hash")?))
    }
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyRing({}, versions {:?})", self.vault, self.versions())
    }
}
