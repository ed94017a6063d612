//! The home: one directory that holds the vault, its key, staging and job state, used by one process at a time.

use crate::journal::Journal;
use holdfast_common::jobs::{JobChange, Status};
use holdfast_common::key_file::KeyFile;
use holdfast_vault::error::{Code, Error, Result};
use holdfast_workflow::Services;
use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

/// A home that this process holds.
#[derive(Debug)]
pub struct Home {
    path: PathBuf,
    /// Held as long as the home is: the lock goes with the process, however it ends.
    _lock: File,
}

impl Home {
    /// Takes a home, and makes it where `create` is set and there is none.
    ///
    /// # Errors
    /// `HomeInvalid` if there is none, `HomeInUse` naming the process that holds it.
    pub fn open(path: &Path, create: bool) -> Result<Self> {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        let used = path.join("vault").is_dir() || path.join("key.json").is_file();
        if !used && !create {
            return Err(Error::new(Code::HomeInvalid, format!("{} is no home", path.display()))
                .object(path.display().to_string())
                .hint("name one with --home DIR, or begin one with `holdfast apply -f FILE`"));
        }
        let failed = |e: &std::io::Error| {
            Error::new(Code::HomeInvalid, format!("cannot use the home {}: {e}", path.display()))
                .object(path.display().to_string())
                .hint("name a directory that can be written with --home DIR")
        };
        std::fs::create_dir_all(&path).map_err(|e| failed(&e))?;
        let mut lock = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path.join("lock"))
            .map_err(|e| failed(&e))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use(&path, &mut lock)),
            Err(TryLockError::Error(e)) => return Err(failed(&e)),
        }
        let note = || -> std::io::Result<()> {
            lock.set_len(0)?;
            (&lock).write_all(std::process::id().to_string().as_bytes())
        };
        note().map_err(|e| failed(&e))?;
        Ok(Self { path, _lock: lock })
    }

    /// The home's directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The key file: the one that is there, or a new one where the vault is new too.
    ///
    /// # Errors
    /// `HomeInvalid` if the vault has objects and the key is gone, or the file cannot be used.
    pub fn key(&self) -> Result<KeyFile> {
        let file = self.path.join("key.json");
        if file.exists() || self.path.join("vault").join(holdfast_vault::format::root::VAULT_KEY).exists() {
            return load_key(&self.path);
        }
        KeyFile::create(&file)
    }

    /// The journal of executions.
    #[must_use]
    pub fn journal(&self) -> Journal {
        Journal::new(self.path.join("executions"))
    }

    /// Asks the process that holds a home to cancel a job; it does so before its next step.
    ///
    /// # Errors
    /// `InvalidInput` if the id is none, `HomeInvalid` if the home cannot be written.
    pub fn request_cancel(path: &Path, job: &str) -> Result<()> {
        if job.is_empty() || !job.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(Error::new(Code::InvalidInput, format!("{job:?} is no id")).object("ID"));
        }
        let directory = path.join("cancel");
        let write = || {
            std::fs::create_dir_all(&directory)?;
            std::fs::write(directory.join(job), b"")
        };
        write().map_err(|e| {
            Error::new(Code::HomeInvalid, format!("cannot write {}: {e}", directory.display()))
                .object(directory.display().to_string())
        })
    }

    /// Cancels the jobs that other processes asked to cancel.
    ///
    /// # Errors
    /// What job state gives.
    pub async fn carry_out_cancels(&self, services: &Services) -> Result<()> {
        let directory = self.path.join("cancel");
        let Ok(requests) = std::fs::read_dir(&directory) else { return Ok(()) };
        for request in requests.flatten() {
            let id = request.file_name().to_string_lossy().into_owned();
            let from = [Status::Pending, Status::Running];
            match services.jobs.transition(&id, &from, Status::Cancelled, JobChange::default()).await {
                Ok(job) => holdfast_workflow::drill::cancel_restore(&services.jobs, &job).await?,
                // It ended first, or was never there: nothing is left to cancel.
                Err(error) if error.code.class() == holdfast_vault::error::Class::BadInput => {}
                Err(error) => return Err(error),
            }
            // Of two workers that see the request one finds the file gone.
            let _ = std::fs::remove_file(request.path());
        }
        Ok(())
    }
}

/// The key file that a home has.
pub(crate) fn load_key(home: &Path) -> Result<KeyFile> {
    let file = home.join("key.json");
    if file.exists() {
        return KeyFile::load(&file);
    }
    Err(Error::new(Code::HomeInvalid, format!("{} is missing", file.display()))
        .object(file.display().to_string())
        .hint(
            "copy the key.json that was made with this vault, or make a home from an exported recovery key with \
             `holdfast key recover`; without either nothing can be restored",
        ))
}

fn in_use(path: &Path, lock: &mut File) -> Error {
    let mut holder = String::new();
    let read = lock.rewind().and_then(|()| lock.read_to_string(&mut holder));
    let by = match read {
        Ok(_) if !holder.is_empty() => format!("process {holder}"),
        Err(e) if e.kind() != ErrorKind::InvalidData => "another process".to_owned(),
        _ => "another process".to_owned(),
    };
    Error::new(Code::HomeInUse, format!("the home {} is in use by {by}", path.display()))
        .object(path.display().to_string())
        .hint("wait until it is done, cancel it with `holdfast cancel ID`, or use another --home")
}
