//! Finding the place of an entry below the target, and nowhere else.

use rustix::fs::{AtFlags, FileType, Mode, OFlags, openat, statat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, Mutex, PoisonError};

/// The names on the way to an entry; `None` for a path that would lead out of the target or is no path.
pub(super) fn segments(path: &[u8]) -> Option<Vec<&[u8]>> {
    let path = path.strip_suffix(b"/").unwrap_or(path);
    let plain = |name: &&[u8]| !matches!(*name, b"" | b"." | b"..") && !name.contains(&0);
    let names: Vec<&[u8]> = path.split(|b| *b == b'/').collect();
    names.iter().all(plain).then_some(names)
}

/// What stands where a directory is wanted.
pub(super) enum Stands {
    Directory(OwnedFd),
    Nothing,
    Link,
    Other,
}

/// Looks at a name, and opens it if it is a directory.
pub(super) fn enter(parent: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<Stands> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(parent, name, flags, Mode::empty()) {
        Ok(directory) => Ok(Stands::Directory(directory)),
        Err(Errno::NOENT) => Ok(Stands::Nothing),
        Err(Errno::NOTDIR | Errno::LOOP) => match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => Ok(Stands::Link),
            Ok(_) => Ok(Stands::Other),
            Err(Errno::NOENT) => Ok(Stands::Nothing),
            Err(cause) => Err(cause),
        },
        Err(cause) => Err(cause),
    }
}

/// Open directories below a root, those on the path used last kept open for the next.
pub(super) struct Places {
    root: Arc<OwnedFd>,
    open: Mutex<Vec<(Vec<u8>, Arc<OwnedFd>)>>,
}

impl Places {
    pub(super) fn new(root: OwnedFd) -> Self {
        Self { root: Arc::new(root), open: Mutex::default() }
    }

    /// The directory that these names lead to. `step` opens one from the directory before it; it is told how many of
    /// the names it has come to.
    pub(super) fn directory<E>(
        &self,
        names: &[&[u8]],
        mut step: impl FnMut(BorrowedFd<'_>, usize) -> Result<OwnedFd, E>,
    ) -> Result<Arc<OwnedFd>, E> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let known = open.iter().zip(names).take_while(|((known, _), name)| known == *name).count();
        open.truncate(known);
        for (index, name) in names.iter().enumerate().skip(known) {
            let parent = open.last().map_or(&self.root, |(_, directory)| directory);
            let directory = step(parent.as_fd(), index + 1)?;
            open.push((name.to_vec(), Arc::new(directory)));
        }
        Ok(Arc::clone(open.last().map_or(&self.root, |(_, directory)| directory)))
    }

    /// The directory that these names lead to, which must be there.
    pub(super) fn existing(&self, names: &[&[u8]]) -> rustix::io::Result<Arc<OwnedFd>> {
        self.directory(names, |parent, count| match enter(parent, OsStr::from_bytes(names[count - 1]))? {
            Stands::Directory(directory) => Ok(directory),
            Stands::Nothing => Err(Errno::NOENT),
            Stands::Link | Stands::Other => Err(Errno::NOTDIR),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_paths_have_a_place() {
        assert_eq!(segments(b"a/b c/"), Some(vec![&b"a"[..], b"b c"]));
        for bad in [&b""[..], b"/", b"/a", b"a//b", b"../a", b"a/..", b"a/./b", b".", b"a\0b", b"a//"] {
            assert_eq!(segments(bad), None, "{bad:?}");
        }
    }
}
