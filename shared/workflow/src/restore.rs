//! Restores a backup, or some of it, into a target: plan, parts, finish.

mod at;
mod layered;
mod layered_tree;
mod part;
mod select;

use crate::commit::summary;
use crate::events::{
    CheckInput, Checked, Execution, JobEvent, Planned, Pointer, RestoreEvent, RestoreInput, RestoreRequest,
    Selection, TaskAnswer, TaskEvent, WouldRestore,
};
use crate::metrics;
use crate::plan::{detail, value};
use crate::services::{Services, Step};
use crate::staging;
use holdfast_common::jobs::{Job, JobChange, JobKind, JobStore, Status, StreamSummary, Task, Totals};
use holdfast_connectors::target::Position;
use holdfast_connectors::{Limits, RestoreOrder, Target, TargetSpec, Written, open_target};
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::format::manifest::{Manifest, SegmentRef, StreamManifest};
use holdfast_vault::model::{StreamKind, Warning};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;

/// What the streams of a dry run's answer may take: a state's output is 256 KiB at most.
const ANSWER_BYTES: usize = 200 << 10;

/// What a restore's job keeps.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RestoreDetail {
    /// What was asked for.
    pub request: RestoreRequest,
    /// What the target was told; set by the plan.
    #[serde(default)]
    pub order: Option<RestoreOrder>,
    /// Which plan the tasks are of.
    #[serde(default)]
    pub plan: String,
    /// How many tasks there are.
    #[serde(default)]
    pub tasks: u32,
    /// What the target reported.
    #[serde(default)]
    pub written: Written,
}

/// What a restore task writes: some consecutive segments of a stream.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct PartOrder {
    plan: String,
    stream: String,
    /// The first segment, by its place in the stream's layer.
    first: u32,
    /// One past the last.
    end: u32,
    /// Bytes and records of the stream before the first segment.
    bytes_before: u64,
    records_before: u64,
    /// Of a stream of several layers: the shards of the key hash; segments then do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shards: Option<layered::Shards>,
    /// Of a tree of several layers: the paths; segments then do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    paths: Option<layered_tree::Paths>,
}

impl PartOrder {
    /// A part of a stream, in which no segments are named yet.
    fn of(plan: &str, stream: &StreamManifest) -> Self {
        Self {
            plan: plan.to_owned(),
            stream: stream.info.name.clone(),
            first: 0,
            end: 0,
            bytes_before: 0,
            records_before: 0,
            shards: None,
            paths: None,
        }
    }
}

/// Carries out one step of a restore.
///
/// # Errors
/// `JobUnknown`, `Target*`, `Object*`, `Cancelled`, or what state and storage give.
#[must_use]
pub fn restore<'a>(services: &'a Services, event: &'a RestoreEvent) -> Step<'a, Value> {
    Box::pin(async move {
        match event {
            RestoreEvent::Plan { input, execution } => value(&plan(services, input, execution).await?),
            RestoreEvent::Check { input, execution } => value(&checked(services, input, execution).await?),
            RestoreEvent::Part(event) => value(&part::part(services, event).await?),
            RestoreEvent::Finish(event) => value(&finish(services, event).await?),
        }
    })
}

/// Makes the job of a restore, pending, so that an execution can be started with its id alone.
///
/// # Errors
/// `JobUnknown` if there is no such backup, `InvalidInput` if the selection does not fit it, or what state gives.
#[must_use]
pub fn request<'a>(services: &'a Services, id: &'a str, request: &'a RestoreRequest) -> Step<'a, Job> {
    Box::pin(async move {
        let (request, warnings) = at::resolve(services, request).await?;
        let manifest = backup(services, &request.backup).await?;
        select::check(&manifest, &request.selection)?;
        let detail = RestoreDetail {
            request,
            order: None,
            plan: String::new(),
            tasks: 0,
            written: Written::default(),
        };
        let mut job =
            Job::new(id, JobKind::Restore, &manifest.resource, services.clock.now(), value(&detail)?);
        job.warnings = warnings;
        services.jobs.create_job(&job).await
    })
}

