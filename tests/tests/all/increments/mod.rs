//! Chains of backups of record streams, against a model: whatever is built on what, every backup gives back what stood
//! in the source at its time.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests panic as tests do")]
#![allow(
    clippy::large_futures,
    reason = "handlers are awaited where they are called, by one thread that has room"
)]

pub(crate) mod bench;
pub(crate) mod chance;
mod crash;
mod damage;
pub(crate) mod drive;
mod duplicates;
mod edges;
pub(crate) mod faults;
mod history;
pub(crate) mod seeds;
