//! Plans a backup: which streams, on which base, cut into which tasks.

mod base;
pub(crate) mod worn;

pub(crate) use base::stream_gone;
pub use base::{StreamPlan, Way, base_stream};

use crate::anomaly::Written;
use crate::config::Resource;
use crate::events::{BackupInput, PlanEvent, Planned, Pointer, TaskEvent};
use crate::metrics;
use crate::services::{Services, Step};
use crate::staging;
use async_trait::async_trait;
use holdfast_common::jobs::{BackupType, Job, JobChange, JobKind, JobStore, Status, Task};
use holdfast_connectors::{RangeSink, Sizing, Source, SourceRange, open_source};
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::model::{StreamInfo, Warning};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a backup's job keeps: the resource as it was when the backup began, its streams, its plan.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BackupDetail {
    /// The resource.
    pub resource: Resource,
    /// The streams, in the order of their numbers.
    #[serde(default)]
    pub streams: Vec<StreamInfo>,
    /// Which plan the tasks are of.
    #[serde(default)]
    pub plan: String,
    /// How many tasks there are.
    #[serde(default)]
    pub tasks: u32,
    /// The backup that this one builds on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// How each stream is stored, in the order of their numbers; as a base of its own where it does not say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plans: Vec<StreamPlan>,
    /// The tasks that join what was read with the base: the numbers of all tasks from this one on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joins_from: Option<u32>,
    /// What planning has to say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
    /// The newest version of the vault key when this was planned: every step has at least that one, and a backup without
    /// a base names chunks and hashes keys under it, whatever is newest when a step is carried out.
    #[serde(default = "first_version")]
    pub key_version: u32,
    /// What was written for it, once it is complete: later backups are compared with that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written: Option<Written>,
}

const fn first_version() -> u32 {
    1
}

impl BackupDetail {
    /// A resource's backup before it is planned.
    #[must_use]
    pub fn new(resource: Resource) -> Self {
        Self {
            resource,
            streams: Vec::new(),
            plan: String::new(),
            tasks: 0,
            base: None,
            plans: Vec::new(),
            joins_from: None,
            warnings: Vec::new(),
            key_version: first_version(),
            written: None,
        }
    }

    /// How a stream is stored.
    #[must_use]
    pub fn stream_plan(&self, number: u32) -> StreamPlan {
        self.plans.get(number as usize).copied().unwrap_or_default()
    }
}

/// What an export task reads.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ExportOrder {
    /// Which plan made the task.
    pub plan: String,
    /// The stream's number in the backup.
    pub stream: u32,
    /// The range.
    pub range: SourceRange,
}

/// The detail of a job, of the kind that is expected.
///
/// # Errors
/// `Internal` if the job is of another kind.
pub fn detail<T: for<'de> Deserialize<'de>>(job: &Job) -> Result<T> {
    T::deserialize(&job.detail)
        .map_err(|e| Error::new(Code::Internal, format!("job {} has an unreadable detail: {e}", job.id)))
}

/// A JSON value of something that has one.
///
/// # Errors
/// `Internal`, which does not happen.
pub fn value<T: Serialize>(of: &T) -> Result<Value> {
    serde_json::to_value(of).map_err(|e| Error::new(Code::Internal, format!("no JSON form: {e}")))
}

/// Opens the source of a resource.
///
/// # Errors
/// `Source*` or `InvalidInput`.
pub async fn source(services: &Services, resource: &Resource) -> Result<Box<dyn Source>> {
    let workers = resource.policy.limits.workers.unwrap_or(services.limits.workers);
    open_source(&resource.source, resource.policy.limits, workers, services.clients.as_ref()).await
}