/// As [`request`], where job state is at hand and the vault is not: what the vault must say, the plan asks it.
///
/// # Errors
/// `JobUnknown` if job state has no such completed backup, `ResourceUnknown`, or what state gives.
pub async fn request_unplanned(
    jobs: &JobStore,
    now: Timestamp,
    id: &str,
    request: &RestoreRequest,
) -> Result<Job> {
    let mut request = request.clone();
    let resource = match (&request.at, &request.resource) {
        (Some(_), Some(resource)) => {
            jobs.resource(resource).await?;
            request.backup.clear();
            resource.clone()
        }
        _ => completed(jobs, &request.backup).await?.resource,
    };
    let detail =
        RestoreDetail { request, order: None, plan: String::new(), tasks: 0, written: Written::default() };
    jobs.create_job(&Job::new(id, JobKind::Restore, &resource, now, value(&detail)?)).await
}

/// A backup that job state has as completed.
async fn completed(jobs: &JobStore, id: &str) -> Result<Job> {
    match jobs.job(id).await {
        Ok(job) if job.is_restorable() => Ok(job),
        Ok(_) => Err(no_backup(id)),
        Err(error) if error.code == Code::JobUnknown => Err(no_backup(id)),
        Err(error) => Err(error),
    }
}

/// What a restore would write, with the target's own word on whether it can; nothing is changed.
///
/// # Errors
/// As [`request`], and `Target*`.
#[must_use]
pub fn dry_run<'a>(
    services: &'a Services,
    id: &'a str,
    request: &'a RestoreRequest,
) -> Step<'a, WouldRestore> {
    Box::pin(async move {
        let (request, warnings) = at::resolve(services, request).await?;
        let manifest = backup(services, &request.backup).await?;
        let streams = select::check(&manifest, &request.selection)?;
        let order = order(id, &request, &streams);
        target(services, &request, &order).await?.check(&order).await?;
        let mut totals = Totals::default();
        for stream in &streams {
            totals.records += stream.records;
            totals.files += stream.files;
            totals.bytes += stream.bytes;
        }
        Ok(WouldRestore {
            backup: request.backup,
            streams_total: streams.len() as u64,
            streams: streams.into_iter().map(summary).collect(),
            totals,
            warnings,
        })
    })
}

/// A dry run as a state machine asks for it. What cannot be is an answer; what a repeat may cure is an error.
async fn checked(services: &Services, input: &CheckInput, execution: &Execution) -> Result<Checked> {
    if !input.dry_run {
        return Err(Error::new(Code::InvalidInput, "dry_run is not true").object("dry_run"));
    }
    let looked = match &input.input {
        RestoreInput::Job { restore } => match services.jobs.job(restore).await {
            Ok(job) => dry_run(services, restore, &detail::<RestoreDetail>(&job)?.request).await,
            Err(error) => Err(error),
        },
        RestoreInput::Request(asked) => dry_run(services, &execution.job_id()?, asked).await,
    };
    match looked {
        Ok(mut would) => {
            fit(&mut would.streams);
            Ok(Checked::Possible(would))
        }
        Err(error) if error.code.retryable() => Err(error),
        Err(error) => Ok(Checked::Refused(error.into())),
    }
}

/// Leaves as many streams as the answer of a state may hold.
fn fit(streams: &mut Vec<StreamSummary>) {
    let mut bytes = 0;
    // What a summary takes beside its name, with room to spare.
    streams.retain(|stream| {
        bytes += 2 * stream.name.len() + 160;
        bytes <= ANSWER_BYTES
    });
}

async fn backup(services: &Services, id: &str) -> Result<Arc<Manifest>> {
    match services.vault.manifest(id).await {
        Ok(manifest) => Ok(Arc::new(manifest)),
        Err(error) if error.code == Code::ObjectMissing => Err(no_backup(id)),
        Err(error) => Err(error),
    }
}

fn no_backup(id: &str) -> Error {
    Error::new(Code::JobUnknown, format!("the vault holds no backup {id:?}"))
        .object(id)
        .hint("see `holdfast backups`")
}

fn order(id: &str, request: &RestoreRequest, streams: &[&StreamManifest]) -> RestoreOrder {
    RestoreOrder {
        restore_id: id.to_owned(),
        on_conflict: request.on_conflict,
        streams: streams.iter().map(|stream| stream.info.clone()).collect(),
        partial: request.selection.is_partial(),
    }
}

