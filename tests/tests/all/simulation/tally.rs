//! How often each kind of thing happened, to see that it does.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! happened {
    ($($name:ident => $text:literal,)*) => {
        /// What can happen in a history.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Happened { $($name,)* }

        const NAMES: &[&str] = &[$($text,)*];
    };
}

happened! {
    Error => "calls that failed",
    Timeout => "calls whose answer was lost",
    Duplicate => "calls made twice",
    StaleList => "old listings",
    StaleQuery => "old queries",
    Held => "calls held for minutes",
    Crash => "handlers that crashed",
    Late => "handlers called late",
    Twin => "handlers called twice at once",
    LostAnswer => "handlers whose answer was lost",
    Retried => "handlers called again",
    Slow => "states that waited for hours",
    Aborted => "executions stopped",
    TimedOut => "executions out of time",
    Swept => "dead jobs swept",
    Backup => "backups completed",
    Increment => "of them built on others",
    BackupFailed => "backups that failed",
    Restore => "restores completed",
    RestoreFailed => "restores that failed",
    Undo => "undos completed",
    UndoFailed => "undos that failed",
    Verify => "verifications",
    Captured => "batches of changes captured",
    Gathered => "gathered objects in the end",
    Covered => "changes that are told to be captured",
    RestoredAt => "restores of a time, exact",
    Missed => "changes told to be missed",
    Expired => "changes told to be expired",
    ChangesGone => "change objects deleted",
    Hold => "holds",
    Release => "releases",
    DeletedByHand => "deletions by hand",
    TakenBack => "deletions taken back",
    Prune => "prunes that ended",
    PruneFailed => "prunes that failed",
    TwoPrunes => "prunes beside another",
    PruneBesideBackup => "prunes beside a backup",
    ManifestGone => "manifests deleted",
    ObjectGone => "objects deleted",
    Condemned => "objects condemned",
    Rescued => "objects rescued",
    Leftover => "leftovers in staging",
    Restored => "backups compared byte for byte",
}

/// Counts of what happened, over all histories.
#[derive(Debug)]
pub(super) struct Tally(Vec<AtomicU64>);

impl Tally {
    pub(super) fn new() -> Self {
        Self(NAMES.iter().map(|_| AtomicU64::new(0)).collect())
    }

    pub(super) fn count(&self, what: Happened) {
        self.add(what, 1);
    }

    pub(super) fn add(&self, what: Happened, more: u64) {
        self.0[what as usize].fetch_add(more, Ordering::Relaxed);
    }

    /// All counts, one a line.
    pub(super) fn told(&self) -> String {
        let mut text = String::new();
        for (name, count) in NAMES.iter().zip(&self.0) {
            writeln!(text, "{:>9}  {name}", count.load(Ordering::Relaxed)).unwrap();
        }
        text
    }

    /// What never happened.
    pub(super) fn missing(&self) -> Vec<&'static str> {
        let none = NAMES.iter().zip(&self.0).filter(|(_, count)| count.load(Ordering::Relaxed) == 0);
        none.map(|(name, _)| *name).collect()
    }
}
