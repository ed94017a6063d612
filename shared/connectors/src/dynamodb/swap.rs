//! One item made into another, only while it is what it should be.

use super::condition::{Expressions, still, update};
use super::item::Item;
use super::live::DynamoDbLive;
use super::number::same_item;
use super::present::MOST_RETRIES;
use crate::aws::Tell;
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::error::ConditionalCheckFailedException;
use aws_sdk_dynamodb::types::{
    ConsumedCapacity, ReturnConsumedCapacity, ReturnValue, ReturnValuesOnConditionCheckFailure,
};
use holdfast_vault::error::{Code, Result};

/// The place of an item.
pub(super) struct Place<'a> {
    /// The key attributes' names, hash before range.
    pub names: &'a [String],
    pub key: Item,
}

/// What became of an item that should be another.
pub(super) enum Swap {
    Done,
    /// It was not what it should be and stays as it is, which is this.
    Found(Option<Item>),
    /// It had more than it should, which nothing had told: now it has both that and what was written.
    Mixed {
        before: Item,
        after: Item,
    },
}

/// What became of a write on a condition.
enum Sent<T> {
    Done(T),
    /// The item is another, if the service said which.
    Refused(Option<Item>),
}

impl DynamoDbLive {
    /// Makes `to` of an item that is `from`.
    ///
    /// An update changes no attribute but those that differ, each only if it is as in `from`; so whatever somebody
    /// wrote meanwhile stays, and the result tells of it. A deletion, and a change of more attributes than a condition
    /// can name, cannot be held to all: they are compared with what they displaced, which is put back if it was
    /// another.
    pub(super) async fn swap(
        &self,
        place: &Place<'_>,
        from: Option<&Item>,
        to: Option<&Item>,
    ) -> Result<Swap> {
        match (from, to) {
            (None, None) => Ok(Swap::Done),
            (None, Some(to)) => match self.put_absent(place, to).await? {
                Sent::Done(()) => Ok(Swap::Done),
                Sent::Refused(now) => self.found(place, now).await,
            },
            (Some(from), None) => self.delete(place, from).await,
            (Some(from), Some(to)) => match update(place.names, from, to) {
                Some(expressions) => self.update(place, from, to, &expressions).await,
                None => self.replace(place, from, to).await,
            },
        }
    }

    /// What an item is, where an answer did not say so.
    async fn found(&self, place: &Place<'_>, said: Option<Item>) -> Result<Swap> {
        let now = match said {
            Some(item) => Some(item),
            None => self.get(place).await?,
        };
        Ok(Swap::Found(now))
    }

    async fn get(&self, place: &Place<'_>) -> Result<Option<Item>> {
        let keys = vec![place.key.clone()];
        let found = self.table.present(place.names, keys, Some(&self.reads)).await?;
        Ok(found.into_values().next())
    }

    async fn put_absent(&self, place: &Place<'_>, item: &Item) -> Result<Sent<()>> {
        let hash = place.names.first().map_or("", String::as_str);
        let call = self
            .table
            .client
            .put_item()
            .table_name(&self.table.name)
            .set_item(Some(item.clone()))
            .condition_expression("attribute_not_exists(#k)")
            .expression_attribute_names("#k", hash)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let sent = self.send(|| call.clone().send()).await?;
        if let Sent::Done(answer) = &sent {
            self.pay(answer.consumed_capacity()).await;
        }
        Ok(sent.map(|_| ()))
    }

    async fn update(&self, place: &Place<'_>, from: &Item, to: &Item, with: &Expressions) -> Result<Swap> {
        let call = self
            .table
            .client
            .update_item()
            .table_name(&self.table.name)
            .set_key(Some(place.key.clone()))
            .update_expression(&with.update)
            .condition_expression(&with.condition)
            .set_expression_attribute_names(Some(with.names.clone()))
            .set_expression_attribute_values(with.values())
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let answer = match self.send(|| call.clone().send()).await? {
            Sent::Done(answer) => answer,
            Sent::Refused(now) => return self.found(place, now).await,
        };
        self.pay(answer.consumed_capacity()).await;
        match answer.attributes {
            Some(after) if !same_item(&after, to) => {
                Ok(Swap::Mixed { before: before_update(&after, from, to), after })
            }
            _ => Ok(Swap::Done),
        }
    }

