//! Writing one file or link into an open directory: whole, or not at all.

use super::attributes::{mode, times};
use crate::target::{Content, OnConflict, Written};
use holdfast_vault::error::{Code, Error};
use holdfast_vault::model::{EntryMeta, Mtime};
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, Stat, fchmod, futimens, openat, readlinkat, renameat, statat, symlinkat,
    unlinkat, utimensat,
};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

/// How writing an entry ended.
pub(super) enum Outcome {
    Done(Written),
    /// The policy does not allow it, or it cannot be done without losing more than this one path.
    Conflict(&'static str),
}

/// Why an entry could not be written.
pub(super) enum Failure {
    Io(io::Error),
    Content(Error),
}

impl Failure {
    pub(super) fn into_error(self, of_io: impl FnOnce(io::Error) -> Error) -> Error {
        match self {
            Self::Io(cause) => of_io(cause),
            Self::Content(error) => error,
        }
    }
}

impl From<io::Error> for Failure {
    fn from(cause: io::Error) -> Self {
        Self::Io(cause)
    }
}

impl From<Errno> for Failure {
    fn from(cause: Errno) -> Self {
        Self::Io(cause.into())
    }
}

const KEPT: Outcome = Outcome::Done(Written { written: 0, conflicts: 1, bytes: 0 });
const EQUAL: Outcome = Outcome::Done(Written { written: 1, conflicts: 0, bytes: 0 });

/// Writes entries under temporary names first.
pub(super) struct Writer {
    temporary: OwnedFd,
    on_conflict: OnConflict,
    /// Whether what stands in the way can only be of an earlier call of this restore.
    staged: bool,
    next: AtomicU64,
}

/// A temporary name, removed unless it was given up for the real one.
struct Temporary<'a> {
    folder: &'a OwnedFd,
    name: String,
}

impl Drop for Temporary<'_> {
    fn drop(&mut self) {
        if !self.name.is_empty() {
            // What stays behind goes with the workshop.
            let _ = unlinkat(self.folder, &self.name, AtFlags::empty());
        }
    }
}

impl Writer {
    pub(super) fn new(temporary: OwnedFd, on_conflict: OnConflict, staged: bool) -> Self {
        Self { temporary, on_conflict, staged, next: AtomicU64::new(0) }
    }

    /// Writes a file with its mode and time.
    pub(super) async fn file(
        &self,
        parent: &OwnedFd,
        name: &OsStr,
        meta: &EntryMeta,
        content: &mut dyn Content,
    ) -> Result<Outcome, Failure> {
        let standing = self.standing(parent, name)?;
        let mut old = match &standing {
            Some(stat) if is(stat, FileType::RegularFile) && u64::try_from(stat.st_size) == Ok(meta.size) => {
                Some(open_old(parent, name)?)
            }
            _ => None,
        };
        let writes = standing.is_none() || self.on_conflict == OnConflict::Overwrite;
        if old.is_none() && !writes {
            return Ok(self.refuse());
        }
        let temporary = if writes { Some(self.create(meta.mode)?) } else { None };
        let mut buffer = Vec::new();
        let mut bytes = 0;
        while let Some(piece) = content.next().await.map_err(Failure::Content)? {
            bytes += piece.len() as u64;
            if let Some(file) = &mut old
                && !reads_same(file, &piece, &mut buffer)?
            {
                old = None;
            }
            match &temporary {
                Some((file, _)) => (&mut &*file).write_all(&piece)?,
                None if old.is_none() => return Ok(self.refuse()),
                None => {}
            }
        }
        if bytes != meta.size {
            let text = format!("a file of {} bytes came with {bytes}", meta.size);
            return Err(Failure::Content(Error::new(Code::Internal, text)));
        }
        if let Some(old) = &old {
            set_attributes(old, meta)?;
            return Ok(EQUAL);
        }
        let Some((file, temporary)) = temporary else { return Ok(self.refuse()) };
        set_attributes(&file, meta)?;
        self.give_name(temporary, parent, name, standing.as_ref(), bytes)
    }

