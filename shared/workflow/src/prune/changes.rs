//! The captured changes of a resource: those that a larger object holds too, and those that are too old.

use super::judge::{Judge, Rows, Seen};
use super::sweep::Part;
use crate::capture;
use crate::services::Services;
use holdfast_vault::error::{Class, Result};
use holdfast_vault::format::changes::ChangeName;
use holdfast_vault::read::changes::{ChangeObject, list};
use holdfast_vault::storage::ObjectInfo;
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

/// Objects that are judged at a time.
const PAGE: usize = 1_000;

type Names = Vec<(ChangeName, u64)>;

/// Sweeps the change objects of a resource.
///
/// # Errors
/// What storage and state give. A damaged object keeps itself and all that it replaces.
pub(super) async fn sweep(services: &Services, dry_run: bool, resource: &str) -> Result<Part> {
    let listed_at = services.clock.now();
    // Read before the objects are listed: what was told as expired by then is gone for every reader.
    let expired = capture::expired_before(services, resource).await?;
    let names = list(&services.vault, resource, i64::MIN, i64::MAX).await?;
    let folder = ChangeName::folder_of(services.vault.keys(), resource)?;
    let mut replaced = replaced(services, &names).await?;
    let mut judge = Judge::new(services, dry_run, listed_at);
    let mut rows = Rows::new(services, &ChangeName::prefix(&folder), None)?;
    let mut pages = names.chunks(PAGE).peekable();
    while let Some(page) = pages.next() {
        let mut seen = Vec::with_capacity(page.len());
        for (name, size) in page {
            let key = name.key();
            let needed = !is_expired(services, name, *size, expired).await?
                && !replaced.is_replaced(services, &key).await?;
            seen.push(Seen { object: ObjectInfo { key, size: *size }, needed });
        }
        let last = seen.last().map(|seen| seen.object.key.clone()).filter(|_| pages.peek().is_some());
        let rows = rows.up_to(last.as_deref()).await?;
        judge.page(seen, rows).await?;
    }
    if names.is_empty() {
        judge.page(Vec::new(), rows.up_to(None).await?).await?;
    }
    Ok(Part { after: None, done: true, figures: judge.figures })
}

/// Whether all that an object holds and tells lies before a time up to which changes are told as expired. The object that
/// tells so is none of these: its gap ends at that very time.
async fn is_expired(services: &Services, name: &ChangeName, size: u64, expired: i64) -> Result<bool> {
    if name.to >= expired {
        return Ok(false);
    }
    match ChangeObject::open(&services.vault, name, size).await {
        Ok(object) => {
            let told = |of: &holdfast_vault::format::changes::ChangesDescription| {
                of.gaps.iter().all(|gap| gap.to < expired)
            };
            Ok(object.descriptions().all(told))
        }
        Err(error) if error.code.class() == Class::Damage => Ok(false),
        Err(error) => Err(error),
    }
}

/// Which objects others replace, and whether those are sound.
struct Replaced {
    by: HashMap<String, (ChangeName, u64)>,
    sound: HashSet<String>,
    unsound: HashSet<String>,
}

impl Replaced {
    /// Whether another object holds all that this one holds. That one is read whole, once, before this one is let go.
    async fn is_replaced(&mut self, services: &Services, key: &str) -> Result<bool> {
        let Some((name, size)) = self.by.get(key) else { return Ok(false) };
        let by = name.key();
        if self.sound.contains(&by) {
            return Ok(true);
        }
        if self.unsound.contains(&by) {
            return Ok(false);
        }
        let checked = async {
            let object = ChangeObject::open(&services.vault, name, *size).await?;
            object.check(&services.vault).await
        };
        match checked.await {
            Ok(()) => {
                self.sound.insert(by);
                Ok(true)
            }
            Err(error) if error.code.class() == Class::Damage => {
                tracing::warn!(object = by, code = error.code.as_str(), "what it replaces stays");
                self.unsound.insert(by);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

/// Finds what is replaced, from the highest level down: an object that is replaced itself says nothing new.
async fn replaced(services: &Services, names: &Names) -> Result<Replaced> {
    let mut gathered: Vec<&(ChangeName, u64)> = names.iter().filter(|(name, _)| name.level > 0).collect();
    gathered.sort_by_key(|(name, _)| (Reverse(name.level), name.clone()));
    let mut by: HashMap<String, (ChangeName, u64)> = HashMap::new();
    for (name, size) in gathered {
        if by.contains_key(&name.key()) {
            continue;
        }
        let object = match ChangeObject::open(&services.vault, name, *size).await {
            Ok(object) => object,
            Err(error) if error.code.class() == Class::Damage => continue,
            Err(error) => return Err(error),
        };
        for key in object.descriptions().flat_map(|said| &said.replaces) {
            // Of the same level nothing is replaced, so that two objects never replace each other.
            let lower = ChangeName::parse(key).is_some_and(|replaced| replaced.level < name.level);
            if lower {
                by.entry(key.clone()).or_insert_with(|| (name.clone(), *size));
            }
        }
    }
    Ok(Replaced { by, sound: HashSet::new(), unsound: HashSet::new() })
}
