//! How the benchmark tells failures and facts.

use holdfast_vault::error::{Code, Error, Result};
use std::io::{self, Write as _};
use std::path::Path;

/// A failure of the file system.
pub(crate) fn failed(doing: &str, path: &Path, error: &io::Error) -> Error {
    let code = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Code::StorageFull,
        io::ErrorKind::PermissionDenied => Code::StorageDenied,
        _ => Code::StorageUnavailable,
    };
    Error::new(code, format!("cannot {doing} {}: {error}", path.display()))
        .object(path.display().to_string())
        .hint("check that the directory can be written and has room, or name another one with --dir DIR")
}

/// A failure of the benchmark's own.
pub(crate) fn internal(message: impl Into<String>) -> Error {
    Error::new(Code::Internal, message)
}

/// Something that came out wrong: no figure is worth anything then.
pub(crate) fn wrong(message: impl Into<String>) -> Error {
    internal(message).hint("run the case again with --dir DIR, and look at the home in it")
}

/// Writes a line to stdout. A reader that has gone away is no failure.
///
/// # Errors
/// `Internal` if it cannot be written.
pub(crate) fn told(line: &str) -> Result<()> {
    match writeln!(io::stdout().lock(), "{line}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(internal(format!("the answer cannot be written to stdout: {error}")))
        }
        _ => Ok(()),
    }
}

/// Says on stderr what is being done.
pub(crate) fn say(what: &str) {
    // With stderr gone there is nobody left to tell.
    let _ = writeln!(io::stderr().lock(), "{what}");
}
