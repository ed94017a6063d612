//! What job state holds: jobs, tasks and the rows that tasks leave behind.

use holdfast_vault::error::Error;
use holdfast_vault::model::Warning;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobKind {
    /// Reads a resource into the vault.
    Backup,
    /// Writes from the vault into a target.
    Restore,
    /// Takes writes back, in the resource itself.
    Undo,
    /// Restores a backup into a throw-away target, and compares that with its manifest.
    Drill,
}

impl JobKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Backup, Self::Restore, Self::Undo, Self::Drill];

    /// The name as it is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Restore => "restore",
            Self::Undo => "undo",
            Self::Drill => "drill",
        }
    }
}

impl fmt::Display for JobKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Where a job or a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Known, not begun.
    Pending,
    /// At work.
    Running,
    /// Done, with nothing missing.
    Completed,
    /// Ended by an error.
    Failed,
    /// Ended by an operator.
    Cancelled,
}

impl Status {
    /// The name as it is stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Reads the name back.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Pending, Self::Running, Self::Completed, Self::Failed, Self::Cancelled]
            .into_iter()
            .find(|status| status.as_str() == text)
    }

    /// Whether the job has ended.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A change of status and its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusChange {
    /// The status from then on.
    pub status: Status,
    /// When.
    #[serde(with = "super::time")]
    pub at: Timestamp,
}

/// How a backup leans on earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackupType {
    /// Refers to nothing older.
    #[default]
    Full,
    /// On the latest backup.
    Incremental,
    /// On the latest full backup.
    Differential,
}

impl BackupType {
    /// The name as it is stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Incremental => "incremental",
            Self::Differential => "differential",
        }
    }
}

impl fmt::Display for BackupType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How much was read, written and stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Totals {
    /// Records of record streams.
    pub records: u64,
    /// Files of tree streams.
    pub files: u64,
    /// Bytes of content, as the source or the target counts them.
    pub bytes: u64,
    /// Bytes that the vault took for it.
    pub stored_bytes: u64,
}

impl std::ops::AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.records += other.records;
        self.files += other.files;
        self.bytes += other.bytes;
        self.stored_bytes += other.stored_bytes;
    }
}

/// Why a job or a task ended: the parts of an error that may be stored and shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobError {
    /// The stable name of the failure.
    pub code: String,
    /// One sentence.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl From<&Error> for JobError {
    fn from(error: &Error) -> Self {
        Self {
            code: error.code.as_str().to_owned(),
            message: error.message.clone(),
            hint: error.hint.clone(),
        }
    }
}

/// The shape of a stream, as a summary names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StreamShape {
    /// Files.
    Tree,
    /// Keyed records.
    Records,
}

/// What a job did with one stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamSummary {
    /// The stream's name.
    pub name: String,
    /// Its shape.
    pub kind: StreamShape,
    /// Its records.
    pub records: u64,
    /// Its files.
    pub files: u64,
    /// Its bytes of content.
    pub bytes: u64,
}

/// What the latest verification of a backup found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// How deep it looked: `quick`, `full`, `sample=5`.
    pub level: String,
    /// When.
    #[serde(with = "super::time")]
    pub at: Timestamp,
    /// Whether all that was looked at is as it was written.
    pub valid: bool,
    /// How many errors.
    pub errors: u64,
    /// How many warnings.
    pub warnings: u64,
}

/// One backup, one restore, one undo or one drill.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// A ULID, unique over all kinds.
    pub id: String,
    /// What it does.
    pub kind: JobKind,
    /// The resource that is backed up, or that the restored backup is of.
    pub resource: String,
    /// Where it stands.
    pub status: Status,
    /// Every status it had, oldest first.
    pub history: Vec<StatusChange>,
    /// When it was asked for.
    #[serde(with = "super::time")]
    pub created_at: Timestamp,
    /// When work began.
    #[serde(default, with = "super::time::option")]
    pub started_at: Option<Timestamp>,
    /// When it ended, however it ended.
    #[serde(default, with = "super::time::option")]
    pub completed_at: Option<Timestamp>,
    /// Why it failed.
    #[serde(default)]
    pub error: Option<JobError>,
    /// What the operator should see.
    #[serde(default)]
    pub warnings: Vec<Warning>,
    /// How much in all.
    #[serde(default)]
    pub totals: Totals,
    /// How much in each stream.
    #[serde(default)]
    pub streams: Vec<StreamSummary>,
    /// What the workflow keeps for this kind of job; opaque here.
    #[serde(default)]
    pub detail: Value,
    /// The type of a backup; none for a restore.
    #[serde(default)]
    pub backup_type: Option<BackupType>,
    /// What the latest verification found, where there was one.
    #[serde(default)]
    pub verified: Option<Verified>,
    /// The name of the execution that works on it. `None` until one does, and in rows that were made before it was
    /// kept: there it is the job's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution: Option<String>,
    /// Keeps a backup and all that it needs, whatever its age.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<super::Hold>,
    /// That a backup is to go, or is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion: Option<super::Deletion>,
    /// Until when this one backup is kept, in place of what its resource's policy says.
    #[serde(default, with = "super::time::option", skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

