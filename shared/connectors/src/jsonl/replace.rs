//! Puts a new file in an old one's place, only while that is what was read.

use crate::local_fs::{Stamp, shown, target_error};
use holdfast_vault::error::{Code, Error, Result};
use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// So much of the file's name goes into the name of the one that is being made.
const NAME_PART: usize = 120;

/// A file's place in a directory. Links are not followed.
pub(super) struct Place {
    directory: OwnedFd,
    path: PathBuf,
    name: String,
    label: String,
}

/// What stands in a place, as it was when it was looked at.
pub(super) struct Standing(Option<(File, Identity)>);

/// Where any of it differs, a file was written or replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    stamp: Stamp,
}

impl Identity {
    fn of(stat: &Stat) -> Self {
        Self { device: stat.st_dev, inode: stat.st_ino, stamp: Stamp::of(stat) }
    }
}

impl Standing {
    /// The file, or `None` where there is none.
    pub(super) fn file(&self) -> Option<&File> {
        self.0.as_ref().map(|(file, _)| file)
    }
}

impl Place {
    /// A file of this name, which is a plain one, in a directory that exists.
    pub(super) fn open(directory: &Path, name: String) -> Result<Self> {
        let label = format!("jsonl:{}", shown(directory));
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::openat(CWD, directory, flags, Mode::empty()) {
            Ok(open) => Ok(Self { directory: open, path: directory.join(&name), name, label }),
            Err(Errno::NOENT | Errno::NOTDIR) => {
                Err(Error::new(Code::TargetInvalid, format!("{label} is no directory"))
                    .object(label)
                    .hint("check the path of the resource's source"))
            }
            Err(cause) => Err(target_error("open", &label, &shown(directory), cause)),
        }
    }

    /// The file as a message names it.
    pub(super) fn shown(&self) -> String {
        shown(&self.path)
    }

    /// A failure of the file system.
    pub(super) fn failed(&self, doing: &str, cause: impl Into<io::Error>) -> Error {
        target_error(doing, &self.label, &self.shown(), cause)
    }

