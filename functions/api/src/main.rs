//! The Lambda function `api`.

use std::process::ExitCode;

fn main() -> ExitCode {
    holdfast_lambda::run_with(holdfast_api::open, holdfast_api::handle)
}
