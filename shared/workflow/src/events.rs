//! The events that the state machines and the handlers exchange. They hold names, numbers and pointers: no record, no
//! path of a source, no key.

use crate::verify::{Part, Stage};
use holdfast_common::jobs::{BackupType, StreamSummary, Totals};
use holdfast_connectors::TargetSpec;
use holdfast_connectors::target::OnConflict;
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::model::Warning;
use holdfast_vault::read::verify::Findings;
use jiff::Timestamp;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::time::{Duration, SystemTime};
use ulid::Ulid;

/// Which execution of a state machine calls. The job's id follows from it, so that a repeat finds the same job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Execution {
    /// The execution's name.
    pub execution: String,
    /// When it started, RFC 3339.
    pub started_at: String,
}

impl Execution {
    /// The job's id: the execution's name where that is a ULID, else a ULID of its start and a hash of its name.
    ///
    /// # Errors
    /// `InvalidInput` if the start is no time.
    pub fn job_id(&self) -> Result<String> {
        if let Ok(id) = Ulid::from_string(&self.execution) {
            return Ok(id.to_string());
        }
        let started: Timestamp = self.started_at.parse().map_err(|e| {
            Error::new(Code::InvalidInput, format!("started_at {:?} is no time: {e}", self.started_at))
                .object("started_at")
        })?;
        let hash = Sha256::digest(self.execution.as_bytes());
        let mut random = [0_u8; 16];
        random[6..].copy_from_slice(&hash[..10]);
        let millis = u64::try_from(started.as_millisecond()).unwrap_or(0);
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
        let base = Ulid::from_parts(Ulid::from_datetime(time).timestamp_ms(), u128::from_be_bytes(random));
        Ok(base.to_string())
    }
}

/// What a backup is started with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupInput {
    /// The resource's name.
    pub resource: String,
    /// The type; the policy's where absent.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub backup_type: Option<BackupType>,
}

/// Asks `plan` to begin a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanEvent {
    /// What the execution was started with.
    pub input: BackupInput,
    /// The execution.
    #[serde(flatten)]
    pub execution: Execution,
}

/// What planning answers: the job, and where its tasks are listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// The job's id.
    pub job: String,
    /// The tasks, one a line.
    pub tasks: Pointer,
}

/// Asks `plan` for the joins of a backup whose ranges have all been read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinEvent {
    /// The backup's id.
    pub join: String,
}

/// What planning the joins answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joins {
    /// The job's id.
    pub job: String,
    /// Whether there is anything to join.
    pub work: bool,
    /// The joins, one a line; there is no such object where there is nothing to join.
    pub tasks: Pointer,
}

/// An object in storage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pointer {
    /// The bucket.
    pub bucket: String,
    /// The object's key.
    pub key: String,
}

/// Asks for the next step of a task: of `export-chunk`, `upload-part`, or a restore's `part`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskEvent {
    /// The job's id.
    pub job: String,
    /// The task's number.
    pub task: u32,
    /// Which plan made the task: two plans of one job that overlap are told apart by it.
    pub plan: String,
}

/// What a step of a task answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskAnswer {
    /// The job's id, for the next step.
    pub job: String,
    /// The task's number.
    pub task: u32,
    /// Which plan made the task.
    pub plan: String,
    /// Whether the task has further steps.
    pub more: bool,
}

impl TaskEvent {
    /// The answer to this event.
    #[must_use]
    pub fn answer(&self, more: bool) -> TaskAnswer {
        TaskAnswer { job: self.job.clone(), task: self.task, plan: self.plan.clone(), more }
    }
}

/// Asks for a job as a whole: `commit`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobEvent {
    /// The job's id.
    pub job: String,
}

/// What `commit` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Committed {
    /// The backup's id.
    pub job: String,
    /// Whether its resource's changes are captured as they happen, so that the capture is to be compared with it.
    pub captured: bool,
}

/// Asks `verify` to check a backup, or to go on checking it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VerifyEvent {
    /// The backup's id.
    pub job: String,
    /// `quick`, `chain`, `full`, `sample=PERCENT`; what the policy asks for after a backup where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    /// What the last answer gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<VerifyProgress>,
}

/// How far checking is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyProgress {
    /// Where it goes on.
    #[serde(default)]
    pub stage: Stage,
    /// The part of the objects that a sample reads: the same from its first call to its last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<Part>,
    /// What was found so far.
    pub findings: Findings,
}

/// What `verify` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyAnswer {
    /// The backup's id.
    pub job: String,
    /// The level that was asked for.
    pub level: String,
    /// Whether there is more to check: ask again with `progress`.
    pub more: bool,
    /// Whether nothing is wrong so far.
    pub valid: bool,
    /// How far checking is.
    pub progress: VerifyProgress,
}

/// What a restore is started with: a job that was made before, by its id, or all that is needed to make one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum RestoreInput {
    /// A restore that is pending in job state.
    Job {
        /// Its id.
        restore: String,
    },
    /// A whole backup, or whole streams of it, into a target.
    Request(Box<RestoreRequest>),
}

