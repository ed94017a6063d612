//! The Lambda function `setup`.

use std::process::ExitCode;

fn main() -> ExitCode {
    holdfast_lambda::run_with(holdfast_setup::open, holdfast_setup::handle)
}
