//! The base's records, to compare what is read with: by their keys, or by their content alone.

use super::records::Bitmap;
use holdfast_vault::read::state::{ByDigest, StateRow, position};

/// The live rows of the base's state table, with a bit for each that was seen.
pub(super) struct BaseRows {
    rows: Vec<StateRow>,
    seen: Bitmap,
    /// Made when a source first asks by content; most never do.
    by_digest: Option<ByDigest>,
}

/// How a record stands to the base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compared {
    /// The base holds no record of its key.
    New,
    /// The base holds another record of its key.
    Other,
    /// The base holds it as it is.
    Same,
    /// A record of its key has been seen before.
    Twice,
}

impl BaseRows {
    pub(super) fn new(rows: Vec<StateRow>) -> Self {
        Self { seen: Bitmap::new(rows.len()), rows, by_digest: None }
    }

    /// Which rows were seen.
    pub(super) fn seen(&self) -> &Bitmap {
        &self.seen
    }

    /// Compares a record by its key's hash and its digest.
    pub(super) fn compare(&mut self, hash: u128, digest: [u8; 16]) -> Compared {
        match position(&self.rows, hash) {
            None => Compared::New,
            Some(at) if !self.seen.set(at) => Compared::Twice,
            Some(at) if self.rows[at].digest == digest => Compared::Same,
            Some(_) => Compared::Other,
        }
    }

    /// Looks for a record by its digest alone: `Same` or `Twice` where the base holds one of this content, which then has
    /// the same key too.
    pub(super) fn find(&mut self, digest: [u8; 16]) -> Option<Compared> {
        let by_digest = self.by_digest.get_or_insert_with(|| ByDigest::of(&self.rows));
        let at = by_digest.find(digest)?;
        Some(if self.seen.set(at) { Compared::Same } else { Compared::Twice })
    }
}
