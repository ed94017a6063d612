//! The Lambda function `fail`.

use std::process::ExitCode;

fn main() -> ExitCode {
    holdfast_lambda::run(holdfast_fail::handle)
}
