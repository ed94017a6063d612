//! Directories: how large they are, how much room there is, and where a case works.

use crate::failure::failed;
use holdfast_vault::error::{Code, Error, Result};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The sum of the lengths of all files below a directory, in bytes.
///
/// # Errors
/// What keeps it from being looked at.
pub(crate) fn bytes_below(directory: &Path) -> Result<u64> {
    let look = |e: &std::io::Error| failed("look at", directory, e);
    let mut sum = 0;
    for entry in fs::read_dir(directory).map_err(|e| look(&e))? {
        let entry = entry.map_err(|e| look(&e))?;
        let about = entry.metadata().map_err(|e| look(&e))?;
        sum += if about.is_dir() { bytes_below(&entry.path())? } else { about.len() };
    }
    Ok(sum)
}

/// The size of each directory directly below a directory that is no hidden one, by name, in bytes.
///
/// # Errors
/// What keeps it from being looked at.
pub(crate) fn parts(directory: &Path) -> Result<Vec<(String, u64)>> {
    let look = |e: &std::io::Error| failed("look at", directory, e);
    let mut parts = Vec::new();
    for entry in fs::read_dir(directory).map_err(|e| look(&e))? {
        let entry = entry.map_err(|e| look(&e))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') && entry.path().is_dir() {
            parts.push((name, bytes_below(&entry.path())?));
        }
    }
    parts.sort();
    Ok(parts)
}

/// Makes a directory hold what another holds: what is the same already is left alone, with its times.
///
/// # Errors
/// What keeps either from being read or written.
pub(crate) fn make_like(directory: &Path, model: &Path) -> Result<()> {
    let wrong = |path: &Path, e: &std::io::Error| failed("make the same", path, e);
    let (there, wanted) = (names(directory)?, names(model)?);
    for name in there.difference(&wanted) {
        let path = directory.join(name);
        let gone = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        gone.map_err(|e| wrong(&path, &e))?;
    }
    for name in &wanted {
        let (path, like) = (directory.join(name), model.join(name));
        if like.is_dir() {
            fs::create_dir_all(&path).map_err(|e| wrong(&path, &e))?;
            make_like(&path, &like)?;
        } else if !there.contains(name) || !is_same(&path, &like)? {
            fs::copy(&like, &path).map_err(|e| wrong(&path, &e))?;
        }
    }
    Ok(())
}

/// The first path below a directory at which another one holds something else; `None` if both are the same.
///
/// # Errors
/// What keeps either from being read.
pub(crate) fn first_difference(one: &Path, other: &Path) -> Result<Option<PathBuf>> {
    let (here, there) = (names(one)?, names(other)?);
    if let Some(name) = here.symmetric_difference(&there).next() {
        return Ok(Some(one.join(name)));
    }
    for name in here {
        let (path, copy) = (one.join(&name), other.join(&name));
        let different = match (path.is_dir(), copy.is_dir()) {
            (true, true) => first_difference(&path, &copy)?,
            (false, false) if is_same(&path, &copy)? => None,
            _ => Some(path),
        };
        if different.is_some() {
            return Ok(different);
        }
    }
    Ok(None)
}

fn names(directory: &Path) -> Result<BTreeSet<OsString>> {
    let look = |e: &std::io::Error| failed("look at", directory, e);
    let entries = fs::read_dir(directory).map_err(|e| look(&e))?;
    entries.map(|entry| entry.map(|entry| entry.file_name()).map_err(|e| look(&e))).collect()
}

fn is_same(one: &Path, other: &Path) -> Result<bool> {
    let length = |path: &Path| fs::metadata(path).map(|about| about.len());
    let read = |path: &Path| fs::read(path).map_err(|e| failed("read", path, &e));
    if length(one).ok() != length(other).ok() {
        return Ok(false);
    }
    Ok(read(one)? == read(other)?)
}

