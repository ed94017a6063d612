//! Writes the records of streams of several layers, merged, shard by shard of the key hash.

use super::part::{PartCursor, Writing};
use super::{PartOrder, RestoreDetail, at};
use crate::plan::value;
use crate::services::WorkLimits;
use holdfast_common::jobs::Task;
use holdfast_connectors::target::Position;
use holdfast_connectors::{KeyFinder, RecordBatch, TargetSpec};
use holdfast_vault::crypto::Namer;
use holdfast_vault::error::Result;
use holdfast_vault::format::manifest::StreamManifest;
use holdfast_vault::model::StreamKind;
use holdfast_vault::read::layers::{blocks, shown};
use holdfast_vault::read::{Overlay, RecordKeys, Shard, merged, records};
use serde::{Deserialize, Serialize};

/// Bytes that are written at a time, about.
const BATCH: usize = 1 << 20;

/// The shards that a task writes, of how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Shards {
    first: u64,
    end: u64,
    of: u64,
}

/// Whether a stream has to be merged while it is written.
pub(super) fn is_layered(stream: &StreamManifest) -> bool {
    stream.layers.len() > 1 && matches!(stream.info.shape, StreamKind::Records { .. })
}

/// Cuts a layered stream into tasks. A target that writes at positions takes it in one, since where a shard begins
/// is known only when those before it are written.
pub(super) fn tasks(
    job: &str,
    detail: &RestoreDetail,
    limits: &WorkLimits,
    least: u64,
    stream: &StreamManifest,
    tasks: &mut Vec<Task>,
) -> Result<()> {
    let positions = matches!(detail.request.target, TargetSpec::Jsonl { .. } | TargetSpec::Json { .. });
    let fit = merged::shards(stream, limits.overlay_keys).max(least);
    let of = if positions { fit } else { fit.max(stream.bytes.div_ceil(limits.range_bytes.max(1))) };
    let each = if positions { of } else { 1 };
    let mut first = 0;
    while first < of {
        let end = (first + each).min(of);
        let order = PartOrder {
            plan: detail.plan.clone(),
            stream: stream.info.name.clone(),
            first: 0,
            end: 0,
            bytes_before: 0,
            records_before: 0,
            shards: Some(Shards { first, end, of }),
            paths: None,
        };
        let number = u32::try_from(tasks.len()).unwrap_or(u32::MAX);
        tasks.push(Task::new(job, number, &stream.info.name, value(&order)?));
        first = end;
    }
    Ok(())
}

impl Writing<'_> {
    /// Writes the shards of a task from a cursor on, until they end or the call has done enough.
    pub(super) async fn layered(
        &mut self,
        hasher: Namer,
        shards: Shards,
        changes: Option<at::Changes<'_>>,
        mut at: PartCursor,
    ) -> Result<()> {
        let finder = KeyFinder::new(&self.stream.info)?;
        let key_of = |value: &[u8]| finder.key(value);
        let keys = RecordKeys::new(hasher.clone(), &key_of);
        at.shard = at.shard.max(shards.first);
        while at.shard < shards.end {
            let shard = Shard::new(at.shard, shards.of);
            let mut overlay = Overlay::read(&mut self.reader, self.stream, &keys, shard).await?;
            let latest = match &changes {
                Some(changes) => changes.latest(&hasher, shard).await?,
                None => Vec::new(),
            };
            overlay.hide(latest.iter().map(|latest| latest.hash));
            if !self.shard(&keys, &overlay, shard, &mut at).await? {
                self.outcome.cursor = Some(at);
                return Ok(());
            }
            self.write_latest(&latest, &mut at).await?;
            at = PartCursor { shard: at.shard + 1, segment: 0, block: 0, ..at };
        }
        Ok(())
    }

    /// Writes one shard; false if the call has done enough before its end.
    async fn shard(
        &mut self,
        keys: &RecordKeys<'_>,
        overlay: &Overlay,
        shard: Shard,
        at: &mut PartCursor,
    ) -> Result<bool> {
        let layers: Vec<u32> = (0_u32..)
            .zip(&self.stream.layers)
            .flat_map(|(number, layer)| layer.segments.iter().map(move |_| number))
            .collect();
        let mut batch = RecordBatch::default();
        while (at.segment as usize) < self.segments.len() {
            let segment = self.segments[at.segment as usize];
            let run = records::run(&mut self.reader, segment).await?;
            let begin = at.block as usize;
            for block_at in blocks(&run, shard).skip_while(|number| *number < begin) {
                if self.outcome.totals.bytes >= self.budget {
                    at.block = u32::try_from(block_at).unwrap_or(u32::MAX);
                    return Ok(false);
                }
                let block = records::block(&mut self.reader, segment, &run, block_at).await?;
                batch.clear();
                shown(&block, layers[at.segment as usize], overlay, shard, keys, |key, value| {
                    batch.push(key, value, 0);
                    Ok(())
                })?;
                self.write_batch(&batch, at).await?;
            }
            (at.segment, at.block) = (at.segment + 1, 0);
        }
        Ok(true)
    }

    /// Writes what captured changes left.
    async fn write_latest(&mut self, latest: &[at::Latest], at: &mut PartCursor) -> Result<()> {
        let stored = self.stream.info.keys_are_stored();
        let mut batch = RecordBatch::default();
        for latest in latest {
            if let Some(value) = &latest.value {
                batch.push(if stored { &latest.key } else { &[] }, value, 0);
            }
            if batch.bytes() >= BATCH {
                self.write_batch(&batch, at).await?;
                batch.clear();
            }
        }
        self.write_batch(&batch, at).await
    }

    /// Writes records at the place where the cursor stands, and moves it behind them.
    pub(super) async fn write_batch(&mut self, batch: &RecordBatch, at: &mut PartCursor) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let position = Position { bytes: at.bytes, records: at.records };
        let written = self.target.write_records(&self.stream.info, position, batch).await?;
        self.outcome.note(written);
        self.outcome.totals.records += batch.len() as u64;
        at.bytes += batch.iter().map(|record| record.value.len() as u64).sum::<u64>();
        at.records += batch.len() as u64;
        Ok(())
    }
}
