//! The walk over a tree in the order of its paths.

use crate::local_fs::{printable, source_error};
use holdfast_vault::error::Result;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, openat, statat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

/// Which paths of a tree are meant: those after `after`, up to and with `until`.
#[derive(Debug, Clone, Default)]
pub(super) struct Span {
    pub(super) after: Option<Vec<u8>>,
    pub(super) until: Option<Vec<u8>>,
}

impl Span {
    fn holds(&self, path: &[u8]) -> bool {
        self.after.as_deref().is_none_or(|after| path > after)
            && self.until.as_deref().is_none_or(|until| path <= until)
    }

    /// What the span asks of the names in a directory. A bound outside the directory asks nothing, since the walk
    /// enters only directories that the span reaches into.
    fn within<'a>(&'a self, directory: &[u8]) -> NameSpan<'a> {
        let rest = |bound: &'a Option<Vec<u8>>| bound.as_deref().and_then(|b| b.strip_prefix(directory));
        NameSpan { after: rest(&self.after), until: rest(&self.until) }
    }
}

/// A [`Span`] as seen from inside one directory.
struct NameSpan<'a> {
    after: Option<&'a [u8]>,
    until: Option<&'a [u8]>,
}

impl NameSpan<'_> {
    /// Whether the name, or something below it, is in the span. A directory's name ends with `/`.
    fn reaches(&self, name: &[u8]) -> bool {
        let below = |after: &[u8]| name.ends_with(b"/") && after.starts_with(name);
        self.after.is_none_or(|after| name > after || below(after))
            && self.until.is_none_or(|until| name <= until)
    }
}

/// The names of one directory, sorted, directories with a `/` at the end. Some 6 bytes a name beside the name itself.
#[derive(Default)]
struct Names {
    bytes: Vec<u8>,
    starts: Vec<u32>,
    next: usize,
}

impl Names {
    fn read(directory: BorrowedFd<'_>, span: &NameSpan<'_>) -> rustix::io::Result<Self> {
        let mut names = Self::default();
        let mut name = Vec::new();
        for entry in Dir::read_from(directory)? {
            let entry = entry?;
            name.clear();
            name.extend_from_slice(entry.file_name().to_bytes());
            if name == b"." || name == b".." {
                continue;
            }
            let mut kind = entry.file_type();
            if kind == FileType::Unknown {
                match statat(directory, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => kind = FileType::from_raw_mode(stat.st_mode),
                    Err(Errno::NOENT) => {}
                    Err(other) => return Err(other),
                }
            }
            if kind == FileType::Directory {
                name.push(b'/');
            }
            if span.reaches(&name) {
                names.push(&name)?;
            }
        }
        let Self { bytes, starts, .. } = &mut names;
        starts.sort_unstable_by(|a, b| name_at(bytes, *a).cmp(name_at(bytes, *b)));
        Ok(names)
    }

    fn push(&mut self, name: &[u8]) -> rustix::io::Result<()> {
        let start = u32::try_from(self.bytes.len()).map_err(|_| Errno::TOOBIG)?;
        let length = u16::try_from(name.len()).map_err(|_| Errno::NAMETOOLONG)?;
        self.starts.push(start);
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(name);
        Ok(())
    }

    fn next(&mut self) -> Option<&[u8]> {
        let start = *self.starts.get(self.next)?;
        self.next += 1;
        Some(name_at(&self.bytes, start))
    }
}

fn name_at(bytes: &[u8], start: u32) -> &[u8] {
    let start = start as usize;
    let length = usize::from(u16::from_le_bytes([bytes[start], bytes[start + 1]]));
    &bytes[start + 2..start + 2 + length]
}

struct Level {
    directory: OwnedFd,
    names: Names,
    path_length: usize,
}

/// What the walk came to; its path is [`Walk::path`].
pub(super) enum Found {
    /// Something that is there. A directory is open already.
    Entry(Stat),
    /// What was listed and is gone, or has become a directory or ceased to be one.
    Vanished,
}

/// A walk over the part of a tree that a span reaches. Holds the names of the directories on the current path only.
pub(super) struct Walk {
    span: Span,
    root: String,
    levels: Vec<Level>,
    path: Vec<u8>,
}

impl Walk {
    /// Begins at an open directory; `root` is its name for messages.
    pub(super) fn new(root: String, directory: OwnedFd, span: Span) -> Result<Self> {
        let mut walk = Self { span, root, levels: Vec::new(), path: Vec::new() };
        walk.enter(directory)?;
        Ok(walk)
    }

    /// The path of what was found last, relative to the root.
    pub(super) fn path(&self) -> &[u8] {
        &self.path
    }

    /// Whether the walk stands at the end of its span.
    pub(super) fn at_end(&self) -> bool {
        self.span.until.as_deref() == Some(&self.path)
    }

    /// The path found last, as messages show it.
    pub(super) fn shown(&self) -> String {
        format!("{}/{}", self.root, printable(&self.path))
    }

    /// The open directory and the name in it of what was found last, unless that is a directory itself.
    pub(super) fn place(&self) -> Option<(BorrowedFd<'_>, &OsStr)> {
        let level = self.levels.last()?;
        Some((level.directory.as_fd(), OsStr::from_bytes(&self.path[level.path_length..])))
    }

    /// Goes on to the next path of the span.
    pub(super) fn next(&mut self) -> Result<Option<Found>> {
        while let Some(level) = self.levels.last_mut() {
            self.path.truncate(level.path_length);
            let Some(name) = level.names.next() else {
                self.levels.pop();
                continue;
            };
            self.path.extend_from_slice(name);
            let found = match name.strip_suffix(b"/") {
                Some(directory) => open_directory(level.directory.as_fd(), OsStr::from_bytes(directory)),
                None => look_at(level.directory.as_fd(), OsStr::from_bytes(name)),
            };
            let found = match found {
                Ok(Some((stat, None))) => Found::Entry(stat),
                Ok(Some((stat, Some(directory)))) => {
                    self.enter(directory)?;
                    Found::Entry(stat)
                }
                Ok(None) => Found::Vanished,
                Err(cause) => return Err(source_error("read", &self.shown(), cause)),
            };
            if self.span.holds(&self.path) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn enter(&mut self, directory: OwnedFd) -> Result<()> {
        let names = Names::read(directory.as_fd(), &self.span.within(&self.path))
            .map_err(|cause| source_error("list", &self.shown(), cause))?;
        self.levels.push(Level { directory, names, path_length: self.path.len() });
        Ok(())
    }
}

type Looked = Option<(Stat, Option<OwnedFd>)>;

fn open_directory(parent: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<Looked> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(parent, name, flags, Mode::empty()) {
        Ok(directory) => Ok(Some((fstat(&directory)?, Some(directory)))),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(cause) => Err(cause),
    }
}

fn look_at(parent: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<Looked> {
    match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => Ok(None),
        Ok(stat) => Ok(Some((stat, None))),
        Err(Errno::NOENT) => Ok(None),
        Err(cause) => Err(cause),
    }
}