/// Refuses a directory that has less room than so many bytes.
///
/// # Errors
/// `StorageFull` with both figures.
pub(crate) fn need(directory: &Path, bytes: u64) -> Result<()> {
    let about = rustix::fs::statvfs(directory).map_err(|e| failed("look at", directory, &e.into()))?;
    let free = about.f_bavail.saturating_mul(about.f_frsize);
    if free >= bytes {
        return Ok(());
    }
    let gb = |bytes: u64| format!("{:.1} GB", crate::report::figure(bytes) / 1e9);
    let message = format!("{} has {} free, and {} are needed", directory.display(), gb(free), gb(bytes));
    Err(Error::new(Code::StorageFull, message)
        .object(directory.display().to_string())
        .hint("name a directory with more room with --dir DIR, or ask for less data"))
}

/// Where a case works: a directory of the caller's, which stays, or one that goes with the case.
pub(crate) enum Place {
    Kept(PathBuf),
    Passing(TempDir),
}

impl Place {
    /// The caller's directory, which must be new or empty, or a temporary one.
    ///
    /// # Errors
    /// `InvalidInput` if it holds anything, or what keeps it from being made.
    pub(crate) fn new(directory: Option<&Path>) -> Result<Self> {
        let Some(path) = directory else {
            let made = tempfile::Builder::new().prefix("holdfast-bench-").tempdir();
            return made
                .map(Self::Passing)
                .map_err(|e| failed("make a directory in", &std::env::temp_dir(), &e));
        };
        fs::create_dir_all(path).map_err(|e| failed("make", path, &e))?;
        let mut entries = fs::read_dir(path).map_err(|e| failed("look at", path, &e))?;
        if entries.next().is_some() {
            return Err(Error::new(Code::InvalidInput, format!("{} is not empty", path.display()))
                .object("--dir")
                .hint("name a directory that is new or empty"));
        }
        std::path::absolute(path).map(Self::Kept).map_err(|e| failed("find", path, &e))
    }

    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Passing(directory) => directory.path(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_added_up() {
        let place = Place::new(None).unwrap();
        let inner = place.path().join("packs/00");
        fs::create_dir_all(&inner).unwrap();
        fs::write(inner.join("a"), [0; 5]).unwrap();
        fs::write(place.path().join("b"), [0; 7]).unwrap();
        assert_eq!(bytes_below(place.path()).unwrap(), 12);
        assert_eq!(parts(place.path()).unwrap(), [("packs".to_owned(), 5)]);
    }

    #[test]
    fn a_directory_becomes_like_another_and_what_stays_keeps_its_time() {
        let place = Place::new(None).unwrap();
        let (one, two) = (place.path().join("one"), place.path().join("two"));
        for (path, text) in [("one/gone/x", "1"), ("one/stays", "2"), ("one/changes", "3")] {
            let path = place.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        fs::create_dir_all(two.join("new")).unwrap();
        for (path, text) in [("new/y", "4"), ("stays", "2"), ("changes", "5")] {
            fs::write(two.join(path), text).unwrap();
        }
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
        fs::File::options().append(true).open(one.join("stays")).unwrap().set_modified(time).unwrap();
        assert_eq!(first_difference(&one, &two).unwrap(), Some(one.join("gone")));
        make_like(&one, &two).unwrap();
        assert_eq!(first_difference(&one, &two).unwrap(), None);
        assert_eq!(fs::metadata(one.join("stays")).unwrap().modified().unwrap(), time);
        fs::write(two.join("changes"), "6").unwrap();
        assert_eq!(first_difference(&one, &two).unwrap(), Some(one.join("changes")));
    }

    #[test]
    fn room_and_emptiness_are_asked_for() {
        let place = Place::new(None).unwrap();
        need(place.path(), 1).unwrap();
        assert_eq!(need(place.path(), u64::MAX).unwrap_err().code, Code::StorageFull);
        fs::write(place.path().join("b"), "x").unwrap();
        assert_eq!(Place::new(Some(place.path())).err().unwrap().code, Code::InvalidInput);
    }
}
