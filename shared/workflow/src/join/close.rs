//! Closes one shard of a delta: what the tasks found new or changed is gathered into few runs, and live rows of the base
//! that no task saw become tombstones.

use super::{Joining, StagedObjects, kept, store};
use holdfast_connectors::KeyFinder;
use holdfast_vault::error::Result;
use holdfast_vault::read::layers::blocks;
use holdfast_vault::read::records::Stored;
use holdfast_vault::read::state::position;
use holdfast_vault::read::{Fetch, PackReader, RecordKeys, Shard, records, state};
use holdfast_vault::write::RecordsWriter;
use holdfast_vault::write::records::{DeltaKind, Identity, KeyStorage, record_digest};

pub(super) async fn close(
    joining: &Joining<'_>,
    shard: Shard,
    writer: &mut RecordsWriter,
    out: &mut StagedObjects<'_>,
) -> Result<()> {
    let mut reader = PackReader::new(&joining.services.vault, joining.base, Fetch::Blocks);
    let rows = state::live_rows(&mut reader, &joining.base_stream()?.layers, Shard::ALL).await?;
    let left = joining.left().await?;
    let seen = joining.seen(&rows, &left).await?;
    for (at, row) in rows.iter().enumerate() {
        if shard.holds(row.hash) && !seen.has(at) {
            writer.push_tombstone(row.hash)?;
            store(writer, out).await?;
        }
    }
    let kept = kept::open(joining, &left).await?;
    let finder = KeyFinder::new(joining.info)?;
    let key_of = |value: &[u8]| finder.key(value);
    let hasher = joining.services.vault.keys().key_hasher(joining.base.name_key_version)?;
    let keys = RecordKeys::new(hasher, &key_of);
    let mut reader = PackReader::new(&kept.vault, &kept.manifest, Fetch::Blocks);
    for segment in &kept.layer.segments {
        let run = records::run(&mut reader, segment).await?;
        let storage = if run.stored_keys { KeyStorage::Stored } else { KeyStorage::Derived };
        for at in blocks(&run, shard) {
            let block = records::block(&mut reader, segment, &run, at).await?;
            block.each_stored(|stored| {
                let Stored::Record { key, value } = stored else { return Ok(()) };
                let own = keys.key(key, value)?;
                let hash = keys.hash_of(&own);
                if !shard.holds(hash) {
                    return Ok(());
                }
                let known = position(&rows, hash).is_some();
                let kind = if known { DeltaKind::Changed } else { DeltaKind::Added };
                let identity = Identity { hash, digest: record_digest(storage, &own, value) };
                writer.push_identified(&identity, kind, &own, value, 0)
            })?;
            store(writer, out).await?;
        }
    }
    Ok(())
}
