//! The shop's tables, through the SDK. Nothing else of the command line knows its types.

use super::compare::Snapshot;
use super::item::{self, Attribute, Item, Sum};
use super::shop::{self, Shop, Table};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{DisplayErrorContext, SdkError};
use aws_sdk_dynamodb::operation::describe_table::DescribeTableError;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, DeleteRequest, GlobalSecondaryIndex, KeySchemaElement,
    KeyType, Projection, ProjectionType, PutRequest, ScalarAttributeType, TableDescription, Tag,
    TimeToLiveSpecification, WriteRequest,
};
use futures::{TryStreamExt as _, stream};
use holdfast_vault::error::{Code, Error, Result};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;

/// The most that one `BatchWriteItem` takes.
const BATCH: usize = 25;
/// Batches on their way at a time.
const AT_ONCE: usize = 4;

/// The tables that a client reaches.
#[derive(Clone)]
pub(super) struct Tables {
    client: Client,
    shop: Shop,
}

impl Tables {
    /// The tables of a shop.
    pub(super) const fn new(client: Client, shop: Shop) -> Self {
        Self { client, shop }
    }

    /// Makes a table and fills it.
    pub(super) async fn make(&self, table: Table) -> Result<()> {
        self.create(table).await?;
        let shop = self.shop;
        let items = (0..shop.count(table)).map(move |number| shop.item(table, number));
        self.write(table, items.map(put)).await
    }

    /// Deletes a table.
    pub(super) async fn delete(&self, table: Table) -> Result<()> {
        let deleted = self.client.delete_table().table_name(table.name()).send().await;
        deleted.map(|_| ()).map_err(|error| failed("delete", table.name(), &error))
    }

    /// Gives wrong values to so many products, spread over all of them; returns to how many.
    pub(super) async fn corrupt_products(&self, wanted: u64) -> Result<u64> {
        let (shop, numbers) = (self.shop, self.spread(Table::Products, wanted));
        let count = numbers.len() as u64;
        self.write(Table::Products, numbers.into_iter().map(move |number| put(shop.corrupted(number))))
            .await?;
        Ok(count)
    }

    /// Deletes so many customers, spread over all of them; returns how many.
    pub(super) async fn delete_customers(&self, wanted: u64) -> Result<u64> {
        let numbers = self.spread(Table::Customers, wanted);
        let count = numbers.len() as u64;
        let key = |number| Item::from([("customer".to_owned(), Attribute::Text(shop::customer(number)))]);
        self.write(Table::Customers, numbers.into_iter().map(move |number| delete(key(number)))).await?;
        Ok(count)
    }

    /// The shop that the tables are of.
    pub(super) const fn shop(&self) -> Shop {
        self.shop
    }

    /// Writes items.
    pub(super) async fn put(&self, table: Table, items: Vec<Item>) -> Result<()> {
        self.write(table, items.into_iter().map(put)).await
    }

    /// Numbers of so many records, spread over all of a table.
    pub(super) fn spread(&self, table: Table, wanted: u64) -> Vec<u64> {
        let all = self.shop.count(table);
        let wanted = wanted.min(all);
        (0..wanted).map(|at| at * all / wanted).collect()
    }

