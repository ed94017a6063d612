//! Storage in a directory: an object is a file, its key the file's relative path.
//!
//! An object is written to a file below `.tmp`, made durable, and linked to its name, which fails where the name is
//! taken: nobody ever sees half an object, and of two writers one creates. A crash leaves at most a file below `.tmp`
//! that no process holds locked; the next one to open the directory removes it.
//!
//! What is copied from another directory of the same file system is compared and then linked: objects never change, so
//! one file can be both until the other name goes.

use super::{PAGE, PartRead, check_layout, missing, resolve, staging_damaged, staging_missing};
use async_trait::async_trait;
use bytes::Bytes;
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::storage::{ByteRange, Listing, ObjectInfo, PartSum, Put, Storage, check_key};
use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};
use rustix::io::Errno;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where objects are written before they have a name.
const TEMPORARY: &str = ".tmp";
/// Bytes that are read at a time of what is copied.
const PIECE: usize = 1 << 20;
/// From this size on the buffer of what is read is one whose memory is given back.
const LARGE: usize = 8 << 20;
/// The allocator gives the memory of a buffer of more than 32 MiB back with it; smaller ones it may keep, in every thread.
const GIVEN_BACK: usize = (32 << 20) + 1;
/// How often a write is begun again when another process cleared the way under it.
const TRIES: u32 = 5;

/// Objects as files of a directory.
#[derive(Debug, Clone)]
pub struct DirectoryStorage(Arc<Root>);

#[derive(Debug)]
struct Root {
    name: String,
    path: PathBuf,
    /// Whether what is written outlasts a power cut.
    durable: bool,
}

impl DirectoryStorage {
    /// Opens a directory, makes it where it is missing, and removes what crashes left behind.
    ///
    /// # Errors
    /// `HomeInvalid` if the path is no directory or not UTF-8, `Storage*` if it cannot be made or read.
    pub fn open(path: &Path) -> Result<Self> {
        Self::with(path, true)
    }

    /// As [`DirectoryStorage::open`], for what a power cut may take: nothing waits until the disk has it.
    ///
    /// # Errors
    /// As [`DirectoryStorage::open`].
    pub fn scratch(path: &Path) -> Result<Self> {
        Self::with(path, false)
    }

    fn with(path: &Path, durable: bool) -> Result<Self> {
        let shown = path.display().to_string();
        let invalid = |why: &str| {
            Error::new(Code::HomeInvalid, format!("{shown} {why}"))
                .object(&shown)
                .hint("name a directory that can hold the vault")
        };
        if path.exists() && !path.is_dir() {
            return Err(invalid("is no directory"));
        }
        let failed = |error: io::Error| failure(&shown, "opening it", &error);
        make_directories(&path.join(TEMPORARY)).map_err(failed)?;
        let path = path.canonicalize().map_err(failed)?;
        let name = path.to_str().ok_or_else(|| invalid("has a name that is not UTF-8"))?.to_owned();
        let root = Root { name, path, durable };
        root.clear_temporary().map_err(failed)?;
        Ok(Self(Arc::new(root)))
    }

    /// Runs work that waits for the disk where it holds up nobody.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Root) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let root = Arc::clone(&self.0);
        match tokio::task::spawn_blocking(move || work(&root)).await {
            Ok(result) => result,
            Err(error) => Err(Error::new(Code::Internal, format!("work on storage ended early: {error}"))),
        }
    }
}

#[async_trait]
impl Storage for DirectoryStorage {
    fn name(&self) -> &str {
        &self.0.name
    }

    async fn head(&self, key: &str) -> Result<ObjectInfo> {
        let key = checked(key)?;
        self.run(move |root| {
            let (_, size) = root.open_object(&key)?;
            Ok(ObjectInfo { key, size })
        })
        .await
    }

    async fn get(&self, key: &str, range: ByteRange) -> Result<Bytes> {
        let key = checked(key)?;
        self.run(move |root| {
            let (file, size) = root.open_object(&key)?;
            let (start, end) = resolve(range, &key, size)?;
            let length = usize::try_from(end - start).unwrap_or(usize::MAX);
            // Room that nothing is read into takes no memory.
            let mut bytes = Vec::with_capacity(if length < LARGE { length } else { length.max(GIVEN_BACK) });
            let read = (&file).seek(SeekFrom::Start(start));
            let read = read.and_then(|_| (&file).take(end - start).read_to_end(&mut bytes));
            let read = read.map_err(|error| root.failure(&format!("reading object {key}"), &error))?;
            if read == length {
                Ok(Bytes::from(bytes))
            } else {
                Err(Error::damaged(&key, "it was cut while it was read"))
            }
        })
        .await
    }

