//! What the connectors of a local directory share: names fit for a message, and failures of the file system.

use holdfast_vault::error::{Code, Error};
use rustix::fs::Stat;
use rustix::io::Errno;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A path as a message may show it: control characters and what is not UTF-8 are escaped.
pub(crate) fn printable(path: &[u8]) -> String {
    let mut out = String::with_capacity(path.len());
    for chunk in path.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() || matches!(c, '\\' | '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}') {
                out.extend(c.escape_default());
            } else {
                out.push(c);
            }
        }
        for byte in chunk.invalid() {
            // Writing into a String does not fail.
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

/// As [`printable`], for a path of the operating system.
pub(crate) fn shown(path: &Path) -> String {
    printable(path.as_os_str().as_bytes())
}

/// The failure of a source's directory or file.
pub(crate) fn source_error(doing: &str, path: &str, cause: impl Into<std::io::Error>) -> Error {
    let cause = cause.into();
    let errno = Errno::from_io_error(&cause);
    let (code, hint) = match errno {
        Some(Errno::NOENT) => (Code::SourceMissing, "check the path of the resource's source"),
        Some(Errno::ACCESS | Errno::PERM) => {
            (Code::SourceDenied, "run as a user who may read it, or move it out of the resource")
        }
        Some(Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG) => {
            (Code::SourceInvalid, "check the path of the resource's source")
        }
        Some(Errno::MFILE | Errno::NFILE) => {
            (Code::SourceUnavailable, "raise the limit of open files (ulimit -n)")
        }
        _ => (Code::SourceUnavailable, "run the backup again once the file system answers"),
    };
    Error::new(code, format!("cannot {doing} {path}: {}", reason(&cause))).object(path).hint(hint)
}

/// The failure of a target; `target` is what the operator called it, `path` what was worked on.
pub(crate) fn target_error(doing: &str, target: &str, path: &str, cause: impl Into<std::io::Error>) -> Error {
    let cause = cause.into();
    let (code, hint) = match Errno::from_io_error(&cause) {
        Some(Errno::NOSPC | Errno::DQUOT) => {
            return Error::new(Code::StorageFull, format!("no space is left for {target}"))
                .object(target)
                .hint("make room, or restore to another place");
        }
        Some(Errno::ACCESS | Errno::PERM | Errno::ROFS) => {
            (Code::TargetDenied, "run as a user who may write there, or restore to another place")
        }
        Some(
            Errno::NAMETOOLONG
            | Errno::INVAL
            | Errno::ILSEQ
            | Errno::NOTDIR
            | Errno::ISDIR
            | Errno::LOOP
            | Errno::FBIG,
        ) => (Code::TargetInvalid, "restore into a new directory of a file system that can hold it"),
        Some(Errno::XDEV) => {
            (Code::TargetInvalid, "the target spans file systems; restore into a new directory")
        }
        _ => (Code::TargetUnavailable, "run the restore again once the file system answers"),
    };
    Error::new(code, format!("{target}: cannot {doing} {path}: {}", reason(&cause))).object(path).hint(hint)
}

/// The system's own words, without Rust's number behind them.
fn reason(cause: &std::io::Error) -> String {
    let text = cause.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

/// Size and modification time: where both are as they were, a file is taken as unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Stamp {
    pub(crate) size: u64,
    pub(crate) seconds: i64,
    pub(crate) nanos: u32,
}

impl Stamp {
    pub(crate) fn of(stat: &Stat) -> Self {
        Self {
            size: u64::try_from(stat.st_size).unwrap_or(0),
            seconds: stat.st_mtime,
            nanos: u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
        }
    }
}

/// The permission bits.
pub(crate) fn mode_of(stat: &Stat) -> u32 {
    stat.st_mode & 0o7777
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shown_on_one_line() {
        assert_eq!(printable(b"caf\xc3\xa9/a b"), "café/a b");
        assert_eq!(printable(b"a\nb\xff\x1b[0m\\"), "a\\nb\\xff\\u{1b}[0m\\\\");
    }

    #[test]
    fn failures_say_whose_they_are_and_what_to_do() {
        let full = target_error("write", "files:/to", "/to/x", Errno::NOSPC);
        assert_eq!((full.code, full.object.as_deref()), (Code::StorageFull, Some("files:/to")));
        let denied = target_error("write", "files:/to", "/to/x", Errno::ACCESS);
        assert_eq!(denied.code, Code::TargetDenied);
        assert_eq!(denied.message, "files:/to: cannot write /to/x: permission denied");
        let broken = source_error("read", "/from/x", Errno::IO);
        assert_eq!((broken.code, broken.object.as_deref()), (Code::SourceUnavailable, Some("/from/x")));
        assert!(full.hint.is_some() && denied.hint.is_some() && broken.hint.is_some());
    }
}
