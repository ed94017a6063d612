//! A directory that a restore fills out of sight and shows when it is complete.
//!
//! A target directory that is new or empty is filled as `.NAME.holdfast-ID/tree` beside it and takes its name in one
//! rename. One that already holds something can only be changed in place; then `.holdfast-ID` inside it keeps what is
//! under way. Either **workshop** is named after the restore: a repeat finds it, finishing and abandoning remove it.

use crate::local_fs::{shown, target_error};
use crate::target::OnConflict;
use holdfast_vault::error::{Code, Error, Result};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// So much of a directory's name goes into its workshop's, which then fits whatever the directory is called.
const NAME_PART: usize = 120;

/// A target directory of one restore.
#[derive(Debug, Clone)]
pub(crate) struct StagedDir {
    directory: PathBuf,
    label: String,
    restore_id: String,
}

/// Where a restore works, made by [`StagedDir::prepare`].
#[derive(Debug, Clone)]
pub(crate) struct Workshop {
    /// Private to the restore; the connector may keep files of its own in it.
    pub(crate) path: PathBuf,
    /// What will be, or is, the target directory.
    pub(crate) root: PathBuf,
    /// Whether `root` is out of sight and takes its name at the end.
    pub(crate) staged: bool,
}

/// What stands under the target's name.
enum Standing {
    Nothing,
    Empty { mount_point: bool },
    Filled,
}

impl StagedDir {
    pub(crate) fn new(scheme: &str, directory: PathBuf, restore_id: &str) -> Self {
        let label = format!("{scheme}:{}", shown(&directory));
        Self { directory, label, restore_id: restore_id.to_owned() }
    }

    /// The target as the operator named it.
    pub(crate) fn label(&self) -> &str {
        &self.label
    }

    /// A failure of the file system at a path of this target.
    pub(crate) fn failed(&self, doing: &str, path: &Path, cause: impl Into<io::Error>) -> Error {
        target_error(doing, &self.label, &shown(path), cause)
    }

    /// The target directory without links in its path.
    pub(crate) fn directory(&self) -> Result<PathBuf> {
        self.resolve()
    }

    /// Whether the directory can be filled under this policy; changes nothing. Tells whether it would be staged.
    pub(crate) fn check(&self, on_conflict: OnConflict) -> Result<bool> {
        let directory = self.resolve()?;
        let standing = self.standing(&directory)?;
        match (standing, on_conflict) {
            (Standing::Filled, OnConflict::Fail) => {
                Err(Error::new(Code::TargetNotEmpty, format!("{} is not empty", self.label))
                    .object(&self.label)
                    .hint("restore into a new directory, or add --on-conflict skip or overwrite"))
            }
            (Standing::Empty { mount_point: true }, OnConflict::Fail) => {
                Err(Error::new(Code::TargetInvalid, format!("{} is a mount point", self.label))
                    .object(&self.label)
                    .hint("restore into a new directory inside it, or add --on-conflict skip or overwrite"))
            }
            (Standing::Filled | Standing::Empty { mount_point: true }, _) => Ok(false),
            (Standing::Nothing | Standing::Empty { .. }, _) => Ok(true),
        }
    }

    /// Makes the workshop, or finds the one that an earlier call made.
    pub(crate) fn prepare(&self, on_conflict: OnConflict) -> Result<Workshop> {
        if let Some(found) = self.find()? {
            return Ok(found);
        }
        let staged = self.check(on_conflict)?;
        let directory = self.resolve()?;
        let path = if staged { self.beside(&directory)? } else { self.inside(&directory) };
        let made = fs::DirBuilder::new().mode(0o700).create(&path);
        match made {
            Err(cause) if cause.kind() != io::ErrorKind::AlreadyExists => {
                let error = self.failed("make", &path, cause);
                return Err(match error.code {
                    Code::TargetDenied => error
                        .hint("the restore first fills a hidden directory beside it: restore to where you may write"),
                    _ => error,
                });
            }
            _ => {}
        }
        let root = if staged { path.join("tree") } else { directory };
        if staged {
            self.make_dir(&root)?;
        }
        Ok(Workshop { path, root, staged })
    }

