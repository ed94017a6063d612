//! What steps ask of job state, of Step Functions and of Lambda.

use super::real;
use super::work::Work;
use holdfast_common::jobs::INDEXES;

/// Read units of a job's row: it is within 4 KiB, unless a backup has many streams.
pub(super) const JOB_READ: u64 = 1;
/// Write units of a job's row, of about 2 KiB, and of its copy in each index.
pub(super) const JOB_WRITE: u64 = 2 * (1 + INDEXES.len() as u64);
/// A row that is written within a transaction costs twice.
const IN_TRANSACTION: u64 = 2;
/// Rows of tasks, or of what they leave behind, in a read unit: each is of about a KiB.
const ROWS_IN_READ: u64 = 4;

/// States that a backup enters which joins nothing and is verified in one call.
pub(super) const BACKUP_STATES: u64 = 10;
/// States that a verification enters which is done in one call.
pub(super) const VERIFY_STATES: u64 = 4;
/// States that a prune enters which plans in one call.
pub(super) const PRUNE_STATES: u64 = 5;
/// States that each step of a task enters.
pub(super) const STEP_STATES: u64 = 3;
/// States that each further call of a verification enters.
pub(super) const AGAIN_STATES: u64 = 2;
/// States that a task or a shard enters at its end.
pub(super) const END_STATES: u64 = 1;
/// What beginning an execution, or a child of a map, counts beside the states that it enters.
pub(super) const BEGIN: u64 = 1;

/// Memory of the functions that read sources and join, in GiB, as template.yaml gives it.
pub(super) const EXPORT_MEMORY: f64 = 3008.0 / 1024.0;
/// Memory of the others that are counted here.
pub(super) const MEMORY: f64 = 1769.0 / 1024.0;

/// What a call takes before it does anything: its start, and the rows of job state that it reads. In seconds.
const CALL: f64 = 0.08;
/// What a request to a store takes, in seconds, several being under way at a time.
const REQUEST: f64 = 0.01;
/// Bytes of content that an export reads, compresses and seals in a second; of its own it does more on an idle processor.
pub(super) const EXPORTED: f64 = 80e6;
/// Stored bytes that are opened, read and merged in a second.
pub(super) const OPENED: f64 = 40e6;

/// Read units of a query that gives so many rows.
pub(super) fn query(rows: u64) -> u64 {
    rows.div_ceil(ROWS_IN_READ).max(1)
}

impl Work {
    /// Counts calls of a function with so many GiB, which send so many requests and work on so many bytes.
    pub(super) fn call(&mut self, calls: u64, memory: f64, requests: u64, bytes: u64, rate: f64) {
        self.calls += calls;
        let seconds = real(calls) * CALL + real(requests) * REQUEST + real(bytes) / rate;
        self.gib_seconds += seconds * memory;
    }

    /// Counts a job that is begun, with so many tasks.
    pub(super) fn begin_job(&mut self, tasks: u64) {
        // The resource, the job made, begun and planned.
        self.state_reads += 1 + 2 * JOB_READ;
        self.state_writes += 3 * JOB_WRITE + tasks * IN_TRANSACTION;
    }

    /// Counts so many steps of tasks that leave so many rows behind: begun, staged, admitted.
    pub(super) fn steps(&mut self, steps: u64, rows: u64) {
        self.state_reads += steps * (3 * JOB_READ + 1);
        self.state_writes += steps * (2 + IN_TRANSACTION) + rows * IN_TRANSACTION;
        self.transitions += steps * STEP_STATES;
    }

    /// Counts that job state is asked for the tasks and the rows that they left, so often.
    pub(super) fn gather(&mut self, times: u64, tasks: u64, rows: u64) {
        self.state_reads += times * (query(tasks) + query(rows));
    }

    /// Counts the end of a job: read, completed, and what only its work needed removed.
    pub(super) fn end_job(&mut self, tasks: u64, rows: u64) {
        self.state_reads += 4 * JOB_READ;
        self.state_writes += JOB_WRITE + rows + tasks;
        self.gather(1, tasks, rows);
    }
}
