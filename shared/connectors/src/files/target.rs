//! The target `files`: a directory that gets the files of tree streams.

use super::journal::{self, Journal};
use super::place::{Places, Stands, enter, segments};
use super::write::{Outcome, Writer};
use crate::batch::RecordBatch;
use crate::local_fs::printable;
use crate::staged_dir::{StagedDir, Workshop, plain_name, unlock};
use crate::target::{Content, OnConflict, Position, RestoreOrder, Target, Written};
use async_trait::async_trait;
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::model::{EntryKind, EntryMeta, StreamInfo, StreamKind, Warning};
use rustix::fs::{AtFlags, Mode, OFlags, mkdirat, unlinkat};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Writes into a directory. One that is new or empty is filled out of sight and appears when it is complete.
///
/// The entries of one stream go right into it, those of several each into a directory of the stream's name.
pub struct FilesTarget {
    staged: StagedDir,
    on_conflict: OnConflict,
    several: bool,
    site: Mutex<Option<Arc<Site>>>,
}

/// The prepared target, as one process uses it.
struct Site {
    workshop: Workshop,
    places: Places,
    journal: Journal,
    writer: Writer,
}

/// The way to an entry's directory.
enum Way {
    /// Open, and so many things of another kind were replaced on the way.
    Open(Arc<OwnedFd>, u64),
    /// Something else stands there and is kept.
    Kept,
}

impl FilesTarget {
    /// A target for one restore, by its order.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>, order: &RestoreOrder) -> Self {
        Self {
            staged: StagedDir::new("files", directory.into(), &order.restore_id),
            on_conflict: order.on_conflict,
            several: order.streams.len() > 1,
            site: Mutex::default(),
        }
    }

    fn check_streams(&self, order: &RestoreOrder) -> Result<()> {
        for stream in &order.streams {
            if stream.shape != StreamKind::Tree {
                let text = format!(
                    "stream {} holds records, which {} cannot take",
                    stream.name,
                    self.staged.label()
                );
                return Err(Error::new(Code::TargetInvalid, text)
                    .object(&stream.name)
                    .hint("restore it to jsonl:DIR or dynamodb:TABLE"));
            }
            if order.streams.len() > 1 {
                self.folder(stream)?;
            }
        }
        Ok(())
    }

    /// The name of the directory that a stream of several goes into.
    fn folder<'a>(&self, stream: &'a StreamInfo) -> Result<&'a str> {
        plain_name(&stream.name).ok_or_else(|| {
            let text =
                format!("{}: stream {:?} cannot be a directory's name", self.staged.label(), stream.name);
            Error::new(Code::TargetInvalid, text).object(&stream.name).hint("restore it alone, with --stream")
        })
    }

    fn site(&self) -> Result<Arc<Site>> {
        let mut site = self.site.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(site) = &*site {
            return Ok(Arc::clone(site));
        }
        let opened = Arc::new(self.open_site(self.staged.open()?)?);
        Ok(Arc::clone(site.insert(opened)))
    }

    fn open_site(&self, workshop: Workshop) -> Result<Site> {
        let open = |path: &Path| -> Result<OwnedFd> {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::open(path, flags, Mode::empty())
                .map_err(|cause| self.staged.failed("open", path, cause))
        };
        Ok(Site {
            places: Places::new(open(&workshop.root)?),
            journal: Journal::new(workshop.path.join("directories")),
            writer: Writer::new(open(&workshop.path.join("temporary"))?, self.on_conflict, workshop.staged),
            workshop,
        })
    }

    /// The path as messages show it, and what of it is a fault.
    fn refused(&self, path: &[u8], why: &str) -> Error {
        Error::new(Code::TargetInvalid, format!("{}: entry {} {why}", self.staged.label(), printable(path)))
            .object(printable(path))
    }

    /// Opens the directory that the names lead to and makes what is missing of it. `own` is the mode for the last
    /// one where that is an entry itself.
    fn way(&self, site: &Site, names: &[&[u8]], own: Option<u32>) -> Result<Way> {
        let mut replaced = 0;
        let mut kept = false;
        let opened = site.places.directory(names, |parent, count| {
            let (path, name) = (&names[..count], OsStr::from_bytes(names[count - 1]));
            let entry = own.filter(|_| count == names.len());
            loop {
                let failed = |cause: Errno| self.entry_failed(&path.join(&b'/'), cause);
                match enter(parent, name).map_err(failed)? {
                    Stands::Directory(directory) => return Ok(directory),
                    Stands::Nothing => self.make_directory(site, parent, path, entry)?,
                    Stands::Link => {
                        let error =
                            self.refused(&path.join(&b'/'), "is a link in the target and is not followed");
                        return Err(error.hint("remove the link, or restore into a new directory"));
                    }
                    Stands::Other if site.workshop.staged => {
                        return Err(self.refused(&path.join(&b'/'), "is a directory and something else too"));
                    }
                    Stands::Other if self.on_conflict == OnConflict::Overwrite => {
                        unlinkat(parent, name, AtFlags::empty()).map_err(failed)?;
                        replaced += 1;
                    }
                    Stands::Other => {
                        kept = true;
                        return Err(self.conflict(&path.join(&b'/'), "is no directory"));
                    }
                }
            }
        });
        match opened {
            Err(_) if kept && self.on_conflict == OnConflict::Skip => Ok(Way::Kept),
            opened => Ok(Way::Open(opened?, replaced)),
        }
    }

    fn make_directory(
        &self,
        site: &Site,
        parent: BorrowedFd<'_>,
        path: &[&[u8]],
        own: Option<u32>,
    ) -> Result<()> {
        let failed = |cause: io::Error| self.entry_failed(&path.join(&b'/'), cause);
        let Some(name) = path.last() else { return Ok(()) };
        // In place, nobody is to look into a directory whose mode is not known yet.
        let implied = if site.workshop.staged { 0o777 } else { 0o700 };
        let bits = own.map_or(implied, |bits| (bits & 0o777) | 0o700);
        match mkdirat(parent, OsStr::from_bytes(name), Mode::from_raw_mode(bits)) {
            Ok(()) if own.is_none() && !site.workshop.staged => {
                site.journal.note_implied(path).map_err(failed)
            }
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(cause) => Err(failed(cause.into())),
        }
    }

    fn entry_failed(&self, path: &[u8], cause: impl Into<io::Error>) -> Error {
        self.staged.failed("write", Path::new(OsStr::from_bytes(path)), cause)
    }

    fn conflict(&self, path: &[u8], why: &str) -> Error {
        let text = format!("{}: {} {why}, unlike in the backup", self.staged.label(), printable(path));
        Error::new(Code::TargetConflict, text)
            .object(printable(path))
            .hint("move it away, or restore into a new directory")
    }

    fn write_directory(&self, site: &Site, names: &[&[u8]], meta: &EntryMeta) -> Result<Written> {
        match self.way(site, names, Some(meta.mode.unwrap_or(0o777)))? {
            Way::Kept => Ok(Written { conflicts: 1, ..Written::default() }),
            Way::Open(_, conflicts) => {
                site.journal
                    .note(names, meta.mode, meta.mtime)
                    .map_err(|cause| self.entry_failed(&meta.path, cause))?;
                Ok(Written { written: 1, conflicts, bytes: 0 })
            }
        }
    }
}

