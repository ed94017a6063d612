//! Recovery points, those of AWS Backup and of `DynamoDB`: restored, tested, validated.
//!
//! [`native`] restores one into a new table, step by step as a state machine asks; [`test`] proves a restore and removes
//! it again; [`report`] tells what AWS Backup failed to do, and [`judge`] judges the restores of its own testing plans.
//! All of them are given their services, and a clock.

mod aws;
pub mod judge;
pub mod native;
pub mod report;
pub mod test;

pub use aws::{Compared, Limits, Recovery};
