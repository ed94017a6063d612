//! Finds keys that stand twice in a stream, in different runs: one run cannot see what another holds.
//!
//! The state tables of all runs are read shard by shard of the key hash, so that memory stays bounded.

use crate::export::duplicate_key;
use crate::plan::{BackupDetail, ExportOrder, source};
use crate::services::Services;
use crate::staging;
use holdfast_common::jobs::Task;
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::format::footer::{IndexSegment, Origin, Segment};
use holdfast_vault::format::manifest::{Manifest, StreamManifest};
use holdfast_vault::read::{Fetch, PackReader, Shard, state};
use holdfast_vault::storage::ByteRange;
use std::sync::Arc;

/// Rows of one shard, about: 24 bytes each in memory.
pub(crate) const SHARD_ROWS: u64 = 2 << 20;

/// A row of a state table: the key hash, and where its record stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    hash: u128,
    run: u32,
    at: u32,
}

/// Fails if two records of a stream have the same key.
///
/// # Errors
/// `SourceInvalid` naming both places, or what reading the index objects gives.
pub(super) async fn check(
    services: &Services,
    detail: &BackupDetail,
    manifest: &Arc<Manifest>,
) -> Result<()> {
    let mut reader = PackReader::new(&services.vault, manifest, Fetch::Blocks);
    for stream in &manifest.streams {
        let runs = state_tables(&mut reader, &manifest.id, stream).await?;
        if runs.len() < 2 {
            continue;
        }
        let shards = stream.records.div_ceil(SHARD_ROWS).max(1);
        for shard in 0..shards {
            let rows = rows_of(&mut reader, &runs, Shard::new(shard, shards)).await?;
            if let Some(pair) = rows.windows(2).find(|pair| pair[0].hash == pair[1].hash) {
                let origins = [runs[pair[0].run as usize].1.origin, runs[pair[1].run as usize].1.origin];
                let first = place(services, detail, manifest, stream, origins[0], pair[0].at).await?;
                let second = place(services, detail, manifest, stream, origins[1], pair[1].at).await?;
                return Err(duplicate_key(&stream.info.name, &first, &second));
            }
        }
    }
    Ok(())
}

/// The state tables that this backup wrote: what older layers hold was checked when they were written.
async fn state_tables(
    reader: &mut PackReader,
    backup: &str,
    stream: &StreamManifest,
) -> Result<Vec<(u32, IndexSegment)>> {
    let mut tables = Vec::new();
    let own = stream.layers.iter().filter(|layer| layer.backup == backup);
    for at in own.flat_map(|layer| &layer.index) {
        if let Some(Segment::State(state)) = reader.footer(at.object).await?.segments.get(at.segment as usize)
        {
            tables.push((at.object, state.clone()));
        }
    }
    Ok(tables)
}

async fn rows_of(reader: &mut PackReader, runs: &[(u32, IndexSegment)], shard: Shard) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (run, (object, state)) in (0_u32..).zip(runs) {
        state::each_row(reader, *object, state, shard, |at, row| rows.push(Row { hash: row.hash, run, at }))
            .await?;
    }
    rows.sort_unstable();
    Ok(rows)
}

/// Where a record stood in the source, as far as the source can say it.
async fn place(
    services: &Services,
    detail: &BackupDetail,
    manifest: &Manifest,
    stream: &StreamManifest,
    run: Origin,
    at: u32,
) -> Result<String> {
    let key = staging::places(&manifest.id, run.task, run.sequence);
    let start = u64::from(at) * 8;
    let noted = services.staging.get(&key, ByteRange::Span { start, end: start + 8 }).await;
    let Ok(bytes) = noted else { return Ok(format!("a record of stream {}", stream.info.name)) };
    let mut origin = [0_u8; 8];
    for (to, from) in origin.iter_mut().zip(&bytes) {
        *to = *from;
    }
    let task: Task = services.jobs.task(&manifest.id, run.task).await?;
    let order: ExportOrder = serde_json::from_value(task.order)
        .map_err(|e| Error::new(Code::Internal, format!("task {} has an unreadable order: {e}", run.task)))?;
    let source = source(services, &detail.resource).await?;
    source.describe_origin(&stream.info, &order.range, u64::from_le_bytes(origin)).await
}
