//! The Lambda function `commit`.

use std::process::ExitCode;

fn main() -> ExitCode {
    holdfast_lambda::run(holdfast_commit::handle)
}