    /// A table's definition and the digests of all its items; nothing where there is no table.
    pub(super) async fn snapshot(&self, name: &str) -> Result<Snapshot<Sum>> {
        let described = self.client.describe_table().table_name(name).send().await;
        let table = match described {
            Ok(answer) => answer.table,
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(DescribeTableError::is_resource_not_found_exception) =>
            {
                None
            }
            Err(error) => return Err(failed("describe", name, &error)),
        };
        let Some(table) = table else { return Ok(Snapshot::default()) };
        let key: Vec<String> = table.key_schema().iter().map(|part| part.attribute_name.clone()).collect();
        let mut snapshot = Snapshot { settings: self.settings(name, &table).await?, ..Snapshot::default() };
        let mut pages = self.client.scan().table_name(name).consistent_read(true).into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| failed("scan", name, &error))?;
            for found in page.items.unwrap_or_default() {
                let found: Item = found.into_iter().map(|(name, value)| (name, from_sdk(value))).collect();
                snapshot.entries.insert(item::name(&found, &key), item::sum(&found));
            }
        }
        Ok(snapshot)
    }

    /// What the table is beside its items, by name.
    async fn settings(&self, name: &str, table: &TableDescription) -> Result<BTreeMap<String, String>> {
        let mut settings = BTreeMap::from([("key".to_owned(), told(table.key_schema()))]);
        for index in table.global_secondary_indexes() {
            let kind = index.projection.as_ref().and_then(|projection| projection.projection_type.as_ref());
            settings.insert(
                format!("index {}", index.index_name.as_deref().unwrap_or_default()),
                format!("{} {kind:?}", told(index.key_schema())),
            );
        }
        let expiry = self.client.describe_time_to_live().table_name(name).send().await;
        let expiry = expiry.map_err(|error| failed("read the time to live of", name, &error))?;
        if let Some(attribute) = expiry.time_to_live_description.and_then(|expiry| expiry.attribute_name) {
            settings.insert("time to live".to_owned(), attribute);
        }
        let tags = self.client.list_tags_of_resource().set_resource_arn(table.table_arn.clone()).send().await;
        let tags = tags.map_err(|error| failed("read the tags of", name, &error))?.tags.unwrap_or_default();
        settings.extend(tags.into_iter().map(|tag| (format!("tag {}", tag.key), tag.value)));
        Ok(settings)
    }

    async fn create(&self, table: Table) -> Result<()> {
        let name = table.name();
        let wrong = |error| Error::new(Code::Internal, format!("table {name} cannot be described: {error}"));
        let make = self.client.create_table().table_name(name).billing_mode(BillingMode::PayPerRequest);
        let tag = |key, value| Tag::builder().key(key).value(value).build().map_err(wrong);
        let mut make = make.tags(tag("shop", "demo")?).tags(tag("data", name)?);
        let (keys, attributes): (&[_], &[_]) = match table {
            Table::Products => (&["sku"], &[("sku", false), ("category", false), ("price", true)]),
            Table::Orders => (&["customer", "order"], &[("customer", false), ("order", false)]),
            Table::Customers => (&["customer"], &[("customer", false)]),
        };
        for (attribute, number) in attributes.iter().copied() {
            let kind = if number { ScalarAttributeType::N } else { ScalarAttributeType::S };
            let definition = AttributeDefinition::builder().attribute_name(attribute).attribute_type(kind);
            make = make.attribute_definitions(definition.build().map_err(wrong)?);
        }
        make = make.set_key_schema(Some(key_schema(keys).map_err(wrong)?));
        if table == Table::Products {
            let index = GlobalSecondaryIndex::builder()
                .index_name("by-category")
                .set_key_schema(Some(key_schema(&["category", "price"]).map_err(wrong)?))
                .projection(Projection::builder().projection_type(ProjectionType::KeysOnly).build());
            make = make.global_secondary_indexes(index.build().map_err(wrong)?);
        }
        make.send().await.map_err(|error| failed("create", name, &error))?;
        if table == Table::Orders {
            let expiry = TimeToLiveSpecification::builder().attribute_name("expires_at").enabled(true);
            let set = self.client.update_time_to_live().table_name(name);
            let set = set.time_to_live_specification(expiry.build().map_err(wrong)?).send().await;
            set.map_err(|error| failed("set the time to live of", name, &error))?;
        }
        Ok(())
    }

    /// Writes in batches, several at a time.
    async fn write(
        &self,
        table: Table,
        requests: impl Iterator<Item = Result<WriteRequest>> + Send,
    ) -> Result<()> {
        let batches = stream::iter(requests).try_chunks(BATCH).map_err(|error| error.1);
        batches
            .try_for_each_concurrent(AT_ONCE, |batch| {
                let client = self.client.clone();
                async move {
                    let written = tokio::spawn(write_batch(client, table.name(), batch)).await;
                    written.map_err(|e| Error::new(Code::Internal, format!("a batch ended early: {e}")))?
                }
            })
            .await
    }
}

