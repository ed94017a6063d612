//! Copies a vault to a second place: only what is not there, checked on its way, each backup's manifest last.
//!
//! Nothing is ever deleted or written over. A copy that is cut short holds whole backups and objects that no manifest
//! there names; the next run goes on with them.

mod sealed;
mod there;

use crate::error::{Class, Code, Error, Result};
use crate::format::header::{Id, ObjectKind};
use crate::format::manifest::{Manifest, StoredObject, manifest_key};
use crate::format::root::VAULT_KEY;
use crate::read::Vault;
use crate::read::verify::Finding;
use crate::storage::{ByteRange, Put, Storage, list_all};
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use serde::Serialize;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// What is copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Every backup, all captured changes, all records of undos.
    All,
    /// The backups of a resource and its captured changes.
    Resource(String),
    /// One backup.
    Backup(String),
}

/// How it is copied.
#[derive(Debug, Clone, Copy)]
pub struct How {
    /// Objects on their way at a time; each is in memory as a whole.
    pub at_once: usize,
    /// Whether what is there already is read and compared, not only its size.
    pub verify: bool,
    /// Whether nothing is written, and only counted.
    pub dry_run: bool,
}

/// What a copy did, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Copied {
    /// Backups whose manifest was copied.
    pub backups_copied: u64,
    /// Backups that were there.
    pub backups_there: u64,
    /// Objects copied, of all kinds.
    pub objects_copied: u64,
    /// Their bytes.
    pub bytes_copied: u64,
    /// Objects that were there.
    pub objects_there: u64,
    /// Their bytes.
    pub bytes_there: u64,
    /// What is damaged on either side; a backup of which something is damaged here is not copied.
    pub errors: Vec<Finding>,
}

/// What became of one object.
enum Done {
    Copied(u64),
    There(u64),
    /// It was deleted here since it was listed.
    Gone,
}

struct Copier<'a> {
    from: &'a Vault,
    to: Arc<dyn Storage>,
    how: How,
    watch: &'a dyn Fn(&Copied),
    packs: HashMap<Id, u64>,
    manifests: HashMap<String, u64>,
    /// Objects of several backups are copied and counted once.
    seen: HashSet<Id>,
    broken: HashSet<Id>,
    key_version: u32,
    copied: Copied,
}

/// Copies backups of a vault. `watch` is told how far it is.
///
/// Memory: about 40 bytes an object of the copy, one manifest, and `at_once` objects.
///
/// # Errors
/// `InvalidInput` if the place holds another vault or something else, or there is nothing of that name to copy, and
/// `Storage*`. What is damaged is in the answer.
pub async fn copy(
    from: &Vault,
    to: Arc<dyn Storage>,
    what: &What,
    how: How,
    watch: &dyn Fn(&Copied),
) -> Result<Copied> {
    there::check(from, to.as_ref()).await?;
    let mut copier = Copier {
        packs: there::objects(to.as_ref()).await?,
        manifests: there::manifests(to.as_ref()).await?,
        from,
        to,
        how: How { at_once: how.at_once.max(1), ..how },
        watch,
        seen: HashSet::new(),
        broken: HashSet::new(),
        key_version: 0,
        copied: Copied::default(),
    };
    copier.plain(VAULT_KEY).await?;
    copier.keys().await?;
    copier.changes(what).await?;
    copier.backups(what).await?;
    Ok(copier.copied)
}

