//! What an undo is asked for, and what its job keeps.

use crate::history::{Asked, Counts, Exactness};
use holdfast_connectors::{OnConflict, RecordFilter};
use holdfast_vault::model::StreamInfo;
use serde::{Deserialize, Serialize};

/// What to take back, and how. Kept in job state only: the filter names what records hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UndoRequest {
    /// What to take back.
    pub of: UndoOf,
    /// What to do with a record that was written since.
    pub on_conflict: OnConflict,
}

/// What an undo takes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UndoOf {
    /// The writes of a window.
    Window {
        /// Which window.
        asked: Asked,
        /// Which of its records.
        #[serde(default)]
        filter: RecordFilter,
    },
    /// What another undo wrote, by its id.
    Undo(String),
}

/// What an undo's job keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UndoDetail {
    /// What was asked for.
    pub request: UndoRequest,
    /// Whether only the keys of a list are meant; the list waits in staging.
    #[serde(default)]
    pub listed: bool,
    /// The window, once it is planned.
    #[serde(default)]
    pub plan: Option<UndoPlan>,
    /// Pieces that were looked through for conflicts.
    #[serde(default)]
    pub checked: u32,
    /// Pieces that were put back.
    #[serde(default)]
    pub applied: u32,
    /// Pieces that were compared after all was done.
    #[serde(default)]
    pub compared: u32,
    /// What became of the records.
    #[serde(default)]
    pub counts: UndoCounts,
}

impl UndoDetail {
    pub(super) fn new(request: UndoRequest, listed: bool) -> Self {
        Self {
            request,
            listed,
            plan: None,
            checked: 0,
            applied: 0,
            compared: 0,
            counts: UndoCounts::default(),
        }
    }
}

/// A planned window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UndoPlan {
    /// Which plan wrote the pieces.
    pub name: String,
    /// How many pieces there are.
    pub pieces: u32,
    /// When the window begins, RFC 3339.
    pub from: String,
    /// When it ends.
    pub to: String,
    /// The window's records, by what had happened to them.
    pub window: Counts,
    /// How sure the window is.
    pub exactness: Exactness,
}

/// What became of a window's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct UndoCounts {
    /// Records of the window.
    pub in_window: u64,
    /// Those that the undo put back, the overwritten ones among them.
    pub undone: u64,
    /// Those that were back already.
    pub already: u64,
    /// Those that somebody wrote since the window.
    pub conflicts: u64,
    /// Conflicts that were written over, as asked for.
    pub overwritten: u64,
    /// Records that were read again and are what they should be.
    pub proved: u64,
    /// Records that somebody wrote again during the undo, after it.
    pub changed_since: u64,
    /// Records that are again, or still, what was to be taken back.
    pub not_proved: u64,
}

impl std::ops::AddAssign for UndoCounts {
    fn add_assign(&mut self, other: Self) {
        self.in_window += other.in_window;
        self.undone += other.undone;
        self.already += other.already;
        self.conflicts += other.conflicts;
        self.overwritten += other.overwritten;
        self.proved += other.proved;
        self.changed_since += other.changed_since;
        self.not_proved += other.not_proved;
    }
}

/// A record that somebody wrote after the window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The stream.
    pub stream: StreamInfo,
    /// The record's canonical key.
    pub key: Vec<u8>,
    /// What it was before the window; `None` if it did not exist.
    pub was: Option<Vec<u8>>,
    /// What the window left; `None` if it was deleted.
    pub left: Option<Vec<u8>>,
    /// What the undo found; `None` if it was gone.
    pub now: Option<Vec<u8>>,
    /// Whether it was written over, as asked for.
    pub overwritten: bool,
}
