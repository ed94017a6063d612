//! The Lambda function `dispatch`.

use std::process::ExitCode;

fn main() -> ExitCode {
    holdfast_lambda::run_with(holdfast_dispatch::open, holdfast_dispatch::handle)
}
