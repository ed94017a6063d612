//! Where generated files go.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::path::PathBuf;

/// Takes files, one after the other.
pub(crate) trait Sink {
    /// Takes a file: `fill` writes its content.
    ///
    /// # Errors
    /// What `fill` gives, or what kept the sink from taking it.
    fn file(&mut self, path: &str, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()>;
}

/// Files in memory, all in one piece.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    pub(crate) bytes: Vec<u8>,
    /// Path and place of each file.
    pub(crate) files: Vec<(String, Range<usize>)>,
}

impl Sink for Memory {
    fn file(&mut self, path: &str, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        let start = self.bytes.len();
        fill(&mut self.bytes)?;
        self.files.push((path.to_owned(), start..self.bytes.len()));
        Ok(())
    }
}

/// Files below a directory. One that is there is replaced when the new one is whole.
#[derive(Debug)]
pub(crate) struct Directory(pub(crate) PathBuf);

impl Sink for Directory {
    fn file(&mut self, path: &str, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        let path = self.0.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let mut name = path.clone().into_os_string();
        name.push(".part");
        let part = PathBuf::from(name);
        let mut out = BufWriter::with_capacity(1 << 20, File::create(&part)?);
        fill(&mut out)?;
        out.flush()?;
        drop(out);
        fs::rename(part, path)
    }
}
