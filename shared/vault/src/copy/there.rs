//! What the place of a copy holds already.

use crate::error::{Code, Error, Result};
use crate::format::header::{Id, ObjectKind};
use crate::format::root::VAULT_KEY;
use crate::read::Vault;
use crate::read::vault::describe;
use crate::storage::{Storage, list_all};
use std::collections::HashMap;

/// Refuses a place that is the vault's own, holds another vault, or anything that is none.
pub(super) async fn check(from: &Vault, to: &dyn Storage) -> Result<()> {
    let name = to.name();
    let refused = |why: &str, hint: &str| {
        Error::new(Code::InvalidInput, format!("{name} {why}")).object(name).hint(hint)
    };
    if name == from.storage().name() {
        return Err(refused("is the vault itself", "name another place"));
    }
    match describe(to).await {
        Ok(there) if there.vault == from.id() => Ok(()),
        Ok(there) => {
            let why =
                format!("holds another vault ({}), not a copy of this one ({})", there.vault, from.id());
            Err(refused(&why, "name a place of its own for each vault"))
        }
        Err(error) if error.code == Code::HomeInvalid => {
            if to.list("", None).await?.objects.is_empty() {
                return Ok(());
            }
            let why = format!("holds something that is no copy of a vault ({VAULT_KEY} is missing)");
            Err(refused(&why, "name a place that is new or empty"))
        }
        Err(error) => Err(error),
    }
}

/// The packs and index objects that are there, with their sizes.
pub(super) async fn objects(to: &dyn Storage) -> Result<HashMap<Id, u64>> {
    let mut there = HashMap::new();
    for kind in [ObjectKind::Pack, ObjectKind::Index] {
        let mut after: Option<String> = None;
        loop {
            let page = to.list(kind.prefix(), after.as_deref()).await?;
            for object in &page.objects {
                if let Some(id) = object.key.rsplit('/').next().and_then(Id::parse) {
                    there.insert(id, object.size);
                }
            }
            match page.objects.last() {
                Some(last) if page.more => after = Some(last.key.clone()),
                _ => break,
            }
        }
    }
    Ok(there)
}

/// The backups whose manifest is there, with its size.
pub(super) async fn manifests(to: &dyn Storage) -> Result<HashMap<String, u64>> {
    let prefix = ObjectKind::Manifest.prefix();
    let all = list_all(to, prefix).await?;
    Ok(all.into_iter().map(|object| (object.key[prefix.len()..].to_owned(), object.size)).collect())
}
