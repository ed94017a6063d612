//! Finds the records that are gone: live rows of the base that no task saw.

use super::{Joining, StagedObjects, store};
use holdfast_vault::error::Result;
use holdfast_vault::read::{Fetch, PackReader, Shard, state};
use holdfast_vault::write::RecordsWriter;

pub(super) async fn close(
    joining: &Joining<'_>,
    writer: &mut RecordsWriter,
    out: &mut StagedObjects<'_>,
) -> Result<()> {
    let mut reader = PackReader::new(&joining.services.vault, joining.base, Fetch::Blocks);
    let rows = state::live_rows(&mut reader, &joining.base_stream()?.layers, Shard::ALL).await?;
    let seen = joining.seen(&rows, &joining.left().await?).await?;
    for (at, row) in rows.iter().enumerate() {
        if !seen.has(at) {
            writer.push_tombstone(row.hash)?;
            store(writer, out).await?;
        }
    }
    Ok(())
}
