//! The Lambda function `native-restore`.

use std::process::ExitCode;

fn main() -> ExitCode {
    holdfast_lambda::run_with(holdfast_native_restore::open, holdfast_native_restore::handle)
}