/// Begins a backup.
///
/// # Errors
/// `ResourceUnknown`, `Source*`, `JobState` if the job has ended, or what state and staging give.
#[must_use]
pub fn plan<'a>(services: &'a Services, event: &'a PlanEvent) -> Step<'a, Planned> {
    Box::pin(async move {
        let id = event.execution.job_id()?;
        let job = begin(services, event, &id).await?;
        let planned = Planned {
            job: id.clone(),
            tasks: Pointer { bucket: services.staging.name().to_owned(), key: staging::task_list(&id) },
        };
        if staging::has_task_list(services, &id).await? {
            return Ok(planned);
        }
        let mut detail: BackupDetail = detail(&job)?;
        let before = detail.plan.clone();
        // A process that is long at work takes up here what was rotated meanwhile.
        services.vault.refresh().await?;
        detail.key_version = services.vault.keys().newest_version();
        let source = source(services, &detail.resource).await?;
        detail.streams = source.streams().await?;
        // Not the job's own word: an attempt that was cut short may have made it a full one.
        let asked = event.input.backup_type.unwrap_or(detail.resource.policy.backup_type);
        let actual = build_on(services, &job, asked, &mut detail).await?;
        let listed = cut(services, &id, &mut detail, source.as_ref()).await?;
        detail.tasks = u32::try_from(listed.len()).unwrap_or(u32::MAX);
        if staging::has_task_list(services, &id).await? {
            return Ok(planned);
        }
        keep(services, &id, &before, &detail, actual).await?;
        staging::put_task_list(services, &id, &listed).await?;
        tracing::info!(job = id, resource = detail.resource.name, tasks = detail.tasks, "planned");
        Ok(planned)
    })
}

/// Stores what was planned, unless a twin of this call did meanwhile: what comes after it builds on that.
///
/// # Errors
/// `StateConflict` where a twin came first, or what state gives.
async fn keep(
    services: &Services,
    id: &str,
    before: &str,
    planned: &BackupDetail,
    actual: BackupType,
) -> Result<()> {
    let stored = services.jobs.change_job(id, |job| {
        let now: BackupDetail = detail(job)?;
        if job.status != Status::Running || now.plan != before || now.joins_from.is_some() {
            return Err(Error::new(Code::StateConflict, format!("backup {id} is planned twice at once"))
                .object(id)
                .hint("the plan that came first counts"));
        }
        job.detail = value(planned)?;
        job.backup_type = Some(actual);
        for warning in &planned.warnings {
            if !job.warnings.contains(warning) {
                job.warnings.push(warning.clone());
            }
        }
        Ok(true)
    });
    stored.await.map(|_| ())
}

/// Chooses the base and what becomes of each stream. Gives the type that the backup really is: one that cannot build
/// on another is full.
async fn build_on(
    services: &Services,
    job: &Job,
    asked: BackupType,
    detail: &mut BackupDetail,
) -> Result<BackupType> {
    (detail.base, detail.plans, detail.warnings) = (None, Vec::new(), Vec::new());
    match base::choose(services, job, asked).await? {
        base::Base::None => Ok(asked),
        base::Base::Unusable(warning) => {
            detail.warnings.push(warning);
            Ok(BackupType::Full)
        }
        base::Base::Backup(manifest) => {
            let compaction = detail.resource.policy.compaction;
            detail.plans = base::ways(services, &manifest, &detail.streams, compaction, &mut detail.warnings);
            // What the policy expects is missed by the commit, whatever the base held.
            let expected = &detail.resource.policy.expect;
            detail.warnings.retain(|told| !expected.iter().any(|name| *told == stream_gone(name)));
            worn::mark(services, &job.id, &manifest, detail).await?;
            detail.base = Some(manifest.id.clone());
            Ok(asked)
        }
    }
}

/// Cuts all streams into tasks. Where that gives more than a map holds, it is done again with larger ranges. Every cut
/// has a name of its own, so that tasks of two cuts are never taken for one.
async fn cut(
    services: &Services,
    id: &str,
    detail: &mut BackupDetail,
    source: &dyn Source,
) -> Result<Vec<TaskEvent>> {
    let mut sizing = Sizing {
        bytes: services.limits.range_bytes,
        entries: services.limits.range_entries,
        workers: detail.resource.policy.limits.workers.unwrap_or(services.limits.workers),
    };
    loop {
        detail.plan = hex::encode(holdfast_vault::crypto::random::<8>()?);
        let mut tasks = TaskPlanner::new(services, id, &detail.plan);
        for (number, stream) in (0_u32..).zip(&detail.streams) {
            tasks.stream = (number, &stream.name);
            match source.cut(stream, &sizing, &mut tasks).await {
                Err(_) if tasks.is_full() => break,
                other => other?,
            }
        }
        if !tasks.is_full() {
            tasks.flush().await?;
            return Ok(tasks.listed);
        }
        sizing = Sizing { bytes: sizing.bytes * 8, entries: sizing.entries * 8, ..sizing };
    }
}

