//! How an execution ends.

use super::failure::Failure;
use serde_json::Value;

/// How an execution ended.
#[derive(Debug, Clone, PartialEq)]
pub enum ExecutionOutcome {
    /// It reached its end.
    Succeeded {
        /// What the last state gave.
        output: Value,
    },
    /// A state failed and nothing caught it.
    Failed {
        /// The error's name.
        error: String,
        /// What happened.
        cause: String,
    },
    /// It ran longer than the machine's `TimeoutSeconds`.
    TimedOut,
    /// It was stopped.
    Aborted {
        /// The error's name, as the caller of stop gave it.
        error: String,
        /// Why, as the caller of stop gave it.
        cause: String,
    },
}

impl From<Failure> for ExecutionOutcome {
    fn from(failure: Failure) -> Self {
        Self::Failed { error: failure.error, cause: failure.cause }
    }
}
