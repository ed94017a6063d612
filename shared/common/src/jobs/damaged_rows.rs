//! Objects of the vault that a verification found damaged or missing, until one finds them whole again.

use super::failure::failure;
use super::item::{self, Item, json, read_json, text};
use super::{JobStore, Pages};
use holdfast_vault::error::Result;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

const DAMAGED_PARTITION: &str = "DAMAGED";

/// An object in quarantine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamagedRow {
    /// The object's key in the vault.
    pub key: String,
    /// What is wrong, by the error's code.
    pub code: String,
    /// What is wrong, in one sentence.
    pub message: String,
    /// When it was found last.
    #[serde(with = "super::time")]
    pub found_at: Timestamp,
    /// How thorough the verification was that found it: `quick`, `full`, `sample=5`.
    pub level: String,
    /// The backup that was verified.
    pub backup: String,
    /// Its resource: no backup of another one needs the object.
    pub resource: String,
    /// Bytes that the object should have; 0 where nothing tells.
    pub size: u64,
}

impl JobStore {
    /// Notes that an object is damaged, in place of what was noted of it before.
    ///
    /// # Errors
    /// `StateUnavailable`.
    pub async fn put_damaged(&self, row: &DamagedRow) -> Result<()> {
        let mut item = item::key(DAMAGED_PARTITION, row.key.as_str());
        item.insert("body".to_owned(), json(row)?);
        let sent = self.client.put_item().table_name(&self.table).set_item(Some(item)).send().await;
        sent.map_err(|error| self.error(failure(&error), &format!("noting damage of {}", row.key)))?;
        Ok(())
    }

    /// Notes that an object is whole. Of one that was not damaged nothing is noted.
    ///
    /// # Errors
    /// `StateUnavailable`.
    pub async fn clear_damaged(&self, key: &str) -> Result<()> {
        let row = item::key(DAMAGED_PARTITION, key);
        let sent = self.client.delete_item().table_name(&self.table).set_key(Some(row)).send().await;
        sent.map_err(|error| self.error(failure(&error), &format!("noting that {key} is whole")))?;
        Ok(())
    }

    /// What is noted of an object; `None` if it is in no quarantine.
    ///
    /// # Errors
    /// `StateUnavailable`.
    pub async fn damaged_object(&self, key: &str) -> Result<Option<DamagedRow>> {
        let found = self.row(DAMAGED_PARTITION, key, &format!("reading what is noted of {key}")).await?;
        found.map(|item| read_json(&item, "body")).transpose()
    }

    /// All objects in quarantine, by their keys.
    #[must_use]
    pub fn damaged(&self) -> Pages<DamagedRow> {
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", text(DAMAGED_PARTITION))
            .consistent_read(true);
        Pages::new(self, query, |item: &Item| read_json(item, "body"))
    }
}
