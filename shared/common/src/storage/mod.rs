//! Adapters of the storage port, and wrappers around any of them.

pub mod directory;
pub mod prefixed;
pub mod s3;
pub mod wrap;

pub use directory::DirectoryStorage;
pub use prefixed::Prefixed;
pub use s3::S3Storage;
pub use wrap::{Call, Counting, Fault, Faulty, Operation};

use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::storage::{ByteRange, PART_SIZE, PartSum};
use sha2::{Digest, Sha256};

/// Objects on one page of a listing.
const PAGE: usize = 1_000;

/// First byte and one past the last of a range in an object of this size.
fn resolve(range: ByteRange, key: &str, size: u64) -> Result<(u64, u64)> {
    match range {
        ByteRange::All => Ok((0, size)),
        ByteRange::Last(bytes) => Ok((size.saturating_sub(bytes), size)),
        ByteRange::Span { start, end } if start <= end && end <= size => Ok((start, end)),
        ByteRange::Span { start, end } => Err(cut_short(key, size, start, end)),
    }
}

fn cut_short(key: &str, size: u64, start: u64, end: u64) -> Error {
    Error::damaged(key, format_args!("it has {size} bytes, and {start} to {end} were asked for"))
}

/// Refuses parts that cannot be those of an object of this size.
fn check_layout(key: &str, size: u64, parts: &[PartSum]) -> Result<()> {
    let full = parts.iter().rev().skip(1).all(|part| part.size == PART_SIZE);
    let last = parts.last().map_or(0, |part| part.size);
    let total = parts.iter().try_fold(0_u64, |sum, part| sum.checked_add(part.size));
    if full && last <= PART_SIZE && total == Some(size) {
        return Ok(());
    }
    Err(staging_damaged(key, format_args!("it has {size} bytes, not those that were exported")))
}

/// Refuses a part that is not what was exported.
fn check_part(key: &str, at: usize, bytes: &[u8], part: &PartSum) -> Result<()> {
    let mut read = PartRead::default();
    read.add(bytes);
    read.check(key, at, part)
}

/// What was read of a part so far.
#[derive(Default)]
struct PartRead {
    size: u64,
    sum: Sha256,
}

impl PartRead {
    fn add(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        self.sum.update(bytes);
    }

    /// Refuses a part that is not what was exported.
    fn check(self, key: &str, at: usize, part: &PartSum) -> Result<()> {
        if self.size == part.size && hex::encode(self.sum.finalize()) == part.sha256 {
            return Ok(());
        }
        Err(staging_damaged(key, format_args!("part {} is not what was exported", at + 1)))
    }
}

fn staging_damaged(key: &str, why: impl std::fmt::Display) -> Error {
    Error::new(Code::StagingDamaged, format!("staged object {key} is damaged: {why}"))
        .object(key)
        .hint("start the backup again")
}

fn staging_missing(from: &str, key: &str) -> Error {
    Error::new(Code::StagingDamaged, format!("staged object {key} of {from} is missing"))
        .object(key)
        .hint("start the backup again")
}

fn missing(store: &str, key: &str) -> Error {
    Error::new(Code::ObjectMissing, format!("object {key} of {store} is missing"))
        .object(key)
        .hint("restore from another copy of the vault, or from another backup")
}
