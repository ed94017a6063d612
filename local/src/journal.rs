//! Which executions are at work, on disk, so that one that was killed is found and ended by the next start.

use holdfast_vault::error::{Code, Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// An execution that has started and not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The state machine.
    pub machine: String,
    /// The execution's name.
    pub execution: String,
    /// When it started, RFC 3339.
    pub started_at: String,
    /// Its input: names and ids only.
    pub input: Value,
}

/// A directory with a file an execution.
#[derive(Debug, Clone)]
pub struct Journal(PathBuf);

impl Journal {
    /// The journal in a directory, which is made when it is first written.
    #[must_use]
    pub fn new(directory: PathBuf) -> Self {
        Self(directory)
    }

    fn file(&self, execution: &str) -> PathBuf {
        self.0.join(format!("{execution}.json"))
    }

    /// Notes an execution before it starts.
    ///
    /// # Errors
    /// `StorageUnavailable` or `StorageFull` naming the file.
    pub fn begin(&self, entry: &Entry) -> Result<()> {
        let file = self.file(&entry.execution);
        let write = || -> std::io::Result<()> {
            std::fs::create_dir_all(&self.0)?;
            // A file that is cut short by a crash stands for an execution that never started: see `unfinished`.
            let text = serde_json::to_vec(entry).map_err(std::io::Error::other)?;
            std::fs::write(&file, text)
        };
        write().map_err(|e| failed(&file, &e))
    }

    /// Forgets an execution that has ended.
    ///
    /// # Errors
    /// `StorageUnavailable` naming the file.
    pub fn end(&self, execution: &str) -> Result<()> {
        let file = self.file(execution);
        match std::fs::remove_file(&file) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(failed(&file, &e)),
            _ => Ok(()),
        }
    }

    /// The executions that a process left behind when it was killed.
    ///
    /// # Errors
    /// `StorageUnavailable` naming the directory.
    pub fn unfinished(&self) -> Result<Vec<Entry>> {
        let directory = match std::fs::read_dir(&self.0) {
            Ok(directory) => directory,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(failed(&self.0, &e)),
        };
        let mut entries = Vec::new();
        for file in directory {
            let path = file.map_err(|e| failed(&self.0, &e))?.path();
            let text = std::fs::read(&path).map_err(|e| failed(&path, &e))?;
            match serde_json::from_slice(&text) {
                Ok(entry) => entries.push(entry),
                Err(_) => std::fs::remove_file(&path).map_err(|e| failed(&path, &e))?,
            }
        }
        entries.sort_by(|a: &Entry, b: &Entry| a.execution.cmp(&b.execution));
        Ok(entries)
    }
}

fn failed(path: &Path, error: &std::io::Error) -> Error {
    let code =
        if error.kind() == ErrorKind::StorageFull { Code::StorageFull } else { Code::StorageUnavailable };
    Error::new(code, format!("cannot use {}: {error}", path.display()))
        .object(path.display().to_string())
        .hint("make room on the disk, and check that the home is writable")
}
