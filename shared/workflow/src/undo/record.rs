//! What an undo did, in the vault for as long as [`crate::margins::UNDO_RECORDS`] says: `undos/<undo id>/<piece>-<object id>`.

use super::Conflict;
use super::piece::{About, Holds};
use crate::history::sealed::{self, Unsealed};
use crate::history::{Difference, Differences};
use crate::services::Services;
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::storage::list_all;
use std::collections::{HashMap, HashSet};
use ulid::Ulid;

fn prefix(undo: &str) -> String {
    format!("undos/{undo}/")
}

/// Puts what became of a piece into the vault; nothing where it wrote nothing and met no conflict.
pub(super) async fn keep(
    services: &Services,
    undo: &str,
    piece: u32,
    outcome: &Unsealed<About>,
) -> Result<()> {
    if outcome.sections.iter().all(|section| section.changes.is_empty()) {
        return Ok(());
    }
    let key = format!("{}{piece:06}-{}", prefix(undo), outcome.id);
    services.vault.storage().put_if_absent(&key, outcome.bytes.clone()).await?;
    Ok(())
}

/// The keys of an undo's record, in order.
async fn objects(services: &Services, undo: &str) -> Result<Vec<String>> {
    if Ulid::from_string(undo).is_err() {
        return Err(unknown(undo));
    }
    let objects = list_all(services.vault.storage().as_ref(), &prefix(undo)).await?;
    Ok(objects.into_iter().map(|object| object.key).collect())
}

fn unknown(undo: &str) -> Error {
    Error::new(Code::JobUnknown, format!("the vault holds no record of an undo {undo:?}"))
        .object(undo)
        .hint("an undo that wrote nothing leaves none; see `holdfast show ID`")
}

async fn open(services: &Services, undo: &str, key: &str) -> Result<Unsealed<About>> {
    let object = sealed::open::<About>(&services.vault, services.vault.storage().as_ref(), key).await?;
    let object = object.ok_or_else(|| {
        Error::new(Code::ObjectMissing, format!("vault object {key} is missing")).object(key)
    })?;
    let named = object.sections.iter().all(|section| {
        let About { undo: of, piece, .. } = &section.description;
        of == undo && key == format!("{}{piece:06}-{}", prefix(undo), object.id)
    });
    if named { Ok(object) } else { Err(Error::damaged(key, "it is the record of something else")) }
}

/// What is said of an undo: its resource and its window.
pub(super) async fn about(services: &Services, undo: &str) -> Result<About> {
    let objects = objects(services, undo).await?;
    let first = objects.first().ok_or_else(|| unknown(undo))?;
    let mut object = open(services, undo, first).await?;
    let section = object.sections.pop().ok_or_else(|| Error::damaged(first, "it says nothing"))?;
    Ok(section.description)
}

/// Hands on what an undo wrote, as differences: before it wrote, after it wrote.
pub(super) async fn written(services: &Services, undo: &str, out: &mut dyn Differences) -> Result<()> {
    for key in objects(services, undo).await? {
        for section in open(services, undo, &key).await?.sections {
            if section.description.holds != Holds::Written {
                continue;
            }
            let difference = |change: holdfast_vault::format::changes::Change| Difference {
                key: change.key,
                before: change.before,
                after: change.after,
            };
            let differences = section.changes.into_iter().map(difference);
            let differences = differences.filter(|of| of.before != of.after).collect();
            out.take(&section.description.stream, differences).await?;
        }
    }
    Ok(())
}

/// The conflicts that an undo met, at most so many, with all their values.
///
/// # Errors
/// `ObjectDamaged` or `Storage*`.
pub async fn conflicts(services: &Services, undo: &str, most: usize) -> Result<Vec<Conflict>> {
    let mut conflicts = Vec::new();
    for key in objects(services, undo).await? {
        let mut object = open(services, undo, &key).await?;
        let mut take = |holds: Holds| {
            let at = object.sections.iter().position(|section| section.description.holds == holds);
            at.map(|at| object.sections.swap_remove(at))
        };
        let (written, wanted, found) = (take(Holds::Written), take(Holds::Wanted), take(Holds::Found));
        let Some(wanted) = wanted else { continue };
        let written: HashSet<Vec<u8>> =
            written.into_iter().flat_map(|section| section.changes).map(|change| change.key).collect();
        let mut found: HashMap<Vec<u8>, Option<Vec<u8>>> = found
            .into_iter()
            .flat_map(|section| section.changes)
            .map(|change| (change.key, change.after))
            .collect();
        for change in wanted.changes {
            if conflicts.len() >= most {
                return Ok(conflicts);
            }
            conflicts.push(Conflict {
                stream: wanted.description.stream.clone(),
                now: found.remove(&change.key).flatten(),
                overwritten: written.contains(&change.key),
                key: change.key,
                was: change.after,
                left: change.before,
            });
        }
    }
    Ok(conflicts)
}
