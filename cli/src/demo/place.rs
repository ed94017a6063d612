//! Where the demo works: a directory that is kept, or one that goes with it.

use holdfast_vault::error::{Code, Error, Result};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The directory of a demo.
pub(super) enum Place {
    Kept(PathBuf),
    Passing(TempDir),
}

impl Place {
    /// The directory that is to be kept, or a temporary one.
    pub(super) fn new(keep: Option<&Path>) -> Result<Self> {
        let Some(path) = keep else {
            let made = tempfile::Builder::new().prefix("holdfast-demo-").tempdir();
            return made.map(Self::Passing).map_err(|e| failed("make a temporary directory", &e));
        };
        let unusable = |why: &str| {
            Error::new(Code::InvalidInput, format!("{} {why}", path.display()))
                .object("--keep")
                .hint("name a directory that is new or empty")
        };
        fs::create_dir_all(path).map_err(|e| unusable(&format!("cannot be made: {e}")))?;
        match fs::read_dir(path).map(|mut entries| entries.next().is_none()) {
            Ok(true) => Ok(Self::Kept(path.to_path_buf())),
            Ok(false) => Err(unusable("is not empty")),
            Err(e) => Err(unusable(&format!("cannot be read: {e}"))),
        }
    }

    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Passing(directory) => directory.path(),
        }
    }

    /// Removes it, unless it is to be kept.
    pub(super) fn leave(self) {
        let Self::Passing(directory) = self else { return };
        let path = directory.keep();
        // After an interruption a task may still make a file while others are being removed.
        for _ in 0..10 {
            match fs::remove_dir_all(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {}
                _ => return,
            }
        }
    }
}

/// A failure of the file system below the directory of a demo.
pub(super) fn failed(doing: &str, error: &io::Error) -> Error {
    let code = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Code::StorageFull,
        io::ErrorKind::PermissionDenied => Code::StorageDenied,
        _ => Code::StorageUnavailable,
    };
    Error::new(code, format!("the demo cannot {doing}: {error}"))
        .hint("name a directory with room and write access with --keep DIR")
}

/// Runs what works on many files on a thread where it holds up nothing else.
pub(super) async fn on_files<T: Send + 'static>(
    doing: &'static str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|e| failed(doing, &e)),
        Err(e) => Err(Error::new(Code::Internal, format!("the demo could not {doing}: {e}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_with_something_in_it_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let new = dir.path().join("a/b");
        assert!(Place::new(Some(&new)).is_ok());
        let Err(error) = Place::new(Some(dir.path())) else { panic!("it is not empty") };
        assert_eq!((error.code, error.object.as_deref()), (Code::InvalidInput, Some("--keep")));
        assert!(new.is_dir());
    }

    #[test]
    fn a_passing_place_is_gone_afterwards_and_a_kept_one_is_not() {
        let place = Place::new(None).unwrap();
        let path = place.path().to_path_buf();
        fs::write(path.join("file"), "x").unwrap();
        place.leave();
        assert!(!path.exists());
        let dir = tempfile::tempdir().unwrap();
        Place::new(Some(dir.path())).unwrap().leave();
        assert!(dir.path().is_dir());
    }
}
