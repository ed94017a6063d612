//! Writes one part of a restore.

use super::layered_tree::PathCursor;
use super::{PartOrder, RestoreDetail, key_not_found, select, target};
use crate::events::{Selection, TaskAnswer, TaskEvent};
use crate::plan::{detail, same_plan, value};
use crate::services::Services;
use async_trait::async_trait;
use bytes::Bytes;
use globset::GlobSet;
use holdfast_common::jobs::{JobError, Staged, Status, StepEnd, Task, Totals};
use holdfast_connectors::target::Position;
use holdfast_connectors::{Content, KeyFinder, RecordBatch, Target, Written};
use holdfast_vault::crypto::Namer;
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::format::entry::TreeEntry;
use holdfast_vault::format::footer::TreeSegment;
use holdfast_vault::format::manifest::{Manifest, SegmentRef, StreamManifest};
use holdfast_vault::model::{StreamKind, Warning};
use holdfast_vault::read::tree::EntryContent;
use holdfast_vault::read::{Fetch, MergedTree, PackReader, RecordKeys, layers, records, tree};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Under this name a task counts the conflicts that its target met; they are added up and not shown as a warning.
const CONFLICTS: &str = "ConflictsCounted";

/// Where a task goes on: a segment, a block of it, and how much of the stream was written before.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct PartCursor {
    pub(super) segment: u32,
    pub(super) block: u32,
    pub(super) bytes: u64,
    pub(super) records: u64,
    /// Of a stream of several layers.
    #[serde(default)]
    pub(super) shard: u64,
}

/// What one call wrote.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) totals: Totals,
    conflicts: u64,
    warnings: Vec<Warning>,
    pub(super) cursor: Option<PartCursor>,
    /// Of a tree of several layers: behind which path it goes on.
    pub(super) path: Option<PathCursor>,
}

impl Outcome {
    pub(super) fn note(&mut self, written: Written) {
        self.conflicts += written.conflicts;
        self.totals.bytes += written.bytes;
    }
}

/// Writes the next part of a task.
///
/// # Errors
/// `Target*`, `Object*`, `Cancelled`, or what state gives.
pub(super) async fn part(services: &Services, event: &TaskEvent) -> Result<TaskAnswer> {
    let task = services.jobs.begin_attempt(&event.job, event.task).await?;
    if task.status == Status::Completed {
        return Ok(event.answer(false));
    }
    let outcome = match write(services, event, &task).await {
        Ok(outcome) => outcome,
        Err(error) => {
            services.jobs.fail_task(&event.job, event.task, &JobError::from(&error)).await?;
            return Err(error);
        }
    };
    let mut warnings = outcome.warnings;
    if outcome.conflicts > 0 {
        warnings.push(Warning::new(CONFLICTS, format!("{}", outcome.conflicts)));
    }
    let cursor = match outcome.path {
        Some(path) => Some(value(&path)?),
        None => outcome.cursor.map(|cursor| value(&cursor)).transpose()?,
    };
    let end = StepEnd { done: cursor.is_none(), cursor, totals: outcome.totals, warnings };
    match services.jobs.stage_step(&event.job, task.task, task.step, &serde_json::Value::Null).await? {
        Staged::Now | Staged::Already(_) => {
            services.jobs.admit_step(&event.job, task.task, task.step, &[], &end).await?;
        }
        // Another attempt wrote the same to the same places and was counted.
        Staged::Admitted => {}
    }
    Ok(event.answer(services.jobs.task(&event.job, event.task).await?.status != Status::Completed))
}

/// Splits the counted conflicts from the warnings.
pub(super) fn take_conflicts(warnings: Vec<Warning>) -> (u64, Vec<Warning>) {
    let (counts, warnings): (Vec<_>, Vec<_>) = warnings.into_iter().partition(|w| w.code == CONFLICTS);
    (counts.iter().filter_map(|count| count.message.parse::<u64>().ok()).sum(), warnings)
}

fn unreadable(task: &Task, why: &serde_json::Error) -> Error {
    Error::new(Code::Internal, format!("task {} has an unreadable order: {why}", task.task))
}

