//! Job state: jobs, tasks, what tasks left behind and the catalogue of resources, in one `DynamoDB` table.
//!
//! Every write is idempotent or conditional, so every handler may be repeated, late or beside its own retry. A job's
//! row changes under a revision number; a task's row changes under its step. Rows (`pk`, `sk`):
//!
//! | row | `pk` | `sk` |
//! |---|---|---|
//! | job | `JOB#<id>` | `JOB` |
//! | task | `JOB#<id>` | `TASK#<number>` |
//! | pack row | `JOB#<id>` | `PACK#<task>#<step>#<index>` |
//! | resource | `RESOURCE` | the resource's name |
//! | schedule | `SCHEDULE` | the resource's name |
//! | capture | `CAPTURE` | the resource's name |
//! | damaged object | `DAMAGED` | the object's key in the vault |
//! | sample | `SAMPLE` | the resource's name |
//! | condemned object | `CONDEMNED#<first digit of its id>`, or of other folders `CONDEMNED#<folder>` | its key |
//! | prune | `PRUNE` | its id |
//! | shard of a prune | `PRUNE#<id>` | `SHARD#<number>` |
//!
//! Numbers in keys have ten digits, so that their order is that of the numbers.

mod capture_rows;
mod condemned_rows;
mod damaged_rows;
mod expired_rows;
mod failure;
mod item;
mod job_rows;
mod keeping;
mod model;
mod one_row;
mod pages;
mod prune_rows;
mod resource_rows;
mod sample_rows;
mod schedule_rows;
mod steps;
mod table;
mod task_rows;
mod time;
mod write;

pub use capture_rows::{CaptureRow, Held};
pub use condemned_rows::Condemned;
pub use damaged_rows::DamagedRow;
pub use keeping::{COMPLETED_KEPT, DeletedBy, Deletion, FAILED_KEPT, Hold};
pub use model::{
    BackupType, Job, JobChange, JobError, JobKind, PackRow, Progress, Staged, Status, StatusChange, StepEnd,
    StreamShape, StreamSummary, Task, Totals, Verified,
};
pub use pages::Pages;
pub use prune_rows::{PruneFigures, PruneRow, PruneShard};
pub use resource_rows::ResourceRow;
pub use schedule_rows::{Known, ScheduleRow};
pub use table::{INDEXES, IndexDefinition, PARTITION_KEY, SORT_KEY};

use crate::clock::Clock;
use aws_sdk_dynamodb::Client;
use std::sync::Arc;

/// The job table.
#[derive(Debug, Clone)]
pub struct JobStore {
    client: Client,
    table: String,
    clock: Arc<dyn Clock>,
}

impl JobStore {
    /// The table of this name; nothing is asked of it yet.
    #[must_use]
    pub fn new(client: Client, table: impl Into<String>, clock: Arc<dyn Clock>) -> Self {
        Self { client, table: table.into(), clock }
    }

    /// The table's name.
    #[must_use]
    pub fn table(&self) -> &str {
        &self.table
    }
}