    async fn delete(&self, place: &Place<'_>, from: &Item) -> Result<Swap> {
        let with = still(place.names, from, None);
        let call = self
            .table
            .client
            .delete_item()
            .table_name(&self.table.name)
            .set_key(Some(place.key.clone()))
            .condition_expression(&with.condition)
            .set_expression_attribute_names(Some(with.names.clone()))
            .set_expression_attribute_values(with.values())
            .return_values(ReturnValue::AllOld)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let answer = match self.send(|| call.clone().send()).await? {
            Sent::Done(answer) => answer,
            Sent::Refused(now) => return self.found(place, now).await,
        };
        // Before anything else: until then what somebody added is nowhere but here.
        let displaced = answer.attributes().filter(|old| !same_item(old, from));
        let Some(old) = displaced else {
            self.pay(answer.consumed_capacity()).await;
            return Ok(Swap::Done);
        };
        match self.put_absent(place, old).await? {
            Sent::Done(()) => Ok(Swap::Found(Some(old.clone()))),
            Sent::Refused(now) => self.found(place, now).await,
        }
    }

    /// Puts whole items. One that displaced another than it should is taken back in the same way, since between the
    /// two somebody may have written again.
    async fn replace(&self, place: &Place<'_>, from: &Item, to: &Item) -> Result<Swap> {
        let (mut expected, mut wanted) = (from.clone(), to.clone());
        let mut taking_back = false;
        loop {
            let old = match self.put_over(place, &expected, &wanted).await? {
                Sent::Done(old) => old,
                Sent::Refused(now) => return self.found(place, now).await,
            };
            match old {
                Some(old) if !same_item(&old, &expected) => {
                    expected = std::mem::replace(&mut wanted, old);
                    taking_back = true;
                }
                _ if taking_back => return Ok(Swap::Found(Some(wanted))),
                _ => return Ok(Swap::Done),
            }
        }
    }

    /// What the item displaced.
    async fn put_over(&self, place: &Place<'_>, from: &Item, to: &Item) -> Result<Sent<Option<Item>>> {
        let with = still(place.names, from, Some(to));
        let call = self
            .table
            .client
            .put_item()
            .table_name(&self.table.name)
            .set_item(Some(to.clone()))
            .condition_expression(&with.condition)
            .set_expression_attribute_names(Some(with.names.clone()))
            .set_expression_attribute_values(with.values())
            .return_values(ReturnValue::AllOld)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        let sent = self.send(|| call.clone().send()).await?;
        Ok(sent.map(|answer| answer.attributes))
    }

    async fn pay(&self, capacity: Option<&ConsumedCapacity>) {
        self.writes.pay(capacity.and_then(ConsumedCapacity::capacity_units).unwrap_or(0.0)).await;
    }

    /// Sends a write, again where the table asks to slow down.
    async fn send<T, E, F>(&self, call: impl Fn() -> F) -> Result<Sent<T>>
    where
        F: Future<Output = std::result::Result<T, SdkError<E, HttpResponse>>>,
        E: Refusal + ProvideErrorMetadata + std::error::Error + 'static,
    {
        let mut idle = 0;
        loop {
            let error = match call().await {
                Ok(answer) => return Ok(Sent::Done(answer)),
                Err(error) => error,
            };
            if let Some(refusal) = error.as_service_error().and_then(Refusal::refusal) {
                // A refused write costs as much as one that is done, and the service does not say what.
                self.writes.pay(1.0).await;
                return Ok(Sent::Refused(refusal.item().cloned()));
            }
            let fault = self.table.subject.fault("write", Tell::NoValues, &error);
            if fault.code != Code::TargetThrottled || idle >= MOST_RETRIES {
                return Err(fault);
            }
            idle += 1;
            self.table.back_off(idle).await?;
        }
    }
}

impl<T> Sent<T> {
    fn map<U>(self, change: impl FnOnce(T) -> U) -> Sent<U> {
        match self {
            Self::Done(answer) => Sent::Done(change(answer)),
            Self::Refused(now) => Sent::Refused(now),
        }
    }
}

/// What an item was before an update that held what it changed to be as in `from`.
fn before_update(after: &Item, from: &Item, to: &Item) -> Item {
    let mut before = after.clone();
    for name in from.keys().chain(to.keys()).filter(|name| from.get(*name) != to.get(*name)) {
        match from.get(name) {
            Some(value) => drop(before.insert(name.clone(), value.clone())),
            None => drop(before.remove(name)),
        }
    }
    before
}

/// An error that may say that a condition did not hold.
trait Refusal {
    fn refusal(&self) -> Option<&ConditionalCheckFailedException>;
}

macro_rules! refusals {
    ($($error:ident),*) => {$(
        impl Refusal for $error {
            fn refusal(&self) -> Option<&ConditionalCheckFailedException> {
                match self {
                    Self::ConditionalCheckFailedException(refused) => Some(refused),
                    _ => None,
                }
            }
        }
    )*};
}

refusals!(DeleteItemError, PutItemError, UpdateItemError);
