//! The modes and times of restored directories. They are noted while the directories fill and set at the end, since
//! a directory's own mode may forbid writing into it and every new entry changes its time. The notes are files in the
//! workshop, one a worker, so that they outlive the process.

use super::attributes::{mode, times};
use super::place::{Places, segments};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_vault::model::Mtime;
use rustix::fs::{fchmod, futimens};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// What a directory is to become at the end.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    path: String,
    /// Made only because something lies below it: it gets the mode of a new directory unless another note has one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    implied: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mode: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mtime: Option<(i64, u32)>,
}

/// The notes of one worker.
pub(super) struct Journal {
    folder: PathBuf,
    file: Mutex<Option<File>>,
}

impl Journal {
    /// Notes in this folder; a file is made with the first.
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, file: Mutex::default() }
    }

    /// A directory of the backup.
    pub(super) fn note(&self, names: &[&[u8]], mode: Option<u32>, mtime: Option<Mtime>) -> io::Result<()> {
        if mode.is_none() && mtime.is_none() {
            return Ok(());
        }
        let mtime = mtime.map(|mtime| (mtime.seconds, mtime.nanos));
        self.append(&Note { path: STANDARD.encode(names.join(&b'/')), implied: false, mode, mtime })
    }

    /// A directory that was made for what lies below it.
    pub(super) fn note_implied(&self, names: &[&[u8]]) -> io::Result<()> {
        let path = STANDARD.encode(names.join(&b'/'));
        self.append(&Note { path, implied: true, mode: None, mtime: None })
    }

    fn append(&self, note: &Note) -> io::Result<()> {
        let mut line = serde_json::to_vec(note)?;
        line.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let open = match file.take() {
            Some(open) => open,
            None => new_file(&self.folder)?,
        };
        file.insert(open).write_all(&line)
    }
}

fn new_file(folder: &Path) -> io::Result<File> {
    let mut number = 0_u32;
    loop {
        let path = folder.join(format!("{}-{number}", std::process::id()));
        match OpenOptions::new().append(true).create_new(true).open(path) {
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => number += 1,
            other => return other,
        }
    }
}

/// Sets what all notes of a folder say, as often as needed with the same result.
pub(super) fn apply(folder: &Path, places: &Places, new_mode: u32) -> io::Result<()> {
    for_each(folder, |note, names| {
        if note.implied {
            fchmod(places.existing(names)?, mode(new_mode))?;
        }
        Ok(())
    })?;
    // A mode that locks its owner out comes last, the deepest directory first, or the rest could not be reached.
    let mut locking: Vec<(Vec<u8>, u32)> = Vec::new();
    for_each(folder, |note, names| {
        if note.implied {
            return Ok(());
        }
        let directory = places.existing(names)?;
        if let Some((seconds, nanos)) = note.mtime {
            futimens(&directory, &times(Mtime { seconds, nanos }))?;
        }
        match note.mode {
            Some(bits) if bits & 0o700 == 0o700 => fchmod(&directory, mode(bits))?,
            Some(bits) => locking.push((names.join(&b'/'), bits)),
            None => {}
        }
        Ok(())
    })?;
    locking.sort_unstable_by(|a, b| b.cmp(a));
    locking.dedup();
    for (path, bits) in locking {
        let names = segments(&path).ok_or(Errno::INVAL)?;
        fchmod(places.existing(&names)?, mode(bits))?;
    }
    Ok(())
}

fn for_each(folder: &Path, mut act: impl FnMut(&Note, &[&[u8]]) -> io::Result<()>) -> io::Result<()> {
    let mut line = Vec::new();
    for entry in fs::read_dir(folder)? {
        let mut file = BufReader::new(File::open(entry?.path())?);
        loop {
            line.clear();
            // A line without an end is of a call that was killed, and was repeated.
            if file.read_until(b'\n', &mut line)? == 0 || line.last() != Some(&b'\n') {
                break;
            }
            let note: Note = serde_json::from_slice(&line)?;
            let path = STANDARD.decode(&note.path).map_err(io::Error::other)?;
            let names = segments(&path).ok_or(Errno::INVAL)?;
            act(&note, &names)?;
        }
    }
    Ok(())
}
