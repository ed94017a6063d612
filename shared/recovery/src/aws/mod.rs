//! What is asked of AWS, told in types of our own.

mod alarms;
mod clients;
mod compare;
mod count;
mod fault;
mod jobs;
mod points;
mod restore;
mod sample;
mod scaling;
mod settings;
mod table;

pub use clients::{Limits, Recovery};
pub use compare::Compared;

pub(crate) use alarms::copy_alarms;
pub(crate) use compare::{Comparison, Progress as ComparisonProgress};
pub(crate) use fault::Side;
pub(crate) use jobs::{Job, JobState, Protected, backup_jobs, copy_jobs, protected};
pub(crate) use points::{RestoreState, find, restore_job, say_valid, start_job, tags};
pub(crate) use restore::{TimeRestore, Window, recovery_window, restore_to_time};
pub(crate) use scaling::copy_scaling;
pub(crate) use settings::{Settings, Tried, settle};
pub(crate) use table::{Remove, State, Table, describe, remove, schema};

/// Reaches tables.
pub(crate) type Tables = aws_sdk_dynamodb::Client;