async fn target(
    services: &Services,
    request: &RestoreRequest,
    order: &RestoreOrder,
) -> Result<Box<dyn Target>> {
    open_target(&request.target, order, Limits::default(), services.clients.as_ref()).await
}

async fn plan(services: &Services, input: &RestoreInput, execution: &Execution) -> Result<Planned> {
    let id = match input {
        RestoreInput::Job { restore } => restore.clone(),
        RestoreInput::Request(asked) => request(services, &execution.job_id()?, asked).await?.id,
    };
    let change = JobChange { execution: Some(execution.execution.clone()), ..JobChange::default() };
    let job = services.jobs.transition(&id, &[Status::Pending], Status::Running, change).await?;
    let planned = Planned {
        job: id.clone(),
        tasks: Pointer { bucket: services.staging.name().to_owned(), key: staging::task_list(&id) },
    };
    if staging::has_task_list(services, &id).await? {
        return Ok(planned);
    }
    let mut detail: RestoreDetail = detail(&job)?;
    let mut warnings = Vec::new();
    if detail.request.backup.is_empty() {
        (detail.request, warnings) = at::resolve(services, &detail.request).await?;
    }
    let manifest = backup(services, &detail.request.backup).await?;
    let streams = select::check(&manifest, &detail.request.selection)?;
    let order = order(&id, &detail.request, &streams);
    let target = target(services, &detail.request, &order).await?;
    target.check(&order).await?;
    // Kept before anything is made, so that whatever is made can be removed.
    detail.order = Some(order.clone());
    detail.plan = hex::encode(holdfast_vault::crypto::random::<8>()?);
    let tasks = tasks(services, &id, &detail, &manifest, &streams).await?;
    detail.tasks = u32::try_from(tasks.len()).unwrap_or(u32::MAX);
    services
        .jobs
        .update_job(&id, JobChange { detail: Some(value(&detail)?), warnings, ..JobChange::default() })
        .await?;
    target.prepare(&order).await?;
    services.jobs.put_tasks(&tasks).await?;
    let listed: Vec<TaskEvent> = tasks
        .iter()
        .map(|task| TaskEvent { job: id.clone(), task: task.task, plan: detail.plan.clone() })
        .collect();
    staging::put_task_list(services, &id, &listed).await?;
    Ok(planned)
}

/// Cuts streams into tasks of consecutive segments. All parts of one file are in one task; a selection of records or
/// paths is one task a stream, since what it writes cannot be counted before.
async fn tasks(
    services: &Services,
    job: &str,
    detail: &RestoreDetail,
    manifest: &Manifest,
    streams: &[&StreamManifest],
) -> Result<Vec<Task>> {
    let mut tasks = Vec::new();
    for stream in streams {
        let changes = match detail.request.at {
            Some(at) => at::Changes::until(services, manifest, stream, at).await?,
            None => None,
        };
        if (layered::is_layered(stream) || changes.is_some()) && !detail.request.selection.is_partial() {
            let least = match &changes {
                Some(changes) => changes.shards().await?,
                None => 1,
            };
            layered::tasks(job, detail, &services.limits, least, stream, &mut tasks)?;
            continue;
        }
        if layered_tree::is_layered(stream) {
            let whole = detail.request.selection.is_partial();
            layered_tree::tasks(job, &detail.plan, services.limits.range_bytes, whole, stream, &mut tasks)?;
            continue;
        }
        let segments: Vec<&SegmentRef> = stream.layers.iter().flat_map(|layer| &layer.segments).collect();
        if segments.is_empty() && !detail.request.selection.keys.is_empty() {
            // Nothing to read, and still an answer for every key: changes may hold it, or it is told missing.
            tasks.push(empty_part(job, &detail.plan, stream, tasks.len())?);
        }
        let (mut first, mut bytes, mut at) = (0, 0, Position::default());
        let mut next = Position::default();
        for (number, segment) in segments.iter().enumerate() {
            bytes += segment.bytes;
            next = Position { bytes: next.bytes + segment.bytes, records: next.records + segment.count };
            let following = segments.get(number + 1);
            let same_file = matches!(stream.info.shape, StreamKind::Tree)
                && following.is_some_and(|following| following.first == segment.last);
            let full =
                bytes >= services.limits.range_bytes && !same_file && !detail.request.selection.is_partial();
            if full || following.is_none() {
                let order = PartOrder {
                    plan: detail.plan.clone(),
                    stream: stream.info.name.clone(),
                    first,
                    end: u32::try_from(number + 1).unwrap_or(u32::MAX),
                    bytes_before: at.bytes,
                    records_before: at.records,
                    shards: None,
                    paths: None,
                };
                first = order.end;
                let number = u32::try_from(tasks.len()).unwrap_or(u32::MAX);
                tasks.push(Task::new(job, number, &stream.info.name, value(&order)?));
                (bytes, at) = (0, next);
            }
        }
    }
    Ok(tasks)
}

