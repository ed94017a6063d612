//! Tells which backups the keys at hand open. Of each object only its end is read: the trailer names the version of the
//! vault key, and the footer opens with the right one alone.

use super::vault::Vault;
use super::verify::Finding;
use crate::error::{Class, Code, Error, Result};
use crate::format::header::{Id, ObjectKind};
use crate::format::manifest::{StoredObject, manifest_key};
use crate::format::root::version_of;
use crate::storage::{ByteRange, ObjectInfo, list_all};
use futures::{StreamExt as _, stream};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap, HashSet};

/// What was written under a version of the vault key, as far as it was looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct KeyUse {
    /// Objects, manifests among them.
    pub objects: u64,
    /// Bytes of the objects.
    pub bytes: u64,
}

/// A backup that the keys at hand do not open, or not all of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unopened {
    /// The backup.
    pub backup: String,
    /// How many of its objects do not open.
    pub objects: u64,
    /// Why the first of them does not.
    #[serde(flatten)]
    pub why: Finding,
}

/// Which backups the keys at hand open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyCheck {
    /// Backups looked at.
    pub backups: u64,
    /// What is written under each version that opened something.
    pub versions: BTreeMap<u32, KeyUse>,
    /// Versions that objects need and nobody has.
    pub missing: BTreeMap<u32, KeyUse>,
    /// Backups that do not open.
    pub unopened: Vec<Unopened>,
    /// Captured changes and records of undos that do not open.
    pub others: Vec<Finding>,
}

/// How an object that was looked at is.
type Looked = std::result::Result<u32, Error>;

struct Checking<'a> {
    vault: &'a Vault,
    at_once: usize,
    found: KeyCheck,
    /// Objects of several backups are looked at once.
    seen: HashSet<Id>,
    broken: HashMap<Id, Error>,
}

/// Looks at every backup of a vault, at its captured changes and its records of undos. `watch` is told after each backup
/// how many were looked at.
///
/// Memory: 16 bytes an object, and one manifest.
///
/// # Errors
/// `Storage*`. What does not open is in the answer.
pub async fn check(vault: &Vault, at_once: usize, watch: &dyn Fn(u64)) -> Result<KeyCheck> {
    let found = KeyCheck::default();
    let mut checking =
        Checking { vault, at_once: at_once.max(1), found, seen: HashSet::new(), broken: HashMap::new() };
    for backup in vault.backups().await? {
        checking.backup(&backup).await?;
        checking.found.backups += 1;
        watch(checking.found.backups);
    }
    for folder in [ObjectKind::Changes.prefix(), "undos/"] {
        checking.folder(folder).await?;
    }
    Ok(checking.found)
}

impl Checking<'_> {
    async fn backup(&mut self, backup: &str) -> Result<()> {
        let key = manifest_key(backup);
        let bytes = match self.vault.storage().get(&key, ByteRange::All).await {
            Ok(bytes) => bytes,
            // It was deleted since it was listed.
            Err(error) if error.code == Code::ObjectMissing => return Ok(()),
            Err(error) => return Err(error),
        };
        let manifest = self.vault.open_manifest(backup, &bytes).await;
        let version = crate::format::header::Header::decode(bytes.get(..48).unwrap_or_default());
        let looked = manifest.as_ref().map(|_| version.map_or(0, |header| header.key_version));
        self.count(bytes.len() as u64, &looked.map_err(Clone::clone))?;
        let manifest = match manifest {
            Ok(manifest) => manifest,
            Err(error) => {
                self.found.unopened.push(Unopened {
                    backup: backup.to_owned(),
                    objects: 1,
                    why: told(error),
                });
                return Ok(());
            }
        };
        let fresh: Vec<&StoredObject> =
            manifest.objects.iter().filter(|object| !self.seen.contains(&object.id)).collect();
        let vault = self.vault;
        let looks = fresh.into_iter().map(async |object| (object, look(vault, object).await));
        let mut looks = stream::iter(looks).buffer_unordered(self.at_once);
        let mut looked = Vec::new();
        while let Some(one) = looks.next().await {
            looked.push(one);
        }
        drop(looks);
        for (object, one) in looked {
            if self.seen.insert(object.id) {
                self.count(object.size, &one)?;
                if let Err(error) = one {
                    self.broken.insert(object.id, error);
                }
            }
        }
        let broken: Vec<&Error> =
            manifest.objects.iter().filter_map(|object| self.broken.get(&object.id)).collect();
        if let Some(first) = broken.first() {
            let (backup, objects) = (backup.to_owned(), broken.len() as u64);
            self.found.unopened.push(Unopened { backup, objects, why: told((*first).clone()) });
        }
        Ok(())
    }

    /// What belongs to no backup.
    async fn folder(&mut self, prefix: &str) -> Result<()> {
        let objects = list_all(self.vault.storage().as_ref(), prefix).await?;
        let vault = self.vault;
        let looks = objects.into_iter().map(async |object: ObjectInfo| {
            let looked = look_at(vault, &object).await;
            (object, looked)
        });
        let mut looks = stream::iter(looks).buffer_unordered(self.at_once);
        let mut looked = Vec::new();
        while let Some(one) = looks.next().await {
            looked.push(one);
        }
        drop(looks);
        for (object, one) in looked {
            match &one {
                // Gathered into a larger one since it was listed.
                Err(error) if error.code == Code::ObjectMissing => continue,
                _ => self.count(object.size, &one)?,
            }
            if let Err(error) = one {
                self.found.others.push(told(error));
            }
        }
        Ok(())
    }

    fn count(&mut self, bytes: u64, looked: &Looked) -> Result<()> {
        let of = match looked {
            Ok(version) => self.found.versions.entry(*version).or_default(),
            Err(error) if error.code.class() != Class::Damage => return Err(error.clone()),
            Err(error) => match error.object.as_deref().and_then(version_of) {
                Some(version) => self.found.missing.entry(version).or_default(),
                None => return Ok(()),
            },
        };
        of.objects += 1;
        of.bytes += bytes;
        Ok(())
    }
}

async fn look(vault: &Vault, object: &StoredObject) -> Looked {
    Ok(vault.open_object(object.kind, object.id, object.size).await?.key_version())
}

async fn look_at(vault: &Vault, object: &ObjectInfo) -> Looked {
    let id = sealed_id(&object.key)?;
    Ok(vault.open_object_at(&object.key, ObjectKind::Changes, id, object.size).await?.key_version())
}

/// The id of a change object or of a record of an undo: the end of its name.
pub(crate) fn sealed_id(key: &str) -> Result<Id> {
    let id = key.rsplit('-').next().and_then(Id::parse);
    id.ok_or_else(|| Error::damaged(key, "its name ends with no id"))
}

fn told(error: Error) -> Finding {
    let object = error.object.unwrap_or_default();
    Finding { object, code: error.code.to_string(), message: error.message }
}