/// By hand, so that what is wrong with an input is told, and not only that it is neither of the two.
impl<'de> Deserialize<'de> for RestoreInput {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct OfJob {
            restore: String,
        }
        let given = Value::deserialize(deserializer)?;
        if given.get("restore").is_some() {
            let job: OfJob = serde_json::from_value(given).map_err(D::Error::custom)?;
            return Ok(Self::Job { restore: job.restore });
        }
        serde_json::from_value(given).map(Self::Request).map_err(D::Error::custom)
    }
}

/// What to restore, and where to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestoreRequest {
    /// The backup's id; left out where a resource and a time are given.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub backup: String,
    /// The resource of which a time is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// The time: the newest backup at or before it, and the changes captured since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// The target.
    pub target: TargetSpec,
    /// What to do where the target already holds another value.
    #[serde(default)]
    pub on_conflict: OnConflict,
    /// Only some of the backup.
    #[serde(default)]
    pub selection: Selection,
}

/// Which part of a backup is restored. Kept in job state only: it names keys and paths.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    /// Only these streams.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub streams: Vec<String>,
    /// Only the records of these keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    /// Only the paths that match one of these globs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
}

impl Selection {
    /// Whether only some records or paths of a stream are asked for.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        !self.keys.is_empty() || !self.paths.is_empty()
    }
}

/// One step of a restore: the state machine says which.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "lowercase")]
pub enum RestoreEvent {
    /// Checks, prepares the target and lists the tasks.
    Plan {
        /// What the execution was started with.
        input: RestoreInput,
        /// The execution.
        #[serde(flatten)]
        execution: Execution,
    },
    /// Says what would be written, and whether it can be; writes nothing.
    Check {
        /// What the execution was started with.
        input: CheckInput,
        /// The execution.
        #[serde(flatten)]
        execution: Execution,
    },
    /// Writes the next part of a task.
    Part(TaskEvent),
    /// Completes the target.
    Finish(JobEvent),
}

/// What the dry run of a restore is started with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckInput {
    /// `true`: what tells a dry run from a restore.
    pub dry_run: bool,
    /// What would be restored.
    #[serde(flatten)]
    pub input: RestoreInput,
}

/// What the dry run of a restore answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Checked {
    /// It can be done.
    Possible(WouldRestore),
    /// It cannot: an answer and no failure, since nobody but who asked needs to know.
    Refused(Refusal),
}

/// What a restore would write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WouldRestore {
    /// The backup's id.
    pub backup: String,
    /// The first of the streams: as many as an answer holds.
    pub streams: Vec<StreamSummary>,
    /// How many streams there are.
    pub streams_total: u64,
    /// How much all of them hold.
    pub totals: Totals,
    /// What the operator should see.
    #[serde(default)]
    pub warnings: Vec<Warning>,
}

/// An error as an answer carries it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The stable name of the failure.
    pub code: String,
    /// One sentence.
    pub message: String,
    /// The object, field or file in question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self {
            code: error.code.as_str().to_owned(),
            message: error.message,
            object: error.object,
            hint: error.hint,
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        let code = Code::ALL.iter().copied().find(|code| code.as_str() == refusal.code);
        let mut error = Self::new(code.unwrap_or(Code::Internal), refusal.message);
        (error.object, error.hint) = (refusal.object, refusal.hint);
        error
    }
}

/// What an undo is started with: a job that was made before. What it is to take back stands in job state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UndoInput {
    /// The id of an undo that is pending.
    pub undo: String,
}

/// One step of an undo: the state machine says which.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "lowercase")]
pub enum UndoEvent {
    /// Finds the window and stages it in pieces.
    Plan {
        /// What the execution was started with.
        input: UndoInput,
        /// The execution.
        #[serde(flatten)]
        execution: Execution,
    },
    /// Puts the next piece back.
    Apply(JobEvent),
    /// Compares the next piece with what it should be.
    Prove(JobEvent),
    /// Completes the undo.
    Finish(JobEvent),
}

/// What a step of an undo answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UndoAnswer {
    /// The job's id.
    pub job: String,
    /// Whether the same step has more to do.
    pub more: bool,
}

/// Tells `fail` that an execution came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailEvent {
    /// The execution; the job follows from it, or from `input`.
    #[serde(flatten)]
    pub execution: Execution,
    /// What the execution was started with, where it may name a job.
    #[serde(default)]
    pub input: Value,
    /// What a state caught.
    pub error: Caught,
}

/// An error as Step Functions hands it on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caught {
    /// Its name: one of our codes, or `States.*`.
    #[serde(rename = "Error")]
    pub error: String,
    /// Its cause; for a function's error the JSON `{"errorType", "errorMessage"}`.
    #[serde(rename = "Cause", default)]
    pub cause: String,
}

/// What `fail` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailAnswer {
    /// The job's id.
    pub job: String,
    /// What the job was to do: `backup`, `restore`, `undo`; `job` where none had been made.
    pub kind: String,
    /// The status that the job ended with; none where no job had been made.
    pub status: Option<String>,
    /// Why, by its code.
    pub code: String,
}