impl Job {
    /// A job that was just asked for: pending, with nothing done.
    #[must_use]
    pub fn new(
        id: impl Into<String>,
        kind: JobKind,
        resource: impl Into<String>,
        created_at: Timestamp,
        detail: Value,
    ) -> Self {
        Self {
            id: id.into(),
            kind,
            resource: resource.into(),
            status: Status::Pending,
            history: vec![StatusChange { status: Status::Pending, at: created_at }],
            created_at,
            started_at: None,
            completed_at: None,
            error: None,
            warnings: Vec::new(),
            totals: Totals::default(),
            streams: Vec::new(),
            detail,
            backup_type: None,
            verified: None,
            execution: None,
            hold: None,
            deletion: None,
            expires_at: None,
        }
    }
}

/// What changes in a job beside its status. What is `None` or empty stays as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JobChange {
    /// Why it failed.
    pub error: Option<JobError>,
    /// Warnings to add; one that the job has already is not added again, so that a repeat adds none.
    pub warnings: Vec<Warning>,
    /// The totals, in place of the old ones.
    pub totals: Option<Totals>,
    /// The summaries, in place of the old ones.
    pub streams: Option<Vec<StreamSummary>>,
    /// The workflow's own, in place of the old.
    pub detail: Option<Value>,
    /// What a verification found, in place of the old.
    pub verified: Option<Verified>,
    /// The type that a backup turned out to be, in place of the one that was asked for.
    pub backup_type: Option<BackupType>,
    /// The name of the execution that works on it.
    pub execution: Option<String>,
}

/// One unit of a job's work.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// The job's id.
    pub job: String,
    /// The task's number in its job, from 0.
    pub task: u32,
    /// Where it stands.
    pub status: Status,
    /// How often work on it was begun.
    pub attempts: u32,
    /// How many steps are done: a step is one export that was admitted.
    pub step: u32,
    /// The stream it works on.
    pub stream: String,
    /// What to read or write; opaque here. `null` after [`super::JobStore::forget_work`].
    pub order: Value,
    /// Where the next step goes on.
    pub cursor: Option<Value>,
    /// What this step exported and nobody has admitted yet.
    pub staged: Option<Value>,
    /// How much its steps did.
    pub totals: Totals,
    /// What the operator should see.
    pub warnings: Vec<Warning>,
    /// When work on it first began.
    pub started_at: Option<Timestamp>,
    /// When it ended, however it ended.
    pub completed_at: Option<Timestamp>,
    /// Why it failed.
    pub error: Option<JobError>,
}

impl Task {
    /// A task that nobody has begun.
    #[must_use]
    pub fn new(job: impl Into<String>, task: u32, stream: impl Into<String>, order: Value) -> Self {
        Self {
            job: job.into(),
            task,
            status: Status::Pending,
            attempts: 0,
            step: 0,
            stream: stream.into(),
            order,
            cursor: None,
            staged: None,
            totals: Totals::default(),
            warnings: Vec::new(),
            started_at: None,
            completed_at: None,
            error: None,
        }
    }
}

/// What a step of a task left in the vault, for the commit to collect: one pack, one segment; opaque here.
#[derive(Debug, Clone, PartialEq)]
pub struct PackRow {
    /// The job's id.
    pub job: String,
    /// The task that wrote it.
    pub task: u32,
    /// The step that wrote it.
    pub step: u32,
    /// Its place in the step.
    pub index: u32,
    /// What the workflow keeps of it.
    pub value: Value,
}

/// What [`super::JobStore::stage_step`] found.
#[derive(Debug, Clone, PartialEq)]
pub enum Staged {
    /// This call staged the step.
    Now,
    /// The step was staged before; here is what was staged. After a lost answer it is what this caller gave itself.
    Already(Value),
    /// The step was admitted before: there is nothing left to stage.
    Admitted,
}

/// How a step ends.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StepEnd {
    /// Where the next step goes on.
    pub cursor: Option<Value>,
    /// Whether this was the task's last step.
    pub done: bool,
    /// How much the step did.
    pub totals: Totals,
    /// What the operator should see.
    pub warnings: Vec<Warning>,
}

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Progress {
    /// Tasks that completed.
    pub tasks_done: u64,
    /// Tasks of the job.
    pub tasks_total: u64,
    /// How much all tasks did so far.
    pub totals: Totals,
}
