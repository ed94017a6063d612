//! The sets of files: a site of pages and pictures, and one large file, in two versions.

use super::draw::{Draw, hash, index, low};
use super::page;
use super::sink::Sink;
use super::text::Words;
use clap::ValueEnum;
use std::io::{self, Write};

/// A version of the site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Edition {
    /// The first
    V1,
    /// 1 % of the files changed, some renamed, deleted and added, and 100 bytes inserted into the large file
    V2,
}

/// How large the site is, in thousandths of 20,000 files and 1 GiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scale(pub(crate) u64);

/// What was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Written {
    /// Files of the first version, without the large one.
    pub(crate) first: u64,
    /// Bytes, over all files.
    pub(crate) bytes: u64,
    pub(crate) changed: u64,
    pub(crate) renamed: u64,
    pub(crate) gone: u64,
    pub(crate) added: u64,
}

const FILES: u64 = 20_000;
const LARGE: u64 = 64 << 20;
/// What is inserted at the front of the large file.
const INSERTED: usize = 100;
/// Whole eights, so that pieces give what one call would.
const PIECE: usize = 1 << 20;
const JPEG: &[u8] = b"\xff\xd8\xff\xe0\0\x10JFIF\0";

/// A file before a version does anything to it, with the sequence that it came from.
struct Made {
    path: String,
    content: Vec<u8>,
    draw: Draw,
}

/// Writes a version of the site, a file at a time.
///
/// # Errors
/// What the sink gives.
pub(crate) fn write(edition: Edition, scale: Scale, sink: &mut impl Sink) -> io::Result<Written> {
    let words = Words::new();
    let mut written = Written { first: FILES * scale.0 / 1000, ..Written::default() };
    for number in 0..written.first {
        let mut made = if number % 2 == 0 { picture(number) } else { text(number, &words)? };
        if edition == Edition::V2 && !alter(number, &mut made, &words, &mut written) {
            continue;
        }
        written.bytes += made.content.len() as u64;
        sink.file(&made.path, |out| out.write_all(&made.content))?;
    }
    if edition == Edition::V2 {
        for at in 0..10 {
            let page = page::write(page::Kind::Html, 1_000_000 + at, 40_000, &words);
            let page = page.map_err(io::Error::other)?;
            written.added += 1;
            written.bytes += page.len() as u64;
            sink.file(&format!("pages/new/new-{at}.html"), |out| out.write_all(page.as_bytes()))?;
        }
    }
    sink.file("media/big.bin", |out| {
        written.bytes += large(edition, LARGE * scale.0 / 1000, out)?;
        Ok(())
    })?;
    Ok(written)
}

fn picture(number: u64) -> Made {
    let mut draw = Draw::of(4000, number, 0);
    let blocks = draw.below(290) * draw.below(290) / 290 + 2;
    let mut content = vec![0; index(8192 + blocks * 560)];
    draw.fill(&mut content);
    content[..JPEG.len()].copy_from_slice(JPEG);
    let path = format!("media/{:02x}/{:08x}.jpg", number % 61, low(hash(1, number, 0)));
    Made { path, content, draw }
}

fn text(number: u64, words: &Words) -> io::Result<Made> {
    let mut draw = Draw::of(4000, number, 0);
    let kind = page::Kind::of_lot(draw.below(10));
    let blocks = draw.below(300) * draw.below(300) / 300;
    let content = page::write(kind, number, index(1500 + blocks * 620), words).map_err(io::Error::other)?;
    let (directory, extension) = (kind.directory(), kind.extension());
    let path = format!("{directory}/{:02}/{}-{number}.{extension}", number % 83, words.any(&mut draw));
    Ok(Made { path, content: content.into_bytes(), draw })
}

/// Does to a file what the second version does to it; returns whether it is still there.
fn alter(number: u64, made: &mut Made, words: &Words, written: &mut Written) -> bool {
    match hash(6000, number, 0) % 10_000 {
        0..100 => {
            let at = index(made.draw.below(made.content.len() as u64 - 16));
            let mut put = String::new();
            words.prose(&mut made.draw, 20, &mut put);
            made.content.splice(at..at + 8, put.bytes());
            written.changed += 1;
        }
        100..110 => {
            made.path = format!("renamed/{}", made.path.replace('/', "_"));
            written.renamed += 1;
        }
        110..115 => {
            written.gone += 1;
            return false;
        }
        _ => {}
    }
    true
}

/// Writes the large file in pieces; returns its length.
fn large(edition: Edition, length: u64, out: &mut dyn Write) -> io::Result<u64> {
    let mut inserted = Vec::new();
    if edition == Edition::V2 {
        inserted.resize(INSERTED, 0);
        Draw::of(7000, 2, 0).fill(&mut inserted);
        out.write_all(&inserted)?;
    }
    let mut draw = Draw::of(7000, 1, 0);
    let (mut piece, mut left) = (vec![0; PIECE], length);
    while left > 0 {
        let now = index(left).min(PIECE);
        draw.fill(&mut piece[..now]);
        out.write_all(&piece[..now])?;
        left -= now as u64;
    }
    Ok(length + inserted.len() as u64)
}
