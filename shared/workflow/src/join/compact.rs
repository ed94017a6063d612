//! Merges one shard of the layers of a stream, and what changed since, into runs of a new base.

use super::{Joining, StagedObjects, kept, store};
use holdfast_connectors::KeyFinder;
use holdfast_vault::error::Result;
use holdfast_vault::read::layers::{blocks, shown};
use holdfast_vault::read::{Fetch, Overlay, PackReader, RecordKeys, Shard, records, state};
use holdfast_vault::write::RecordsWriter;

pub(super) async fn compact(
    joining: &Joining<'_>,
    shard: Shard,
    writer: &mut RecordsWriter,
    out: &mut StagedObjects<'_>,
) -> Result<()> {
    let left = joining.left().await?;
    let gone = gone(joining, shard, &left).await?;
    let kept = kept::open(joining, &left).await?;
    let finder = KeyFinder::new(joining.info)?;
    let key_of = |value: &[u8]| finder.key(value);
    let hasher = joining.services.vault.keys().key_hasher(joining.base.name_key_version)?;
    let keys = RecordKeys::new(hasher, &key_of);
    let mut reader = PackReader::new(&kept.vault, &kept.manifest, Fetch::Blocks);
    let mut overlay = Overlay::read(&mut reader, &kept.stream, &keys, shard).await?;
    overlay.hide(gone);
    for (layer, segments) in (0_u32..).zip(kept.stream.layers.iter().map(|layer| &layer.segments)) {
        for segment in segments {
            let run = records::run(&mut reader, segment).await?;
            for at in blocks(&run, shard) {
                let block = records::block(&mut reader, segment, &run, at).await?;
                shown(&block, layer, &overlay, shard, &keys, |key, value| {
                    let own = keys.key(key, value)?;
                    writer.push(&own, value, 0)
                })?;
                store(writer, out).await?;
            }
        }
    }
    Ok(())
}

/// The hashes of the shard's records that are gone.
async fn gone(joining: &Joining<'_>, shard: Shard, left: &[crate::upload::Registered]) -> Result<Vec<u128>> {
    let mut reader = PackReader::new(&joining.services.vault, joining.base, Fetch::Blocks);
    let rows = state::live_rows(&mut reader, &joining.base_stream()?.layers, Shard::ALL).await?;
    let seen = joining.seen(&rows, left).await?;
    let unseen = rows.iter().enumerate().filter(|(at, row)| shard.holds(row.hash) && !seen.has(*at));
    Ok(unseen.map(|(_, row)| row.hash).collect())
}
