//! Which part of a resource's objects the next sample reads.

use super::JobStore;
use super::failure::{Failure, failure};
use super::item::{self, number, read_number};
use holdfast_vault::error::Result;

const SAMPLE_PARTITION: &str = "SAMPLE";

impl JobStore {
    /// Where the next sample of a resource begins: 0 where there was none.
    ///
    /// # Errors
    /// `StateUnavailable`.
    pub async fn sample_start(&self, resource: &str) -> Result<u32> {
        let found =
            self.row(SAMPLE_PARTITION, resource, &format!("reading the sample of {resource}")).await?;
        let next = found.map(|item| read_number(&item, "place")).transpose()?;
        Ok(next.and_then(|next| u32::try_from(next).ok()).unwrap_or_default())
    }

    /// Notes that a sample which began at `from` was read to its end, so that the next begins at `next`. A sample that
    /// began elsewhere changes nothing: it was a repeat.
    ///
    /// # Errors
    /// `StateUnavailable`.
    pub async fn end_sample(&self, resource: &str, from: u32, next: u32) -> Result<()> {
        let mut item = item::key(SAMPLE_PARTITION, resource);
        item.insert("place".to_owned(), number(next));
        let put = self.client.put_item().table_name(&self.table).set_item(Some(item));
        let put = match from {
            0 => put.condition_expression("attribute_not_exists(pk) OR #place = :from"),
            _ => put.condition_expression("#place = :from"),
        };
        let put = put
            .expression_attribute_names("#place", "place")
            .expression_attribute_values(":from", number(from));
        match put.send().await.map_err(|error| failure(&error)) {
            Ok(_) | Err(Failure::Condition) => Ok(()),
            Err(other) => Err(self.error(other, &format!("noting the sample of {resource}"))),
        }
    }
}
