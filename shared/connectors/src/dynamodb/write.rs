//! Writes items: in batches where nothing can be lost, one by one under a condition elsewhere.

use super::item::{Item, read_item};
use super::json::{Unfit, item_of_json};
use super::number::{key_values, same_item};
use super::present::{BATCH_READS, MOST_RETRIES, key_of};
use super::schema::KeyPart;
use super::target::{DynamoDbTarget, State};
use crate::aws::Tell;
use crate::batch::RecordBatch;
use crate::target::{OnConflict, Written};
use aws_sdk_dynamodb::types::{
    ConsumedCapacity, PutRequest, ReturnConsumedCapacity, ReturnValuesOnConditionCheckFailure, WriteRequest,
};
use futures::stream::{self, StreamExt, TryStreamExt};
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::model::{RecordEncoding, StreamInfo, StreamKind};

/// The API's bound on a batch.
const BATCH_WRITES: usize = 25;
/// A request may have 16 MB; items grow when they are written as JSON.
const BATCH_BYTES: usize = 8 << 20;
const BATCHES_AT_ONCE: usize = 8;
const PUTS_AT_ONCE: usize = 16;

/// An item and how many bytes it had in the backup.
struct Incoming {
    item: Item,
    bytes: usize,
}

impl DynamoDbTarget {
    pub(super) async fn write(&self, stream: &StreamInfo, batch: &RecordBatch) -> Result<Written> {
        let state = self.state().await?;
        let incoming = self.incoming(stream, batch, &state.key)?;
        if state.made {
            return self.put_all(incoming).await;
        }
        let mut written = Written::default();
        let mut left = incoming.into_iter().peekable();
        while left.peek().is_some() {
            let some = left.by_ref().take(BATCH_READS).collect();
            written += self.reconcile(state, some).await?;
        }
        Ok(written)
    }