    /// The workshop that an earlier call of this restore made, also in another process.
    pub(crate) fn open(&self) -> Result<Workshop> {
        self.find()?.ok_or_else(|| {
            Error::new(Code::TargetInvalid, format!("{} is not prepared for this restore", self.label))
                .object(&self.label)
                .hint("the restore was ended meanwhile; run it again")
        })
    }

    /// As [`StagedDir::open`]; `None` where nothing is under way.
    pub(crate) fn find(&self) -> Result<Option<Workshop>> {
        let directory = self.resolve()?;
        let beside = self.beside(&directory)?;
        if is_dir(&beside.join("tree")) {
            let root = beside.join("tree");
            return Ok(Some(Workshop { path: beside, root, staged: true }));
        }
        let inside = self.inside(&directory);
        Ok(is_dir(&inside).then_some(Workshop { path: inside, root: directory, staged: false }))
    }

    /// Makes a directory unless it is there.
    pub(crate) fn make_dir(&self, path: &Path) -> Result<()> {
        match fs::create_dir(path) {
            Err(cause) if cause.kind() != io::ErrorKind::AlreadyExists => {
                Err(self.failed("make", path, cause))
            }
            _ => Ok(()),
        }
    }

    /// Makes what was written last beyond a loss of power, gives it its name, and removes the workshop.
    pub(crate) fn publish(&self, workshop: &Workshop) -> Result<()> {
        let directory = self.resolve()?;
        self.sync(&workshop.root)?;
        if workshop.staged {
            self.take_over_attributes(&directory, &workshop.root)?;
            fs::rename(&workshop.root, &directory).map_err(|cause| match Errno::from_io_error(&cause) {
                Some(Errno::NOTEMPTY | Errno::EXIST) => {
                    Error::new(Code::TargetNotEmpty, format!("{} was filled meanwhile", self.label))
                        .object(&self.label)
                        .hint("empty it, or restore into another directory")
                }
                _ => self.failed("rename the restored tree to", &directory, cause),
            })?;
            if let Some(parent) = directory.parent() {
                fs::File::open(parent)
                    .and_then(|parent| parent.sync_all())
                    .map_err(|cause| self.failed("sync", parent, cause))?;
            }
        }
        self.abandon()
    }

    /// Ends a repeated finish: the directory must be there, and what a killed call left is removed.
    pub(crate) fn finished(&self) -> Result<()> {
        if !is_dir(&self.resolve()?) {
            return self.open().map(|_| ());
        }
        self.abandon()
    }

    /// Removes what this restore has under way. What it already changed in place stays.
    pub(crate) fn abandon(&self) -> Result<()> {
        let directory = self.resolve()?;
        for path in [self.beside(&directory)?, self.inside(&directory)] {
            remove_tree(&path).map_err(|cause| self.failed("remove", &path, cause))?;
        }
        Ok(())
    }

    fn sync(&self, path: &Path) -> Result<()> {
        let failed = |cause: io::Error| self.failed("sync", path, cause);
        let directory = fs::File::open(path).map_err(failed)?;
        rustix::fs::syncfs(&directory).map_err(|cause| failed(cause.into()))
    }

    /// An empty directory that is replaced hands on its permissions and, where allowed, its owner.
    fn take_over_attributes(&self, from: &Path, to: &Path) -> Result<()> {
        let Ok(old) = fs::metadata(from) else { return Ok(()) };
        // Only root may give a directory away; everyone else made it as who they are.
        let _ = std::os::unix::fs::chown(to, Some(old.uid()), Some(old.gid()));
        fs::set_permissions(to, old.permissions()).map_err(|cause| self.failed("set the mode of", to, cause))
    }