async fn write_batch(client: Client, table: &'static str, batch: Vec<WriteRequest>) -> Result<()> {
    let mut left = HashMap::from([(table.to_owned(), batch)]);
    while !left.is_empty() {
        let written = client.batch_write_item().set_request_items(Some(left)).send().await;
        left =
            written.map_err(|error| failed("write to", table, &error))?.unprocessed_items.unwrap_or_default();
    }
    Ok(())
}

fn put(item: Item) -> Result<WriteRequest> {
    let item = item.into_iter().map(|(name, value)| (name, to_sdk(value))).collect();
    let put = PutRequest::builder().set_item(Some(item)).build().map_err(unsound)?;
    Ok(WriteRequest::builder().put_request(put).build())
}

fn delete(key: Item) -> Result<WriteRequest> {
    let key = key.into_iter().map(|(name, value)| (name, to_sdk(value))).collect();
    let delete = DeleteRequest::builder().set_key(Some(key)).build().map_err(unsound)?;
    Ok(WriteRequest::builder().delete_request(delete).build())
}

fn unsound(error: impl std::error::Error) -> Error {
    Error::new(Code::Internal, format!("a write has no request: {error}"))
}

type Unbuilt = aws_sdk_dynamodb::error::BuildError;

fn key_schema(attributes: &[&str]) -> Result<Vec<KeySchemaElement>, Unbuilt> {
    let kinds = [KeyType::Hash, KeyType::Range];
    let part = |(attribute, kind): (&&str, KeyType)| {
        KeySchemaElement::builder().attribute_name(*attribute).key_type(kind).build()
    };
    attributes.iter().zip(kinds).map(part).collect()
}

fn told(key: &[KeySchemaElement]) -> String {
    let part = |part: &KeySchemaElement| format!("{} {}", part.attribute_name, part.key_type);
    key.iter().map(part).collect::<Vec<_>>().join(", ")
}

fn failed<E, R>(doing: &str, table: &str, error: &SdkError<E, R>) -> Error
where
    E: std::error::Error + 'static,
    R: Debug,
{
    Error::new(
        Code::SourceUnavailable,
        format!("cannot {doing} table {table} of the embedded DynamoDB: {}", DisplayErrorContext(error)),
    )
    .object(table)
    .hint("check that there is room in the directory of the demo, or name another one with --keep DIR")
}

fn to_sdk(value: Attribute) -> AttributeValue {
    match value {
        Attribute::Text(text) | Attribute::Other(text) => AttributeValue::S(text),
        Attribute::Number(number) => AttributeValue::N(number),
        Attribute::Bytes(bytes) => AttributeValue::B(Blob::new(bytes)),
        Attribute::Bool(value) => AttributeValue::Bool(value),
        Attribute::Null => AttributeValue::Null(true),
        Attribute::List(list) => AttributeValue::L(list.into_iter().map(to_sdk).collect()),
        Attribute::Map(map) => AttributeValue::M(map.into_iter().map(|(k, v)| (k, to_sdk(v))).collect()),
        Attribute::Texts(set) => AttributeValue::Ss(set.into_iter().collect()),
        Attribute::Numbers(set) => AttributeValue::Ns(set.into_iter().collect()),
        Attribute::Blobs(set) => AttributeValue::Bs(set.into_iter().map(Blob::new).collect()),
    }
}

fn from_sdk(value: AttributeValue) -> Attribute {
    match value {
        AttributeValue::S(text) => Attribute::Text(text),
        AttributeValue::N(number) => Attribute::Number(number),
        AttributeValue::B(bytes) => Attribute::Bytes(bytes.into_inner()),
        AttributeValue::Bool(value) => Attribute::Bool(value),
        AttributeValue::Null(_) => Attribute::Null,
        AttributeValue::L(list) => Attribute::List(list.into_iter().map(from_sdk).collect()),
        AttributeValue::M(map) => Attribute::Map(map.into_iter().map(|(k, v)| (k, from_sdk(v))).collect()),
        AttributeValue::Ss(set) => Attribute::Texts(set.into_iter().collect()),
        AttributeValue::Ns(set) => Attribute::Numbers(set.into_iter().collect()),
        AttributeValue::Bs(set) => Attribute::Blobs(set.into_iter().map(Blob::into_inner).collect()),
        other => Attribute::Other(format!("{other:?}")),
    }
}
