//! Restores a recovery point of `DynamoDB` or of AWS Backup into a new table: begin, check until it is there, settle
//! what such a restore drops, validate.
//!
//! The steps are called by a state machine, which keeps what they answer. Any of them may run twice. Nothing of this is
//! in job state: the vault has no part in it, and the execution itself is the record.

mod abandon;
mod begin;
mod check;
mod input;
mod settle;
mod validate;

pub(crate) use begin::is_new;
pub(crate) use input::{named, table_of};

pub use abandon::Abandoned;
pub use input::NativeInput;
pub use validate::Outcome;

use crate::aws::{ComparisonProgress, Recovery, Tried};
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::model::Warning;
use holdfast_workflow::handler;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Clocks of the services differ; what was made so much before an execution may still be its own.
const SKEW: SignedDuration = SignedDuration::from_mins(1);

/// One step of a restore: the state machine says which.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "lowercase", deny_unknown_fields)]
pub enum NativeEvent {
    /// Checks everything and starts the restore.
    Begin {
        /// What the execution was started with: a [`NativeInput`].
        input: Value,
        /// The execution's name.
        execution: String,
        /// When it started.
        started_at: String,
    },
    /// Looks whether the table is there.
    Check {
        /// What the last step answered.
        progress: Box<Progress>,
    },
    /// Puts back the settings that the restore dropped.
    Settle {
        /// What the last step answered.
        progress: Box<Progress>,
    },
    /// Compares the table with its source.
    Validate {
        /// What the last step answered.
        progress: Box<Progress>,
    },
    /// Tells what a restore that failed has left.
    Abandon {
        /// The execution's name.
        execution: String,
        /// When it started.
        started_at: String,
        /// Everything that the execution knows.
        state: Value,
    },
}

/// What a recovery point is restored from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Kind {
    /// A table's point-in-time recovery.
    Pitr,
    /// A recovery point of AWS Backup.
    Backup,
}

/// How far a restore is. Holds names and figures only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Progress {
    /// What is restored from.
    kind: Kind,
    /// The execution's name.
    execution: String,
    /// When it started.
    started_at: Timestamp,
    /// The table that the recovery point is of, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    /// The table whose settings the new one gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    settings_from: Option<String>,
    /// The new table.
    table: String,
    /// The recovery point of AWS Backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    recovery_point: Option<String>,
    /// The job of AWS Backup that restores it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    restore_job: Option<String>,
    /// The time that the table is restored to, as far as that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    restored_to: Option<Timestamp>,
    /// When it could be used as it should be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    settled_at: Option<Timestamp>,
    /// The settings that were put back or refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tried: Tried,
    /// How far comparing is.
    #[serde(default)]
    comparison: ComparisonProgress,
    /// What the operator should see.
    #[serde(default)]
    warnings: Vec<Warning>,
    /// Whether the same step has more to do.
    more: bool,
    /// Seconds to wait before.
    wait: u32,
    /// What came of it, at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    result: Option<Box<Outcome>>,
}

impl Progress {
    /// The same step again, after a while that grows with the age of the restore.
    fn again(mut self, recovery: &Recovery) -> Self {
        let age = recovery.clock.now().duration_since(self.started_at);
        self.more = true;
        self.wait = match age.as_mins() {
            ..5 => 10,
            5..60 => 30,
            _ => 60,
        };
        self
    }

    /// The same step again, at once but for a breath.
    fn on(mut self, seconds: u32) -> Self {
        self.more = true;
        self.wait = seconds;
        self
    }

    fn done(mut self) -> Self {
        self.more = false;
        self.wait = 0;
        self
    }
}

/// Carries out one step.
///
/// # Errors
/// `InvalidInput`, `Source*`, `Target*`.
pub async fn step(recovery: &Recovery, event: NativeEvent) -> Result<Value> {
    match event {
        NativeEvent::Begin { input, execution, started_at } => {
            handler::encode(&begin::begin(recovery, input, execution, time(&started_at)?).await?)
        }
        NativeEvent::Check { progress } => handler::encode(&check::check(recovery, *progress).await?),
        NativeEvent::Settle { progress } => handler::encode(&settle::settle(recovery, *progress).await?),
        NativeEvent::Validate { progress } => {
            handler::encode(&validate::validate(recovery, *progress).await?)
        }
        NativeEvent::Abandon { started_at, state, .. } => {
            handler::encode(&abandon::abandon(recovery, time(&started_at)?, &state).await?)
        }
    }
}

fn time(started_at: &str) -> Result<Timestamp> {
    started_at.parse().map_err(|error| {
        Error::new(Code::InvalidInput, format!("started_at {started_at:?} is no time: {error}"))
            .object("started_at")
    })
}
