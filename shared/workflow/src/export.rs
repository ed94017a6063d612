//! Exports one step of a task: reads the source, seals, writes to staging. Steps that join are made likewise.

mod base_rows;
mod records;
pub mod seen;
mod staged;
pub mod tree_delta;

pub(crate) use records::Bitmap;
pub(crate) use staged::StagedObjects;

use crate::config::CodecName;
use crate::events::{TaskAnswer, TaskEvent};
use crate::join::{self, JoinOrder};
use crate::plan::{
    BackupDetail, ExportOrder, StreamPlan, Way, base_stream, detail, same_plan, source, value, worn,
};
use crate::services::{Services, Step};
use async_trait::async_trait;
use base_rows::BaseRows;
use holdfast_common::jobs::{JobError, Staged, Status, Task, Totals};
use holdfast_connectors::{Cursor, Flow, Source, SourceRange, TreeSink, Want};
use holdfast_vault::compress::Codec;
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::format::footer::Origin;
use holdfast_vault::format::manifest::{Manifest, StoredObject};
use holdfast_vault::model::{EntryKind, EntryMeta, Part, StreamInfo, StreamKind, Warning};
use holdfast_vault::read::{Fetch, PackReader, Shard, state};
use holdfast_vault::write::records::{KeyStorage, RunsOptions};
use holdfast_vault::write::{RecordsWriter, TreeWriter};
use records::{Against, RecordExport};
use seen::Seen;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;
use tree_delta::{TreeBase, TreeDelta, TreeStep};

/// What a step exported, waiting to be admitted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StagedStep {
    /// The objects in staging, in order.
    pub objects: Vec<StoredObject>,
    /// Whether they stay there for a join, and are not admitted.
    #[serde(default)]
    pub kept: bool,
    /// Where the next step goes on; the task ends where there is none.
    pub cursor: Option<Cursor>,
    /// The number of the next run or segment.
    pub next_sequence: u32,
    /// What was exported.
    pub totals: Totals,
    /// What the operator should see.
    pub warnings: Vec<Warning>,
    /// What the step saw, where not all of it had to be stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Seen>,
}

/// Where a task goes on: the source's cursor and the number of its next run or segment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TaskCursor {
    /// The source's cursor.
    pub source: Cursor,
    /// The number of the next run or segment.
    pub next_sequence: u32,
}

/// Exports the next step of a task, unless it is exported already.
///
/// # Errors
/// `Source*`, `Storage*`, `Cancelled`, or what state gives.
#[must_use]
pub fn export_chunk<'a>(services: &'a Services, event: &'a TaskEvent) -> Step<'a, TaskAnswer> {
    Box::pin(async move {
        let task = services.jobs.begin_attempt(&event.job, event.task).await?;
        if task.status == Status::Completed {
            return Ok(event.answer(false));
        }
        let order: TaskOrder = serde_json::from_value(task.order.clone()).map_err(|e| {
            Error::new(Code::Internal, format!("task {} has an unreadable order: {e}", task.task))
        })?;
        same_plan(event, order.plan())?;
        if task.staged.is_some() {
            return Ok(event.answer(true));
        }
        let mut out = StagedObjects {
            services,
            job: &event.job,
            task: task.task,
            step: task.step,
            kept: false,
            objects: Vec::new(),
        };
        let result = match &order {
            TaskOrder::Export(order) => Box::pin(export_step(services, &task, order, &mut out)).await,
            TaskOrder::Join(order) => Box::pin(join::step(services, &task, order, &mut out)).await,
        };
        let failed = match result {
            Ok(step) => match stage(&task, &out, &value(&step)?).await {
                Ok(more) => return Ok(event.answer(more)),
                Err(error) => error,
            },
            Err(error) => {
                if out.remove_but(&serde_json::Value::Null).await.is_err() {
                    tracing::warn!(
                        job = event.job,
                        task = event.task,
                        "staging could not be cleared; the job's end clears it"
                    );
                }
                error
            }
        };
        services.jobs.fail_task(&event.job, event.task, &JobError::from(&failed)).await?;
        Err(failed)
    })
}

/// Says in job state what a step put into staging, and whether the task has more to do. Where that fails, the objects
/// stay until the job's end: the row may have been written all the same, and then it names them.
async fn stage(task: &Task, out: &StagedObjects<'_>, step: &serde_json::Value) -> Result<bool> {
    let jobs = &out.services.jobs;
    match jobs.stage_step(&task.job, task.task, task.step, step).await? {
        Staged::Now => {}
        // Another attempt was faster: what this one exported is not needed.
        Staged::Already(winner) => out.remove_but(&winner).await?,
        Staged::Admitted => {
            // What was admitted is in the vault by now. What is kept for a join is not, and may be this attempt's: its
            // row was written though its answer was lost, and a twin went on with it.
            if !out.kept {
                out.remove_but(&serde_json::Value::Null).await?;
            }
            return Ok(jobs.task(&task.job, task.task).await?.status != Status::Completed);
        }
    }
    Ok(true)
}

