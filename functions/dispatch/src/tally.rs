//! What became of each resource, where one execution is started for each.

use crate::AT_ONCE;
use futures::StreamExt as _;
use futures::stream;
use holdfast_workflow::executions::Started;
use serde::Serialize;

/// What was done, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Resources that there are.
    pub resources: u64,
    /// Executions that were started.
    pub started: u64,
    /// Resources whose execution was started before on this day.
    pub already: u64,
    /// Resources for which there is nothing to start: no backup, not due, or no place where a stack could restore them to.
    pub skipped: u64,
    /// Resources for which it failed.
    pub failed: u64,
}

impl Tally {
    /// Looks at resources side by side and counts what became of them.
    pub(super) async fn count(&mut self, each: Vec<impl Future<Output = Result<Option<Started>, ()>>>) {
        let mut outcomes = stream::iter(each).buffer_unordered(AT_ONCE);
        while let Some(outcome) = outcomes.next().await {
            self.resources += 1;
            match outcome {
                Ok(Some(Started::Now)) => self.started += 1,
                Ok(Some(Started::Before)) => self.already += 1,
                Ok(None) => self.skipped += 1,
                Err(()) => self.failed += 1,
            }
        }
    }
}
