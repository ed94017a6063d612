//! The events of a prune's state machine.

use crate::events::{Caught, Execution, Pointer};
use serde::{Deserialize, Serialize};

/// What a prune is started with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PruneInput {
    /// Counts what would be done, and does nothing of it.
    #[serde(default)]
    pub dry_run: bool,
}

/// One step of a prune: the state machine says which.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "lowercase")]
pub enum PruneEvent {
    /// Ends what is due to end, checks that nothing is hidden, and lists the shards. Again while the answer says `more`.
    Plan(PlanPrune),
    /// Looks at the next objects of a shard. Again while the answer says `more`.
    Sweep(SweepEvent),
    /// Adds up, and clears up.
    Finish(FinishPrune),
    /// Notes that the execution came to nothing, and clears up.
    Abandon(AbandonPrune),
}

/// Asks for the plan of a prune.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanPrune {
    /// What the execution was started with.
    #[serde(default)]
    pub input: PruneInput,
    /// The execution.
    #[serde(flatten)]
    pub execution: Execution,
}

/// What planning a prune answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrunePlanned {
    /// The prune's id.
    pub prune: String,
    /// Whether to plan again before anything else.
    pub more: bool,
    /// Whether captured changes are to be told as expired first: one call of `capture` a line of `expiries`.
    pub expire: bool,
    /// `{"expire": RESOURCE, "before": TIME}`, one a line; there is no such object where `expire` is false.
    pub expiries: Pointer,
    /// The shards, one [`SweepEvent`] a line.
    pub tasks: Pointer,
}

/// Asks for the next part of a shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SweepEvent {
    /// The prune's id.
    pub prune: String,
    /// The shard's number. What it is stands in job state.
    pub shard: u32,
}

/// What sweeping answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SweepAnswer {
    /// The prune's id, for the next step.
    pub prune: String,
    /// The shard's number.
    pub shard: u32,
    /// Whether the shard has more to look at.
    pub more: bool,
}

/// Asks for the end of a prune whose shards are all swept. The answer is a [`holdfast_common::jobs::PruneRow`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinishPrune {
    /// The prune's id.
    pub prune: String,
}

/// Tells that a prune's execution failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AbandonPrune {
    /// The execution.
    #[serde(flatten)]
    pub execution: Execution,
    /// What a state caught.
    pub error: Caught,
}
