//! Puts records back into a file of lines.

use super::key::{Found, KeyReader};
use super::lines::LONGEST;
use super::replace::{Place, Standing};
use super::target::file_name;
use crate::live::{Live, Revert, Reverted, check_distinct};
use crate::local_fs::shown;
use crate::target::OnConflict;
use async_trait::async_trait;
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::model::{StreamInfo, StreamKind};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

const BUFFER: usize = 1 << 20;
/// How often the work begins anew because somebody wrote to the file.
const MOST_TRIES: usize = 5;

/// A directory of JSON Lines files that an undo works in.
///
/// Every call reads the stream's whole file, and one that puts records back writes it whole, so give it many records at
/// a time; memory is those records. Lines keep their order, a record that comes back stands at the end, and lines that
/// are no records stay.
///
/// The new file takes the old one's name only while that is as it was read. A program that puts another file in its
/// place (`rename`), or locks it while it writes (`flock`), loses nothing. One that writes into the file without a lock
/// should be stopped for the undo: what it writes in the moment when the names change goes into the old file.
#[derive(Debug)]
pub struct JsonlLive {
    path: PathBuf,
}

/// What a record's line should become; `None` if it goes.
type Changes<'r> = HashMap<&'r [u8], Option<&'r [u8]>>;

impl JsonlLive {
    /// A place for undos in this directory.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    fn open(&self, stream: &StreamInfo) -> Result<(Place, Lines)> {
        let StreamKind::Records { encoding, key } = &stream.shape else {
            return Err(Error::new(Code::InvalidInput, format!("stream {} holds files", stream.name))
                .object(&stream.name)
                .hint("an undo needs records"));
        };
        let place = Place::open(&self.path, file_name(stream))?;
        Ok((place, Lines { keys: KeyReader::new(*encoding, key)?, found: Found::default(), key: Vec::new() }))
    }

    fn busy(&self, stream: &StreamInfo) -> Error {
        let name = shown(&self.path.join(file_name(stream)));
        Error::new(Code::SourceChanged, format!("{name} was written each time that it was read"))
            .object(name)
            .hint("try again when fewer programs write to the file")
    }
}

#[async_trait]
impl Live for JsonlLive {
    async fn read(&self, stream: &StreamInfo, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>> {
        let (place, mut lines) = self.open(stream)?;
        for _ in 0..MOST_TRIES {
            let standing = place.look()?;
            let now = lines.survey(&place, &standing, keys.iter().map(Vec::as_slice))?;
            if place.unchanged(&standing)? {
                return Ok(keys.iter().map(|key| now.get(key.as_slice()).cloned()).collect());
            }
        }
        Err(self.busy(stream))
    }

    async fn revert(
        &self,
        stream: &StreamInfo,
        reverts: &[Revert],
        on_conflict: OnConflict,
    ) -> Result<Vec<Reverted>> {
        let (place, mut lines) = self.open(stream)?;
        check_distinct(reverts)?;
        for revert in reverts {
            lines.check(revert)?;
        }
        for _ in 0..MOST_TRIES {
            let standing = place.look()?;
            let now = lines.survey(&place, &standing, reverts.iter().map(|revert| revert.key.as_slice()))?;
            let mut changes = Changes::new();
            let settled = reverts
                .iter()
                .map(|revert| settle(revert, now.get(revert.key.as_slice()), on_conflict, &mut changes));
            let settled: Vec<Reverted> = settled.collect();
            let done = if changes.is_empty() {
                place.unchanged(&standing)?
            } else {
                let returning: Vec<&[u8]> = reverts
                    .iter()
                    .filter(|revert| !now.contains_key(revert.key.as_slice()))
                    .filter_map(|revert| changes.get(revert.key.as_slice()).copied().flatten())
                    .collect();
                place.replace(&standing, |old, new| lines.rewrite(old, new, &changes, &returning))?
            };
            if done {
                return Ok(settled);
            }
        }
        Err(self.busy(stream))
    }
}

/// What becomes of one record, and what must be changed for it.
fn settle<'r>(
    revert: &'r Revert,
    now: Option<&Vec<u8>>,
    policy: OnConflict,
    changes: &mut Changes<'r>,
) -> Reverted {
    if now == revert.was.as_ref() {
        return Reverted::Already;
    }
    let bad = now == revert.left.as_ref();
    let overwritten = !bad && policy == OnConflict::Overwrite;
    if bad || overwritten {
        changes.insert(&revert.key, revert.was.as_deref());
    }
    if bad { Reverted::Done } else { Reverted::Conflict { now: now.cloned(), overwritten } }
}

