//! Takes it back that objects are condemned.

use super::shards::UNITS;
use crate::services::Services;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use holdfast_vault::error::Result;
use holdfast_vault::format::manifest::StoredObject;
use std::collections::{BTreeMap, HashSet};

/// Partitions that are asked side by side.
const AT_ONCE: usize = 8;

/// Forgets that any of these objects were condemned: a manifest is about to name them, or names them until now. From then
/// on each waits anew before it may go.
///
/// # Errors
/// What state gives.
pub(crate) async fn rescue(services: &Services, objects: &[StoredObject]) -> Result<()> {
    let mut by_unit: BTreeMap<String, HashSet<String>> = BTreeMap::new();
    for object in objects {
        let key = object.key();
        // The folder, its stroke, and the first digit of the id.
        let unit = key[..=object.kind.prefix().len()].to_owned();
        by_unit.entry(unit).or_default().insert(key);
    }
    let work: Vec<_> = by_unit
        .into_iter()
        .map(|(unit, keys)| async move { forget(services, &unit, |key| keys.contains(key)).await }.boxed())
        .collect();
    stream::iter(work).buffer_unordered(AT_ONCE).try_collect().await
}

/// Forgets all rows of packs and index objects, where it cannot be told which are meant.
///
/// # Errors
/// What state gives.
pub(super) async fn rescue_all(services: &Services) -> Result<()> {
    let work: Vec<_> =
        UNITS.iter().map(|unit| async move { forget(services, unit, |_| true).await }.boxed()).collect();
    stream::iter(work).buffer_unordered(AT_ONCE).try_collect().await
}

async fn forget(services: &Services, unit: &str, meant: impl Fn(&str) -> bool) -> Result<()> {
    let mut rows = services.jobs.condemned(unit, None)?;
    while let Some(page) = rows.next().await? {
        let keys: Vec<String> = page.into_iter().map(|row| row.key).filter(|key| meant(key)).collect();
        if !keys.is_empty() {
            services.jobs.forget_condemned(&keys).await?;
        }
    }
    Ok(())
}