    async fn put_if_absent(&self, key: &str, body: Bytes) -> Result<Put> {
        let key = checked(key)?;
        self.run(move |root| root.put(&key, |file| Ok(file.write_all(&body)?))).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Listing> {
        let (prefix, after) = (prefix.to_owned(), after.unwrap_or_default().to_owned());
        self.run(move |root| {
            let mut walk = Walk { prefix, after, page: Listing::default() };
            walk.directory(&root.path, "").map_err(|error| root.failure("listing it", &error))?;
            Ok(walk.page)
        })
        .await
    }

    async fn copy_from(&self, from: &str, key: &str, to: &str, parts: &[PartSum]) -> Result<Put> {
        let (key, to) = (checked(key)?, checked(to)?);
        let (from, parts) = (from.to_owned(), parts.to_vec());
        self.run(move |root| {
            let source = Root { path: PathBuf::from(&from), name: from, durable: root.durable };
            if !source.path.is_absolute() {
                return Err(staging_missing(&source.name, &key));
            }
            let unusable = |error: Error| match error.code {
                Code::ObjectMissing => staging_missing(&source.name, &key),
                _ => error,
            };
            let (file, size) = source.open_object(&key).map_err(unusable)?;
            check_layout(&key, size, &parts)?;
            let from = Staged { key: &key, path: source.path.join(&key), file, parts: &parts };
            let copy =
                |target: &Path| root.try_put(target, |target| from.read(|bytes| target.write_all(bytes)));
            // Told before it is read: a link to another file system would fail only after that.
            let is_near = from.stands_beside(root).map_err(|error| root.failure("looking at it", &error))?;
            root.put_by(&to, |target| match is_near.then(|| from.link(root, target)) {
                None => copy(target),
                Some(Err(Trouble::Disk(error))) if no_link(&error) => copy(target),
                Some(linked) => linked,
            })
        })
        .await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        let key = checked(key)?;
        self.run(move |root| root.delete(&key)).await
    }
}

fn checked(key: &str) -> Result<String> {
    check_key(key)?;
    if key.split('/').next() == Some(TEMPORARY) {
        return Err(Error::new(Code::InvalidInput, format!("{key:?} is no object key")).object(key));
    }
    Ok(key.to_owned())
}

/// Why an object was not written: the disk's reason or the source's.
enum Trouble {
    Disk(io::Error),
    Source(Error),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

/// An object of another directory that is copied.
struct Staged<'a> {
    key: &'a str,
    path: PathBuf,
    file: File,
    parts: &'a [PartSum],
}

impl Staged<'_> {
    /// Whether it is on the file system of a directory.
    fn stands_beside(&self, root: &Root) -> io::Result<bool> {
        Ok(self.file.metadata()?.dev() == std::fs::metadata(&root.path)?.dev())
    }

    /// Reads it piece by piece, and compares each part with its sum.
    fn read(&self, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> Result<(), Trouble> {
        let (mut source, mut piece) = (&self.file, vec![0; PIECE]);
        io::Seek::rewind(&mut source)?;
        for (at, part) in self.parts.iter().enumerate() {
            let (mut rest, mut sum) = (source.take(part.size), PartRead::default());
            loop {
                match rest.read(&mut piece)? {
                    0 => break,
                    read => {
                        sum.add(&piece[..read]);
                        take(&piece[..read])?;
                    }
                }
            }
            sum.check(self.key, at, part).map_err(Trouble::Source)?;
        }
        if source.read(&mut [0])? == 0 {
            return Ok(());
        }
        Err(Trouble::Source(staging_damaged(self.key, "it grew while it was read")))
    }

    /// Gives the file, when it is found to be whole, a second name in a directory.
    fn link(&self, root: &Root, target: &Path) -> Result<Put, Trouble> {
        self.read(|_| Ok(()))?;
        if root.durable {
            self.file.sync_all()?;
        }
        root.name(target, || match rustix::fs::link(&self.path, target) {
            Err(Errno::NOENT) if !self.path.exists() => {
                Err(Trouble::Source(staging_damaged(self.key, "it was removed while it was read")))
            }
            Err(error) => Err(Trouble::Disk(error.into())),
            Ok(()) => Ok(()),
        })
    }
}

/// Whether a file can have no second name there.
fn no_link(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::XDEV | Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::MLINK))
}

