//! Day after day in a shop: which records there are, and in which state, without keeping any of them.

use crate::data::draw::index;
use crate::data::record::{self, INSERTED, Identity};
use crate::data::records::{Fate, SHELVES};
use crate::data::sink::Sink;
use crate::data::text::Words;
use std::io::{self, Write};

/// A record that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Present {
    pub(super) ordinal: u64,
    pub(super) revision: u64,
}

/// The records of a day, by file and in the order of their lines: 16 bytes of memory a record.
#[derive(Debug, Clone)]
pub(super) struct Day {
    number: u64,
    files: [Vec<Present>; 8],
}

/// What a day did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Changes {
    /// Records that were changed or inserted.
    pub(super) fresh: u64,
    /// The lengths of their lines, in bytes.
    pub(super) fresh_bytes: u64,
}

impl Day {
    /// The first version of the set: so many records in each file, none changed.
    pub(super) fn first(records: [u64; 8]) -> Self {
        let file = |count| (0..count).map(|ordinal| Present { ordinal, revision: 0 }).collect();
        Self { number: 0, files: records.map(file) }
    }

    /// How many days it is after the first version.
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// The records of a file.
    pub(super) fn file(&self, file: u64) -> &[Present] {
        &self.files[index(file)]
    }

    /// The record of an ordinal, where it is there.
    pub(super) fn find(&self, file: u64, ordinal: u64) -> Option<Identity> {
        let found = self.file(file).iter().find(|present| present.ordinal == ordinal)?;
        Some(Identity { file, ordinal, revision: found.revision })
    }

    /// The day after: 1 % of the records touched, scattered over all of them, as the second version of the set does to
    /// the first. Day 1 is that version.
    pub(super) fn next(&self) -> Self {
        let number = self.number + 1;
        let mut files = self.files.each_ref().map(|before| Vec::with_capacity(before.len()));
        for (file, (before, after)) in (0..).zip(self.files.iter().zip(&mut files)) {
            for (at, &present) in (0..).zip(before) {
                match Fate::on_day(number, file, present.ordinal) {
                    Fate::Stays => after.push(present),
                    Fate::Changes => after.push(Present { revision: present.revision + 1, ..present }),
                    Fate::Goes => {}
                    Fate::GetsCompany => {
                        // No other line of this day, and no other day, gives this ordinal.
                        after.push(Present { ordinal: at + number * INSERTED, revision: 0 });
                        after.push(present);
                    }
                }
            }
        }
        Self { number, files }
    }

    /// Writes the day's files, and its changed and inserted records once more into `fresh`.
    ///
    /// # Errors
    /// What the sinks give.
    pub(super) fn write(
        &self,
        words: &Words,
        sink: &mut impl Sink,
        fresh: &mut impl Write,
    ) -> io::Result<Changes> {
        let mut changes = Changes::default();
        for (file, shelf) in (0..).zip(SHELVES) {
            sink.file(&shelf.file_name(), |out| {
                let mut line = String::new();
                for &Present { ordinal, revision } in self.file(file) {
                    line.clear();
                    record::write(shelf.kind, Identity { file, ordinal, revision }, words, &mut line)
                        .map_err(io::Error::other)?;
                    out.write_all(line.as_bytes())?;
                    if self.is_fresh(file, ordinal, revision) {
                        changes.fresh += 1;
                        changes.fresh_bytes += line.len() as u64;
                        fresh.write_all(line.as_bytes())?;
                    }
                }
                Ok(())
            })?;
        }
        Ok(changes)
    }

    /// Whether the day changed or inserted a record that is there.
    fn is_fresh(&self, file: u64, ordinal: u64, revision: u64) -> bool {
        let inserted = self.number > 0 && ordinal / INSERTED == self.number;
        inserted || revision > 0 && Fate::on_day(self.number, file, ordinal) == Fate::Changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::records::{self, Edition, End};
    use crate::data::tests::Digests;
    use std::collections::HashSet;

    fn written(day: &Day) -> (Digests, Changes, Vec<u8>) {
        let (mut digests, mut fresh) = (Digests::default(), Vec::new());
        let changes = day.write(&Words::new(), &mut digests, &mut fresh).unwrap();
        (digests, changes, fresh)
    }

    #[test]
    fn the_first_days_are_the_versions_of_the_set() {
        let mut day = Day::first([1_000; 8]);
        for edition in [Edition::V1, Edition::V2] {
            let mut wanted = Digests::default();
            let counted = records::write(edition, End::Records(1_000), &mut wanted).unwrap();
            let (digests, changes, fresh) = written(&day);
            assert_eq!(digests, wanted);
            assert_eq!(changes.fresh, counted.changed + counted.inserted);
            assert_eq!(changes.fresh_bytes, fresh.len() as u64);
            day = day.next();
        }
    }

    #[test]
    fn every_day_touches_a_hundredth_and_no_record_is_there_twice() {
        let mut day = Day::first([1_500; 8]);
        for _ in 0..8 {
            let after = day.next();
            let (_, changes, _) = written(&after);
            assert!((50..140).contains(&changes.fresh), "{changes:?}");
            for file in 0..8 {
                let ordinals: HashSet<u64> = after.file(file).iter().map(|present| present.ordinal).collect();
                assert_eq!(ordinals.len(), after.file(file).len());
            }
            day = after;
        }
        assert_eq!(day.number(), 8);
    }
}
