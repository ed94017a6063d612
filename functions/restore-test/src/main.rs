//! The Lambda function `restore-test`.

use std::process::ExitCode;

fn main() -> ExitCode {
    holdfast_lambda::run_with(holdfast_restore_test::open, holdfast_restore_test::handle)
}
