//! Prunes: what each did, and how far its shards are.

use super::failure::Failure;
use super::item::{self, Item, read_json, text};
use super::{JobError, JobStore, Pages};
use holdfast_vault::error::{Code, Error, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

const PRUNE_PARTITION: &str = "PRUNE";
/// Prunes that are remembered.
const KEPT: usize = 100;

/// What a prune saw and did. Counts are of objects, and of their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct PruneFigures {
    /// Backups whose manifests were deleted.
    pub backups_ended: u64,
    /// Objects that were looked at.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects that nothing needs, seen for the first time.
    pub condemned: u64,
    /// Their bytes.
    pub condemned_bytes: u64,
    /// Objects that were condemned before, and whose time is not up.
    pub waiting: u64,
    /// Their bytes.
    pub waiting_bytes: u64,
    /// Objects that were condemned and are needed.
    pub rescued: u64,
    /// Objects that were deleted.
    pub deleted: u64,
    /// Their bytes.
    pub deleted_bytes: u64,
    /// Objects that would have been deleted, and are locked.
    pub locked: u64,
    /// Their bytes.
    pub locked_bytes: u64,
    /// Objects whose locks were extended.
    pub extended: u64,
}

impl std::ops::AddAssign for PruneFigures {
    fn add_assign(&mut self, other: Self) {
        self.backups_ended += other.backups_ended;
        self.objects += other.objects;
        self.bytes += other.bytes;
        self.condemned += other.condemned;
        self.condemned_bytes += other.condemned_bytes;
        self.waiting += other.waiting;
        self.waiting_bytes += other.waiting_bytes;
        self.rescued += other.rescued;
        self.deleted += other.deleted;
        self.deleted_bytes += other.deleted_bytes;
        self.locked += other.locked;
        self.locked_bytes += other.locked_bytes;
        self.extended += other.extended;
    }
}

/// One prune. A repeat after a crash counts what is left to do, so figures may fall short of what was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PruneRow {
    /// A ULID.
    pub id: String,
    /// Whether it only counted what it would do.
    pub dry_run: bool,
    /// When it began.
    #[serde(with = "super::time")]
    pub started_at: Timestamp,
    /// When it ended, however it ended.
    #[serde(default, with = "super::time::option", skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    /// Why it did not come to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<JobError>,
    /// How many shards it has; none until it is planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shards: Option<u32>,
    /// What it did.
    #[serde(default)]
    pub figures: PruneFigures,
}

/// A part of a prune.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PruneShard {
    /// What is swept; opaque here.
    pub order: Value,
    /// After which key to go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Whether all of it was looked at.
    #[serde(default)]
    pub done: bool,
    /// What was done so far.
    #[serde(default)]
    pub figures: PruneFigures,
}

fn unknown(id: &str) -> Error {
    Error::new(Code::JobUnknown, format!("no prune has the id {id:?}")).object(id).hint("start a new one")
}

fn shard_sort(shard: u32) -> String {
    format!("SHARD#{shard:010}")
}

impl JobStore {
    /// A prune.
    ///
    /// # Errors
    /// `JobUnknown` if there is none, `StateUnavailable`.
    pub async fn prune(&self, id: &str) -> Result<PruneRow> {
        let row = self.revised::<PruneRow>(PRUNE_PARTITION, id, "reading a prune").await?;
        row.map(|(row, _)| row).ok_or_else(|| unknown(id))
    }

    /// Stores a prune that begins; where one of that id is stored, returns that one and changes nothing.
    ///
    /// # Errors
    /// `StateUnavailable`.
    pub async fn create_prune(&self, row: &PruneRow) -> Result<PruneRow> {
        if self.put_versioned(PRUNE_PARTITION, &row.id, row, 0, "noting a prune").await? {
            return Ok(row.clone());
        }
        self.prune(&row.id).await
    }

