//! The Lambda function `capture`.

use std::process::ExitCode;

fn main() -> ExitCode {
    holdfast_lambda::run(holdfast_capture::handle)
}
