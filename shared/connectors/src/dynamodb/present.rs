//! Looks items up by their keys, and waits where the table asks to slow down.

use super::item::Item;
use super::number::{KeyValue, key_values};
use super::pace::Pace;
use super::table::Table;
use crate::aws::Tell;
use aws_sdk_dynamodb::types::{ConsumedCapacity, KeysAndAttributes, ReturnConsumedCapacity};
use governor::Jitter;
use holdfast_vault::error::{Code, Error, Result};
use std::collections::HashMap;
use std::time::Duration;

/// The API's bound on a batch.
pub(super) const BATCH_READS: usize = 100;
/// How often in a row a call may get nowhere.
pub(super) const MOST_RETRIES: u32 = 10;
const LONGEST_RETRY: Duration = Duration::from_secs(5);

/// The key attributes of an item.
pub(super) fn key_of(item: &Item, names: &[String]) -> Item {
    names.iter().filter_map(|name| Some((name.clone(), item.get(name)?.clone()))).collect()
}

impl Table {
    /// Waits before the next try, longer each time, never as long as another worker.
    pub(super) async fn back_off(&self, idle: u32) -> Result<()> {
        if idle > MOST_RETRIES {
            let what = &self.subject.what;
            return Err(Error::new(
                Code::TargetThrottled,
                format!("{what} takes no more: {MOST_RETRIES} tries"),
            )
            .object(what.clone())
            .hint("try again later, or raise the table's write capacity"));
        }
        let longest = self.delays.retry.saturating_mul(1 << idle.min(16)).min(LONGEST_RETRY);
        tokio::time::sleep(Jitter::up_to(longest / 2) + longest / 2).await;
        Ok(())
    }

    /// The items that the table holds under these keys, at most [`BATCH_READS`] and none of them twice, read
    /// consistently.
    pub(super) async fn present(
        &self,
        names: &[String],
        mut keys: Vec<Item>,
        pace: Option<&Pace>,
    ) -> Result<HashMap<Vec<KeyValue>, Item>> {
        let mut present = HashMap::new();
        let mut idle = 0;
        while !keys.is_empty() {
            let asked = keys.len();
            let wanted =
                KeysAndAttributes::builder().set_keys(Some(keys.clone())).consistent_read(true).build();
            let wanted = wanted.map_err(|error| Error::new(Code::Internal, error.to_string()))?;
            let call = self.client.batch_get_item().request_items(&self.name, wanted);
            match call.return_consumed_capacity(ReturnConsumedCapacity::Total).send().await {
                Ok(mut answer) => {
                    let units =
                        answer.consumed_capacity().iter().filter_map(ConsumedCapacity::capacity_units).sum();
                    let found = answer.responses.as_mut().and_then(|all| all.remove(&self.name));
                    for item in found.unwrap_or_default() {
                        if let Some(key) = key_values(&item, names) {
                            present.insert(key, item);
                        }
                    }
                    let left = answer.unprocessed_keys.and_then(|mut all| all.remove(&self.name));
                    keys = left.map(|left| left.keys).unwrap_or_default();
                    if let Some(pace) = pace {
                        pace.pay(units).await;
                    }
                }
                Err(error) => {
                    let fault = self.subject.fault("read", Tell::NoValues, &error);
                    if fault.code != Code::TargetThrottled || idle >= MOST_RETRIES {
                        return Err(fault);
                    }
                }
            }
            if !keys.is_empty() {
                idle = if keys.len() < asked { 0 } else { idle + 1 };
                self.back_off(idle).await?;
            }
        }
        Ok(present)
    }
}
