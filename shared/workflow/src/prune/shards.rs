//! How the vault is cut into shards, so that what one call holds in memory is bounded.

use crate::services::Services;
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::format::header::Id;
use holdfast_vault::storage::ByteRange;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What the keys of all packs and index objects begin with, in order: each has its condemned rows in one partition.
pub(super) const UNITS: [&str; 32] = [
    "index/0", "index/1", "index/2", "index/3", "index/4", "index/5", "index/6", "index/7", "index/8",
    "index/9", "index/a", "index/b", "index/c", "index/d", "index/e", "index/f", "packs/0", "packs/1",
    "packs/2", "packs/3", "packs/4", "packs/5", "packs/6", "packs/7", "packs/8", "packs/9", "packs/a",
    "packs/b", "packs/c", "packs/d", "packs/e", "packs/f",
];

/// How many shards there may be: by the first bits of an object's id.
const COUNTS: [u32; 5] = [1, 4, 16, 64, 256];

/// What one shard looks at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(super) enum ShardOrder {
    /// Packs and index objects whose ids' first byte is from `first` on and below `end`.
    Objects {
        /// The first.
        first: u16,
        /// One past the last.
        end: u16,
    },
    /// The captured changes of a resource.
    Changes {
        /// The resource's name.
        resource: String,
    },
    /// The records of undos.
    Undos,
}

/// The shards of packs and index objects, where a sample of one id in 256 held so many.
pub(super) fn of_objects(sampled: usize, most: usize) -> Vec<ShardOrder> {
    let ids = sampled.saturating_mul(256);
    let fits = |count: &u32| ids / (*count as usize) <= most;
    let count = COUNTS.into_iter().find(fits).unwrap_or(256);
    let width = u16::try_from(256 / count).unwrap_or(256);
    let shard = |at: u32| {
        let first = u16::try_from(at).unwrap_or(0) * width;
        ShardOrder::Objects { first, end: first + width }
    };
    (0..count).map(shard).collect()
}

/// Whether an id is in the sample that [`of_objects`] counts.
pub(super) fn is_sampled(id: &Id) -> bool {
    id.0[0] == 0
}

/// The prefixes of a shard's keys, in order.
pub(super) fn prefixes(first: u16, end: u16) -> Vec<String> {
    let folders = ["index", "packs"];
    if first.is_multiple_of(16) && end.is_multiple_of(16) {
        let digits = first / 16..end / 16;
        return folders
            .iter()
            .flat_map(|of| digits.clone().map(move |digit| format!("{of}/{digit:x}")))
            .collect();
    }
    folders.iter().flat_map(|of| (first..end).map(move |byte| format!("{of}/{byte:02x}"))).collect()
}

/// The id that the key of a pack or an index object tells; `None` for a key that is none of theirs.
pub(super) fn id_of(key: &str) -> Option<Id> {
    let (_, rest) = key.split_once('/')?;
    let (folder, name) = rest.split_once('/')?;
    Id::parse(name).filter(|_| name.get(..2) == Some(folder))
}

/// What all shards of a prune need to know of the backups. It waits in staging.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    /// The backups whose manifests are to be there, each with the time until which it is kept at the least; none where that
    /// has no end.
    pub(super) backups: BTreeMap<String, Until>,
    /// In a dry run: the backups that would be ended, so that what they alone need would go.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) ending: BTreeSet<String>,
    /// The shards, in order. Of two plans of one prune the first one's stand.
    #[serde(default)]
    pub(super) orders: Vec<ShardOrder>,
}

/// Until when something is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Until {
    /// Nobody says.
    Untold,
    /// A time.
    Time(Timestamp),
    /// No end.
    Open,
}

/// Where [`Known`] waits.
pub(super) fn known_key(prune: &str) -> String {
    format!("{prune}/known.json")
}

/// Where the changes that are to be told as expired are listed.
pub(super) fn expiries_key(prune: &str) -> String {
    format!("{prune}/expiries.jsonl")
}

/// Reads what the plan left for the shards.
///
/// # Errors
/// `JobState` if the prune has ended since, or what staging gives.
pub(super) async fn known(services: &Services, prune: &str) -> Result<Known> {
    let key = known_key(prune);
    let bytes = services.staging.get(&key, ByteRange::All).await.map_err(|error| match error.code {
        Code::ObjectMissing => Error::new(Code::JobState, format!("prune {prune} has ended")).object(prune),
        _ => error,
    })?;
    serde_json::from_slice(&bytes).map_err(|e| {
        Error::new(Code::StagingDamaged, format!("staged object {key} is unreadable: {e}")).object(key)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_cover_every_id_once() {
        for (sampled, count) in [(0, 1), (3, 1), (4, 4), (16, 16), (70, 64), (1_000_000, 256)] {
            let shards = of_objects(sampled, 1_000);
            assert_eq!(shards.len(), count, "{sampled}");
            let mut next = 0;
            let mut keys = BTreeSet::new();
            for shard in shards {
                let ShardOrder::Objects { first, end } = shard else { panic!("{shard:?}") };
                assert_eq!(first, next);
                next = end;
                let prefixes = prefixes(first, end);
                assert!(prefixes.is_sorted());
                for prefix in prefixes {
                    assert!(UNITS.iter().any(|unit| prefix.starts_with(unit)), "{prefix}");
                    assert!(keys.insert(prefix));
                }
            }
            assert_eq!(next, 256);
        }
    }

    #[test]
    fn a_shard_lists_as_few_prefixes_as_hold_its_ids() {
        assert_eq!(prefixes(16, 48), ["index/1", "index/2", "packs/1", "packs/2"]);
        assert_eq!(prefixes(31, 33), ["index/1f", "index/20", "packs/1f", "packs/20"]);
    }

    #[test]
    fn the_sample_is_one_id_in_256() {
        let sampled = |first: u8| is_sampled(&Id([first; 16]));
        assert_eq!((0..=255).filter(|first| sampled(*first)).count(), 1);
    }

    #[test]
    fn only_keys_of_ours_have_an_id() {
        let id = "ab".repeat(16);
        assert!(id_of(&format!("packs/ab/{id}")).is_some());
        for key in [format!("packs/ac/{id}"), "packs/ab/readme".to_owned(), id, "packs/".to_owned()] {
            assert!(id_of(&key).is_none(), "{key}");
        }
    }
}