/// Reads lines and their keys.
struct Lines {
    keys: KeyReader,
    found: Found,
    key: Vec<u8>,
}

impl Lines {
    /// The key of a line; `None` if it is no record.
    fn key(&mut self, line: &[u8]) -> Option<&[u8]> {
        self.key.clear();
        let text = std::str::from_utf8(line).ok()?;
        self.keys.read(text, &mut self.found, &mut self.key).ok()?;
        Some(&self.key)
    }

    /// Refuses values that would not be one line, and that record's.
    fn check(&mut self, revert: &Revert) -> Result<()> {
        for value in [&revert.was, &revert.left].into_iter().flatten() {
            if value.contains(&b'\n') || self.key(value) != Some(&revert.key) {
                return Err(Error::new(Code::Internal, "a record to be put back has another key"));
            }
        }
        Ok(())
    }

    /// The lines of the wanted keys.
    fn survey<'k>(
        &mut self,
        place: &Place,
        standing: &Standing,
        wanted: impl Iterator<Item = &'k [u8]>,
    ) -> Result<HashMap<&'k [u8], Vec<u8>>> {
        let mut lines: HashMap<&[u8], Option<Vec<u8>>> = wanted.map(|key| (key, None)).collect();
        let mut twice = None;
        let Some(file) = standing.file() else { return Ok(HashMap::new()) };
        let mut number = 0_u64;
        let read = for_each_line(file, |line| {
            number += 1;
            let line = bare(line);
            let seen = self.key(line).and_then(|key| lines.get_mut(key));
            if let Some(seen) = seen
                && seen.replace(line.to_vec()).is_some()
            {
                twice.get_or_insert(number);
            }
            Ok(())
        });
        read.map_err(|cause| place.failed("read", cause))?;
        if let Some(number) = twice {
            let name = place.shown();
            return Err(Error::new(
                Code::TargetInvalid,
                format!("{name}, line {number} has the key of an earlier line"),
            )
            .object(format!("{name}:{number}"))
            .hint("keep one of the records, then undo again"));
        }
        Ok(lines.into_iter().filter_map(|(key, line)| Some((key, line?))).collect())
    }

    /// Copies the old file, but for the changes, and adds what comes back.
    fn rewrite(
        &mut self,
        old: Option<&File>,
        new: &File,
        changes: &Changes<'_>,
        returning: &[&[u8]],
    ) -> io::Result<()> {
        let mut out = BufWriter::with_capacity(BUFFER, new);
        let mut ended = true;
        if let Some(old) = old {
            for_each_line(old, |line| {
                let change = self.key(bare(line)).and_then(|key| changes.get(key));
                match change {
                    Some(None) => return Ok(()),
                    Some(Some(value)) => {
                        out.write_all(value)?;
                        out.write_all(&line[bare(line).len()..])?;
                    }
                    None => out.write_all(line)?,
                }
                ended = line.ends_with(b"\n");
                Ok(())
            })?;
        }
        for value in returning {
            if !ended {
                out.write_all(b"\n")?;
            }
            out.write_all(value)?;
            out.write_all(b"\n")?;
            ended = true;
        }
        out.flush()
    }
}

/// The line without its line feed.
fn bare(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\n").unwrap_or(line)
}

/// Reads a file from its start; lines have their line feeds.
fn for_each_line(mut file: &File, mut act: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    file.seek(SeekFrom::Start(0))?;
    let mut file = BufReader::with_capacity(BUFFER, file);
    let mut line = Vec::new();
    while file.by_ref().take(LONGEST as u64 + 1).read_until(b'\n', &mut line)? > 0 {
        if line.len() > LONGEST {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a line is longer than 64 MiB"));
        }
        act(&line)?;
        line.clear();
    }
    Ok(())
}
