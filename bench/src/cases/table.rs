//! A table of products in the embedded DynamoDB, and its writers, through the SDK as any client of AWS. Nothing else of the
//! benchmark knows its types.

use crate::data::draw::Draw;
use crate::data::text::Words;
use crate::failure::internal;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::DisplayErrorContext;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, PutRequest,
    ScalarAttributeType, StreamSpecification, StreamViewType, WriteRequest,
};
use holdfast_local::{Cloud, Options};
use holdfast_vault::error::{Code, Error, Result};
use std::collections::HashMap;
use std::path::Path;
use tokio::runtime::{Builder, Runtime};

/// The table's name.
pub(super) const TABLE: &str = "products";
/// The most that one `BatchWriteItem` takes.
const BATCH: usize = 25;
const KEY: &str = "sku";

type Item = HashMap<String, AttributeValue>;

/// Who wrote an item last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writer {
    /// The shop, before anything happened.
    Shop,
    /// The deployment that sets wrong prices.
    Bad,
    /// A customer who bought one.
    Customer,
}

/// The threads that the embedded database is worked with on.
///
/// # Errors
/// `Internal` if none could be started.
pub(super) fn runtime() -> Result<Runtime> {
    Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .map_err(|e| internal(format!("no threads could be started: {e}")))
}

/// The products of a home that no other process uses meanwhile.
pub(super) struct Products {
    client: Client,
    words: Words,
    /// Holds the home.
    _cloud: Cloud,
}

impl Products {
    /// Opens the home, and makes it where there is none.
    pub(super) async fn open(home: &Path) -> Result<Self> {
        let cloud = Cloud::open(home, Options { create: true, ..Options::default() }).await?;
        Ok(Self { client: cloud.tables(), words: Words::new(), _cloud: cloud })
    }

    /// Makes the table.
    pub(super) async fn create(&self) -> Result<()> {
        let unsound = |e| internal(format!("the table cannot be described: {e}"));
        let attribute =
            AttributeDefinition::builder().attribute_name(KEY).attribute_type(ScalarAttributeType::S);
        let key = KeySchemaElement::builder().attribute_name(KEY).key_type(KeyType::Hash);
        self.client
            .create_table()
            .table_name(TABLE)
            .billing_mode(BillingMode::PayPerRequest)
            .attribute_definitions(attribute.build().map_err(unsound)?)
            .key_schema(key.build().map_err(unsound)?)
            .send()
            .await
            .map_err(|e| unavailable("create", &DisplayErrorContext(&e)))?;
        Ok(())
    }

    /// Gives the table a stream of old and new images. The embedded database looks through a table's whole stream at every
    /// write, so that a table is filled before it has one.
    pub(super) async fn stream(&self) -> Result<()> {
        let images = StreamViewType::NewAndOldImages;
        let stream = StreamSpecification::builder().stream_enabled(true).stream_view_type(images).build();
        let stream = stream.map_err(|e| internal(format!("the stream cannot be described: {e}")))?;
        let set = self.client.update_table().table_name(TABLE).stream_specification(stream).send().await;
        set.map(|_| ()).map_err(|e| unavailable("give a stream to", &DisplayErrorContext(&e)))
    }

    /// Writes the products of these numbers as a writer does.
    pub(super) async fn write(&self, writer: Writer, numbers: impl Iterator<Item = u64>) -> Result<()> {
        let mut numbers = numbers.peekable();
        while numbers.peek().is_some() {
            let put = |number| {
                let put = PutRequest::builder().set_item(Some(self.item(number, writer))).build();
                put.map(|put| WriteRequest::builder().put_request(put).build())
            };
            let batch = numbers.by_ref().take(BATCH).map(put).collect::<Result<Vec<_>, _>>();
            let batch = batch.map_err(|e| internal(format!("a write has no request: {e}")))?;
            let mut left = HashMap::from([(TABLE.to_owned(), batch)]);
            while !left.is_empty() {
                let wrote = self.client.batch_write_item().set_request_items(Some(left)).send().await;
                let wrote = wrote.map_err(|e| unavailable("write to", &DisplayErrorContext(&e)))?;
                left = wrote.unprocessed_items.unwrap_or_default();
            }
        }
        Ok(())
    }

    /// In how many products the table differs from this many, each as the writer of its number left it.
    pub(super) async fn differences(&self, count: u64, writer: impl Fn(u64) -> Writer) -> Result<u64> {
        self.differences_in(TABLE, count, writer).await
    }

    /// The same of another table of the home.
    pub(super) async fn differences_in(
        &self,
        table: &str,
        count: u64,
        writer: impl Fn(u64) -> Writer,
    ) -> Result<u64> {
        let mut pages = self.client.scan().table_name(table).consistent_read(true).into_paginator().send();
        let (mut equal, mut found) = (0, 0);
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| unavailable("scan", &DisplayErrorContext(&e)))?;
            for item in page.items.unwrap_or_default() {
                found += 1;
                let number = item.get(KEY).and_then(|key| key.as_s().ok()).and_then(|key| number(key));
                equal += u64::from(number.is_some_and(|number| self.item(number, writer(number)) == item));
            }
        }
        Ok(count.max(found) - equal)
    }

    fn item(&self, number: u64, writer: Writer) -> Item {
        let mut draw = Draw::of(9000, number, 0);
        let (mut title, mut description) = (String::new(), String::new());
        self.words.passage(&mut draw, 3, 9, &mut title);
        self.words.passage(&mut draw, 15, 60, &mut description);
        let (price, stock) = (draw.within(199, 99_999), draw.within(10, 900));
        let (price, stock, who) = match writer {
            Writer::Shop => (price, stock, "shop"),
            Writer::Bad => (price / 100, stock, "deployment"),
            Writer::Customer => (price, stock - 1, "customer"),
        };
        let text = AttributeValue::S;
        Item::from([
            (KEY.to_owned(), text(sku(number))),
            ("title".to_owned(), text(title)),
            ("description".to_owned(), text(description)),
            ("price".to_owned(), AttributeValue::N(price.to_string())),
            ("stock".to_owned(), AttributeValue::N(stock.to_string())),
            ("written_by".to_owned(), text(who.to_owned())),
        ])
    }
}

fn sku(number: u64) -> String {
    format!("SKU-{number:010}")
}

fn number(sku: &str) -> Option<u64> {
    sku.strip_prefix("SKU-")?.parse().ok()
}

fn unavailable(doing: &str, why: &impl std::fmt::Display) -> Error {
    Error::new(
        Code::SourceUnavailable,
        format!("cannot {doing} table {TABLE} of the embedded DynamoDB: {why}"),
    )
    .object(TABLE)
    .hint("check that there is room in the directory, or name another one with --dir DIR")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_writer_did_is_found() {
        let home = tempfile::tempdir().unwrap();
        let products = Products::open(home.path()).await.unwrap();
        products.create().await.unwrap();
        products.write(Writer::Shop, 0..60).await.unwrap();
        products.stream().await.unwrap();
        assert_eq!(products.differences(60, |_| Writer::Shop).await.unwrap(), 0);
        products.write(Writer::Bad, 10..37).await.unwrap();
        products.write(Writer::Customer, 60..61).await.unwrap();
        assert_eq!(products.differences(60, |_| Writer::Shop).await.unwrap(), 28);
    }
}
