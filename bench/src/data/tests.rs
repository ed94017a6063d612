//! The data must never drift: figures of one machine and one day are compared with those of another.

use super::record::{self, Identity};
use super::records::{self, End, SHELVES};
use super::sink::Sink;
use super::site::{self, Scale};
use super::small;
use super::text::Words;
use sha2::{Digest as _, Sha256};
use std::io::{self, Write};

/// Keeps nothing but digests.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Digests {
    each: Vec<(String, String)>,
}

struct Hashing(Sha256);

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for Digests {
    fn file(&mut self, path: &str, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        let mut hash = Hashing(Sha256::new());
        fill(&mut hash)?;
        self.each.push((path.to_owned(), hex(&hash.0.finalize())));
        Ok(())
    }
}

impl Digests {
    /// One digest of all paths and contents, in the order of the paths.
    fn whole(mut self) -> String {
        self.each.sort();
        let mut lines = String::new();
        for (path, digest) in &self.each {
            lines.extend([digest.as_str(), "  ./", path.as_str(), "\n"]);
        }
        hex(&Sha256::digest(lines))
    }
}

fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn of_records(edition: records::Edition, mib: u64) -> Digests {
    let mut digests = Digests::default();
    records::write(edition, End::Bytes(mib << 20), &mut digests).unwrap();
    digests
}

fn of_site(edition: site::Edition) -> Digests {
    let mut digests = Digests::default();
    site::write(edition, Scale(30), &mut digests).unwrap();
    digests
}

#[test]
fn records_are_what_they_were() {
    let wanted = [
        (records::Edition::V1, 1, "c3a3573da0ad02a1c55726335fdd941b65e6d235983988f5db23851a69551d15"),
        (records::Edition::V2, 1, "956e6faf682a2600020389423a9dc078f4118b49bc8d045d2b195f85351c8415"),
        // The first run that changes comes late.
        (records::Edition::V2c, 3, "e078fa24f58fbd605d3a0bd8d6c39d742f9de8f3564cf752196c9047f98463d1"),
    ];
    for (edition, mib, digest) in wanted {
        assert_eq!(of_records(edition, mib).whole(), digest, "{edition:?}");
    }
}

#[test]
fn sites_are_what_they_were() {
    for (edition, digest) in [
        (site::Edition::V1, "c0787ea35b3e0cbacc185341bb977818166eb731ecaa470e62bf2a50482c4579"),
        (site::Edition::V2, "a8f3475356d6587c0d0e6f78923f03376ca7c43f2380b9d72c835a68e9badb10"),
    ] {
        assert_eq!(of_site(edition).whole(), digest, "{edition:?}");
    }
}

#[test]
fn small_files_are_what_they_were() {
    let mut digests = Digests::default();
    let bytes = small::write(1_200, &mut digests).unwrap();
    assert!((500..2_000).contains(&(bytes / 1_200)), "{bytes}");
    assert_eq!(digests.whole(), "9f34445e777d6c889950b421f187bdc5b08f4b91416eed20b8e9f83d68f184de");
}

#[test]
fn a_file_may_end_with_a_number_of_records() {
    let mut digests = Digests::default();
    let written = records::write(records::Edition::V2, End::Records(2_000), &mut digests).unwrap();
    assert_eq!(written.first, [2_000; 8]);
    assert!(written.changed > 0 && written.gone > 0 && written.inserted > 0);
}

#[test]
fn the_id_of_a_record_is_the_one_in_its_line() {
    let words = Words::new();
    for (file, shelf) in (0..).zip(SHELVES) {
        let of = Identity { file, ordinal: 7, revision: 2 };
        let mut line = String::new();
        record::write(shelf.kind, of, &words, &mut line).unwrap();
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["id"], record::id(of, shelf.kind));
        assert_eq!(value["version"], 3);
    }
}

#[test]
fn a_scale_is_a_number_within_reason() {
    assert_eq!(super::scale("0.25").map(|scale| scale.0), Ok(250));
    for wrong in ["0", "-1", "1e9", "nan", "much"] {
        assert!(super::scale(wrong).is_err(), "{wrong}");
    }
}
