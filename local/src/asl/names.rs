//! The error names that the States Language reserves.

pub(super) const ALL: &str = "States.ALL";
pub(super) const DATA_LIMIT: &str = "States.DataLimitExceeded";
pub(super) const TOLERANCE: &str = "States.ExceedToleratedFailureThreshold";
pub(super) const INTRINSIC: &str = "States.IntrinsicFailure";
pub(super) const ITEM_READER: &str = "States.ItemReaderFailed";
pub(super) const NO_CHOICE: &str = "States.NoChoiceMatched";
pub(super) const RESULT_PATH: &str = "States.ResultPathMatchFailure";
pub(super) const RUNTIME: &str = "States.Runtime";
pub(super) const TASK_FAILED: &str = "States.TaskFailed";
pub(super) const TIMEOUT: &str = "States.Timeout";

/// Every `States.` name that `ErrorEquals` may hold.
pub(super) const RESERVED: &[&str] = &[
    ALL,
    "States.BranchFailed",
    DATA_LIMIT,
    TOLERANCE,
    "States.HeartbeatTimeout",
    INTRINSIC,
    ITEM_READER,
    NO_CHOICE,
    "States.ParameterPathFailure",
    "States.Permissions",
    RESULT_PATH,
    RUNTIME,
    TASK_FAILED,
    TIMEOUT,
];
