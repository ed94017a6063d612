//! Joins one shard of what was sorted with the same shard of the base's state table.

use super::kept::{self, Kept};
use super::{Joining, StagedObjects, store};
use holdfast_connectors::KeyFinder;
use holdfast_vault::error::Result;
use holdfast_vault::read::layers::blocks;
use holdfast_vault::read::records::Stored;
use holdfast_vault::read::state::{StateRow, position};
use holdfast_vault::read::{Fetch, PackReader, RecordKeys, Shard, records, state};
use holdfast_vault::write::RecordsWriter;
use holdfast_vault::write::records::{DeltaKind, Identity, KeyStorage, record_digest};
use std::collections::HashMap;

/// Writes what the shard has more or other than the base, and tombstones for what it has no more; for a new base all of
/// it.
pub(super) async fn shuffle(
    joining: &Joining<'_>,
    shard: Shard,
    writer: &mut RecordsWriter,
    out: &mut StagedObjects<'_>,
) -> Result<()> {
    let kept = kept::open(joining, &joining.left().await?).await?;
    let whole = joining.detail.stream_plan(joining.number).compact;
    let mut reader = PackReader::new(&joining.services.vault, joining.base, Fetch::Blocks);
    let old = state::live_rows(&mut reader, &joining.base_stream()?.layers, shard).await?;
    let mut reader = PackReader::new(&kept.vault, &kept.manifest, Fetch::Blocks);
    let now = sorted(joining, &kept, &mut reader, shard).await?;
    let mut wanted: HashMap<u128, DeltaKind> = HashMap::new();
    for row in &now {
        match position(&old, row.hash) {
            None => wanted.insert(row.hash, DeltaKind::Added),
            Some(at) if old[at].digest != row.digest => wanted.insert(row.hash, DeltaKind::Changed),
            Some(_) if whole => wanted.insert(row.hash, DeltaKind::Added),
            Some(_) => None,
        };
    }
    if !whole {
        for row in old.iter().filter(|row| position(&now, row.hash).is_none()) {
            writer.push_tombstone(row.hash)?;
        }
    }
    drop(old);
    drop(now);
    copy(joining, &kept, &mut reader, shard, &wanted, writer, out).await
}

/// The rows of all that was sorted; two of one key end the backup.
async fn sorted(
    joining: &Joining<'_>,
    kept: &Kept,
    reader: &mut PackReader,
    shard: Shard,
) -> Result<Vec<StateRow>> {
    let mut rows = state::table_rows(reader, &kept.layer, shard).await?;
    rows.sort_unstable();
    if rows.windows(2).any(|pair| pair[0].hash == pair[1].hash) {
        return Err(joining.twice());
    }
    Ok(rows)
}

async fn copy(
    joining: &Joining<'_>,
    kept: &Kept,
    reader: &mut PackReader,
    shard: Shard,
    wanted: &HashMap<u128, DeltaKind>,
    writer: &mut RecordsWriter,
    out: &mut StagedObjects<'_>,
) -> Result<()> {
    let finder = KeyFinder::new(joining.info)?;
    let key_of = |value: &[u8]| finder.key(value);
    let hasher = joining.services.vault.keys().key_hasher(joining.base.name_key_version)?;
    let keys = RecordKeys::new(hasher, &key_of);
    for segment in &kept.layer.segments {
        let run = records::run(reader, segment).await?;
        let storage = if run.stored_keys { KeyStorage::Stored } else { KeyStorage::Derived };
        for at in blocks(&run, shard) {
            let block = records::block(reader, segment, &run, at).await?;
            block.each_stored(|stored| {
                let Stored::Record { key, value } = stored else { return Ok(()) };
                let own = keys.key(key, value)?;
                let hash = keys.hash_of(&own);
                if let Some(kind) = wanted.get(&hash).filter(|_| shard.holds(hash)) {
                    let identity = Identity { hash, digest: record_digest(storage, &own, value) };
                    writer.push_identified(&identity, *kind, &own, value, 0)?;
                }
                Ok(())
            })?;
            store(writer, out).await?;
        }
    }
    Ok(())
}