    /// The directory without links in its path, whether it exists or not.
    fn resolve(&self) -> Result<PathBuf> {
        match fs::canonicalize(&self.directory) {
            Ok(path) => return Ok(path),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
            Err(cause) => return Err(self.failed("use", &self.directory, cause)),
        }
        if fs::symlink_metadata(&self.directory).is_ok() {
            return Err(Error::new(Code::TargetInvalid, format!("{} is a link to nothing", self.label))
                .object(&self.label)
                .hint("remove the link, or restore to where it should point"));
        }
        let path =
            std::path::absolute(&self.directory).map_err(|c| self.failed("use", &self.directory, c))?;
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Error::new(Code::TargetInvalid, format!("{} names no directory", self.label))
                .object(&self.label)
                .hint("name a new directory"));
        };
        match fs::canonicalize(parent) {
            Ok(parent) => Ok(parent.join(name)),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Err(Error::new(
                Code::TargetInvalid,
                format!("{}: the directory {} does not exist", self.label, shown(parent)),
            )
            .object(&self.label)
            .hint("make it first, or name a new directory inside one that exists")),
            Err(cause) => Err(self.failed("use", parent, cause)),
        }
    }

    fn standing(&self, directory: &Path) -> Result<Standing> {
        let found = match fs::metadata(directory) {
            Ok(found) => found,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Standing::Nothing),
            Err(cause) => return Err(self.failed("use", directory, cause)),
        };
        if !found.is_dir() {
            return Err(Error::new(Code::TargetInvalid, format!("{} is no directory", self.label))
                .object(&self.label)
                .hint("name a new directory"));
        }
        let own = self.inside(directory);
        for entry in fs::read_dir(directory).map_err(|cause| self.failed("list", directory, cause))? {
            let entry = entry.map_err(|cause| self.failed("list", directory, cause))?;
            if entry.path() != own {
                return Ok(Standing::Filled);
            }
        }
        let parent = directory.parent().map(fs::metadata).transpose();
        let mount_point = !matches!(parent, Ok(Some(parent)) if parent.dev() == found.dev());
        Ok(Standing::Empty { mount_point })
    }

    /// The workshop beside the target, whether it is there or not.
    pub(crate) fn beside(&self, directory: &Path) -> Result<PathBuf> {
        let name = directory.file_name().unwrap_or(OsStr::new("root")).as_bytes();
        let mut hidden = OsString::from(".");
        hidden.push(OsStr::from_bytes(&name[..name.len().min(NAME_PART)]));
        hidden.push(format!(".holdfast-{}", self.plain_id()?));
        Ok(directory.with_file_name(hidden))
    }

    fn inside(&self, directory: &Path) -> PathBuf {
        directory.join(format!(".holdfast-{}", self.restore_id))
    }

    /// The id goes into names of files, so it must not lead elsewhere.
    fn plain_id(&self) -> Result<&str> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if !self.restore_id.is_empty() && self.restore_id.len() <= 64 && self.restore_id.bytes().all(plain) {
            return Ok(&self.restore_id);
        }
        Err(Error::new(Code::Internal, "the restore's id is not fit for a file's name"))
    }
}

/// The name as one plain segment of a path, or nothing if it is none.
pub(crate) fn plain_name(name: &str) -> Option<&str> {
    let plain = !matches!(name, "" | "." | "..") && name.len() <= 255 && !name.contains(['/', '\0']);
    plain.then_some(name)
}

fn is_dir(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_dir())
}

/// Removes a tree, also where its directories may not be read or changed. Succeeds where there is none.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    let gone = |result: io::Result<()>| match result {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    };
    match gone(fs::remove_dir_all(path)) {
        Err(cause) if cause.kind() == io::ErrorKind::PermissionDenied => {
            unlock(path)?;
            gone(fs::remove_dir_all(path))
        }
        other => other,
    }
}

/// Lets the owner into every directory of a tree that only this restore knows.
pub(crate) fn unlock(path: &Path) -> io::Result<()> {
    let mut waiting = vec![path.to_owned()];
    while let Some(directory) = waiting.pop() {
        let mode = fs::symlink_metadata(&directory)?.permissions().mode();
        fs::set_permissions(&directory, fs::Permissions::from_mode(mode | 0o700))?;
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                waiting.push(entry.path());
            }
        }
    }
    Ok(())
}