async fn write(services: &Services, event: &TaskEvent, task: &Task) -> Result<Outcome> {
    let order: PartOrder = serde_json::from_value(task.order.clone()).map_err(|e| unreadable(task, &e))?;
    same_plan(event, &order.plan)?;
    let job = services.jobs.job(&event.job).await?;
    let detail: RestoreDetail = detail(&job)?;
    let restore_order = detail
        .order
        .clone()
        .ok_or_else(|| Error::new(Code::Internal, format!("restore {} was not planned", job.id)))?;
    let target = target(services, &detail.request, &restore_order).await?;
    let manifest = super::backup(services, &detail.request.backup).await?;
    let stream = manifest.stream(&order.stream)?;
    let start = PartCursor {
        segment: order.first,
        block: 0,
        bytes: order.bytes_before,
        records: order.records_before,
        shard: 0,
    };
    let from = match &task.cursor {
        Some(cursor) if order.paths.is_none() => {
            PartCursor::deserialize(cursor).map_err(|e| unreadable(task, &e))?
        }
        _ => start,
    };
    let selection = &detail.request.selection;
    let fetch = if selection.is_partial() { Fetch::Blocks } else { Fetch::Whole };
    let changes = match detail.request.at {
        Some(at) => super::at::Changes::until(services, &manifest, stream, at).await?,
        None => None,
    };
    let mut writing = Writing {
        target: target.as_ref(),
        stream,
        segments: stream.layers.iter().flat_map(|layer| &layer.segments).collect(),
        end: order.end,
        reader: PackReader::new(&services.vault, &manifest, fetch),
        budget: services.limits.step_bytes,
        outcome: Outcome::default(),
    };
    match &stream.info.shape {
        StreamKind::Records { .. } if !selection.keys.is_empty() => {
            let hasher = services.vault.keys().key_hasher(manifest.name_key_version)?;
            writing.chosen_records(hasher, &selection.keys, changes).await?;
        }
        StreamKind::Records { .. } if order.shards.is_some() => {
            let hasher = services.vault.keys().key_hasher(manifest.name_key_version)?;
            if let Some(shards) = order.shards {
                writing.layered(hasher, shards, changes, from).await?;
            }
        }
        StreamKind::Records { .. } => writing.records(from).await?,
        StreamKind::Tree => writing.tree(services, task, &order, &manifest, selection, from).await?,
    }
    Ok(writing.outcome)
}

pub(super) struct Writing<'a> {
    pub(super) target: &'a dyn Target,
    pub(super) stream: &'a StreamManifest,
    pub(super) segments: Vec<&'a SegmentRef>,
    end: u32,
    pub(super) reader: PackReader,
    pub(super) budget: u64,
    pub(super) outcome: Outcome,
}

