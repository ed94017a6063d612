//! One row: read as it is now, and put in place of what was read.

use super::JobStore;
use super::failure::{Failure, failure};
use super::item::{self, Item, json, number, read_json, read_number};
use aws_sdk_dynamodb::operation::get_item::builders::GetItemFluentBuilder;
use futures::future::BoxFuture;
use holdfast_vault::error::Result;
use serde::Serialize;
use serde::de::DeserializeOwned;

impl JobStore {
    /// A row as the last write left it; `None` if there is none.
    pub(super) async fn row(&self, pk: &str, sk: &str, doing: &str) -> Result<Option<Item>> {
        let get = self.client.get_item().table_name(&self.table).set_key(Some(item::key(pk, sk)));
        ask(get.consistent_read(true)).await.map_err(|error| self.error(error, doing))
    }

    /// A row that changes under a revision number, with that number.
    pub(super) async fn revised<T: DeserializeOwned>(
        &self,
        pk: &str,
        sk: &str,
        doing: &str,
    ) -> Result<Option<(T, u64)>> {
        let item = self.row(pk, sk, doing).await?;
        item.map(|item| Ok((read_json(&item, "body")?, read_number(&item, "revision")?))).transpose()
    }

    /// Puts a row in place of the one of a revision, 0 for none. `Failure::Condition` if another one stands there.
    pub(super) fn put_revised<'a, T: Serialize + ?Sized>(
        &'a self,
        pk: &str,
        sk: &str,
        row: &T,
        revision: u64,
    ) -> Result<BoxFuture<'a, Result<(), Failure>>> {
        let mut item = item::key(pk, sk);
        item.insert("revision".to_owned(), number(revision + 1));
        item.insert("body".to_owned(), json(row)?);
        Ok(self.put_over(item, (revision > 0).then_some(revision)))
    }

    /// Puts an item where one of this revision stands, or none.
    pub(super) fn put_over(&self, item: Item, known: Option<u64>) -> BoxFuture<'_, Result<(), Failure>> {
        let put = self.client.put_item().table_name(&self.table).set_item(Some(item));
        let put = match known {
            None => put.condition_expression("attribute_not_exists(pk)"),
            Some(revision) => put
                .condition_expression("revision = :known")
                .expression_attribute_values(":known", number(revision)),
        };
        Box::pin(async move { put.send().await.map(|_| ()).map_err(|error| failure(&error)) })
    }
}

fn ask(get: GetItemFluentBuilder) -> BoxFuture<'static, Result<Option<Item>, Failure>> {
    Box::pin(async move { get.send().await.map(|answer| answer.item).map_err(|error| failure(&error)) })
}
