//! The Lambda function `validate-recovery-points`.

use std::process::ExitCode;

fn main() -> ExitCode {
    holdfast_lambda::run_with(
        holdfast_validate_recovery_points::open,
        holdfast_validate_recovery_points::handle,
    )
}