/// What a task of a backup does.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum TaskOrder {
    Join(JoinOrder),
    Export(ExportOrder),
}

impl TaskOrder {
    fn plan(&self) -> &str {
        match self {
            Self::Join(order) => &order.plan,
            Self::Export(order) => &order.plan,
        }
    }
}

/// The codec that a policy names.
#[must_use]
pub(crate) fn codec(name: CodecName) -> Codec {
    match name {
        CodecName::Zstd => Codec::Zstd,
        CodecName::Gzip => Codec::Gzip,
        CodecName::None => Codec::None,
    }
}

async fn export_step(
    services: &Services,
    task: &Task,
    order: &ExportOrder,
    out: &mut StagedObjects<'_>,
) -> Result<StagedStep> {
    let job = services.jobs.job(&task.job).await?;
    let detail: BackupDetail = detail(&job)?;
    let stream = detail.streams.get(order.stream as usize).ok_or_else(|| {
        Error::new(Code::Internal, format!("job {} has no stream {}", job.id, order.stream))
    })?;
    services.vault.need(detail.key_version).await?;
    let source = source(services, &detail.resource).await?;
    let cursor: Option<TaskCursor> =
        task.cursor.clone().map(serde_json::from_value).transpose().map_err(|e| {
            Error::new(Code::Internal, format!("task {} has an unreadable cursor: {e}", task.task))
        })?;
    let first = Origin {
        stream: order.stream,
        task: task.task,
        sequence: cursor.as_ref().map_or(0, |cursor| cursor.next_sequence),
    };
    let reading = Reading {
        services,
        source: source.as_ref(),
        stream,
        range: &order.range,
        from: cursor.as_ref().map(|cursor| &cursor.source),
        first,
        codec: codec(detail.resource.policy.codec),
        plan: detail.stream_plan(order.stream),
        key_version: detail.key_version,
        base: match &detail.base {
            Some(base) => Some(Arc::new(services.vault.manifest(base).await?)),
            None => None,
        },
    };
    match &stream.shape {
        StreamKind::Tree => reading.tree(out).await,
        StreamKind::Records { .. } => reading.records(out).await,
    }
}

struct Reading<'a> {
    services: &'a Services,
    source: &'a dyn Source,
    stream: &'a StreamInfo,
    range: &'a SourceRange,
    from: Option<&'a Cursor>,
    first: Origin,
    codec: Codec,
    plan: StreamPlan,
    key_version: u32,
    base: Option<Arc<Manifest>>,
}

impl Reading<'_> {
    /// The version that names chunks and hashes keys: one for all of a backup, its base's if it has one.
    fn name_version(&self) -> u32 {
        self.base.as_ref().map_or(self.key_version, |base| base.name_key_version)
    }

    async fn records(&self, out: &mut StagedObjects<'_>) -> Result<StagedStep> {
        let keys = self.services.vault.keys();
        let options = RunsOptions {
            codec: self.codec,
            storage: key_storage(self.stream),
            delta: self.plan.way == Way::Joined,
            name_version: self.name_version(),
            first: self.first,
            limits: self.services.limits.runs,
        };
        let writer = RecordsWriter::with(keys, options)?;
        let against = self.against().await?;
        // What is to be joined is gathered into few runs before the vault gets it.
        out.kept = self.plan.way != Way::Whole;
        let mut sink = RecordExport::new(writer, out, self.services.limits.step_bytes, against);
        let read = self.source.read_records(self.stream, self.range, self.from, &mut sink).await;
        let ended = match read {
            Ok(cursor) => sink.writer.finish().map(|()| cursor),
            Err(error) => Err(error),
        };
        let cursor = match ended {
            Ok(cursor) => cursor,
            Err(error) => return Err(self.told(&sink, error).await),
        };
        sink.store().await?;
        let seen = sink.seen().await?;
        let (next_sequence, totals, warnings) = (sink.writer.next_sequence(), sink.totals, sink.warnings);
        Ok(out.exported(cursor, next_sequence, totals, warnings, seen))
    }

    /// What the records of this step are compared with.
    async fn against(&self) -> Result<Against> {
        let base = match (self.plan.way, &self.base) {
            (Way::Joined, Some(base)) => base,
            (Way::Sorted, _) => return Ok(Against::Later),
            _ => return Ok(Against::Nothing),
        };
        let mut reader = PackReader::new(&self.services.vault, base, Fetch::Blocks);
        let stream = base_stream(base, &self.stream.name)?;
        let rows = state::live_rows(&mut reader, &stream.layers, Shard::ALL).await?;
        Ok(Against::Base(BaseRows::new(rows)))
    }

    /// Why records could not be taken: two of one key by their places, whatever else as it is.
    async fn told(&self, sink: &RecordExport<'_, '_>, error: Error) -> Error {
        let places = match (sink.writer.duplicate(), sink.twice) {
            (Some(pair), _) => [Some(pair.first), Some(pair.second)],
            (None, Some(place)) => [None, Some(place)],
            (None, None) => return error,
        };
        let mut told = Vec::new();
        for place in places {
            told.push(match place {
                None => format!("another record of stream {}", self.stream.name),
                Some(place) => match self.source.describe_origin(self.stream, self.range, place).await {
                    Ok(at) => at,
                    Err(error) => return error,
                },
            });
        }
        duplicate_key(&self.stream.name, &told[0], &told[1])
    }

    async fn tree(&self, out: &mut StagedObjects<'_>) -> Result<StagedStep> {
        if let (Way::Joined, Some(base)) = (self.plan.way, &self.base) {
            return self.tree_delta(base, out).await;
        }
        let keys = self.services.vault.keys();
        let (limits, names) = (self.services.limits.trees, self.name_version());
        let writer = TreeWriter::on_base(keys, self.codec, self.first, limits, names, false)?;
        let budget = self.services.limits.step_bytes;
        let mut sink =
            TreeExport { writer, out, budget, current: 0, totals: Totals::default(), warnings: Vec::new() };
        let cursor = self.source.read_tree(self.stream, self.range, self.from, &mut sink).await?;
        sink.writer.finish()?;
        sink.store().await?;
        let (next_sequence, totals, warnings) = (sink.writer.next_sequence(), sink.totals, sink.warnings);
        Ok(out.exported(cursor, next_sequence, totals, warnings, None))
    }
}

