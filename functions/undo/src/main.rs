//! The Lambda function `undo`.

use std::process::ExitCode;

fn main() -> ExitCode {
    holdfast_lambda::run(holdfast_undo::handle)
}