    fn incoming(&self, stream: &StreamInfo, batch: &RecordBatch, key: &[KeyPart]) -> Result<Vec<Incoming>> {
        let json = matches!(stream.shape, StreamKind::Records { encoding: RecordEncoding::Json, .. });
        let read = |record: crate::batch::RecordRef<'_>| {
            let item = if json {
                item_of_json(record.value, key).map_err(|unfit| self.unfit(stream, &unfit))?
            } else {
                read_item(record.value)?
            };
            Ok(Incoming { item, bytes: record.value.len() })
        };
        batch.iter().map(read).collect()
    }

    fn unfit(&self, stream: &StreamInfo, unfit: &Unfit) -> Error {
        let error = self.invalid(format_args!("cannot hold a record of stream {}: it {unfit}", stream.name));
        match unfit {
            Unfit::Key(_) => error.hint("make the table with a key of the records' type and restore into it"),
            _ => error.hint("restore this stream to jsonl:DIR"),
        }
    }

    /// Writes items over whatever is there.
    async fn put_all(&self, items: Vec<Incoming>) -> Result<Written> {
        let mut written = Written::default();
        let mut batches: Vec<Vec<WriteRequest>> = Vec::new();
        let mut room = 0;
        for Incoming { item, bytes } in items {
            written.written += 1;
            written.bytes += bytes as u64;
            let put = PutRequest::builder().set_item(Some(item)).build();
            let put = put.map_err(|error| Error::new(Code::Internal, error.to_string()))?;
            let request = WriteRequest::builder().put_request(put).build();
            match batches.last_mut() {
                Some(last) if last.len() < BATCH_WRITES && bytes <= room => {
                    room -= bytes;
                    last.push(request);
                }
                _ => {
                    room = BATCH_BYTES.saturating_sub(bytes);
                    batches.push(vec![request]);
                }
            }
        }
        let writes = stream::iter(batches).map(|batch| self.put_batch(batch));
        writes.buffer_unordered(BATCHES_AT_ONCE).try_collect::<()>().await?;
        Ok(written)
    }

    async fn put_batch(&self, mut requests: Vec<WriteRequest>) -> Result<()> {
        let mut idle = 0;
        loop {
            let sent = requests.len();
            let answer = self
                .table
                .client
                .batch_write_item()
                .request_items(&self.table.name, requests.clone())
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .send()
                .await;
            match answer {
                Ok(answer) => {
                    let units =
                        answer.consumed_capacity().iter().filter_map(ConsumedCapacity::capacity_units).sum();
                    requests = answer
                        .unprocessed_items
                        .and_then(|mut all| all.remove(&self.table.name))
                        .unwrap_or_default();
                    self.pace.pay(units).await;
                }
                Err(error) => {
                    let fault = self.table.subject.fault("write", Tell::NoValues, &error);
                    if fault.code != Code::TargetThrottled || idle >= MOST_RETRIES {
                        return Err(fault);
                    }
                }
            }
            if requests.is_empty() {
                return Ok(());
            }
            idle = if requests.len() < sent { 0 } else { idle + 1 };
            self.table.back_off(idle).await?;
        }
    }

    /// Writes up to a hundred items into a table that may hold others, as the policy for conflicts says.
    async fn reconcile(&self, state: &State, items: Vec<Incoming>) -> Result<Written> {
        let names: Vec<String> = state.key.iter().map(|part| part.name.clone()).collect();
        let keys = items.iter().map(|incoming| key_of(&incoming.item, &names)).collect();
        let present = self.table.present(&names, keys, None).await?;
        let mut done = Written::default();
        let mut missing = Vec::new();
        for incoming in items {
            match key_values(&incoming.item, &names).and_then(|key| present.get(&key)) {
                Some(item) if same_item(item, &incoming.item) => done.written += 1,
                Some(_) => {
                    self.conflict(&mut done)?;
                    if self.on_conflict == OnConflict::Overwrite {
                        missing.push(incoming);
                    }
                }
                None => missing.push(incoming),
            }
        }
        if self.on_conflict == OnConflict::Overwrite {
            done += self.put_all(missing).await?;
            return Ok(done);
        }
        let hash = names.first().map_or("", String::as_str);
        let puts = stream::iter(missing).map(|incoming| self.put_absent(hash, incoming));
        let puts = puts.buffer_unordered(PUTS_AT_ONCE);
        puts.try_fold(done, |mut done, put| async move {
            done += put;
            Ok(done)
        })
        .await
    }

    /// Counts a conflict, or ends the restore.
    fn conflict(&self, done: &mut Written) -> Result<()> {
        if self.on_conflict == OnConflict::Fail {
            return Err(Error::new(
                Code::TargetConflict,
                format!("table {} holds an item that differs from the backup's", self.table.name),
            )
            .object(self.table.subject.what.clone())
            .hint("restore into a new table, or say --on-conflict skip or overwrite"));
        }
        done.conflicts += 1;
        Ok(())
    }

    /// Writes an item unless somebody was faster.
    async fn put_absent(&self, hash: &str, incoming: Incoming) -> Result<Written> {
        let answer = self
            .table
            .client
            .put_item()
            .table_name(&self.table.name)
            .set_item(Some(incoming.item.clone()))
            .condition_expression("attribute_not_exists(#hash)")
            .expression_attribute_names("#hash", hash)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .send()
            .await;
        let mut done = Written::default();
        let error = match answer {
            Ok(answer) => {
                self.pace
                    .pay(answer.consumed_capacity().and_then(ConsumedCapacity::capacity_units).unwrap_or(0.0))
                    .await;
                done.written = 1;
                done.bytes = incoming.bytes as u64;
                return Ok(done);
            }
            Err(error) => error,
        };
        let refused = error.as_service_error().and_then(|error| match error {
            aws_sdk_dynamodb::operation::put_item::PutItemError::ConditionalCheckFailedException(refused) => {
                Some(refused)
            }
            _ => None,
        });
        match refused {
            None => return Err(self.table.subject.fault("write", Tell::NoValues, &error)),
            Some(refused) if refused.item().is_some_and(|item| same_item(item, &incoming.item)) => {
                done.written = 1;
            }
            Some(_) => self.conflict(&mut done)?,
        }
        Ok(done)
    }
}
