//! The sets of records: eight files of an online shop, in three versions.

use super::draw::hash;
use super::record::{self, INSERTED, Identity, Kind};
use super::sink::Sink;
use super::text::Words;
use clap::ValueEnum;
use std::io;

/// A version of the set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Edition {
    /// The first
    V1,
    /// 1 % of the records changed, all over the files
    V2,
    /// 1 % of the records changed, in runs of a thousand
    V2c,
}

/// Where each file of the first version ends; the other versions follow it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    /// With the record that makes it so many bytes or more.
    Bytes(u64),
    /// With so many records.
    Records(u64),
}

/// What a version does to a record of the first, or a day to a record of the day before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Stays,
    Changes,
    Goes,
    /// Another record comes to stand before it.
    GetsCompany,
}

/// A file of the set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shelf {
    /// Its name without `.ndjson`.
    pub(crate) name: &'static str,
    /// What its records are about.
    pub(crate) kind: Kind,
}

/// The files, by number.
pub(crate) const SHELVES: [Shelf; 8] = [
    Shelf { name: "products-0", kind: Kind::Product },
    Shelf { name: "products-1", kind: Kind::Product },
    Shelf { name: "customers-0", kind: Kind::Customer },
    Shelf { name: "customers-1", kind: Kind::Customer },
    Shelf { name: "orders-0", kind: Kind::Order },
    Shelf { name: "orders-1", kind: Kind::Order },
    Shelf { name: "orders-2", kind: Kind::Order },
    Shelf { name: "orders-3", kind: Kind::Order },
];

/// What was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Written {
    /// Records of the first version, by file.
    pub(crate) first: [u64; 8],
    /// Bytes, over all files.
    pub(crate) bytes: u64,
    pub(crate) changed: u64,
    pub(crate) gone: u64,
    pub(crate) inserted: u64,
}

impl Shelf {
    /// The file's name.
    pub(crate) fn file_name(self) -> String {
        format!("{}.ndjson", self.name)
    }
}

impl Fate {
    /// The fate of one of 100,000 lots: a quarter of the touched 1 % goes, a quarter gets company, half changes.
    const fn of_lot(lot: u64) -> Self {
        match lot {
            0..250 => Self::Goes,
            250..500 => Self::GetsCompany,
            500..1000 => Self::Changes,
            _ => Self::Stays,
        }
    }

    /// What the given day does to a record, scattered over all of them. The first day makes [`Edition::V2`].
    pub(crate) const fn on_day(day: u64, file: u64, ordinal: u64) -> Self {
        Self::of_lot(hash(77 + file, ordinal, day) % 100_000)
    }
}

impl Edition {
    const fn fate(self, file: u64, ordinal: u64) -> Fate {
        match self {
            Self::V2 => Fate::on_day(1, file, ordinal),
            Self::V2c if hash(88 + file, ordinal / 1000, 1).is_multiple_of(100) => {
                Fate::of_lot(hash(99 + file, ordinal, 2) % 4 * 250)
            }
            Self::V1 | Self::V2c => Fate::Stays,
        }
    }
}

/// Writes a version of the set, a file at a time and a record at a time.
///
/// # Errors
/// What the sink gives.
pub(crate) fn write(edition: Edition, end: End, sink: &mut impl Sink) -> io::Result<Written> {
    let words = Words::new();
    let mut written = Written::default();
    for (file, shelf) in (0_u64..).zip(SHELVES) {
        sink.file(&shelf.file_name(), |out| {
            let (mut first_bytes, mut ordinal) = (0_u64, 0_u64);
            let (mut first, mut changed) = (String::new(), String::new());
            let line = |ordinal, revision, text: &mut String| {
                text.clear();
                record::write(shelf.kind, Identity { file, ordinal, revision }, &words, text)
                    .map_err(io::Error::other)
            };
            while end.is_beyond(first_bytes, ordinal) {
                line(ordinal, 0, &mut first)?;
                first_bytes += first.len() as u64;
                changed.clear();
                match edition.fate(file, ordinal) {
                    Fate::Stays => {}
                    Fate::Changes => {
                        line(ordinal, 1, &mut changed)?;
                        first.clear();
                        written.changed += 1;
                    }
                    Fate::Goes => {
                        first.clear();
                        written.gone += 1;
                    }
                    Fate::GetsCompany => {
                        line(ordinal + INSERTED, 0, &mut changed)?;
                        written.inserted += 1;
                    }
                }
                out.write_all(changed.as_bytes())?;
                out.write_all(first.as_bytes())?;
                written.bytes += (changed.len() + first.len()) as u64;
                ordinal += 1;
            }
            written.first[super::draw::index(file)] = ordinal;
            Ok(())
        })?;
    }
    Ok(written)
}

impl End {
    const fn is_beyond(self, bytes: u64, records: u64) -> bool {
        match self {
            Self::Bytes(end) => bytes < end,
            Self::Records(end) => records < end,
        }
    }
}
