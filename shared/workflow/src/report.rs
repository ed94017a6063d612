//! What programs are told of a job, in JSON.

use crate::drill::{DrillDetail, DrillReport};
use crate::events::Selection;
use crate::history::{Counts, Exactness};
use crate::plan::{BackupDetail, detail};
use crate::restore;
use crate::undo::{UndoCounts, UndoDetail, UndoOf};
use holdfast_common::jobs::{
    BackupType, Deletion, Hold, Job, JobError, JobKind, Status, StatusChange, StreamSummary, Task, Totals,
    Verified,
};
use holdfast_connectors::SourceSpec;
use holdfast_vault::error::Result;
use holdfast_vault::model::Warning;
use jiff::Timestamp;
use serde::Serialize;

/// A backup in a list.
#[derive(Debug, Serialize)]
pub struct BackupReport {
    id: String,
    resource: String,
    #[serde(rename = "type")]
    backup_type: BackupType,
    status: Status,
    streams: Vec<StreamSummary>,
    #[serde(flatten)]
    totals: Totals,
    warnings: Vec<Warning>,
    started_at: Option<String>,
    completed_at: Option<String>,
    verified: Option<Verified>,
    error: Option<JobError>,
    #[serde(flatten)]
    fate: Fate,
}

/// What says how long a backup stays.
#[derive(Debug, Serialize)]
struct Fate {
    hold: Option<Hold>,
    deletion: Option<Deletion>,
    expires_at: Option<String>,
}

impl BackupReport {
    /// Of a backup's job.
    #[must_use]
    pub fn new(job: Job) -> Self {
        Self {
            id: job.id,
            resource: job.resource,
            backup_type: job.backup_type.unwrap_or_default(),
            status: job.status,
            streams: job.streams,
            totals: job.totals,
            warnings: job.warnings,
            started_at: job.started_at.map(exact),
            completed_at: job.completed_at.map(exact),
            verified: job.verified,
            error: job.error,
            fate: Fate { hold: job.hold, deletion: job.deletion, expires_at: job.expires_at.map(exact) },
        }
    }
}

/// Everything about a job, but for the values of records.
#[derive(Debug, Serialize)]
pub struct JobReport {
    id: String,
    kind: JobKind,
    resource: String,
    #[serde(rename = "type")]
    backup_type: Option<BackupType>,
    status: Status,
    history: Vec<StatusChange>,
    created_at: String,
    started_at: Option<String>,
    completed_at: Option<String>,
    #[serde(flatten)]
    what: What,
    streams: Vec<StreamSummary>,
    #[serde(flatten)]
    totals: Totals,
    verified: Option<Verified>,
    warnings: Vec<Warning>,
    error: Option<JobError>,
    #[serde(flatten)]
    fate: Fate,
    tasks: Vec<TaskReport>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum What {
    Backup { source: SourceSpec },
    Restore { backup: String, target: String, selection: Selection, conflicts: u64 },
    Undo { undo: Box<UndoReport> },
    Drill { drill: Box<DrillReport> },
}

/// What an undo did.
#[derive(Debug, Serialize)]
struct UndoReport {
    from: Option<String>,
    to: Option<String>,
    undo_of: Option<String>,
    window: Counts,
    exactness: Exactness,
    #[serde(flatten)]
    counts: UndoCounts,
}

/// A task of a job.
#[derive(Debug, Serialize)]
struct TaskReport {
    task: u32,
    stream: String,
    status: Status,
    attempts: u32,
    steps: u32,
    #[serde(flatten)]
    totals: Totals,
    started_at: Option<String>,
    completed_at: Option<String>,
    warnings: Vec<Warning>,
    error: Option<JobError>,
}

impl JobReport {
    /// Of a job and its tasks.
    ///
    /// # Errors
    /// `Internal` if the job's detail is unreadable.
    pub fn new(job: Job, tasks: Vec<Task>) -> Result<Self> {
        Ok(Self {
            what: What::of(&job)?,
            created_at: exact(job.created_at),
            started_at: job.started_at.map(exact),
            completed_at: job.completed_at.map(exact),
            id: job.id,
            kind: job.kind,
            resource: job.resource,
            backup_type: job.backup_type,
            status: job.status,
            history: job.history,
            streams: job.streams,
            totals: job.totals,
            verified: job.verified,
            warnings: job.warnings,
            error: job.error,
            fate: Fate { hold: job.hold, deletion: job.deletion, expires_at: job.expires_at.map(exact) },
            tasks: tasks.into_iter().map(TaskReport::from).collect(),
        })
    }
}

impl What {
    fn of(job: &Job) -> Result<Self> {
        Ok(match job.kind {
            JobKind::Backup => {
                let mut source = detail::<BackupDetail>(job)?.resource.source;
                leave_out_data(&mut source);
                Self::Backup { source }
            }
            JobKind::Restore => {
                let (backup, target, selection, written) = restore::asked(job)?;
                let (target, conflicts) = (target.to_string(), written.conflicts);
                Self::Restore { backup, target, selection, conflicts }
            }
            JobKind::Drill => {
                let of: DrillDetail = detail(job)?;
                let completed = job.status == Status::Completed;
                Self::Drill { drill: Box::new(DrillReport::of(of, completed)) }
            }
            JobKind::Undo => {
                let of: UndoDetail = detail(job)?;
                let plan = of.plan.as_ref();
                let undo = UndoReport {
                    from: plan.map(|plan| plan.from.clone()),
                    to: plan.map(|plan| plan.to.clone()),
                    undo_of: match of.request.of {
                        UndoOf::Undo(id) => Some(id),
                        UndoOf::Window { .. } => None,
                    },
                    window: plan.map(|plan| plan.window).unwrap_or_default(),
                    exactness: plan.map(|plan| plan.exactness.clone()).unwrap_or_default(),
                    counts: of.counts,
                };
                Self::Undo { undo: Box::new(undo) }
            }
        })
    }
}

/// Takes out of a source what is no address but the data itself.
pub fn leave_out_data(source: &mut SourceSpec) {
    if let SourceSpec::Json { document, .. } = source {
        *document = None;
    }
}

impl From<Task> for TaskReport {
    fn from(task: Task) -> Self {
        Self {
            task: task.task,
            stream: task.stream,
            status: task.status,
            attempts: task.attempts,
            steps: task.step,
            totals: task.totals,
            started_at: task.started_at.map(exact),
            completed_at: task.completed_at.map(exact),
            warnings: task.warnings,
            error: task.error,
        }
    }
}

fn exact(time: Timestamp) -> String {
    format!("{time:.3}")
}