impl Root {
    fn failure(&self, doing: &str, error: &io::Error) -> Error {
        failure(&self.name, doing, error)
    }

    fn open_object(&self, key: &str) -> Result<(File, u64)> {
        let open = || {
            let file = File::open(self.path.join(key))?;
            let facts = file.metadata()?;
            Ok((file, facts))
        };
        match open() {
            Ok((file, facts)) if facts.is_file() => Ok((file, facts.len())),
            Ok(_) => Err(missing(&self.name, key)),
            Err(error) if is_missing(&error) => Err(missing(&self.name, key)),
            Err(error) => Err(self.failure(&format!("reading object {key}"), &error)),
        }
    }

    /// Writes an object through `fill` unless one of that key exists.
    fn put(&self, key: &str, fill: impl Fn(&mut File) -> Result<(), Trouble>) -> Result<Put> {
        self.put_by(key, |target| self.try_put(target, &fill))
    }

    /// Makes an object by `attempt` unless one of that key exists.
    fn put_by(&self, key: &str, attempt: impl Fn(&Path) -> Result<Put, Trouble>) -> Result<Put> {
        let target = self.path.join(key);
        let failed = |error: &io::Error| self.failure(&format!("writing object {key}"), error);
        for tried in 0.. {
            if self.exists(&target).map_err(|error| failed(&error))? {
                return Ok(Put::Exists);
            }
            match attempt(&target) {
                Ok(put) => return Ok(put),
                Err(Trouble::Source(error)) => return Err(error),
                // The temporary file or the object's directory was removed by another process meanwhile.
                Err(Trouble::Disk(error)) if error.kind() == ErrorKind::NotFound && tried < TRIES => {}
                Err(Trouble::Disk(error)) => return Err(failed(&error)),
            }
        }
        Err(Error::new(Code::Internal, format!("writing object {key} was given up")))
    }