impl Copier<'_> {
    fn note(&mut self, done: &Done) {
        match done {
            Done::Copied(bytes) => {
                self.copied.objects_copied += 1;
                self.copied.bytes_copied += bytes;
            }
            Done::There(bytes) => {
                self.copied.objects_there += 1;
                self.copied.bytes_there += bytes;
            }
            Done::Gone => {}
        }
        (self.watch)(&self.copied);
    }

    /// Damage is told and the copy goes on; anything else ends it.
    fn found(&mut self, error: Error) -> Result<()> {
        if error.code.class() != Class::Damage {
            return Err(error);
        }
        let object = error.object.unwrap_or_default();
        self.copied.errors.push(Finding { object, code: error.code.to_string(), message: error.message });
        Ok(())
    }

    /// An object that is compared byte by byte: the vault's description, and its wrapped keys.
    async fn plain(&mut self, key: &str) -> Result<()> {
        let bytes = self.from.storage().get(key, ByteRange::All).await?;
        let there = match self.to.get(key, ByteRange::All).await {
            Ok(there) => Some(there),
            Err(error) if error.code == Code::ObjectMissing => None,
            Err(error) => return Err(error),
        };
        let done = match there {
            Some(there) if there != bytes => {
                return Err(Error::new(Code::InvalidInput, format!("the copy has another {key}"))
                    .object(key)
                    .hint("the place holds a copy that was changed: name another place"));
            }
            Some(_) => Done::There(bytes.len() as u64),
            None => self.put(key, bytes).await?,
        };
        self.note(&done);
        Ok(())
    }

    async fn keys(&mut self) -> Result<()> {
        self.key_version = self.from.keys().newest_version();
        for object in list_all(self.from.storage().as_ref(), "keys/").await? {
            self.plain(&object.key).await?;
        }
        Ok(())
    }

    /// Puts an object that is not there. Where another copy was quicker, it is there.
    async fn put(&self, key: &str, bytes: Bytes) -> Result<Done> {
        let length = bytes.len() as u64;
        if self.how.dry_run {
            return Ok(Done::Copied(length));
        }
        Ok(match self.to.put_if_absent(key, bytes).await? {
            Put::Created => Done::Copied(length),
            Put::Exists => Done::There(length),
        })
    }

    async fn backups(&mut self, what: &What) -> Result<()> {
        let mut met = false;
        for id in self.from.backups().await? {
            if matches!(what, What::Backup(wanted) if *wanted != id) {
                continue;
            }
            let key = manifest_key(&id);
            let bytes = match self.from.storage().get(&key, ByteRange::All).await {
                Ok(bytes) => bytes,
                Err(error) if error.code == Code::ObjectMissing => continue,
                Err(error) => return Err(error),
            };
            let manifest = match self.from.open_manifest(&id, &bytes).await {
                Ok(manifest) => manifest,
                Err(error) => {
                    met = true;
                    self.found(error)?;
                    continue;
                }
            };
            if matches!(what, What::Resource(wanted) if *wanted != manifest.resource) {
                continue;
            }
            met = true;
            self.backup(&manifest, bytes).await?;
        }
        if met {
            return Ok(());
        }
        match what {
            What::All => Ok(()),
            What::Backup(id) => {
                Err(Error::new(Code::JobUnknown, format!("the vault holds no backup {id:?}"))
                    .object(id)
                    .hint("see `holdfast backups`"))
            }
            What::Resource(name) => {
                Err(Error::new(Code::ResourceUnknown, format!("the vault holds no backup of {name}"))
                    .object(name)
                    .hint("see `holdfast resources`"))
            }
        }
    }

    /// Everything that a backup needs, then its manifest.
    async fn backup(&mut self, manifest: &Manifest, bytes: Bytes) -> Result<()> {
        let whole = self.objects(&manifest.objects).await?;
        // Whoever copies beside a rotation copies the key before what is sealed under it.
        if self.from.keys().newest_version() != self.key_version {
            self.keys().await?;
        }
        if !whole {
            let key = manifest_key(&manifest.id);
            if matches!(self.from.storage().head(&key).await, Err(error) if error.code == Code::ObjectMissing)
            {
                // It was deleted while it was copied: what is gone of it is no damage.
                let gone: HashSet<String> = manifest.objects.iter().map(StoredObject::key).collect();
                let missing = Code::ObjectMissing.to_string();
                self.copied.errors.retain(|found| found.code != missing || !gone.contains(&found.object));
            }
            return Ok(());
        }
        let key = manifest_key(&manifest.id);
        let done = match self.manifests.get(&manifest.id) {
            None => self.put(&key, bytes).await?,
            Some(size) if *size == bytes.len() as u64 && !self.how.verify => Done::There(*size),
            Some(_) if self.to.get(&key, ByteRange::All).await? == bytes => Done::There(bytes.len() as u64),
            Some(_) => return self.found(in_copy(Error::damaged(&key, "it is not the one of this vault"))),
        };
        match done {
            Done::Copied(_) => self.copied.backups_copied += 1,
            Done::There(_) | Done::Gone => self.copied.backups_there += 1,
        }
        self.note(&done);
        Ok(())
    }

    /// Copies objects, some at a time. False if one of them is damaged or missing on either side.
    async fn objects(&mut self, objects: &[StoredObject]) -> Result<bool> {
        let fresh: Vec<&StoredObject> =
            objects.iter().filter(|object| !self.seen.contains(&object.id)).collect();
        for some in fresh.chunks(self.how.at_once * 8) {
            let mut ended = Vec::with_capacity(some.len());
            {
                let this = &*self;
                let work = some.iter().map(async |object| (*object, this.object(object).await));
                let mut work = stream::iter(work).buffer_unordered(this.how.at_once);
                while let Some(one) = work.next().await {
                    ended.push(one);
                }
            }
            for (object, done) in ended {
                match done {
                    Ok(done) => self.note(&done),
                    Err(error) => {
                        self.found(error)?;
                        self.broken.insert(object.id);
                    }
                }
                self.seen.insert(object.id);
            }
        }
        Ok(objects.iter().all(|object| !self.broken.contains(&object.id)))
    }

    async fn object(&self, object: &StoredObject) -> Result<Done> {
        let key = object.key();
        match self.packs.get(&object.id) {
            Some(size) if *size != object.size => {
                let why = format!("{size} bytes instead of {}", object.size);
                Err(in_copy(Error::damaged(&key, why)))
            }
            Some(size) => {
                if self.how.verify {
                    let copy = Vault::with_keys(self.to.clone(), self.from.keys().clone());
                    copy.whole(object).await.map_err(in_copy)?;
                }
                Ok(Done::There(*size))
            }
            None if self.how.dry_run => Ok(Done::Copied(object.size)),
            None => {
                let bytes = self.from.whole(object).await?;
                self.put(&key, bytes).await
            }
        }
    }

    /// Captured changes, and with all backups the records of undos.
    async fn changes(&mut self, what: &What) -> Result<()> {
        match what {
            What::All => {
                self.sealed(ObjectKind::Changes.prefix()).await?;
                self.sealed("undos/").await
            }
            What::Resource(name) => {
                let folder = crate::format::changes::ChangeName::folder_of(self.from.keys(), name)?;
                self.sealed(&crate::format::changes::ChangeName::prefix(&folder)).await
            }
            What::Backup(_) => Ok(()),
        }
    }
}

/// Damage of the copy, not of the vault.
fn in_copy(mut error: Error) -> Error {
    if error.code.class() == Class::Damage {
        error.message = format!("in the copy: {}", error.message);
        error.hint = Some("copy to a new place; nothing is ever written over".to_owned());
    }
    error
}
