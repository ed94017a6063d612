//! The Lambda function `drill`.

use std::process::ExitCode;

fn main() -> ExitCode {
    holdfast_lambda::run(holdfast_drill::handle)
}