    /// Opens what stands there.
    pub(super) fn look(&self) -> Result<Standing> {
        // What is no file must not be waited for.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.directory, &self.name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(Standing(None)),
            Err(Errno::LOOP | Errno::NXIO) => return Err(self.no_file()),
            Err(cause) => return Err(self.failed("read", cause)),
        };
        let stat = rustix::fs::fstat(&file).map_err(|cause| self.failed("read", cause))?;
        if rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::RegularFile {
            return Err(self.no_file());
        }
        Ok(Standing(Some((file, Identity::of(&stat)))))
    }

    fn no_file(&self) -> Error {
        let name = self.shown();
        Error::new(Code::TargetInvalid, format!("{name} is a link or no file"))
            .object(name)
            .hint("an undo replaces the file: name the directory that holds the file itself")
    }

    /// Whether it still stands there, as it was when it was looked at.
    pub(super) fn unchanged(&self, standing: &Standing) -> Result<bool> {
        self.named(&self.name).map(|found| found == standing.0.as_ref().map(|(_, identity)| *identity))
    }

    fn named(&self, name: &str) -> Result<Option<Identity>> {
        match rustix::fs::statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(Identity::of(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(cause) => Err(self.failed("read", cause)),
        }
    }

    /// Writes a new file from the old one and gives it its place, beyond a loss of power. False, and nothing changed,
    /// if somebody wrote to the old one meanwhile or put another in its place.
    pub(super) fn replace(
        &self,
        standing: &Standing,
        write: impl FnOnce(Option<&File>, &File) -> io::Result<()>,
    ) -> Result<bool> {
        if let Some(old) = standing.file() {
            self.lock(old)?;
        }
        let draft = self.draft()?;
        if let Err(error) = self.fill(standing, &draft, write) {
            self.remove_draft()?;
            return Err(error);
        }
        let replaced = self.swap(standing, &draft)?;
        // The draft's name now has what is not to stay: the old file, or the draft.
        self.remove_draft()?;
        if replaced {
            rustix::fs::fsync(&self.directory).map_err(|cause| self.failed("sync", cause))?;
        }
        Ok(replaced)
    }

    /// Keeps other undos away, and programs that lock the file, until it is closed.
    fn lock(&self, file: &File) -> Result<()> {
        match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(()),
            Err(Errno::AGAIN) => {
                let name = self.shown();
                Err(Error::new(
                    Code::TargetUnavailable,
                    format!("{name} is being written by another program"),
                )
                .object(name)
                .hint("try again when it has ended"))
            }
            Err(cause) => Err(self.failed("lock", cause)),
        }
    }

    fn draft_name(&self) -> String {
        format!(".{}.holdfast-undo", &self.name[..self.name.floor_char_boundary(NAME_PART)])
    }

    /// A locked, empty file; what a killed call left is taken over.
    fn draft(&self) -> Result<File> {
        let (name, flags) =
            (self.draft_name(), OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC);
        loop {
            let draft = rustix::fs::openat(&self.directory, &name, flags, Mode::RUSR | Mode::WUSR);
            let draft = File::from(draft.map_err(|cause| self.failed("write", cause))?);
            self.lock(&draft)?;
            // Whoever had the lock before may have put this very file in its place: then it is not ours to write.
            let stat = rustix::fs::fstat(&draft).map_err(|cause| self.failed("write", cause))?;
            if self.named(&name)? == Some(Identity::of(&stat)) {
                draft.set_len(0).map_err(|cause| self.failed("write", cause))?;
                return Ok(draft);
            }
        }
    }

    fn remove_draft(&self) -> Result<()> {
        match rustix::fs::unlinkat(&self.directory, self.draft_name(), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(cause) => Err(self.failed("remove the draft of", cause)),
        }
    }

    fn fill(
        &self,
        standing: &Standing,
        draft: &File,
        write: impl FnOnce(Option<&File>, &File) -> io::Result<()>,
    ) -> Result<()> {
        let failed = |cause: io::Error| self.failed("write", cause);
        let mode = match standing.file() {
            Some(old) => {
                let stat = rustix::fs::fstat(old).map_err(|cause| failed(cause.into()))?;
                // Only root may give a file away; everyone else made it as who they are.
                let _ = std::os::unix::fs::fchown(draft.as_fd(), Some(stat.st_uid), Some(stat.st_gid));
                Mode::from_raw_mode(stat.st_mode)
            }
            None => Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::ROTH,
        };
        rustix::fs::fchmod(draft, mode).map_err(|cause| failed(cause.into()))?;
        write(standing.file(), draft).and_then(|()| draft.sync_all()).map_err(failed)
    }

    /// Gives the draft its place. The two files change names, so that a write in the last moment is still found in the
    /// old one, which then gets its name back.
    fn swap(&self, standing: &Standing, draft: &File) -> Result<bool> {
        if !self.unchanged(standing)? {
            return Ok(false);
        }
        let Some((_, identity)) = &standing.0 else {
            return match self.rename(RenameFlags::NOREPLACE) {
                Ok(()) => Ok(true),
                Err(Errno::EXIST) => Ok(false),
                Err(cause) => Err(self.failed("make", cause)),
            };
        };
        match self.rename(RenameFlags::EXCHANGE) {
            Ok(()) => {}
            Err(Errno::NOENT) => return Ok(false),
            // Not every file system can exchange names.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                return self
                    .rename(RenameFlags::empty())
                    .map(|()| true)
                    .map_err(|cause| self.failed("replace", cause));
            }
            Err(cause) => return Err(self.failed("replace", cause)),
        }
        if self.named(&self.draft_name())? == Some(*identity) {
            return Ok(true);
        }
        self.exchange_back(draft).map(|()| false)
    }

    fn exchange_back(&self, draft: &File) -> Result<()> {
        let failed = |cause: Errno| self.failed("replace", cause);
        self.rename(RenameFlags::EXCHANGE).map_err(failed)?;
        let stat = rustix::fs::fstat(draft).map_err(failed)?;
        if self.named(&self.draft_name())?.is_some_and(|found| found.inode != stat.st_ino) {
            // Somebody put yet another file in the draft's place, which is newer than the one it was changed for.
            self.rename(RenameFlags::EXCHANGE).map_err(failed)?;
        }
        Ok(())
    }

    fn rename(&self, flags: RenameFlags) -> rustix::io::Result<()> {
        let draft = self.draft_name();
        rustix::fs::renameat_with(&self.directory, &draft, &self.directory, &self.name, flags)
    }
}
