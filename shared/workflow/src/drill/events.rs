//! What the drill's machine and its function exchange: names and numbers, as all events.

use super::DrillRequest;
use crate::events::{Execution, JobEvent};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// What a drill is started with: a job that was made before, by its id, or all that is needed to make one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum DrillInput {
    /// A drill that is pending in job state.
    Job {
        /// Its id.
        drill: String,
    },
    /// A resource, and which of its backups.
    Request(DrillRequest),
}

/// By hand, so that what is wrong with an input is told, and not only that it is neither of the two.
impl<'de> Deserialize<'de> for DrillInput {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct OfJob {
            drill: String,
        }
        let given = Value::deserialize(deserializer)?;
        if given.get("drill").is_some() {
            let job: OfJob = serde_json::from_value(given).map_err(D::Error::custom)?;
            return Ok(Self::Job { drill: job.drill });
        }
        serde_json::from_value(given).map(Self::Request).map_err(D::Error::custom)
    }
}

/// One step of a drill: the state machine says which. What lies between plan and compare are the steps of a restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "lowercase")]
pub enum DrillEvent {
    /// Chooses the backup, names the target, makes the job of the restore.
    Plan {
        /// What the execution was started with.
        input: DrillInput,
        /// The execution.
        #[serde(flatten)]
        execution: Execution,
    },
    /// Compares more of the target with the manifest.
    Compare(JobEvent),
    /// Removes the target.
    Remove(JobEvent),
    /// Completes the drill.
    Finish(JobEvent),
}

/// What planning a drill answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrillPlanned {
    /// The drill's id.
    pub job: String,
    /// The id of the restore that it makes.
    pub restore: String,
}

/// What comparing and removing answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrillAnswer {
    /// The drill's id.
    pub job: String,
    /// Whether the same step has more to do.
    pub more: bool,
}

/// What the end of a drill answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drilled {
    /// The drill's id.
    pub job: String,
    /// Whether all that was restored is what was backed up.
    pub equal: bool,
    /// How long the restore took, in milliseconds.
    pub rto_ms: u64,
}