    /// Makes a symbolic link with its time.
    pub(super) fn link(
        &self,
        parent: &OwnedFd,
        name: &OsStr,
        target: &[u8],
        mtime: Option<Mtime>,
    ) -> Result<Outcome, Failure> {
        let set_time = |folder: &OwnedFd, name: &OsStr| match mtime {
            Some(mtime) => utimensat(folder, name, &times(mtime), AtFlags::SYMLINK_NOFOLLOW),
            None => Ok(()),
        };
        let standing = self.standing(parent, name)?;
        if let Some(stat) = &standing {
            if is(stat, FileType::Symlink) && readlinkat(parent, name, Vec::new())?.to_bytes() == target {
                set_time(parent, name)?;
                return Ok(EQUAL);
            }
            if self.on_conflict != OnConflict::Overwrite {
                return Ok(self.refuse());
            }
        }
        let temporary = loop {
            let temporary = self.name();
            match symlinkat(target, &self.temporary, &temporary) {
                Ok(()) => break Temporary { folder: &self.temporary, name: temporary },
                Err(Errno::EXIST) => {}
                Err(cause) => return Err(cause.into()),
            }
        };
        set_time(&self.temporary, OsStr::new(&temporary.name))?;
        self.give_name(temporary, parent, name, standing.as_ref(), 0)
    }

    /// What stands under the name and is not of this restore.
    fn standing(&self, parent: &OwnedFd, name: &OsStr) -> Result<Option<Stat>, Errno> {
        if self.staged {
            return Ok(None);
        }
        match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(cause) => Err(cause),
        }
    }

    fn refuse(&self) -> Outcome {
        if self.on_conflict == OnConflict::Skip { KEPT } else { Outcome::Conflict("is there already") }
    }

    fn name(&self) -> String {
        format!("{}-{}", std::process::id(), self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Without a mode of its own a file gets the one of any new file.
    fn create(&self, own_mode: Option<u32>) -> Result<(File, Temporary<'_>), Errno> {
        let bits = Mode::from_raw_mode(if own_mode.is_some() { 0o600 } else { 0o666 });
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        loop {
            let name = self.name();
            match openat(&self.temporary, &name, flags, bits) {
                Ok(file) => return Ok((File::from(file), Temporary { folder: &self.temporary, name })),
                Err(Errno::EXIST) => {}
                Err(cause) => return Err(cause),
            }
        }
    }

    fn give_name(
        &self,
        mut temporary: Temporary<'_>,
        parent: &OwnedFd,
        name: &OsStr,
        standing: Option<&Stat>,
        bytes: u64,
    ) -> Result<Outcome, Failure> {
        if standing.is_some_and(|stat| is(stat, FileType::Directory)) {
            match unlinkat(parent, name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(Errno::NOTEMPTY | Errno::EXIST) => {
                    return Ok(Outcome::Conflict("is a directory that is not empty"));
                }
                Err(cause) => return Err(cause.into()),
            }
        }
        renameat(&self.temporary, &temporary.name, parent, name)?;
        temporary.name.clear();
        Ok(Outcome::Done(Written { written: 1, conflicts: u64::from(standing.is_some()), bytes }))
    }
}

fn is(stat: &Stat, kind: FileType) -> bool {
    FileType::from_raw_mode(stat.st_mode) == kind
}

fn open_old(parent: &OwnedFd, name: &OsStr) -> Result<File, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty()).map(File::from)
}

/// Whether the file goes on with these bytes.
fn reads_same(file: &mut File, piece: &[u8], buffer: &mut Vec<u8>) -> io::Result<bool> {
    if buffer.len() < piece.len() {
        buffer.resize(piece.len(), 0);
    }
    match file.read_exact(&mut buffer[..piece.len()]) {
        Ok(()) => Ok(buffer[..piece.len()] == *piece),
        Err(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(cause) => Err(cause),
    }
}

fn set_attributes(file: &File, meta: &EntryMeta) -> Result<(), Errno> {
    if let Some(bits) = meta.mode {
        fchmod(file.as_fd(), mode(bits))?;
    }
    if let Some(mtime) = meta.mtime {
        futimens(file.as_fd(), &times(mtime))?;
    }
    Ok(())
}