async fn begin(services: &Services, event: &PlanEvent, id: &str) -> Result<Job> {
    request(&services.jobs, services.clock.now(), id, &event.input).await?;
    let change = JobChange { execution: Some(event.execution.execution.clone()), ..JobChange::default() };
    let (job, began) = services.jobs.enter(id, &[Status::Pending], Status::Running, change).await?;
    if began {
        metrics::backup_started(services, &job);
    }
    Ok(job)
}

/// Makes the job of a backup, pending, of the resource as it is now, so that it can be told of before its execution
/// begins. May be repeated.
///
/// # Errors
/// `ResourceUnknown`, `JobState` if the id is that of a job of another kind, or what state gives.
pub async fn request(jobs: &JobStore, now: Timestamp, id: &str, input: &BackupInput) -> Result<Job> {
    let document = jobs.resource(&input.resource).await?;
    let resource: Resource = serde_json::from_value(document).map_err(|e| {
        Error::new(Code::Internal, format!("resource {:?} is unreadable: {e}", input.resource))
    })?;
    let backup_type = input.backup_type.unwrap_or(resource.policy.backup_type);
    let mut job = Job::new(id, JobKind::Backup, &input.resource, now, value(&BackupDetail::new(resource))?);
    job.backup_type = Some(backup_type);
    let stored = jobs.create_job(&job).await?;
    if stored.kind != JobKind::Backup {
        return Err(Error::new(Code::JobState, format!("job {id} is a {}", stored.kind)).object(id));
    }
    Ok(stored)
}

/// Why a job that has ended is not worked on.
pub(crate) fn not_running(job: &Job) -> Error {
    let code = if job.status == Status::Cancelled { Code::Cancelled } else { Code::JobState };
    Error::new(code, format!("{} {} is {}", job.kind, job.id, job.status)).object(&job.id)
}

struct TaskPlanner<'a> {
    services: &'a Services,
    job: &'a str,
    plan: &'a str,
    stream: (u32, &'a str),
    batch: Vec<Task>,
    listed: Vec<TaskEvent>,
}

/// Tasks of one map, at most: it collects 3 bytes of each, and holds 256 KiB.
const TASKS_MAX: usize = 80_000;

impl<'a> TaskPlanner<'a> {
    fn new(services: &'a Services, job: &'a str, plan: &'a str) -> Self {
        Self { services, job, plan, stream: (0, ""), batch: Vec::new(), listed: Vec::new() }
    }

    fn is_full(&self) -> bool {
        self.listed.len() >= TASKS_MAX
    }

    async fn flush(&mut self) -> Result<()> {
        let batch = std::mem::take(&mut self.batch);
        self.services.jobs.put_tasks(&batch).await
    }
}

#[async_trait]
impl RangeSink for TaskPlanner<'_> {
    async fn range(&mut self, range: SourceRange) -> Result<()> {
        let number = u32::try_from(self.listed.len()).unwrap_or(u32::MAX);
        let order = ExportOrder { plan: self.plan.to_owned(), stream: self.stream.0, range };
        self.batch.push(Task::new(self.job, number, self.stream.1, value(&order)?));
        self.listed.push(TaskEvent { job: self.job.to_owned(), task: number, plan: self.plan.to_owned() });
        if self.batch.len() >= 100 {
            self.flush().await?;
        }
        if self.is_full() {
            return Err(Error::new(Code::Internal, "the ranges are too small for the resource"));
        }
        Ok(())
    }
}

/// Refuses a task that another plan of the same job made: ranges of two plans may overlap, or leave a gap.
///
/// # Errors
/// `StateConflict`.
pub fn same_plan(event: &TaskEvent, plan: &str) -> Result<()> {
    if event.plan == plan {
        return Ok(());
    }
    Err(Error::new(Code::Internal, format!("job {} was planned twice at the same time", event.job))
        .object(&event.job)
        .hint("start it again"))
}
