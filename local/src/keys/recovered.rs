//! The vault keys of a home that was made from a recovery key. They stand beside the vault, wrapped by the home's own
//! key file: the vault's `keys/` stay as they are, since what wrapped those is lost.

use crate::home::{Home, load_key};
use holdfast_common::key_file::KeyFile;
use holdfast_common::storage::DirectoryStorage;
use holdfast_vault::crypto::SecretKey;
use holdfast_vault::error::{Class, Code, Error, Result};
use holdfast_vault::format::header::Id;
use holdfast_vault::format::root::{WrappedKey, version_of};
use holdfast_vault::keys::KeyRing;
use holdfast_vault::read::Vault;
use holdfast_vault::read::vault::describe;
use holdfast_vault::storage::{Storage, list_all};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::path::Path;
use std::sync::Arc;

/// The file in a home.
const FILE: &str = "recovered-keys.json";
const KIND: &str = "holdfast-recovered-keys";
const VERSION: u32 = 1;
/// How many backups are tried before keys are taken for wrong: some of them may be damaged.
const TRIED: usize = 5;

/// The recovered keys of a home, wrapped.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Recovered {
    kind: String,
    version: u32,
    vault: Id,
    keys: Vec<WrappedKey>,
}

impl Recovered {
    /// Those of a home, if it was made from a recovery key.
    pub(super) fn load(home: &Path) -> Result<Option<Self>> {
        let path = home.join(FILE);
        let bad = |why: String| {
            let shown = path.display().to_string();
            Error::new(Code::HomeInvalid, format!("{shown} {why}"))
                .object(shown)
                .hint("recover into another home with `holdfast key recover`")
        };
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(bad(format!("cannot be read: {error}"))),
        };
        let recovered: Self =
            serde_json::from_slice(&bytes).map_err(|error| bad(format!("is unreadable: {error}")))?;
        if recovered.kind != KIND || recovered.version != VERSION {
            return Err(bad("holds no recovered keys of version 1".to_owned()));
        }
        Ok(Some(recovered))
    }

    /// The keys, opened with the home's key file.
    pub(super) fn open(&self, vault: Id, key: &KeyFile) -> Result<BTreeMap<u32, SecretKey>> {
        if self.vault != vault {
            let message =
                format!("the recovered keys are of vault {}, and this is vault {vault}", self.vault);
            return Err(Error::new(Code::KeyWrong, message).object(FILE).hint("name the home of this vault"));
        }
        let secret = SecretKey::new(*key.secret());
        self.keys.iter().map(|wrapped| Ok((wrapped.version, wrapped.unwrap_local(&secret)?))).collect()
    }
}

/// What a recovery made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// The versions that were recovered.
    pub versions: Vec<u32>,
    /// Versions that the vault names and the recovery key does not hold: it was exported before they were made.
    pub missing: Vec<u32>,
    /// Backups in the vault.
    pub backups: u64,
}

/// Makes a home of a copy of a vault and its recovered keys.
///
/// # Errors
/// `KeyWrong` if the keys are not this vault's, `HomeInvalid` if the home is in use for something else, `InvalidInput` if
/// there is no vault, or `Storage*`. Nothing is made then.
pub async fn recover(home: &Path, vault: &Path, id: Id, keys: BTreeMap<u32, SecretKey>) -> Result<Recovery> {
    let vault = vault.canonicalize().map_err(|error| no_vault(vault, &error))?;
    if !vault.is_dir() {
        return Err(no_vault(&vault, &io::Error::from(ErrorKind::NotADirectory)));
    }
    let recovery = prove(&vault, id, &keys).await?;
    free(home, &vault)?;
    let home = Home::open(home, true)?;
    free(home.path(), &vault)?;
    let path = home.path();
    let key = if path.join("key.json").exists() {
        load_key(path)?
    } else {
        KeyFile::create(&path.join("key.json"))?
    };
    let (by, secret) = (key.id_text(), SecretKey::new(*key.secret()));
    let wrapped: Result<Vec<WrappedKey>> =
        keys.iter().map(|(version, of)| WrappedKey::wrap(id, *version, &by, &secret, of)).collect();
    let recovered = Recovered { kind: KIND.to_owned(), version: VERSION, vault: id, keys: wrapped? };
    if !path.join("vault").exists() {
        symlink(&vault, path.join("vault")).map_err(|error| unwritable(path, &error))?;
    }
    // Last: with it the home is one.
    put(path, &recovered).map_err(|error| unwritable(path, &error))?;
    Ok(recovery)
}

