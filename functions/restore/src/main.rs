//! The Lambda function `restore`.

use std::process::ExitCode;

fn main() -> ExitCode {
    holdfast_lambda::run(holdfast_restore::handle)
}
