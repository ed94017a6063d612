//! Gathers many small change objects into few larger ones, so that reading takes few requests.
//!
//! What is gathered stays where it is: a reader leaves it unread, and it waits for `prune`. Two that gather the same at the
//! same time make two objects of the same changes, which count once.

use crate::services::Services;
use holdfast_vault::compress::Codec;
use holdfast_vault::error::Result;
use holdfast_vault::format::changes::{Change, ChangeName, ChangesDescription};
use holdfast_vault::read::changes::{ALL_KEYS, ChangeObject, Unreplaced, list};
use holdfast_vault::write::changes::write_segments;
use std::collections::BTreeMap;

/// Objects that become one.
pub const GATHERED: usize = 32;
/// The highest level.
const TOP: u8 = 3;
/// Bytes of the objects that become one, at most.
const SEALED: u64 = 64 << 20;
/// Bytes of their changes, at most: all of them are held in memory.
const PLAIN: u64 = 128 << 20;

type Names = Vec<(ChangeName, u64)>;

/// Gathers objects of a resource where there are more than [`GATHERED`] of a level, the oldest first. Gives how many
/// objects it made.
///
/// # Errors
/// What storage gives, or `ObjectDamaged`.
pub async fn rollup(services: &Services, resource: &str) -> Result<u64> {
    let mut levels: BTreeMap<u8, Names> = BTreeMap::new();
    for (name, size) in unreplaced(services, resource).await? {
        levels.entry(name.level).or_default().push((name, size));
    }
    let mut made = 0;
    for level in 0..TOP {
        let mut names = levels.remove(&level).unwrap_or_default();
        names.sort();
        let mut first = 0;
        while names.len() > GATHERED && first + GATHERED <= names.len() {
            let some = &names[first..first + GATHERED];
            let sealed: u64 = some.iter().map(|(_, size)| size).sum();
            let gathered = if sealed > SEALED { None } else { gather(services, some).await? };
            match gathered {
                None => first += 1,
                Some(object) => {
                    names.drain(first..first + GATHERED);
                    levels.entry(level + 1).or_default().push(object);
                    made += 1;
                }
            }
        }
    }
    Ok(made)
}

/// The objects that are not replaced; only those of higher levels are opened to find out.
async fn unreplaced(services: &Services, resource: &str) -> Result<Names> {
    let names = list(&services.vault, resource, i64::MIN, i64::MAX).await?;
    let (gathered, single): (Names, Names) = names.into_iter().partition(|(name, _)| name.level > 0);
    let mut objects = Unreplaced::new(&services.vault, gathered);
    let mut kept = Vec::new();
    while let Some((name, size, _)) = objects.next().await? {
        kept.push((name, size));
    }
    kept.extend(single.into_iter().filter(|(name, _)| !objects.is_replaced(name)));
    Ok(kept)
}

/// Writes one object of the changes of several; `None` if they are too many for one.
async fn gather(services: &Services, names: &[(ChangeName, u64)]) -> Result<Option<(ChangeName, u64)>> {
    let mut objects = Vec::with_capacity(names.len());
    let mut plain = 0;
    for (name, size) in names {
        let object = ChangeObject::open(&services.vault, name, *size).await?;
        plain += object.plain_bytes();
        if plain > PLAIN {
            return Ok(None);
        }
        objects.push(object);
    }
    let mut streams: BTreeMap<String, (ChangesDescription, Vec<Change>)> = BTreeMap::new();
    for object in &objects {
        for (description, segment) in object.segments() {
            let (said, changes) = streams
                .entry(description.stream.clone())
                .or_insert_with(|| (description.clone(), Vec::new()));
            said.key.clone_from(&description.key);
            said.since = said.since.min(description.since);
            said.gaps.extend(description.gaps.iter().cloned());
            said.replaces.extend(description.replaces.iter().cloned());
            said.follows.extend(description.follows.iter().cloned());
            let keep = |change| {
                changes.push(change);
                Ok(())
            };
            object.each(&services.vault, segment, ALL_KEYS, keep).await?;
        }
    }
    drop(objects);
    let replaced: Vec<String> = names.iter().map(|(name, _)| name.key()).collect();
    let mut segments: Vec<_> = streams.into_values().collect();
    for (at, (said, _)) in segments.iter_mut().enumerate() {
        if at == 0 {
            said.replaces.extend(replaced.iter().cloned());
        }
        said.replaces.sort();
        said.replaces.dedup();
        said.follows.retain(|key| !said.replaces.contains(key) && !replaced.contains(key));
        said.follows.sort();
        said.follows.dedup();
        said.gaps.sort();
        said.gaps.dedup();
    }
    let (Some((first, _)), keys) = (names.first(), services.vault.keys()) else { return Ok(None) };
    let (name, object) = write_segments(keys, Codec::Zstd, first.folder, first.level + 1, segments)?;
    let size = object.bytes.len() as u64;
    services.vault.storage().put_if_absent(&name.key(), object.bytes).await?;
    Ok(Some((name, size)))
}