impl Reading<'_> {
    async fn tree_delta(&self, base: &Arc<Manifest>, out: &mut StagedObjects<'_>) -> Result<StagedStep> {
        let worn = if self.plan.worn > 0 {
            worn::of(self.services, out.job, &base.id, self.first.stream).await?
        } else {
            BTreeSet::new()
        };
        let bounds = self.source.bounds(self.stream, self.range, self.from)?.ok_or_else(|| {
            Error::new(Code::Internal, format!("stream {} has ranges without bounds", self.stream.name))
        })?;
        let of = TreeBase {
            vault: &self.services.vault,
            base,
            stream: base_stream(base, &self.stream.name)?,
            bounds,
            compact: self.plan.compact,
            worn,
            first: self.first,
            codec: self.codec,
            limits: self.services.limits.trees,
            step_bytes: self.services.limits.step_bytes,
        };
        let mut sink = TreeDelta::new(of, out)?;
        let cursor = self.source.read_tree(self.stream, self.range, self.from, &mut sink).await?;
        let TreeStep { next_sequence, totals, seen, warnings } = sink.finish_step(cursor.is_none()).await?;
        Ok(out.exported(cursor, next_sequence, totals, warnings, Some(seen)))
    }
}

/// Whether a stream's keys can be read from its records. Where they say nowhere, the keys are stored beside them.
#[must_use]
pub fn key_storage(stream: &StreamInfo) -> KeyStorage {
    match &stream.shape {
        StreamKind::Records { key, .. } if key.is_empty() => KeyStorage::Stored,
        _ => KeyStorage::Derived,
    }
}

/// Two records of a stream have the same key; said by their places, never by the key.
#[must_use]
pub fn duplicate_key(stream: &str, first: &str, second: &str) -> Error {
    Error::new(Code::SourceInvalid, format!("two records have the same key: {first} and {second}"))
        .object(stream)
        .hint("remove one of them, or name more of the record in the resource's key")
}

struct TreeExport<'a, 'b> {
    writer: TreeWriter,
    out: &'a mut StagedObjects<'b>,
    budget: u64,
    /// Bytes of the entry that is open: counted when it ends, since it may be abandoned.
    current: u64,
    totals: Totals,
    warnings: Vec<Warning>,
}

impl TreeExport<'_, '_> {
    async fn store(&mut self) -> Result<()> {
        for object in self.writer.take_finished() {
            self.out.put(object).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl TreeSink for TreeExport<'_, '_> {
    async fn begin(&mut self, meta: EntryMeta, part: Part) -> Result<Want> {
        self.current = part.length;
        let content = matches!(meta.kind, EntryKind::File) && part.length > 0;
        self.totals.files += u64::from(part.offset == 0);
        self.writer.begin(meta, part)?;
        Ok(if content { Want::Content } else { Want::Nothing })
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.writer.write(bytes)?;
        self.store().await
    }

    async fn finish(&mut self) -> Result<Flow> {
        self.writer.end()?;
        self.totals.bytes += self.current;
        self.store().await?;
        Ok(if self.totals.bytes >= self.budget { Flow::Enough } else { Flow::More })
    }

    fn abandon(&mut self) {
        self.totals.files -= 1;
        self.writer.abandon();
    }

    fn warn(&mut self, warning: Warning) {
        self.warnings.push(warning);
    }
}
