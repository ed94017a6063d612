//! The Lambda function `upload-part`.

use std::process::ExitCode;

fn main() -> ExitCode {
    holdfast_lambda::run(holdfast_upload_part::handle)
}
