//! What was dispatched of each resource's schedule.

use super::failure::{Failure, failure};
use super::item::{self, Item, json, number, read_json, read_number, read_text, text};
use super::table::SORT_KEY;
use super::{JobStore, Pages};
use futures::future::BoxFuture;
use holdfast_vault::error::Result;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

const SCHEDULE_PARTITION: &str = "SCHEDULE";

/// A resource's schedule as it was seen last, and up to when it is settled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleRow {
    /// The schedule; `None` where the resource has none any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// The time zone that it is meant in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// Nothing due then or before is started any more.
    #[serde(with = "super::time")]
    pub after: Timestamp,
}

/// A row and the revision that it was read at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known<T> {
    /// The row.
    pub row: T,
    revision: u64,
}

impl JobStore {
    /// All rows with their resources' names, by name.
    #[must_use]
    pub fn schedules(&self) -> Pages<(String, Known<ScheduleRow>)> {
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", text(SCHEDULE_PARTITION))
            .consistent_read(true);
        Pages::new(self, query, |item: &Item| {
            let known = Known { row: read_json(item, "body")?, revision: read_number(item, "revision")? };
            Ok((read_text(item, SORT_KEY)?.to_owned(), known))
        })
    }

    /// Stores a resource's row in place of the one that was read, or where none was. False if another dispatcher stored
    /// one since: then its word stands.
    ///
    /// # Errors
    /// `StateUnavailable`.
    #[must_use]
    pub fn put_schedule<'a>(
        &'a self,
        resource: &'a str,
        row: &'a ScheduleRow,
        known: Option<&'a Known<ScheduleRow>>,
    ) -> BoxFuture<'a, Result<bool>> {
        Box::pin(async move {
            let revision = known.map_or(0, |known| known.revision);
            let mut item = item::key(SCHEDULE_PARTITION, resource);
            item.insert("revision".to_owned(), number(revision + 1));
            item.insert("body".to_owned(), json(row)?);
            let put = self.client.put_item().table_name(&self.table).set_item(Some(item));
            let put = match known {
                None => put.condition_expression("attribute_not_exists(pk)"),
                Some(_) => put
                    .condition_expression("revision = :known")
                    .expression_attribute_values(":known", number(revision)),
            };
            match put.send().await.map_err(|error| failure(&error)) {
                Ok(_) => Ok(true),
                Err(Failure::Condition | Failure::Conflict) => Ok(false),
                Err(other) => Err(self.error(other, &format!("noting the schedule of {resource}"))),
            }
        })
    }
}
