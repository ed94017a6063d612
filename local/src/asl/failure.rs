//! How a state fails: an error name that Retry and Catch match, and a cause for people.

use super::names;

/// A failed task, state or execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The stable name that `ErrorEquals` matches.
    pub error: String,
    /// What happened, for people. Holds no customer data.
    pub cause: String,
}

impl Failure {
    /// A failure of that name and cause.
    #[must_use]
    pub fn new(error: impl Into<String>, cause: impl Into<String>) -> Self {
        Self { error: error.into(), cause: cause.into() }
    }

    /// A fault of the definition or of its data, which no Retry and no Catch stops.
    pub(super) fn runtime(cause: impl Into<String>) -> Self {
        Self::new(names::RUNTIME, cause)
    }

    pub(super) fn panicked() -> Self {
        Self::new(names::TASK_FAILED, "the called code panicked")
    }
}

/// Why a state loop ended without an output.
#[derive(Debug)]
pub(super) enum Halt {
    /// A state failed, and nothing caught it.
    Failed(Failure),
    /// The execution, or the Map or Parallel around the loop, was told to stop.
    Stopped,
}

impl From<Failure> for Halt {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}
