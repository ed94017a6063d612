//! The row of a capture, as it is noted or as the vault tells it.

use crate::services::Services;
use holdfast_common::jobs::CaptureRow;
use holdfast_vault::error::{Class, Error, Result};
use holdfast_vault::format::changes::{Change, ChangeName, Gap, compare_sequences};
use holdfast_vault::format::header::ObjectKind;
use holdfast_vault::read::changes::{self, ALL_KEYS, ChangeObject, Unreplaced, Window, list};
use holdfast_vault::read::verify::Finding;
use holdfast_vault::storage::list_all;
use std::collections::BTreeMap;

type Names = Vec<(ChangeName, u64)>;

/// How far a resource's changes are captured: as it is noted, or else as the vault's objects tell it.
///
/// # Errors
/// What state and storage give.
pub async fn known(services: &Services, resource: &str) -> Result<Option<CaptureRow>> {
    match services.jobs.capture(resource).await? {
        Some(row) => Ok(Some(row)),
        None => from_vault(services, list(&services.vault, resource, i64::MIN, i64::MAX).await?).await,
    }
}

/// Makes the row of every resource that has change objects: anew, or with what an existing one lacks. Gives the objects
/// that are damaged.
///
/// # Errors
/// What state and storage give.
pub async fn rebuild(services: &Services) -> Result<Vec<Finding>> {
    let mut folders: BTreeMap<[u8; 16], Names> = BTreeMap::new();
    for object in list_all(services.vault.storage().as_ref(), ObjectKind::Changes.prefix()).await? {
        if let Some(name) = ChangeName::parse(&object.key) {
            folders.entry(name.folder).or_default().push((name, object.size));
        }
    }
    let mut damaged = Vec::new();
    for names in folders.into_values() {
        let mut sound = Vec::new();
        let mut resource = None;
        for (name, size) in names {
            match ChangeObject::open(&services.vault, &name, size).await {
                Ok(object) => {
                    resource = resource.or(object.descriptions().next().map(|said| said.resource.clone()));
                    sound.push((name, size));
                }
                Err(error) if error.code.class() == Class::Damage => damaged.push(Finding {
                    object: name.key(),
                    code: error.code.to_string(),
                    message: error.message,
                }),
                Err(error) => return Err(error),
            }
        }
        let Some((resource, row)) = resource.zip(from_vault(services, sound).await?) else { continue };
        let merge = |known: Option<CaptureRow>| {
            let Some(mut known) = known else { return Ok(row.clone()) };
            known.since = known.since.min(row.since);
            row.gaps.iter().for_each(|gap| known.add_gap(gap.clone()));
            Ok(known)
        };
        services.jobs.update_capture(&resource, merge).await?;
    }
    Ok(damaged)
}

/// What the objects of a folder tell; `None` if there is none.
async fn from_vault(services: &Services, names: Names) -> Result<Option<CaptureRow>> {
    if names.is_empty() {
        return Ok(None);
    }
    let objects = names.len() as u64;
    let mut row = CaptureRow { since: i64::MAX, newest: i64::MIN, objects, ..CaptureRow::default() };
    let mut latest = Names::new();
    let mut names = Unreplaced::new(&services.vault, names);
    while let Some((name, size, object)) = names.next().await? {
        for (description, segment) in object.segments() {
            row.since = row.since.min(description.since);
            description.gaps.iter().for_each(|gap| row.add_gap(gap.clone()));
            if row.newest <= segment.to {
                (row.stream, row.key) = (description.stream.clone(), description.key.clone());
            }
            let count = segment.index.total();
            row.changes += count;
            row.newest = row.newest.max(if count == 0 { description.since } else { segment.to - 1 });
            if count > 0 && row.last_change <= Some(segment.to) {
                if row.last_change < Some(segment.to) {
                    latest.clear();
                }
                row.last_change = Some(segment.to);
                latest.push((name.clone(), size));
            }
        }
    }
    row.newest = row.newest.max(row.since);
    let mut unfollowed: Vec<&String> = names.unfollowed().collect();
    unfollowed.sort();
    for key in unfollowed {
        row.wrote(key, &[]);
    }
    names.gone(Window::ALL).for_each(|name| row.add_gap(gap_of(&name)));
    row.last_sequence = last_sequence(services, latest).await?;
    Ok(Some(row))
}

/// Finds the change objects of a resource that are gone although they have not expired, and notes that changes of their time
/// are missing, so that nobody relies on them. Gives an error for each that was not noted before, and for all with changes
/// at `from` (milliseconds since 1970) or later.
///
/// # Errors
/// What state and storage give, or `ObjectDamaged` of an object that is there.
pub(crate) async fn gone(services: &Services, resource: &str, from: i64) -> Result<Vec<Error>> {
    // Before the objects are listed: prune deletes what had expired by then.
    let row = services.jobs.capture(resource).await?;
    let expired = row.as_ref().map_or(i64::MIN, super::expire::told);
    let gone = changes::gone(&services.vault, resource, expired).await?;
    let is_noted = |name: &ChangeName| row.as_ref().is_some_and(|row| name.is_told(&row.gaps));
    let fresh: Vec<&ChangeName> = gone.iter().filter(|name| !is_noted(name)).collect();
    if row.is_some() && !fresh.is_empty() {
        let note = |known: Option<CaptureRow>| {
            let mut row = known.unwrap_or_default();
            for name in &fresh {
                row.add_gap(gap_of(name));
            }
            Ok(row)
        };
        services.jobs.update_capture(resource, note).await?;
    }
    let told = gone.iter().filter(|name| name.to >= from || fresh.contains(name));
    Ok(told.map(changes::missing).collect())
}

/// What a change object that is gone leaves: nobody knows any more what was written in its time.
fn gap_of(gone: &ChangeName) -> Gap {
    Gap { from: gone.from - 1, to: gone.to, reason: "a change object of that time is gone".to_owned() }
}

/// The highest sequence in the objects that end last: sequences grow with time.
async fn last_sequence(services: &Services, latest: Names) -> Result<Option<String>> {
    let mut last: Option<String> = None;
    for (name, size) in latest {
        let object = ChangeObject::open(&services.vault, &name, size).await?;
        for (_, segment) in object.segments() {
            let later = |change: Change| {
                if last.as_ref().is_none_or(|last| compare_sequences(last, &change.sequence).is_lt()) {
                    last = Some(change.sequence);
                }
                Ok(())
            };
            object.each(&services.vault, segment, ALL_KEYS, later).await?;
        }
    }
    Ok(last)
}
