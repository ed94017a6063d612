//! The steps of a job: plan, export, admit, commit, verify, restore, fail. Beside them: the capture of changes.
//!
//! Each is one function over [`Services`] that a handler calls with a decoded event; the same function runs in Lambda,
//! in the embedded cloud and in a test. Every one may run twice, late, or beside its own retry, with the same result.

pub mod anomaly;
pub mod capture;
pub mod catalogue;
pub mod commit;
pub mod config;
pub mod cost;
pub mod drill;
pub mod events;
pub mod executions;
pub mod export;
pub mod fail;
pub mod handler;
pub mod history;
pub mod join;
pub mod margins;
pub mod metrics;
pub mod plan;
pub mod prune;
pub mod repair;
pub mod report;
pub mod restore;
pub mod retention;
pub mod schedule;
pub mod services;
pub mod staging;
pub mod status;
pub mod undo;
pub mod upload;
pub mod verify;

pub use services::{Services, Step, WorkLimits};
