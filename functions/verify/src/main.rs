//! The Lambda function `verify`.

use std::process::ExitCode;

fn main() -> ExitCode {
    holdfast_lambda::run(holdfast_verify::handle)
}
