//! Many rows at once: transactions, batches, and the update of one row.

use super::failure::{Failure, TRIES, failure};
use super::item::Item;
use super::table::internal;
use super::{JobStore, Status};
use crate::wait::back_off;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemOutput;
use aws_sdk_dynamodb::types::{
    AttributeValue, CancellationReason, DeleteRequest, Put, PutRequest, ReturnValue, TransactWriteItem,
    Update, WriteRequest,
};
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt, TryStreamExt};
use holdfast_vault::error::{Code, Error, Result};
use std::collections::HashMap;

/// Rows in one transaction at most.
pub(super) const TRANSACTION_ROWS: usize = 100;
/// Bytes of rows in one transaction at most: the service takes 4 MB, with its own way of counting.
pub(super) const TRANSACTION_BYTES: usize = 3_000_000;
/// Rows in one batch at most.
const BATCH_ROWS: usize = 25;
/// Requests of one call under way at a time.
pub(super) const PARALLEL: usize = 8;

/// An update of one row, put together piece by piece.
#[derive(Debug, Default, Clone)]
pub(super) struct Change {
    set: Vec<String>,
    remove: Vec<String>,
    add: Vec<String>,
    condition: String,
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
}

impl Change {
    /// A change that happens if the condition holds. In it `#name` stands for an attribute that is [`Change::named`]
    /// or changed, and `:name` for a [`Change::value`].
    pub(super) fn when(condition: &str) -> Self {
        Self { condition: condition.to_owned(), ..Self::default() }
    }

    pub(super) fn named(mut self, name: &str) -> Self {
        self.names.insert(format!("#{name}"), name.to_owned());
        self
    }

    pub(super) fn value(mut self, label: &str, value: AttributeValue) -> Self {
        self.values.insert(format!(":{label}"), value);
        self
    }

    pub(super) fn set(mut self, name: &str, value: AttributeValue) -> Self {
        self.set.push(format!("#{name} = :new_{name}"));
        self.named(name).value(&format!("new_{name}"), value)
    }

    pub(super) fn set_once(mut self, name: &str, value: AttributeValue) -> Self {
        self.set.push(format!("#{name} = if_not_exists(#{name}, :new_{name})"));
        self.named(name).value(&format!("new_{name}"), value)
    }

    pub(super) fn append(mut self, name: &str, list: AttributeValue) -> Self {
        self.set.push(format!("#{name} = list_append(#{name}, :new_{name})"));
        self.named(name).value(&format!("new_{name}"), list)
    }

    pub(super) fn remove(mut self, name: &str) -> Self {
        self.remove.push(format!("#{name}"));
        self.named(name)
    }

    pub(super) fn add(mut self, name: &str, value: AttributeValue) -> Self {
        self.add.push(format!("#{name} :new_{name}"));
        self.named(name).value(&format!("new_{name}"), value)
    }

    fn expression(&self) -> String {
        [("SET", &self.set), ("REMOVE", &self.remove), ("ADD", &self.add)]
            .into_iter()
            .filter(|(_, parts)| !parts.is_empty())
            .map(|(verb, parts)| format!("{verb} {}", parts.join(", ")))
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// The change as part of a transaction.
    pub(super) fn in_transaction(self, table: &str, key: Item) -> Result<TransactWriteItem> {
        let update = Update::builder()
            .table_name(table)
            .set_key(Some(key))
            .update_expression(self.expression())
            .condition_expression(self.condition)
            .set_expression_attribute_names(Some(self.names))
            .set_expression_attribute_values(Some(self.values))
            .build()
            .map_err(internal)?;
        Ok(TransactWriteItem::builder().update(update).build())
    }
}

/// An unconditional put as part of a transaction.
pub(super) fn put(table: &str, item: Item) -> Result<TransactWriteItem> {
    let put = Put::builder().table_name(table).set_item(Some(item)).build().map_err(internal)?;
    Ok(TransactWriteItem::builder().put(put).build())
}

/// A put, of a task that nobody has begun, as part of a transaction.
pub(super) fn put_unbegun(table: &str, item: Item) -> Result<TransactWriteItem> {
    let put = Put::builder()
        .table_name(table)
        .set_item(Some(item))
        .condition_expression("attribute_not_exists(pk) OR #status = :pending")
        .expression_attribute_names("#status", "status")
        .expression_attribute_values(":pending", AttributeValue::S(Status::Pending.as_str().to_owned()))
        .build()
        .map_err(internal)?;
    Ok(TransactWriteItem::builder().put(put).build())
}

/// About how many bytes a row takes.
pub(super) fn weight(item: &Item) -> usize {
    item.iter().map(|(name, value)| name.len() + value_weight(value)).sum()
}

fn value_weight(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::S(text) | AttributeValue::N(text) => text.len() + 3,
        AttributeValue::L(list) => 3 + list.iter().map(value_weight).sum::<usize>(),
        _ => 8,
    }
}

