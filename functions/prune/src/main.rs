//! The Lambda function `prune`.

use std::process::ExitCode;

fn main() -> ExitCode {
    holdfast_lambda::run(holdfast_prune::handle)
}