/// That the keys are those of the vault: of the newest backups one opens. A vault without backups takes its id's word.
async fn prove(path: &Path, id: Id, keys: &BTreeMap<u32, SecretKey>) -> Result<Recovery> {
    let storage: Arc<dyn Storage> = Arc::new(DirectoryStorage::open(path)?);
    let there = describe(storage.as_ref()).await?;
    let wrong = |message: String| {
        Error::new(Code::KeyWrong, message)
            .object(path.display().to_string())
            .hint("recover with the file that was exported from this vault")
    };
    if there.vault != id {
        return Err(wrong(format!("the recovery key is of vault {id}, and this is vault {}", there.vault)));
    }
    let named = list_all(storage.as_ref(), "keys/").await?;
    let missing: Vec<u32> = named
        .iter()
        .filter_map(|object| version_of(&object.key))
        .filter(|version| !keys.contains_key(version))
        .collect();
    let vault = Vault::with_keys(storage, KeyRing::new(id, keys.clone())?);
    let backups = vault.backups().await?;
    let mut refused = 0;
    for backup in backups.iter().rev() {
        match vault.manifest(backup).await {
            Ok(_) => {
                refused = 0;
                break;
            }
            // Of a version that was made after the export.
            Err(error) if error.code == Code::KeyMissing => {}
            Err(error) if error.code.class() == Class::Damage => refused += 1,
            Err(error) => return Err(error),
        }
        if refused >= TRIED {
            break;
        }
    }
    if refused > 0 {
        return Err(wrong("the recovered keys open none of the newest backups".to_owned()));
    }
    Ok(Recovery { versions: keys.keys().copied().collect(), missing, backups: backups.len() as u64 })
}

/// That nothing of the home is in the way: no other vault, and no other recovery.
fn free(home: &Path, vault: &Path) -> Result<()> {
    let taken = |what: &str| {
        Error::new(Code::HomeInvalid, format!("the home {} holds {what} already", home.display()))
            .object(home.display().to_string())
            .hint("name a new home with --home DIR")
    };
    if home.join(FILE).exists() {
        return Err(taken("recovered keys"));
    }
    let own = home.join("vault");
    if own.symlink_metadata().is_ok() && own.canonicalize().ok().as_deref() != Some(vault) {
        return Err(taken("another vault"));
    }
    Ok(())
}

/// Writes the file whole or not at all.
fn put(home: &Path, recovered: &Recovered) -> io::Result<()> {
    let (written, path) = (home.join(format!(".{FILE}")), home.join(FILE));
    let _ = std::fs::remove_file(&written);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&written)?;
    let mut text = serde_json::to_vec_pretty(recovered)?;
    text.push(b'\n');
    let done = file
        .write_all(&text)
        .and_then(|()| file.sync_all())
        .and_then(|()| std::fs::hard_link(&written, &path));
    std::fs::remove_file(&written)?;
    done?;
    std::fs::File::open(home)?.sync_all()
}

fn no_vault(path: &Path, error: &io::Error) -> Error {
    Error::new(Code::InvalidInput, format!("{} is no vault: {error}", path.display()))
        .object("--vault")
        .hint("name the directory that holds holdfast.json")
}

fn unwritable(home: &Path, error: &io::Error) -> Error {
    Error::new(Code::HomeInvalid, format!("cannot write the home {}: {error}", home.display()))
        .object(home.display().to_string())
        .hint("name a directory that can be written with --home DIR")
}