/// A stream without segments as one task.
fn empty_part(job: &str, plan: &str, stream: &StreamManifest, number: usize) -> Result<Task> {
    let order = PartOrder::of(plan, stream);
    Ok(Task::new(job, u32::try_from(number).unwrap_or(u32::MAX), &stream.info.name, value(&order)?))
}

async fn finish(services: &Services, event: &JobEvent) -> Result<TaskAnswer> {
    let answer = TaskAnswer { job: event.job.clone(), task: 0, plan: String::new(), more: false };
    let job = services.jobs.job(&event.job).await?;
    if job.status != Status::Completed {
        complete(services, &job).await?;
    }
    staging::clear(services, &job.id).await?;
    services.jobs.forget_work(&job.id).await?;
    Ok(answer)
}

async fn complete(services: &Services, job: &Job) -> Result<()> {
    if job.status != Status::Running {
        return Err(
            Error::new(Code::Cancelled, format!("restore {} is {}", job.id, job.status)).object(&job.id)
        );
    }
    let mut detail: RestoreDetail = detail(job)?;
    let not_done = || {
        Error::new(Code::Internal, format!("restore {} has tasks that are not done", job.id))
            .object(&job.id)
            .hint("start it again")
    };
    let tasks = services.jobs.tasks(&job.id).all().await?;
    let planned: Vec<&Task> = tasks.iter().filter(|task| task.task < detail.tasks).collect();
    if planned.len() != detail.tasks as usize || planned.iter().any(|task| task.status != Status::Completed) {
        return Err(not_done());
    }
    let order = detail.order.clone().ok_or_else(not_done)?;
    let (mut totals, mut warnings) = (Totals::default(), Vec::new());
    for task in planned {
        totals += task.totals;
        warnings.extend(task.warnings.iter().cloned());
    }
    let (conflicts, mut warnings) = part::take_conflicts(warnings);
    warnings.extend(target(services, &detail.request, &order).await?.finish(&order).await?);
    detail.written = Written { written: totals.records + totals.files, conflicts, bytes: totals.bytes };
    let change =
        JobChange { warnings, totals: Some(totals), detail: Some(value(&detail)?), ..JobChange::default() };
    let (job, done) = services.jobs.enter(&job.id, &[Status::Running], Status::Completed, change).await?;
    if done {
        metrics::restore_completed(services, &job).await;
    }
    Ok(())
}

/// Removes what a restore made in its target, as far as it made it itself.
///
/// # Errors
/// `Target*`.
pub async fn abandon(services: &Services, job: &Job) -> Result<()> {
    let detail: RestoreDetail = detail(job)?;
    let Some(order) = detail.order else { return Ok(()) };
    target(services, &detail.request, &order).await?.abandon(&order).await
}

/// The target of a restore, and what was selected, as its job keeps them.
///
/// # Errors
/// `Internal` if the job is no restore.
pub fn asked(job: &Job) -> Result<(String, TargetSpec, Selection, Written)> {
    let detail: RestoreDetail = detail(job)?;
    Ok((detail.request.backup, detail.request.target, detail.request.selection, detail.written))
}

fn key_not_found(stream: &str) -> Warning {
    Warning::new("KeyNotFound", format!("stream {stream} has no record of a key that was asked for"))
}
