//! What changed in a resource between two points in time: told by captured changes where they are whole, else by two
//! backups.

mod backups;
mod captured;
mod choice;
mod delta;
mod merge;
mod point;
pub(crate) mod sealed;
mod window;

pub use choice::Choice;
pub use delta::delta;
pub use point::Point;
pub use window::{Asked, Evidence, Exactness, StreamWindow, Window, window};

use async_trait::async_trait;
use holdfast_vault::error::Result;
use holdfast_vault::model::StreamInfo;
use serde::{Deserialize, Serialize};

/// A record whose value at the end of a window is not what it was at its beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The record's canonical key.
    pub key: Vec<u8>,
    /// What it was at the beginning; `None` if it did not exist.
    pub before: Option<Vec<u8>>,
    /// What it was at the end; `None` if it was gone.
    pub after: Option<Vec<u8>>,
}

/// What happened to a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Op {
    /// It came.
    Add,
    /// It was changed.
    Change,
    /// It went.
    Delete,
}

impl Difference {
    /// What happened to the record.
    #[must_use]
    pub fn op(&self) -> Op {
        match (&self.before, &self.after) {
            (None, _) => Op::Add,
            (_, None) => Op::Delete,
            _ => Op::Change,
        }
    }

    /// Bytes of its key and values.
    #[must_use]
    pub fn len(&self) -> usize {
        let values = [&self.before, &self.after].into_iter().flatten().map(Vec::len).sum::<usize>();
        self.key.len() + values
    }

    /// Whether it holds nothing, which no difference does.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Takes differences, some at a time, in the order of their key hashes within a stream.
#[async_trait]
pub trait Differences: Send {
    /// Takes some differences of a stream.
    ///
    /// # Errors
    /// What ends the reading.
    async fn take(&mut self, stream: &StreamInfo, differences: Vec<Difference>) -> Result<()>;
}

/// How many records were added, changed and deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Records that came.
    pub added: u64,
    /// Records that were changed.
    pub changed: u64,
    /// Records that went.
    pub deleted: u64,
}

impl Counts {
    /// Counts one more.
    pub fn note(&mut self, op: Op) {
        *match op {
            Op::Add => &mut self.added,
            Op::Change => &mut self.changed,
            Op::Delete => &mut self.deleted,
        } += 1;
    }

    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.added + self.changed + self.deleted
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.added += other.added;
        self.changed += other.changed;
        self.deleted += other.deleted;
    }
}

/// Counts differences by stream, in the order of the streams.
#[derive(Debug, Clone, Default)]
pub struct Counting(pub Vec<(String, Counts)>);

#[async_trait]
impl Differences for Counting {
    async fn take(&mut self, stream: &StreamInfo, differences: Vec<Difference>) -> Result<()> {
        if self.0.last().is_none_or(|(name, _)| *name != stream.name) {
            self.0.push((stream.name.clone(), Counts::default()));
        }
        if let Some((_, counts)) = self.0.last_mut() {
            for difference in &differences {
                counts.note(difference.op());
            }
        }
        Ok(())
    }
}
