//! The Lambda function `plan`.

use std::process::ExitCode;

fn main() -> ExitCode {
    holdfast_lambda::run(holdfast_plan::handle)
}
