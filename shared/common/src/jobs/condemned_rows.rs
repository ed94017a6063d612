//! Objects of the vault that nothing needs, as far as was seen, and since when. `prune` deletes them when they have been
//! for long enough.
//!
//! A row never keeps an object and never makes it go by itself: removing one is always safe, and only makes the wait begin
//! anew.

use super::failure::{Failure, failure};
use super::item::{self, Item, number, read_number, read_text, text};
use super::table::SORT_KEY;
use super::write::PARALLEL;
use super::{JobStore, Pages, time};
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use holdfast_vault::error::{Code, Error, Result};
use jiff::Timestamp;

const CONDEMNED_PARTITION: &str = "CONDEMNED";
/// Hex digits of an object's id that its partition is named by.
const DIGITS: usize = 1;

/// An object that nothing needed when it was first looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condemned {
    /// Its key in the vault.
    pub key: String,
    /// Its size.
    pub size: u64,
    /// When that was first seen.
    pub at: Timestamp,
}

/// The partition of the rows of all keys that begin with `prefix`, which names a folder and, of packs and index objects, the
/// first digit of the id.
fn partition(prefix: &str) -> Result<String> {
    let wrong = || Error::new(Code::Internal, format!("the rows below {prefix:?} are in many partitions"));
    let (folder, rest) = prefix.split_once('/').ok_or_else(wrong)?;
    if !matches!(folder, "packs" | "index") {
        return Ok(format!("{CONDEMNED_PARTITION}#{folder}"));
    }
    let digit = rest.get(..DIGITS).ok_or_else(wrong)?;
    Ok(format!("{CONDEMNED_PARTITION}#{digit}"))
}

fn read(row: &Item) -> Result<Condemned> {
    let at = item::read_time(row, "at")?;
    let key = read_text(row, SORT_KEY)?.to_owned();
    let at = at.ok_or_else(|| {
        Error::new(Code::Internal, format!("the job table does not say since when {key} is condemned"))
    })?;
    Ok(Condemned { key, size: read_number(row, "size")?, at })
}

impl JobStore {
    /// Notes objects as condemned. One that is noted already keeps the time of its first row.
    ///
    /// # Errors
    /// `StateUnavailable`; some may be noted.
    pub async fn condemn(&self, objects: &[Condemned]) -> Result<()> {
        let puts = objects.iter().map(|object| self.condemn_one(object).boxed()).collect::<Vec<_>>();
        stream::iter(puts).buffer_unordered(PARALLEL).try_collect().await
    }

    async fn condemn_one(&self, object: &Condemned) -> Result<()> {
        let mut row = item::key(partition(&object.key)?, &object.key);
        row.insert("at".to_owned(), text(time::text(object.at)));
        row.insert("size".to_owned(), number(object.size));
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(row))
            .condition_expression("attribute_not_exists(pk)")
            .send()
            .await;
        match put.map_err(|error| failure(&error)) {
            Ok(_) | Err(Failure::Condition) => Ok(()),
            Err(other) => Err(self.error(other, &format!("noting {} as condemned", object.key))),
        }
    }

    /// The condemned objects whose keys begin with `prefix`, from `after` on, by key, as they are now. The prefix is
    /// `packs/`, `index/` and at least one digit of an id, or a whole folder of other objects, as `changes/`.
    ///
    /// # Errors
    /// `Internal` if the prefix is too short to be asked for at once.
    pub fn condemned(&self, prefix: &str, after: Option<&str>) -> Result<Pages<Condemned>> {
        let from = after.filter(|after| *after > prefix).unwrap_or(prefix);
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :pk AND sk BETWEEN :from AND :to")
            .expression_attribute_values(":pk", text(partition(prefix)?))
            // No key has a `~`, which comes behind all that they have.
            .expression_attribute_values(":from", text(from))
            .expression_attribute_values(":to", text(format!("{prefix}~")))
            .consistent_read(true);
        Ok(Pages::new(self, query, read))
    }

    /// Forgets that objects were condemned: they are needed, or gone.
    ///
    /// # Errors
    /// `StateUnavailable`; some may be forgotten.
    pub async fn forget_condemned(&self, keys: &[String]) -> Result<()> {
        let rows = keys.iter().map(|key| Ok(item::key(partition(key)?, key))).collect::<Result<Vec<_>>>()?;
        self.delete_all(rows, "forgetting condemned objects").await
    }
}
