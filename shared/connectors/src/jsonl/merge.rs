//! Putting restored records into a file that already holds some. Memory: 25 bytes a restored record.

use super::key::{Found, KeyReader};
use crate::target::OnConflict;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;

const BUFFER: usize = 1 << 20;

/// A restored record, by digests of its key and of its line. Sorted by key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Mark {
    key: [u8; 16],
    line: [u8; 8],
}

/// Writes to `out` what `existing` holds, in its order, and then what `restored` adds. Of two records with one key the
/// policy says which stays. Gives the number of records that differed.
pub(super) fn merge(
    keys: &KeyReader,
    existing: File,
    restored: &Path,
    out: &File,
    keep_existing: OnConflict,
) -> io::Result<u64> {
    let mut identify = Identify { keys, found: Found::default(), key: Vec::new() };
    let mut marks: Vec<Mark> = Vec::new();
    for_each_line(File::open(restored)?, |line| {
        marks.push(identify.mark(line));
        Ok(())
    })?;
    marks.sort_unstable();
    let mut settled = vec![false; marks.len()];
    let place = |mark: &Mark, marks: &[Mark]| marks.binary_search_by_key(&mark.key, |known| known.key).ok();

    let mut out = BufWriter::with_capacity(BUFFER, out);
    let mut conflicts = 0;
    for_each_line(existing, |line| {
        let mark = identify.mark(line);
        if let Some(place) = place(&mark, &marks) {
            let equal = marks[place].line == mark.line;
            conflicts += u64::from(!equal);
            if !equal && keep_existing == OnConflict::Overwrite {
                return Ok(());
            }
            settled[place] = true;
        }
        out.write_all(line)?;
        out.write_all(b"\n")
    })?;
    for_each_line(File::open(restored)?, |line| {
        if place(&identify.mark(line), &marks).is_some_and(|place| settled[place]) {
            return Ok(());
        }
        out.write_all(line)?;
        out.write_all(b"\n")
    })?;
    out.flush()?;
    Ok(conflicts)
}

struct Identify<'k> {
    keys: &'k KeyReader,
    found: Found,
    key: Vec<u8>,
}

impl Identify<'_> {
    /// A line without a key is a record of its own.
    fn mark(&mut self, line: &[u8]) -> Mark {
        self.key.clear();
        let text = std::str::from_utf8(line).ok();
        let keyed = text.is_some_and(|text| self.keys.read(text, &mut self.found, &mut self.key).is_ok());
        let digest = Sha256::digest(line);
        let key = if keyed { Sha256::digest(&self.key) } else { digest };
        let mut mark = Mark { key: [0; 16], line: [0; 8] };
        mark.key.copy_from_slice(&key[..16]);
        mark.line.copy_from_slice(&digest[..8]);
        mark
    }
}

fn for_each_line(file: File, mut act: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut file = BufReader::with_capacity(BUFFER, file);
    let mut line = Vec::new();
    while file.read_until(b'\n', &mut line)? > 0 {
        act(line.strip_suffix(b"\n").unwrap_or(&line))?;
        line.clear();
    }
    Ok(())
}