impl JobStore {
    /// Updates one row and returns it as it is then.
    pub(super) fn update(
        &self,
        key: Item,
        change: Change,
    ) -> BoxFuture<'_, Result<UpdateItemOutput, Failure>> {
        Box::pin(async move {
            self.client
                .update_item()
                .table_name(&self.table)
                .set_key(Some(key))
                .update_expression(change.expression())
                .condition_expression(change.condition)
                .set_expression_attribute_names(Some(change.names))
                .set_expression_attribute_values((!change.values.is_empty()).then_some(change.values))
                .return_values(ReturnValue::AllNew)
                .send()
                .await
                .map_err(|error| failure(&error))
        })
    }

    /// Does all of the writes or none. Returns the places of those whose conditions did not hold: none, if all is done.
    pub(super) fn transact<'a>(
        &'a self,
        writes: &'a [TransactWriteItem],
        doing: &'a str,
    ) -> BoxFuture<'a, Result<Vec<usize>>> {
        Box::pin(async move {
            let mut attempt = 0;
            loop {
                let sent =
                    self.client.transact_write_items().set_transact_items(Some(writes.to_vec())).send().await;
                let Err(error) = sent else { return Ok(Vec::new()) };
                let why = match error.as_service_error() {
                    Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                        let reasons = cancelled.cancellation_reasons();
                        let failed: Vec<usize> = (0..reasons.len())
                            .filter(|&at| reasons[at].code() == Some("ConditionalCheckFailed"))
                            .collect();
                        if !failed.is_empty() {
                            return Ok(failed);
                        }
                        cancelled_for(reasons)
                    }
                    _ => failure(&error),
                };
                if !matches!(why, Failure::Conflict | Failure::Throttled) || attempt >= TRIES {
                    return Err(self.error(why, doing));
                }
                back_off(attempt).await;
                attempt += 1;
            }
        })
    }

    /// Puts rows in batches, over what is there.
    pub(super) async fn put_all(&self, items: impl IntoIterator<Item = Item>, doing: &str) -> Result<()> {
        let requests = items
            .into_iter()
            .map(|item| {
                let put = PutRequest::builder().set_item(Some(item)).build().map_err(internal)?;
                Ok(WriteRequest::builder().put_request(put).build())
            })
            .collect::<Result<Vec<_>>>()?;
        self.batches(requests, doing).await
    }

    /// Deletes rows in batches. Deleting what is not there succeeds.
    pub(super) async fn delete_all(&self, keys: impl IntoIterator<Item = Item>, doing: &str) -> Result<()> {
        let requests = keys
            .into_iter()
            .map(|key| {
                let delete = DeleteRequest::builder().set_key(Some(key)).build().map_err(internal)?;
                Ok(WriteRequest::builder().delete_request(delete).build())
            })
            .collect::<Result<Vec<_>>>()?;
        self.batches(requests, doing).await
    }

    async fn batches(&self, requests: Vec<WriteRequest>, doing: &str) -> Result<()> {
        let chunks: Vec<_> = requests.chunks(BATCH_ROWS).map(<[_]>::to_vec).collect();
        stream::iter(chunks)
            .map(|chunk| self.batch(chunk, doing))
            .buffer_unordered(PARALLEL)
            .try_collect::<Vec<()>>()
            .await?;
        Ok(())
    }

    fn batch<'a>(&'a self, mut requests: Vec<WriteRequest>, doing: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            for attempt in 0..=TRIES {
                let sent =
                    self.client.batch_write_item().request_items(&self.table, requests.clone()).send().await;
                match sent {
                    Ok(answer) => {
                        requests = answer
                            .unprocessed_items
                            .unwrap_or_default()
                            .remove(&self.table)
                            .unwrap_or_default();
                        if requests.is_empty() {
                            return Ok(());
                        }
                    }
                    Err(error) => match failure(&error) {
                        Failure::Throttled => {}
                        other => return Err(self.error(other, doing)),
                    },
                }
                back_off(attempt).await;
            }
            Err(self.error(Failure::Throttled, doing))
        })
    }
}

fn cancelled_for(reasons: &[CancellationReason]) -> Failure {
    let told = reasons.iter().find(|reason| reason.code().is_some_and(|code| code != "None"));
    match told.map(|reason| (reason.code().unwrap_or_default(), reason.message().unwrap_or_default())) {
        Some(("TransactionConflict", _)) => Failure::Conflict,
        Some(("ThrottlingError" | "ProvisionedThroughputExceeded", _)) => Failure::Throttled,
        Some(("ItemCollectionSizeLimitExceeded", _)) => Failure::TooLarge,
        Some(("ValidationError", message)) if message.contains("size") => Failure::TooLarge,
        Some((other, _)) => Failure::Other(format!("the transaction was cancelled: {other}")),
        None => Failure::Other("the transaction was cancelled".to_owned()),
    }
}

/// A task that is not there.
pub(super) fn no_task(job: &str, task: u32) -> Error {
    Error::new(Code::JobUnknown, format!("job {job} has no task {task}"))
        .object(job)
        .hint("its plan is not stored completely; start a new job")
}
