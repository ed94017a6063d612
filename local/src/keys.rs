//! The keys of a home: what opens its vault, how they are rotated, and those of a recovery.

mod recovered;

pub use recovered::{Recovery, recover};

use crate::clients;
use crate::home::{Home, load_key};
use async_trait::async_trait;
use holdfast_common::storage::{Counting, DirectoryStorage};
use holdfast_vault::crypto::SecretKey;
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::format::header::Id;
use holdfast_vault::format::root::{WrappedKey, Wrapping, wrapped_key_name};
use holdfast_vault::read::vault::WrappingKey;
use holdfast_vault::read::{Unwrap, Vault};
use holdfast_vault::storage::{Put, Storage};
use recovered::Recovered;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// What opens the vault of a home: its key file, KMS for a copy of a stack's, or the keys of a recovery.
struct HomeKeys {
    home: PathBuf,
    recovered: Option<Recovered>,
    /// Where versions that do not open are told and passed over.
    told: Option<Arc<Mutex<Vec<Error>>>>,
}

#[async_trait]
impl Unwrap for HomeKeys {
    async fn unwrap(&self, wrapped: &WrappedKey) -> Result<SecretKey> {
        match &wrapped.wrapped_by {
            Wrapping::Local { .. } => wrapped.unwrap_local(&SecretKey::new(*load_key(&self.home)?.secret())),
            // What was recovered is there because nobody can be asked any more.
            Wrapping::Kms { key } if self.recovered.is_some() => {
                let name = wrapped_key_name(wrapped.version);
                let message = format!("{name} is wrapped by KMS key {key} and was not recovered");
                Err(Error::new(Code::KeyWrong, message)
                    .object(name)
                    .hint("recover with a newer export of the keys"))
            }
            Wrapping::Kms { .. } => holdfast_kms::unwrap(&clients::kms().await, wrapped).await,
        }
    }

    fn held(&self, vault: Id) -> Result<BTreeMap<u32, SecretKey>> {
        match &self.recovered {
            Some(recovered) => recovered.open(vault, &load_key(&self.home)?),
            None => Ok(BTreeMap::new()),
        }
    }

    fn unopened(&self, error: Error) -> Result<()> {
        if let Some(told) = &self.told {
            told.lock().unwrap_or_else(PoisonError::into_inner).push(error);
            return Ok(());
        }
        if self.recovered.is_some() { Ok(()) } else { Err(error) }
    }
}

/// Opens the vault of a home, made where there is none.
pub(crate) async fn open_vault(home: &Home) -> Result<(Vault, Arc<Counting>)> {
    let directory = DirectoryStorage::open(&home.path().join("vault"))?;
    let storage = Arc::new(Counting::new(Arc::new(directory)));
    let recovered = Recovered::load(home.path())?;
    if recovered.is_none() && storage.list("keys/", None).await?.objects.is_empty() {
        let key = home.key()?;
        let wrapping = WrappingKey { id: key.id_text(), secret: SecretKey::new(*key.secret()) };
        return Ok((Vault::create(storage.clone(), &wrapping).await?, storage));
    }
    let keys = HomeKeys { home: home.path().to_path_buf(), recovered, told: None };
    Ok((Vault::open_with(storage.clone(), Arc::new(keys)).await?, storage))
}

/// Opens a vault that stands elsewhere with the keys of a home.
pub(crate) async fn open_elsewhere(home: &Home, storage: Arc<dyn Storage>) -> Result<(Vault, Arc<Counting>)> {
    let storage = Arc::new(Counting::new(storage));
    let recovered = Recovered::load(home.path())?;
    let keys = HomeKeys { home: home.path().to_path_buf(), recovered, told: None };
    Ok((Vault::open_with(storage.clone(), Arc::new(keys)).await?, storage))
}

/// A vault with those of its keys that open.
pub struct Looked {
    /// The vault.
    pub vault: Vault,
    /// Why the other versions do not open, one error each.
    pub unopened: Vec<Error>,
    /// Held as long as it is looked at.
    _home: Home,
}

/// Opens the vault of a home with those of its keys that open.
///
/// # Errors
/// `HomeInvalid`, `HomeInUse`, `Storage*`, or why the first version does not open, where none does.
pub async fn look(path: &Path) -> Result<Looked> {
    let home = Home::open(path, false)?;
    let storage: Arc<dyn Storage> = Arc::new(DirectoryStorage::open(&home.path().join("vault"))?);
    look_with(home, storage).await
}

/// As [`look`], for a vault that stands elsewhere: it is opened with the keys of the home.
///
/// # Errors
/// As [`look`].
pub async fn look_elsewhere(path: &Path, storage: Arc<dyn Storage>) -> Result<Looked> {
    look_with(Home::open(path, true)?, storage).await
}

async fn look_with(home: Home, storage: Arc<dyn Storage>) -> Result<Looked> {
    let recovered = Recovered::load(home.path())?;
    let told: Arc<Mutex<Vec<Error>>> = Arc::default();
    let keys = HomeKeys { home: home.path().to_path_buf(), recovered, told: Some(told.clone()) };
    let opened = Vault::open_with(storage, Arc::new(keys)).await;
    let unopened = told.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match opened {
        Ok(vault) => Ok(Looked { vault, unopened, _home: home }),
        Err(error) => match unopened.into_iter().next() {
            Some(first) if error.code == Code::KeyMissing => Err(first),
            _ => Err(error),
        },
    }
}

/// A rotation of a vault key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    /// The version that new data was written under.
    pub from: u32,
    /// The version that it is written under from now on.
    pub to: u32,
    /// What wraps it.
    pub wrapped_by: Wrapping,
}

/// Makes the next version of a vault's key, wrapped as its newest one is. A dry run only looks whether it could.
///
/// # Errors
/// `KeyWrong` or `HomeInvalid` if what wraps it is not at hand, `StateConflict` if another rotation was quicker, or
/// `Storage*`.
pub(crate) async fn rotate(home: &Path, vault: &Vault, dry_run: bool) -> Result<Rotation> {
    vault.refresh().await?;
    let from = vault.keys().newest_version();
    let (to, newest) = vault.next_version().await?;
    let recovered = Recovered::load(home)?.is_some();
    let wrapped_by = match newest {
        Some(by @ Wrapping::Kms { .. }) if !recovered => by,
        // A recovered home wraps with its own key: the one that wrapped the older versions is lost.
        _ => Wrapping::Local { key: load_key(home)?.id_text() },
    };
    let rotation = Rotation { from, to, wrapped_by };
    if dry_run {
        return Ok(rotation);
    }
    let wrap = async |vault: Id, version: u32, fresh: &SecretKey| match &rotation.wrapped_by {
        Wrapping::Kms { key } => holdfast_kms::wrap(&clients::kms().await, key, vault, version, fresh).await,
        Wrapping::Local { key } => {
            let file = load_key(home)?;
            WrappedKey::wrap(vault, version, key, &SecretKey::new(*file.secret()), fresh)
        }
    };
    match vault.make_version(to, wrap).await? {
        Put::Created => Ok(rotation),
        Put::Exists => {
            let message = format!("version {to} of the vault key was made by another rotation meanwhile");
            Err(Error::new(Code::StateConflict, message)
                .object(wrapped_key_name(to))
                .hint("new data is written under it already; rotate again if that is not enough"))
        }
    }
}