    /// Changes a prune, unless it has ended, and gives it as it is then.
    ///
    /// # Errors
    /// `JobUnknown`, `StateUnavailable`, `StateConflict`.
    pub async fn update_prune(&self, id: &str, change: impl Fn(&mut PruneRow)) -> Result<PruneRow> {
        for attempt in 0..=super::failure::TRIES {
            let found = self.revised::<PruneRow>(PRUNE_PARTITION, id, "reading a prune").await?;
            let (mut row, revision) = found.ok_or_else(|| unknown(id))?;
            if row.completed_at.is_some() {
                return Ok(row);
            }
            change(&mut row);
            if self.put_versioned(PRUNE_PARTITION, id, &row, revision, "noting a prune").await? {
                return Ok(row);
            }
            crate::wait::back_off(attempt).await;
        }
        Err(self.error(Failure::Conflict, "noting a prune"))
    }

    /// The prunes that are remembered, newest first.
    #[must_use]
    pub fn prunes(&self) -> Pages<PruneRow> {
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", text(PRUNE_PARTITION))
            .scan_index_forward(false)
            .consistent_read(true);
        Pages::new(self, query, |item: &Item| read_json(item, "body"))
    }

    /// Forgets all but the newest prunes.
    ///
    /// # Errors
    /// `StateUnavailable`.
    pub async fn forget_old_prunes(&self) -> Result<()> {
        let old = self.prunes().all().await?.into_iter().skip(KEPT);
        self.delete_all(old.map(|row| item::key(PRUNE_PARTITION, row.id)), "forgetting old prunes").await
    }

    /// Stores a shard of a prune unless it is stored.
    ///
    /// # Errors
    /// `StateUnavailable`.
    pub async fn put_prune_shard(&self, prune: &str, shard: u32, row: &PruneShard) -> Result<()> {
        let pk = format!("{PRUNE_PARTITION}#{prune}");
        self.put_versioned(&pk, &shard_sort(shard), row, 0, "noting a shard").await.map(|_| ())
    }

    /// A shard of a prune, and the revision to change it at; `None` if it is not there, as after the prune's end.
    ///
    /// # Errors
    /// `StateUnavailable`.
    pub async fn prune_shard(&self, prune: &str, shard: u32) -> Result<Option<(PruneShard, u64)>> {
        let pk = format!("{PRUNE_PARTITION}#{prune}");
        self.revised(&pk, &shard_sort(shard), "reading a shard").await
    }

    /// Changes a shard that nobody changed since it was read. False if somebody did.
    ///
    /// # Errors
    /// `StateUnavailable`.
    pub async fn update_prune_shard(
        &self,
        prune: &str,
        shard: u32,
        row: &PruneShard,
        revision: u64,
    ) -> Result<bool> {
        let pk = format!("{PRUNE_PARTITION}#{prune}");
        self.put_versioned(&pk, &shard_sort(shard), row, revision, "noting a shard").await
    }

    /// The shards of a prune, in order.
    #[must_use]
    pub fn prune_shards(&self, prune: &str) -> Pages<PruneShard> {
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", text(format!("{PRUNE_PARTITION}#{prune}")))
            .consistent_read(true);
        Pages::new(self, query, |item: &Item| read_json(item, "body"))
    }

    /// Removes the shards of a prune.
    ///
    /// # Errors
    /// `StateUnavailable`.
    pub async fn forget_prune_shards(&self, prune: &str, shards: u32) -> Result<()> {
        let pk = format!("{PRUNE_PARTITION}#{prune}");
        let rows = (0..shards).map(|shard| item::key(pk.clone(), shard_sort(shard)));
        self.delete_all(rows, "forgetting shards").await
    }

    /// Stores a row in place of the one of a revision; 0 stands for none. False if there is another.
    async fn put_versioned<T: Serialize + Sync>(
        &self,
        pk: &str,
        sk: &str,
        row: &T,
        revision: u64,
        doing: &str,
    ) -> Result<bool> {
        match self.put_revised(pk, sk, row, revision)?.await {
            Ok(()) => Ok(true),
            Err(Failure::Condition | Failure::Conflict) => Ok(false),
            Err(other) => Err(self.error(other, doing)),
        }
    }
}