#[async_trait]
impl Target for FilesTarget {
    async fn check(&self, order: &RestoreOrder) -> Result<()> {
        self.check_streams(order)?;
        if self.staged.find()?.is_none() {
            self.staged.check(order.on_conflict)?;
        }
        Ok(())
    }

    async fn prepare(&self, order: &RestoreOrder) -> Result<()> {
        self.check_streams(order)?;
        let workshop = self.staged.prepare(order.on_conflict)?;
        for folder in ["directories", "temporary"] {
            self.staged.make_dir(&workshop.path.join(folder))?;
        }
        if self.several {
            let site = self.open_site(workshop)?;
            for stream in &order.streams {
                self.way(&site, &[self.folder(stream)?.as_bytes()], None)?;
            }
        }
        Ok(())
    }

    async fn write_records(
        &self,
        stream: &StreamInfo,
        _at: Position,
        _batch: &RecordBatch,
    ) -> Result<Written> {
        let text = format!("stream {} holds records, which {} cannot take", stream.name, self.staged.label());
        Err(Error::new(Code::TargetInvalid, text)
            .object(&stream.name)
            .hint("restore it to jsonl:DIR or dynamodb:TABLE"))
    }

    async fn write_entry(
        &self,
        stream: &StreamInfo,
        meta: &EntryMeta,
        content: &mut dyn Content,
    ) -> Result<Written> {
        let site = self.site()?;
        let mut names = segments(&meta.path).ok_or_else(|| {
            self.refused(&meta.path, "would not stay inside the target")
                .hint("restore the other entries with --path")
        })?;
        if self.several {
            names.insert(0, self.folder(stream)?.as_bytes());
        }
        // Object stores know directories only as empty objects whose names end so.
        let folder_object = meta.path.ends_with(b"/") && meta.kind == EntryKind::File;
        if meta.kind == EntryKind::Directory || (folder_object && meta.size == 0) {
            return self.write_directory(&site, &names, meta);
        }
        if folder_object {
            return Err(self
                .refused(&meta.path, "has content and the name of a directory")
                .hint("restore it to s3://"));
        }
        let Some((name, parents)) = names.split_last() else { return Ok(Written::default()) };
        let (parent, replaced) = match self.way(&site, parents, None)? {
            Way::Kept => return Ok(Written { conflicts: 1, ..Written::default() }),
            Way::Open(parent, replaced) => (parent, replaced),
        };
        let name = OsStr::from_bytes(name);
        let outcome = match &meta.kind {
            EntryKind::Symlink { target } => site.writer.link(&parent, name, target, meta.mtime),
            _ => site.writer.file(&parent, name, meta, content).await,
        };
        match outcome {
            Ok(Outcome::Done(mut written)) => {
                written.conflicts += replaced;
                Ok(written)
            }
            Ok(Outcome::Conflict(why)) => Err(self.conflict(&meta.path, why)),
            Err(failure) => Err(failure.into_error(|cause| self.entry_failed(&meta.path, cause))),
        }
    }

    async fn finish(&self, _order: &RestoreOrder) -> Result<Vec<Warning>> {
        self.site.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(workshop) = self.staged.find()? else {
            // An earlier call came to the end, or to the removal of what was left.
            self.staged.finished()?;
            return Ok(Vec::new());
        };
        let site = self.open_site(workshop)?;
        let folder = site.workshop.path.join("directories");
        let new_mode = fs::metadata(&folder).map_or(0o755, |found| found.permissions().mode());
        let mut applied = journal::apply(&folder, &site.places, new_mode);
        if site.workshop.staged
            && applied.as_ref().is_err_and(|c| c.kind() == io::ErrorKind::PermissionDenied)
        {
            // An earlier call was ended after it had set modes that keep this one out.
            applied =
                unlock(&site.workshop.root).and_then(|()| journal::apply(&folder, &site.places, new_mode));
        }
        applied.map_err(|cause| {
            self.staged.failed("set the modes of directories in", &site.workshop.root, cause)
        })?;
        self.staged.publish(&site.workshop)?;
        Ok(Vec::new())
    }

    async fn abandon(&self, _order: &RestoreOrder) -> Result<()> {
        self.site.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.staged.abandon()
    }
}