impl Writing<'_> {
    async fn tree(
        &mut self,
        services: &Services,
        task: &Task,
        order: &PartOrder,
        manifest: &Arc<Manifest>,
        selection: &Selection,
        from: PartCursor,
    ) -> Result<()> {
        let globs = if selection.paths.is_empty() { None } else { Some(select::globs(&selection.paths)?) };
        let Some(paths) = &order.paths else { return self.entries(from, globs.as_ref()).await };
        let cursor = task.cursor.as_ref().map(PathCursor::deserialize).transpose();
        let span = paths.span(cursor.map_err(|e| unreadable(task, &e))?)?;
        let tree = MergedTree::new(&services.vault, manifest, self.stream, span);
        // Content stands in packs of all layers, and alternates between them.
        let room = (2 * self.stream.layers.len() + 4).min(64);
        self.reader = PackReader::new(&services.vault, manifest, Fetch::Blocks).with_room(room, room);
        self.merged(tree, globs.as_ref()).await
    }

    async fn records(&mut self, mut at: PartCursor) -> Result<()> {
        let mut batch = RecordBatch::default();
        while at.segment < self.end {
            let segment = self.segments[at.segment as usize];
            let run = records::run(&mut self.reader, segment).await?;
            while (at.block as usize) < run.index.fences.len() {
                if self.outcome.totals.bytes >= self.budget {
                    self.outcome.cursor = Some(at);
                    return Ok(());
                }
                let block = records::block(&mut self.reader, segment, &run, at.block as usize).await?;
                batch.clear();
                let mut bytes = 0;
                block.each(|key, value| {
                    bytes += value.len() as u64;
                    batch.push(key, value, 0);
                    Ok(())
                })?;
                let position = Position { bytes: at.bytes, records: at.records };
                let written = self.target.write_records(&self.stream.info, position, &batch).await?;
                self.outcome.note(written);
                self.outcome.totals.records += batch.len() as u64;
                at.bytes += bytes;
                at.records += batch.len() as u64;
                at.block += 1;
            }
            at = PartCursor { segment: at.segment + 1, block: 0, ..at };
        }
        Ok(())
    }

    async fn chosen_records(
        &mut self,
        hasher: Namer,
        asked: &[String],
        changes: Option<super::at::Changes<'_>>,
    ) -> Result<()> {
        let finder = KeyFinder::new(&self.stream.info)?;
        let key_of = |value: &[u8]| finder.key(value);
        let keys = RecordKeys::new(hasher.clone(), &key_of);
        let meant: Vec<Vec<Vec<u8>>> = asked.iter().map(|typed| finder.candidates(typed)).collect();
        let mut found = HashMap::new();
        // What a key means first is looked for first: most often that ends it.
        let readings = meant.iter().map(Vec::len).max().unwrap_or(0);
        for reading in 0..readings {
            let settled =
                |of_key: &[Vec<u8>]| of_key.iter().any(|key| found.contains_key(&keys.hash_of(key)));
            let open: Vec<Vec<u8>> = meant
                .iter()
                .filter(|of_key| !settled(of_key))
                .filter_map(|of_key| of_key.get(reading).cloned())
                .collect();
            found.extend(self.look_up(&hasher, &keys, &open, changes.as_ref()).await?);
        }
        let stored = self.stream.info.keys_are_stored();
        let mut batch = RecordBatch::default();
        let mut taken = HashSet::new();
        for candidates in meant {
            let mut meanings = candidates.iter().map(|key| keys.hash_of(key));
            match meanings.find_map(|hash| Some((hash, found.get(&hash)?))) {
                Some((hash, record)) if taken.insert(hash) => {
                    let key: &[u8] = if stored { &record.key } else { &[] };
                    batch.push(key, &record.value, 0);
                }
                Some(_) => {}
                None => self.outcome.warnings.push(key_not_found(&self.stream.info.name)),
            }
        }
        self.write_batch(&batch, &mut PartCursor::default()).await
    }

    /// The records of some canonical keys, as they are at the time that was asked for.
    async fn look_up(
        &mut self,
        hasher: &Namer,
        keys: &RecordKeys<'_>,
        wanted: &[Vec<u8>],
        changes: Option<&super::at::Changes<'_>>,
    ) -> Result<HashMap<u128, layers::Found>> {
        let looked_for: Vec<u128> = wanted.iter().map(|key| keys.hash_of(key)).collect();
        let mut found = layers::find(&mut self.reader, self.stream, keys, &looked_for).await?;
        let Some(changes) = changes else { return Ok(found) };
        for latest in changes.of_keys(hasher, wanted).await? {
            match latest.value {
                Some(value) => {
                    found.insert(latest.hash, layers::Found { key: latest.key, value });
                }
                None => {
                    found.remove(&latest.hash);
                }
            }
        }
        Ok(found)
    }

    async fn entries(&mut self, mut at: PartCursor, globs: Option<&GlobSet>) -> Result<()> {
        let mut file = OpenFile::default();
        while at.segment < self.end {
            let segment = self.segments[at.segment as usize];
            let described = Arc::new(tree::segment(&mut self.reader, segment).await?);
            while (at.block as usize) < described.index.fences.len() {
                if self.outcome.totals.bytes >= self.budget && file.parts.is_empty() {
                    self.outcome.cursor = Some(at);
                    return Ok(());
                }
                let entries = tree::entries(&mut self.reader, segment, &described, at.block as usize).await?;
                for entry in entries {
                    if globs.is_none_or(|globs| select::matches(globs, &entry.meta.path)) {
                        self.entry(&mut file, segment.object, &described, entry).await?;
                    }
                }
                at.block += 1;
            }
            at = PartCursor { segment: at.segment + 1, block: 0, ..at };
        }
        if file.parts.is_empty() {
            return Ok(());
        }
        Err(Error::damaged(
            self.reader.key(self.segments[self.end as usize - 1].object)?,
            "the last file is not whole",
        ))
    }

    pub(super) async fn entry(
        &mut self,
        file: &mut OpenFile,
        object: u32,
        segment: &Arc<TreeSegment>,
        entry: TreeEntry,
    ) -> Result<()> {
        let whole = file.add(object, segment, entry).map_err(|why| match self.reader.key(object) {
            Ok(key) => Error::damaged(key, why),
            Err(error) => error,
        })?;
        if !whole {
            return Ok(());
        }
        let file = std::mem::take(file);
        let Some(first) = file.parts.first() else { return Ok(()) };
        let meta = first.entry.meta.clone();
        let mut content = FileContent { reader: &mut self.reader, parts: &file.parts, part: 0, open: None };
        let written = self.target.write_entry(&self.stream.info, &meta, &mut content).await?;
        self.outcome.note(written);
        self.outcome.totals.files += 1;
        Ok(())
    }
}

struct FilePart {
    object: u32,
    segment: Arc<TreeSegment>,
    entry: TreeEntry,
}

/// The parts of the file that is being gathered.
#[derive(Default)]
pub(super) struct OpenFile {
    parts: Vec<FilePart>,
    length: u64,
}

impl OpenFile {
    /// Whether parts wait for others.
    pub(super) fn is_open(&self) -> bool {
        !self.parts.is_empty()
    }

    /// Adds a part; true once the file is whole.
    fn add(
        &mut self,
        object: u32,
        segment: &Arc<TreeSegment>,
        entry: TreeEntry,
    ) -> Result<bool, &'static str> {
        if self.parts.first().is_some_and(|first| first.entry.meta.path != entry.meta.path) {
            return Err("a file is not whole");
        }
        if entry.part.offset != self.length {
            return Err("a part of a file is missing");
        }
        self.length += entry.part.length;
        let whole = self.length == entry.meta.size;
        self.parts.push(FilePart { object, segment: segment.clone(), entry });
        Ok(whole)
    }
}

/// The content of a file, part after part.
struct FileContent<'a> {
    reader: &'a mut PackReader,
    parts: &'a [FilePart],
    part: usize,
    open: Option<tree::ContentPlace>,
}

#[async_trait]
impl Content for FileContent<'_> {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        while let Some(part) = self.parts.get(self.part) {
            let place = self.open.take().unwrap_or_default();
            let mut content =
                EntryContent::resume(self.reader, part.object, &part.segment, &part.entry, place);
            if let Some(piece) = content.next().await? {
                self.open = Some(content.place());
                return Ok(Some(piece));
            }
            self.part += 1;
        }
        Ok(None)
    }
}
