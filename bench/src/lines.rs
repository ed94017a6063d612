//! Compares files of lines whose order does not count, by a digest of every line: 16 bytes of memory a line.

use crate::failure::failed;
use holdfast_vault::error::Result;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

/// Half a SHA-256: enough that two lines that differ are told apart.
type Sum = [u8; 16];

/// In how many lines two files differ: lines that only one of them has, counted as often as they stand there.
///
/// # Errors
/// What keeps one of them from being read.
pub(crate) fn differences(one: &Path, other: &Path) -> Result<u64> {
    let (one, other) = (sums(one)?, sums(other)?);
    let (mut left, mut right, mut found) = (one.as_slice(), other.as_slice(), 0);
    while let ([a, rest_a @ ..], [b, rest_b @ ..]) = (left, right) {
        match a.cmp(b) {
            std::cmp::Ordering::Equal => (left, right) = (rest_a, rest_b),
            std::cmp::Ordering::Less => (left, found) = (rest_a, found + 1),
            std::cmp::Ordering::Greater => (right, found) = (rest_b, found + 1),
        }
    }
    Ok(found + (left.len() + right.len()) as u64)
}

fn sums(path: &Path) -> Result<Vec<Sum>> {
    let read = |e: &std::io::Error| failed("read", path, e);
    let mut file = BufReader::with_capacity(1 << 20, File::open(path).map_err(|e| read(&e))?);
    let (mut sums, mut line) = (Vec::new(), Vec::new());
    while file.read_until(b'\n', &mut line).map_err(|e| read(&e))? > 0 {
        let mut sum = Sum::default();
        sum.copy_from_slice(&Sha256::digest(&line)[..16]);
        sums.push(sum);
        line.clear();
    }
    sums.sort_unstable();
    Ok(sums)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_does_not_count_and_repeats_do() {
        let place = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = place.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let wanted = file("wanted", "a\nb\nb\nc\n");
        assert_eq!(differences(&wanted, &file("same", "b\nc\na\nb\n")).unwrap(), 0);
        assert_eq!(differences(&wanted, &file("fewer", "b\nc\na\n")).unwrap(), 1);
        assert_eq!(differences(&wanted, &file("other", "a\nb\nb\nd\n")).unwrap(), 2);
        assert_eq!(differences(&wanted, &file("none", "")).unwrap(), 4);
    }
}
