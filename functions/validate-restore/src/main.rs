//! The Lambda function `validate-restore`.

use std::process::ExitCode;

fn main() -> ExitCode {
    holdfast_lambda::run_with(holdfast_validate_restore::open, holdfast_validate_restore::handle)
}
