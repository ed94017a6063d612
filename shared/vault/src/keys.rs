//! The keys of an open vault: all versions of the vault key, and what is derived from them.

use crate::crypto::{Namer, Sealer, SecretKey};
use crate::error::{Code, Error, Result};
use crate::format::header::{Header, Id};
use crate::format::root::wrapped_key_name;
use std::collections::BTreeMap;

/// Every version of a vault's key that could be unwrapped.
#[derive(Clone)]
pub struct KeyRing {
    vault: Id,
    newest: u32,
    versions: BTreeMap<u32, SecretKey>,
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
        Ok(Self { vault, newest, versions })
    }

    /// The vault's id.
    #[must_use]
    pub fn vault(&self) -> Id {
        self.vault
    }

    /// The version that new objects use.
    #[must_use]
    pub fn newest_version(&self) -> u32 {
        self.newest
    }

    fn version(&self, version: u32) -> Result<&SecretKey> {
        self.versions.get(&version).ok_or_else(|| {
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
        let key = self.version(header.key_version)?.derive(&header.object.0, b"holdfast/1/object");
        Ok(Sealer::new(&key))
    }

    /// Names chunks: of the SHA-256 of their content.
    ///
    /// # Errors
    /// `KeyMissing` if the version is not in the ring.
    pub fn chunk_namer(&self, version: u32) -> Result<Namer> {
        Ok(Namer::new(&self.version(version)?.derive(&self.vault.0, b"holdfast/1/chunk-name")))
    }

    /// Names the folders of change objects. Of version 1 for ever, so that a folder outlives rotations.
    ///
    /// # Errors
    /// `KeyMissing` if that version is not in the ring.
    pub fn change_namer(&self) -> Result<Namer> {
        Ok(Namer::new(&self.version(1)?.derive(&self.vault.0, b"holdfast/1/change-folder")))
    }

    /// Hashes the keys of records.
    ///
    /// # Errors
    /// `KeyMissing` if the version is not in the ring.
    pub fn key_hasher(&self, version: u32) -> Result<Namer> {
        Ok(Namer::new(&self.version(version)?.derive(&self.vault.0, b"holdfast/1/key-hash")))
    }
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyRing({}, {} versions)", self.vault, self.versions.len())
    }
}