    /// Whether the object is there, for good: a name that another writer just gave it is made durable first.
    fn exists(&self, target: &Path) -> io::Result<bool> {
        match target.symlink_metadata() {
            Ok(facts) if facts.is_file() => {
                if self.durable {
                    sync_directory(target.parent().unwrap_or(&self.path))?;
                }
                Ok(true)
            }
            Ok(_) => Err(io::Error::new(ErrorKind::IsADirectory, "something else has the object's name")),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn try_put(
        &self,
        target: &Path,
        fill: impl Fn(&mut File) -> Result<(), Trouble>,
    ) -> Result<Put, Trouble> {
        let mut temporary = Temporary::create(&self.path.join(TEMPORARY))?;
        fill(&mut temporary.file)?;
        if self.durable {
            temporary.file.sync_all()?;
        }
        self.name(target, || Ok(temporary.name(target)?))
    }

    /// Gives a file that is whole the name of an object, unless the name is taken.
    fn name(&self, target: &Path, give: impl FnOnce() -> Result<(), Trouble>) -> Result<Put, Trouble> {
        let parent = target.parent().unwrap_or(&self.path);
        make_directories(parent)?;
        let put = match give() {
            Ok(()) => Put::Created,
            Err(Trouble::Disk(error)) if error.kind() == ErrorKind::AlreadyExists => {
                self.exists(target)?;
                Put::Exists
            }
            Err(trouble) => return Err(trouble),
        };
        if self.durable {
            sync_directory(parent)?;
        }
        Ok(put)
    }

    fn delete(&self, key: &str) -> Result<()> {
        let path = self.path.join(key);
        let removed = std::fs::remove_file(&path).and_then(|()| {
            let parent = path.parent().unwrap_or(&self.path);
            if self.durable {
                sync_directory(parent)?;
            }
            // Directories that hold nothing are no objects; one that is in use again is not empty and stays.
            for directory in parent.ancestors().take_while(|at| *at != self.path) {
                if std::fs::remove_dir(directory).is_err() {
                    break;
                }
            }
            Ok(())
        });
        match removed {
            Err(error) if !is_missing(&error) && !path.is_dir() => {
                Err(self.failure(&format!("deleting object {key}"), &error))
            }
            _ => Ok(()),
        }
    }

    fn clear_temporary(&self) -> io::Result<()> {
        for entry in std::fs::read_dir(self.path.join(TEMPORARY))? {
            let path = entry?.path();
            let held = match File::open(&path) {
                Ok(file) => flock(&file, FlockOperation::NonBlockingLockExclusive).is_err(),
                Err(_) => false,
            };
            if !held
                && let Err(error) = std::fs::remove_file(&path)
                && error.kind() != ErrorKind::NotFound
            {
                return Err(error);
            }
        }
        Ok(())
    }
}

/// A file without a name of its own yet; removed when dropped, however the write ended.
struct Temporary {
    path: PathBuf,
    file: File,
}

impl Temporary {
    fn create(directory: &Path) -> io::Result<Self> {
        let mut random = [0_u8; 16];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let path = directory.join(hex::encode(random));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        let temporary = Self { path, file };
        // Locked, so that a process that opens the directory now knows that the file is in use.
        flock(&temporary.file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(temporary)
    }

    /// Gives the file its name, unless the name is taken.
    fn name(&self, target: &Path) -> io::Result<()> {
        match rustix::fs::link(&self.path, target) {
            Ok(()) => Ok(()),
            // A file system without hard links can still rename without replacing.
            Err(error) if no_link(&io::Error::from(error)) => {
                Ok(renameat_with(CWD, &self.path, CWD, target, RenameFlags::NOREPLACE)?)
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // What cannot be removed now is removed when the directory is opened next.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A walk in byte order of keys that stops when a page is full.
struct Walk {
    prefix: String,
    after: String,
    page: Listing,
}

impl Walk {
    /// Visits a directory whose keys begin with `base`, which is empty or ends with `/`.
    fn directory(&mut self, path: &Path, base: &str) -> io::Result<()> {
        let mut keys = Vec::new();
        let entries = match std::fs::read_dir(path) {
            Err(error) if is_missing(&error) => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let (name, kind) = (entry.file_name(), entry.file_type()?);
            // What has no key is not ours.
            let Some(name) = name.to_str().filter(|name| check_key(name).is_ok()) else { continue };
            if kind.is_dir() && !(base.is_empty() && name == TEMPORARY) {
                keys.push(format!("{base}{name}/"));
            } else if kind.is_file() {
                keys.push(format!("{base}{name}"));
            }
        }
        // With the slash behind a directory's name this is the order of the keys within.
        keys.sort_unstable();
        for key in keys {
            if self.page.more {
                break;
            }
            let below = path.join(key[base.len()..].trim_end_matches('/'));
            if key.ends_with('/') {
                let wanted = key.starts_with(&self.prefix) || self.prefix.starts_with(&key);
                if wanted && (key > self.after || self.after.starts_with(&key)) {
                    self.directory(&below, &key)?;
                }
            } else if key.starts_with(&self.prefix) && key > self.after {
                self.object(&below, key)?;
            }
        }
        Ok(())
    }

    fn object(&mut self, path: &Path, key: String) -> io::Result<()> {
        if self.page.objects.len() == PAGE {
            self.page.more = true;
            return Ok(());
        }
        match path.symlink_metadata() {
            Ok(facts) => self.page.objects.push(ObjectInfo { key, size: facts.len() }),
            // Deleted since the directory was read.
            Err(error) if is_missing(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// Makes a directory and those above it, each for the owner only and each durable in the one above.
fn make_directories(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if above != path {
        make_directories(above)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => sync_directory(above),
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn failure(directory: &str, doing: &str, error: &io::Error) -> Error {
    let (code, why, hint) = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => (
            Code::StorageFull,
            "the disk is full".to_owned(),
            "free some space there, or use a directory on a larger disk",
        ),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => (
            Code::StorageDenied,
            error.to_string(),
            "give this user the right to read and write the directory",
        ),
        _ => {
            (Code::StorageUnavailable, error.to_string(), "check the disk and the directory, then try again")
        }
    };
    Error::new(code, format!("storage in {directory}: {doing} failed: {why}")).object(directory).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_with_its_directory() {
        for number in [28, 122] {
            let error = failure("/vault", "writing object a", &io::Error::from_raw_os_error(number));
            assert_eq!((error.code, error.object.as_deref()), (Code::StorageFull, Some("/vault")));
            assert!(error.message.contains("object a") && error.hint.is_some());
        }
        let error = failure("/vault", "reading", &io::Error::from_raw_os_error(13));
        assert_eq!(error.code, Code::StorageDenied);
    }
}
