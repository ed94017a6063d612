//! Exports one step of a task: reads the source, seals, writes to staging.

use crate::config::CodecName;
use crate::events::{TaskAnswer, TaskEvent};
use crate::plan::{BackupDetail, ExportOrder, detail, same_plan, source, value};
use crate::services::Services;
use crate::staging;
use async_trait::async_trait;
use bytes::Bytes;
use holdfast_common::jobs::{JobError, Staged, Status, Task, Totals};
use holdfast_connectors::{Cursor, Flow, RecordBatch, RecordSink, Source, SourceRange, TreeSink, Want};
use holdfast_vault::compress::Codec;
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::format::footer::Origin;
use holdfast_vault::format::manifest::StoredObject;
use holdfast_vault::model::{EntryKind, EntryMeta, Part, StreamInfo, StreamKind, Warning};
use holdfast_vault::write::records::{KeyStorage, RunOrigins};
use holdfast_vault::write::{FinishedObject, RecordsWriter, TreeWriter};
use serde::{Deserialize, Serialize};

/// What a step exported, waiting to be admitted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StagedStep {
    /// The objects in staging, in order.
    pub objects: Vec<StoredObject>,
    /// Where the next step goes on; the task ends where there is none.
    pub cursor: Option<Cursor>,
    /// The number of the next run or segment.
    pub next_sequence: u32,
    /// What was exported.
    pub totals: Totals,
    /// What the operator should see.
    pub warnings: Vec<Warning>,
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
/// `Source*`, `Storage*`, `Cancelled`, or what state gives. Nothing of a failed step stays in staging.
pub async fn export_chunk(services: &Services, event: &TaskEvent) -> Result<TaskAnswer> {
    let task = services.jobs.begin_attempt(&event.job, event.task).await?;
    if task.status == Status::Completed {
        return Ok(event.answer(false));
    }
    let order: ExportOrder = serde_json::from_value(task.order.clone()).map_err(|e| {
        Error::new(Code::Internal, format!("task {} has an unreadable order: {e}", task.task))
    })?;
    same_plan(event, &order.plan)?;
    if task.staged.is_some() {
        return Ok(event.answer(true));
    }
    let mut out =
        StagedObjects { services, job: &event.job, task: task.task, step: task.step, objects: Vec::new() };
    let result = export_step(services, &task, &order, &mut out).await;
    let staged = match result {
        Ok(step) => services.jobs.stage_step(&event.job, task.task, task.step, &value(&step)?).await,
        Err(error) => Err(error),
    };
    match staged {
        Ok(Staged::Now) => Ok(event.answer(true)),
        // Another attempt was faster: what this one exported is not needed.
        Ok(Staged::Already(winner)) => {
            out.remove_but(&winner).await?;
            Ok(event.answer(true))
        }
        Ok(Staged::Admitted) => {
            out.remove_but(&serde_json::Value::Null).await?;
            let now = services.jobs.task(&event.job, event.task).await?;
            Ok(event.answer(now.status != Status::Completed))
        }
        Err(error) => {
            if out.remove_but(&serde_json::Value::Null).await.is_err() {
                tracing::warn!(
                    job = event.job,
                    task = event.task,
                    "staging could not be cleared; the job's end clears it"
                );
            }
            services.jobs.fail_task(&event.job, event.task, &JobError::from(&error)).await?;
            Err(error)
        }
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
        codec: match detail.resource.policy.codec {
            CodecName::Zstd => Codec::Zstd,
            CodecName::Gzip => Codec::Gzip,
            CodecName::None => Codec::None,
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
}

impl Reading<'_> {
    async fn records(&self, out: &mut StagedObjects<'_>) -> Result<StagedStep> {
        let keys = self.services.vault.keys();
        let storage = key_storage(self.stream);
        let writer = RecordsWriter::new(keys, self.codec, storage, self.first, self.services.limits.runs)?;
        let budget = self.services.limits.step_bytes;
        let mut sink = RecordExport { writer, out, budget, totals: Totals::default(), warnings: Vec::new() };
        let cursor = match self.source.read_records(self.stream, self.range, self.from, &mut sink).await {
            Ok(cursor) => sink.writer.finish().map(|()| cursor),
            Err(error) => Err(error),
        };
        let cursor = match (cursor, sink.writer.duplicate()) {
            (Err(_), Some(twice)) => {
                let at = |place| self.source.describe_origin(self.stream, self.range, place);
                return Err(duplicate_key(
                    &self.stream.name,
                    &at(twice.first).await?,
                    &at(twice.second).await?,
                ));
            }
            (cursor, _) => cursor?,
        };
        sink.store().await?;
        let (next_sequence, totals, warnings) = (sink.writer.next_sequence(), sink.totals, sink.warnings);
        Ok(out.staged_step(cursor, next_sequence, totals, warnings))
    }

    async fn tree(&self, out: &mut StagedObjects<'_>) -> Result<StagedStep> {
        let keys = self.services.vault.keys();
        let writer = TreeWriter::new(keys, self.codec, self.first, self.services.limits.trees)?;
        let budget = self.services.limits.step_bytes;
        let mut sink =
            TreeExport { writer, out, budget, current: 0, totals: Totals::default(), warnings: Vec::new() };
        let cursor = self.source.read_tree(self.stream, self.range, self.from, &mut sink).await?;
        sink.writer.finish()?;
        sink.store().await?;
        let (next_sequence, totals, warnings) = (sink.writer.next_sequence(), sink.totals, sink.warnings);
        Ok(out.staged_step(cursor, next_sequence, totals, warnings))
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

/// The objects that a step has put into staging.
struct StagedObjects<'a> {
    services: &'a Services,
    job: &'a str,
    task: u32,
    step: u32,
    objects: Vec<StoredObject>,
}

impl StagedObjects<'_> {
    async fn put(&mut self, object: FinishedObject) -> Result<()> {
        // Noted before it is stored: a put that failed may still have happened.
        self.objects.push(StoredObject {
            id: object.id,
            kind: object.kind,
            size: object.bytes.len() as u64,
            parts: object.parts.iter().map(|part| part.sha256.clone()).collect(),
        });
        staging::put(self.services, self.job, self.task, self.step, &object).await?;
        Ok(())
    }

    async fn put_places(&self, runs: Vec<RunOrigins>) -> Result<()> {
        for run in runs {
            let mut bytes = Vec::with_capacity(run.places.len() * 8);
            for place in &run.places {
                bytes.extend_from_slice(&place.to_le_bytes());
            }
            let key = staging::places(self.job, self.task, run.run.sequence);
            self.services.staging.put_if_absent(&key, Bytes::from(bytes)).await?;
        }
        Ok(())
    }

    /// Removes what this attempt stored, but for what the winning attempt staged.
    async fn remove_but(&self, winner: &serde_json::Value) -> Result<()> {
        let kept = StagedStep::deserialize(winner).map(|step| step.objects).unwrap_or_default();
        let keys = self
            .objects
            .iter()
            .filter(|object| !kept.iter().any(|other| other.id == object.id))
            .map(|object| staging::exported(self.job, self.task, self.step, &object.id.to_string()));
        staging::remove(self.services, keys.collect::<Vec<_>>()).await
    }

    fn staged_step(
        &self,
        cursor: Option<Cursor>,
        next_sequence: u32,
        mut totals: Totals,
        warnings: Vec<Warning>,
    ) -> StagedStep {
        totals.stored_bytes = self.objects.iter().map(|object| object.size).sum();
        StagedStep { objects: self.objects.clone(), cursor, next_sequence, totals, warnings }
    }
}

struct RecordExport<'a, 'b> {
    writer: RecordsWriter,
    out: &'a mut StagedObjects<'b>,
    budget: u64,
    totals: Totals,
    warnings: Vec<Warning>,
}

impl RecordExport<'_, '_> {
    async fn store(&mut self) -> Result<()> {
        for object in self.writer.take_finished() {
            self.out.put(object).await?;
        }
        self.out.put_places(self.writer.take_origins()).await
    }
}

#[async_trait]
impl RecordSink for RecordExport<'_, '_> {
    async fn records(&mut self, batch: &RecordBatch) -> Result<Flow> {
        for record in batch.iter() {
            self.writer.push(record.key, record.value, record.origin)?;
            self.totals.records += 1;
            self.totals.bytes += record.value.len() as u64;
        }
        self.store().await?;
        Ok(if self.totals.bytes >= self.budget { Flow::Enough } else { Flow::More })
    }

    fn warn(&mut self, warning: Warning) {
        self.warnings.push(warning);
    }
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
