//! What the steps work with.

use futures::future::BoxFuture;
use holdfast_common::Clock;
use holdfast_common::jobs::JobStore;
use holdfast_common::telemetry::Metrics;
use holdfast_connectors::Clients;
use holdfast_vault::error::Result;
use holdfast_vault::read::Vault;
use holdfast_vault::storage::Storage;
use holdfast_vault::write::{RunLimits, TreeLimits};
use std::sync::Arc;

/// The answer of a step that is under way. Boxed where it is made, so that who calls a step is not built with all of it.
pub type Step<'a, T> = BoxFuture<'a, Result<T>>;

/// How much one call of a handler does.
#[derive(Debug, Clone, Copy)]
pub struct WorkLimits {
    /// Bytes of a source in one task, about.
    pub range_bytes: u64,
    /// Files or records in one task, about.
    pub range_entries: u64,
    /// Bytes of a source that one call exports, about; the rest is left to the next.
    pub step_bytes: u64,
    /// Tasks at work at a time, at most: the state machine's `MaxConcurrency`.
    pub workers: u32,
    /// Objects that one call looks at side by side.
    pub objects_at_once: usize,
    /// Bytes of objects that one call of verify reads, about.
    pub verify_bytes: u64,
    /// Objects that one call of prune looks at, about.
    pub prune_objects: u64,
    /// Ids of objects that one call of prune holds in memory, about: some 48 bytes each.
    pub prune_ids: usize,
    /// Backups that one call of prune ends.
    pub prune_backups: usize,
    /// Rows of a state table that a worker joins in memory, at most: 32 bytes each. A larger one is joined in shards.
    pub broadcast_rows: u64,
    /// Rows of one shard of a join, about.
    pub shard_rows: u64,
    /// Keys of deltas that a restore holds in memory, about: 32 bytes each.
    pub overlay_keys: u64,
    /// How runs of records are cut.
    pub runs: RunLimits,
    /// How packs of files are cut.
    pub trees: TreeLimits,
}

impl Default for WorkLimits {
    fn default() -> Self {
        Self {
            range_bytes: 128 << 20,
            range_entries: 20_000,
            step_bytes: 256 << 20,
            workers: 40,
            objects_at_once: 8,
            verify_bytes: 8 << 30,
            prune_objects: 50_000,
            prune_ids: 2_000_000,
            prune_backups: 500,
            broadcast_rows: 4 << 20,
            shard_rows: 2 << 20,
            overlay_keys: 4 << 20,
            runs: RunLimits::default(),
            trees: TreeLimits::default(),
        }
    }
}

/// Everything that the steps reach: state, storage, keys, sources and targets, time.
#[derive(Clone)]
pub struct Services {
    /// Job state.
    pub jobs: JobStore,
    /// The vault, open.
    pub vault: Vault,
    /// Where exports wait to be admitted.
    pub staging: Arc<dyn Storage>,
    /// Where connectors get their AWS clients.
    pub clients: Arc<dyn Clients>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where figures go.
    pub metrics: Arc<dyn Metrics>,
    /// How much one call does.
    pub limits: WorkLimits,
}
