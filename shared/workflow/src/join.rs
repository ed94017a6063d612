//! Joins what was read with the base: finds what is gone, joins in shards what memory does not hold, merges layers.
//!
//! A second round of tasks, after every range of the source was read. None of them reads the source.

mod close;
mod compact;
mod kept;
mod shuffle;

use crate::events::{JoinEvent, Joins, Pointer, TaskEvent};
use crate::export::{Bitmap, StagedObjects, StagedStep, codec, key_storage};
use crate::plan::{BackupDetail, StreamPlan, Way, base_stream, detail, value};
use crate::services::{Services, Step};
use crate::staging;
use crate::upload::{Registered, registered};
use holdfast_common::jobs::{Job, Status, Task};
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::format::footer::Origin;
use holdfast_vault::format::header::ObjectKind;
use holdfast_vault::format::manifest::{Manifest, StreamManifest};
use holdfast_vault::model::StreamInfo;
use holdfast_vault::read::Shard;
use holdfast_vault::read::state::StateRow;
use holdfast_vault::storage::ByteRange;
use holdfast_vault::write::RecordsWriter;
use holdfast_vault::write::records::RunsOptions;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;

/// What a task of the second round does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JoinOrder {
    /// Which plan made the task.
    pub plan: String,
    /// The stream's number in the backup.
    pub stream: u32,
    /// What is to be done.
    pub join: Join,
}

/// A join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Join {
    /// Gathers one shard of what the tasks found, and finds the records that are gone: those that no task saw.
    Close {
        /// The shard's number.
        shard: u64,
        /// Of how many.
        of: u64,
    },
    /// Joins one shard of what was sorted with the base's state table.
    Shuffle {
        /// The shard's number.
        shard: u64,
        /// Of how many.
        of: u64,
    },
    /// Merges one shard of the base's layers, and what changed since, into a new base.
    Compact {
        /// The shard's number.
        shard: u64,
        /// Of how many.
        of: u64,
    },
}

/// Lists the joins of a backup whose tasks have all been read.
///
/// # Errors
/// `JobState` if the job has ended, or what state and storage give.
#[must_use]
pub fn plan<'a>(services: &'a Services, event: &'a JoinEvent) -> Step<'a, Joins> {
    Box::pin(async move {
        let list = staging::join_list(&event.join);
        let job = services.jobs.job(&event.join).await?;
        let mut detail: BackupDetail = detail(&job)?;
        let answer = |work| Joins {
            job: event.join.clone(),
            work,
            tasks: Pointer { bucket: services.staging.name().to_owned(), key: list.clone() },
        };
        if job.status != Status::Running {
            return Err(crate::plan::not_running(&job));
        }
        let Some(base) = &detail.base else { return Ok(answer(false)) };
        if staging::has(services, &list).await? {
            return Ok(answer(true));
        }
        let base = services.vault.manifest(base).await?;
        let from = detail.joins_from.unwrap_or(detail.tasks);
        let kept = kept_bytes(services, &job.id).await?;
        let mut tasks = Vec::new();
        for (stream, info) in (0_u32..).zip(&detail.streams) {
            let kept = kept.get(&info.name).copied().unwrap_or(0);
            for join in joins(services, detail.stream_plan(stream), &base, info, kept)? {
                let order = JoinOrder { plan: detail.plan.clone(), stream, join };
                let number = from + u32::try_from(tasks.len()).unwrap_or(u32::MAX);
                tasks.push(Task::new(&job.id, number, &info.name, value(&order)?));
            }
        }
        if tasks.is_empty() {
            return Ok(answer(false));
        }
        services.jobs.put_tasks(&tasks).await?;
        detail.joins_from = Some(from);
        detail.tasks = from + u32::try_from(tasks.len()).unwrap_or(u32::MAX);
        // A twin of this call may come when the backup is complete.
        let change = services.jobs.change_job(&job.id, |job| {
            let running = job.status == Status::Running;
            if running {
                job.detail = value(&detail)?;
            }
            Ok(running)
        });
        change.await?;
        let listed: Vec<TaskEvent> = tasks
            .iter()
            .map(|task| TaskEvent { job: job.id.clone(), task: task.task, plan: detail.plan.clone() })
            .collect();
        staging::put_list(services, &list, &listed).await?;
        Ok(answer(true))
    })
}

/// Bytes of records that the tasks of each stream kept in staging, about.
async fn kept_bytes(services: &Services, job: &str) -> Result<HashMap<String, u64>> {
    let mut streams = HashMap::new();
    for task in services.jobs.tasks(job).all().await? {
        streams.insert(task.task, task.stream);
    }
    let mut bytes = HashMap::new();
    for row in services.jobs.pack_rows(job).all().await? {
        if let (Some(stream), Registered::Kept { kept }) = (streams.get(&row.task), registered(&row)?)
            && kept.kind == ObjectKind::Pack
        {
            *bytes.entry(stream.clone()).or_insert(0) += kept.size.saturating_sub(FRAME);
        }
    }
    Ok(bytes)
}

/// What a sealed object takes beside its content, about.
pub(crate) const FRAME: u64 = 512;
/// Records compress to about a quarter.
pub(crate) const EXPANDS: u64 = 4;

