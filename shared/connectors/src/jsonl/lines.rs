//! Reading the lines that start in a range of a file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes that are read at a time.
const PIECE: usize = 1 << 20;
/// The longest line, in bytes.
pub(super) const LONGEST: usize = 64 << 20;

/// The lines that start before `end`, some MiB of whole lines at a time.
pub(super) struct Lines<'f> {
    file: &'f File,
    end: u64,
    /// What was read and not consumed; the first byte starts a line.
    buffer: Vec<u8>,
    /// Where the buffer begins in the file.
    offset: u64,
    /// So much of the buffer is whole lines that start before the end.
    whole: usize,
    too_long: bool,
}

impl<'f> Lines<'f> {
    pub(super) fn new(file: &'f File, end: u64) -> Self {
        Self { file, end, buffer: Vec::new(), offset: 0, whole: 0, too_long: false }
    }

    /// Goes to where a line starts.
    pub(super) fn seek(&mut self, offset: u64) {
        self.offset = offset;
        self.buffer.clear();
        self.whole = 0;
    }

    /// Goes to the first line that starts at `start` or later; false if none starts before the end.
    pub(super) fn seek_line(&mut self, start: u64) -> io::Result<bool> {
        // A line starts behind a line feed, so the byte before counts.
        let Some(mut offset) = start.checked_sub(1) else {
            self.seek(0);
            return Ok(self.end > 0);
        };
        let mut piece = vec![0; 64 << 10];
        while offset + 1 < self.end {
            let read = read_at(self.file, &mut piece, offset)?;
            if read == 0 {
                break;
            }
            if let Some(at) = memchr::memchr(b'\n', &piece[..read]) {
                self.seek(offset + at as u64 + 1);
                return Ok(self.offset < self.end);
            }
            offset += read as u64;
        }
        Ok(false)
    }

    /// Reads on until there are whole lines; false at the end, or where a line is too long.
    pub(super) fn fill(&mut self) -> io::Result<bool> {
        // What is left of an earlier reading holds no line feed.
        let mut searched = self.buffer.len();
        while self.offset < self.end {
            let read = self.read_more()?;
            // Lines that start before the end: up to and with the first line feed at the byte before it or later.
            let inside = usize::try_from(self.end - 1 - self.offset).unwrap_or(usize::MAX);
            let last = if inside < self.buffer.len() {
                memchr::memchr(b'\n', &self.buffer[inside.max(searched)..])
                    .map(|at| at + inside.max(searched))
            } else {
                None
            };
            let last = last.or_else(|| {
                let known = inside.min(self.buffer.len());
                self.buffer
                    .get(searched..known)
                    .and_then(|new| memchr::memrchr(b'\n', new))
                    .map(|at| at + searched)
            });
            if let Some(last) = last {
                self.whole = last + 1;
                return Ok(true);
            }
            if read == 0 {
                self.whole = self.buffer.len();
                return Ok(self.whole > 0);
            }
            searched = self.buffer.len();
            if searched > LONGEST {
                self.too_long = true;
                return Ok(false);
            }
        }
        Ok(false)
    }

    fn read_more(&mut self) -> io::Result<usize> {
        let from = self.buffer.len();
        let at = self.offset + from as u64;
        let left = usize::try_from(self.end.saturating_sub(at)).unwrap_or(PIECE);
        // Behind the end only the rest of the last line is wanted.
        let piece = if left == 0 { 64 << 10 } else { left.min(PIECE) };
        self.buffer.resize(from + piece, 0);
        let read = read_at(self.file, &mut self.buffer[from..], at)?;
        self.buffer.truncate(from + read);
        Ok(read)
    }

    /// Whether the line that comes next is longer than a line may be.
    pub(super) fn too_long(&self) -> bool {
        self.too_long
    }

    /// Where the whole lines begin in the file.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The whole lines, or the number among them of the first that is not UTF-8.
    pub(super) fn text(&self) -> Result<&str, u64> {
        let bytes = &self.buffer[..self.whole];
        std::str::from_utf8(bytes)
            .map_err(|fault| memchr::memchr_iter(b'\n', &bytes[..fault.valid_up_to()]).count() as u64)
    }

    /// Goes behind the whole lines.
    pub(super) fn consume(&mut self) {
        self.buffer.copy_within(self.whole.., 0);
        self.buffer.truncate(self.buffer.len() - self.whole);
        self.offset += self.whole as u64;
        self.whole = 0;
    }
}

/// The lines of a text, each with its line feed.
pub(super) fn each_line(mut text: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        let line;
        let end = memchr::memchr(b'\n', text.as_bytes()).map_or(text.len(), |at| at + 1);
        (line, text) = text.split_at(end);
        (!line.is_empty()).then_some(line)
    })
}

/// How many line feeds stand in the first so many bytes.
pub(super) fn count_line_feeds(file: &File, length: u64) -> io::Result<u64> {
    let mut piece = vec![0; PIECE];
    let (mut offset, mut count) = (0, 0);
    while offset < length {
        let most = usize::try_from(length - offset).map_or(PIECE, |left| left.min(PIECE));
        let read = read_at(file, &mut piece[..most], offset)?;
        if read == 0 {
            break;
        }
        count += memchr::memchr_iter(b'\n', &piece[..read]).count() as u64;
        offset += read as u64;
    }
    Ok(count)
}

fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    loop {
        match file.read_at(buffer, offset) {
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}
