//! The Lambda function `export-chunk`.

use std::process::ExitCode;

fn main() -> ExitCode {
    holdfast_lambda::run(holdfast_export_chunk::handle)
}
