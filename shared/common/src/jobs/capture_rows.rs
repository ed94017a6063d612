//! How far the changes of each resource are captured.

use super::failure::{Failure, TRIES};
use super::item::{self, Item, read_json, text};
use super::table::SORT_KEY;
use super::{JobStore, Pages};
use crate::wait::back_off;
use futures::future::BoxFuture;
use holdfast_vault::error::Result;
use holdfast_vault::format::changes::Gap;
use serde::{Deserialize, Serialize};

const CAPTURE_PARTITION: &str = "CAPTURE";
/// Gaps that a row keeps; where there are more, neighbours are told as one.
const GAPS: usize = 200;
/// Change objects that a row remembers until another one names them: more than are written at the same time.
const UNFOLLOWED: usize = 100;
/// Labels of streams that a row remembers.
const LABELS: usize = 20;

/// How far the changes of a resource are captured. All times are in milliseconds since 1970.
///
/// All of it can be made again from the vault, but for the labels and what is held up.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CaptureRow {
    /// The stream: the table's name.
    pub stream: String,
    /// The attributes of the key, in order.
    pub key: Vec<String>,
    /// From then on every change is captured, but for the gaps.
    pub since: i64,
    /// The time up to which nothing is missing, but for what is held up.
    pub newest: i64,
    /// Records that could not be taken yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<Held>,
    /// When the latest captured change was made.
    pub last_change: Option<i64>,
    /// The highest captured sequence.
    pub last_sequence: Option<String>,
    /// Labels of the table's streams that changes came from, the newest last.
    #[serde(default)]
    pub labels: Vec<String>,
    /// Changes written, repeats among them.
    pub changes: u64,
    /// Objects written, gathered ones not among them.
    pub objects: u64,
    /// Objects written since the last look at whether some should be gathered.
    #[serde(default)]
    pub ungathered: u64,
    /// Keys of the change objects that no later one names yet: the next one does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unfollowed: Vec<String>,
    /// Times in which changes are missing, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<Gap>,
}

/// A record that could not be taken yet, and that the service will deliver again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Its sequence.
    pub sequence: String,
    /// Its time, or an earlier one.
    pub time: i64,
}

impl CaptureRow {
    /// The newest time up to which nothing is missing.
    #[must_use]
    pub fn watermark(&self) -> i64 {
        let held = self.held.iter().map(|held| held.time - 1).min();
        self.newest.min(held.unwrap_or(i64::MAX))
    }

    /// Adds a gap, unless one that is known holds it, in place of those that it holds.
    pub fn add_gap(&mut self, gap: Gap) {
        if self.gaps.iter().any(|known| known.from <= gap.from && gap.to <= known.to) {
            return;
        }
        self.gaps.retain(|known| known.from < gap.from || gap.to < known.to);
        self.gaps.push(gap);
        self.gaps.sort();
        while self.gaps.len() > GAPS {
            let last = self.gaps.pop();
            if let (Some(kept), Some(last)) = (self.gaps.last_mut(), last) {
                kept.to = kept.to.max(last.to);
            }
        }
    }

    /// Notes a change object and which ones it names, so that the next one names it.
    pub fn wrote(&mut self, key: &str, follows: &[String]) {
        self.unfollowed.retain(|known| known != key && !follows.contains(known));
        self.unfollowed.push(key.to_owned());
        if self.unfollowed.len() > UNFOLLOWED {
            self.unfollowed.remove(0);
        }
    }

    /// Remembers that changes came from a stream of this label.
    pub fn add_label(&mut self, label: &str) {
        if self.labels.iter().any(|known| known == label) {
            return;
        }
        self.labels.push(label.to_owned());
        if self.labels.len() > LABELS {
            self.labels.remove(0);
        }
    }
}

impl JobStore {
    /// How far a resource's changes are captured; `None` if none ever were.
    ///
    /// # Errors
    /// `StateUnavailable`.
    #[must_use]
    pub fn capture<'a>(&'a self, resource: &'a str) -> BoxFuture<'a, Result<Option<CaptureRow>>> {
        Box::pin(async move { Ok(self.capture_item(resource).await?.map(|(row, _)| row)) })
    }

    /// All rows with their resources' names, by name.
    #[must_use]
    pub fn captures(&self) -> Pages<(String, CaptureRow)> {
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", text(CAPTURE_PARTITION))
            .consistent_read(true);
        Pages::new(self, query, |item: &Item| {
            Ok((item::read_text(item, SORT_KEY)?.to_owned(), read_json(item, "body")?))
        })
    }

    /// Changes a resource's row, or makes it, and gives what it is then. `change` may be called again where another
    /// worker changed the row first.
    ///
    /// # Errors
    /// `StateUnavailable`, `StateConflict` if others do not let it be, or what `change` gives.
    pub async fn update_capture(
        &self,
        resource: &str,
        change: impl Fn(Option<CaptureRow>) -> Result<CaptureRow> + Send + Sync,
    ) -> Result<CaptureRow> {
        let doing = format!("noting the capture of {resource}");
        for attempt in 0..=TRIES {
            let known = self.capture_item(resource).await?;
            let revision = known.as_ref().map_or(0, |(_, revision)| *revision);
            let row = change(known.map(|(row, _)| row))?;
            let put = self.put_revised(CAPTURE_PARTITION, resource, &row, revision)?;
            match put.await {
                Ok(()) => return Ok(row),
                Err(Failure::Condition | Failure::Conflict | Failure::Throttled) => back_off(attempt).await,
                Err(other) => return Err(self.error(other, &doing)),
            }
        }
        Err(self.error(Failure::Conflict, &doing))
    }

    async fn capture_item(&self, resource: &str) -> Result<Option<(CaptureRow, u64)>> {
        self.revised(CAPTURE_PARTITION, resource, &format!("reading the capture of {resource}")).await
    }
}
