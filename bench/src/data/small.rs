//! The set of many small files: texts of 100 bytes to 2 KB, five hundred in a directory.

use super::draw::Draw;
use super::sink::Sink;
use super::text::Words;
use std::io;

const IN_A_DIRECTORY: u64 = 500;

/// Writes so many files; returns their bytes.
///
/// # Errors
/// What the sink gives.
pub(crate) fn write(files: u64, sink: &mut impl Sink) -> io::Result<u64> {
    let words = Words::new();
    let (mut bytes, mut text) = (0, String::new());
    for number in 0..files {
        let mut draw = Draw::of(9500, number, 0);
        text.clear();
        words.passage(&mut draw, 15, 300, &mut text);
        text.push('\n');
        bytes += text.len() as u64;
        let path = format!("notes/{:05}/{number:08}.txt", number / IN_A_DIRECTORY);
        sink.file(&path, |out| out.write_all(text.as_bytes()))?;
    }
    Ok(bytes)
}
