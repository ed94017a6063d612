//! Everything that the work on recovery points reaches.

use aws_config::SdkConfig;
use holdfast_common::Clock;
use std::sync::Arc;
use std::time::Duration;

/// How much one call does.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Segments of a table that are scanned side by side.
    pub parallel: usize,
    /// Bytes of a table in one segment, about.
    pub segment_bytes: u64,
    /// How long one call counts, about; the rest is left to the next.
    pub counting: Duration,
    /// Records that are compared after a restore.
    pub sample: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { parallel: 4, segment_bytes: 64 << 20, counting: Duration::from_mins(5), sample: 100 }
    }
}

/// The services that recovery points are restored, tested and validated with.
#[derive(Debug, Clone)]
pub struct Recovery {
    /// The tables.
    pub dynamodb: aws_sdk_dynamodb::Client,
    /// AWS Backup.
    pub backup: aws_sdk_backup::Client,
    /// What scales tables.
    pub scaling: aws_sdk_applicationautoscaling::Client,
    /// What watches them.
    pub alarms: aws_sdk_cloudwatch::Client,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The role with which AWS Backup restores, where one is set.
    pub restore_role: Option<String>,
    /// How much one call does.
    pub limits: Limits,
}

impl Recovery {
    /// The services of a region and an account.
    #[must_use]
    pub fn new(config: &SdkConfig, clock: Arc<dyn Clock>, restore_role: Option<String>) -> Self {
        Self {
            dynamodb: aws_sdk_dynamodb::Client::new(config),
            backup: aws_sdk_backup::Client::new(config),
            scaling: aws_sdk_applicationautoscaling::Client::new(config),
            alarms: aws_sdk_cloudwatch::Client::new(config),
            clock,
            restore_role,
            limits: Limits::default(),
        }
    }
}