/// The joins of one stream.
fn joins(
    services: &Services,
    plan: StreamPlan,
    base: &Manifest,
    info: &StreamInfo,
    kept: u64,
) -> Result<Vec<Join>> {
    if plan.way == Way::Whole || matches!(info.shape, holdfast_vault::model::StreamKind::Tree) {
        return Ok(Vec::new());
    }
    let stream = base_stream(base, &info.name)?;
    let of = match (plan.way, plan.compact) {
        (Way::Joined, false) => Shard::count(kept.saturating_mul(EXPANDS), services.limits.range_bytes),
        (Way::Joined, true) => Shard::count(stream.bytes, services.limits.range_bytes),
        _ => Shard::count(stream.records.max(1), services.limits.shard_rows),
    };
    let join = |shard| match (plan.way, plan.compact) {
        (Way::Joined, false) => Join::Close { shard, of },
        (Way::Joined, true) => Join::Compact { shard, of },
        _ => Join::Shuffle { shard, of },
    };
    Ok((0..of).map(join).collect())
}

/// Does one join.
///
/// # Errors
/// `SourceInvalid` if two records have the same key, `Object*`, `Storage*`, or what state gives.
pub(crate) async fn step(
    services: &Services,
    task: &Task,
    order: &JoinOrder,
    out: &mut StagedObjects<'_>,
) -> Result<StagedStep> {
    let job: Job = services.jobs.job(&task.job).await?;
    let detail: BackupDetail = detail(&job)?;
    let unplanned = || Error::new(Code::Internal, format!("backup {} was not planned", job.id));
    let base = detail.base.as_ref().ok_or_else(unplanned)?;
    let base = Arc::new(services.vault.manifest(base).await?);
    let info = detail.streams.get(order.stream as usize).ok_or_else(unplanned)?;
    let joining =
        Joining { services, job: &job.id, detail: &detail, base: &base, number: order.stream, info };
    let first = Origin { stream: order.stream, task: task.task, sequence: 0 };
    let mut writer = RecordsWriter::with(
        services.vault.keys(),
        RunsOptions {
            codec: codec(detail.resource.policy.codec),
            storage: key_storage(info),
            delta: !detail.stream_plan(order.stream).compact,
            name_version: base.name_key_version,
            first,
            limits: services.limits.runs,
        },
    )?;
    if let Err(error) = work(&joining, order.join, &mut writer, out).await {
        return Err(if writer.duplicate().is_some() { joining.twice() } else { error });
    }
    store(&mut writer, out).await?;
    Ok(out.staged_step(None, writer.next_sequence()))
}

async fn work(
    joining: &Joining<'_>,
    join: Join,
    writer: &mut RecordsWriter,
    out: &mut StagedObjects<'_>,
) -> Result<()> {
    match join {
        Join::Close { shard, of } => close::close(joining, Shard::new(shard, of), writer, out).await?,
        Join::Shuffle { shard, of } => {
            shuffle::shuffle(joining, Shard::new(shard, of), writer, out).await?;
        }
        Join::Compact { shard, of } => {
            compact::compact(joining, Shard::new(shard, of), writer, out).await?;
        }
    }
    writer.finish()
}

async fn store(writer: &mut RecordsWriter, out: &mut StagedObjects<'_>) -> Result<()> {
    for object in writer.take_finished() {
        out.put(object).await?;
    }
    Ok(())
}

/// What a join works on.
struct Joining<'a> {
    services: &'a Services,
    job: &'a str,
    detail: &'a BackupDetail,
    base: &'a Arc<Manifest>,
    number: u32,
    info: &'a StreamInfo,
}

impl Joining<'_> {
    fn base_stream(&self) -> Result<&StreamManifest> {
        base_stream(self.base, &self.info.name)
    }

    /// What the export tasks of the stream left behind.
    async fn left(&self) -> Result<Vec<Registered>> {
        let mut left = Vec::new();
        let mut streams = HashMap::new();
        for task in self.services.jobs.tasks(self.job).all().await? {
            streams.insert(task.task, task.stream);
        }
        let until = self.detail.joins_from.unwrap_or(u32::MAX);
        for row in self.services.jobs.pack_rows(self.job).all().await? {
            if row.task < until && streams.get(&row.task).is_some_and(|name| *name == self.info.name) {
                left.push(registered(&row)?);
            }
        }
        Ok(left)
    }

    /// Which rows of the base were seen by any task.
    async fn seen(&self, rows: &[StateRow], left: &[Registered]) -> Result<Bitmap> {
        let mut all = Bitmap::new(rows.len());
        for row in left {
            let Registered::Seen { seen } = row else { continue };
            let Some(key) = &seen.bitmap else { continue };
            let bits = self.services.staging.get(key, ByteRange::All).await?;
            match all.merge(&bits) {
                Some(true) => {}
                Some(false) => return Err(self.twice()),
                None => {
                    return Err(Error::new(
                        Code::StagingDamaged,
                        format!("staged object {key} is not what was exported"),
                    )
                    .object(key));
                }
            }
        }
        Ok(all)
    }

    /// Two tasks saw the same key. An increment does not keep where each record stood.
    fn twice(&self) -> Error {
        let name = &self.info.name;
        Error::new(Code::SourceInvalid, format!("two records of stream {name} have the same key"))
            .object(name)
            .hint("a backup of --type full names both places; remove one of them, or name more of the record in the resource's key")
    }
}
