//! For who works on tables without a source or a target: what a table is, and when two records are the same.

use super::describe::read_schema;
use super::item::{Item, write_key};
use super::number::same_item;
use super::schema::TableSchema;
use crate::aws::{Side, Subject};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::TableDescription;
use holdfast_vault::error::Result;

/// All that is kept of a table beside its items, as the `dynamodb` source writes it.
///
/// # Errors
/// `Source*`.
pub async fn table_schema(
    client: &Client,
    table: &str,
    description: &TableDescription,
) -> Result<TableSchema> {
    read_schema(client, table, description, &Subject::new("table", table, Side::Source)).await
}

/// The canonical bytes of a record's key.
///
/// # Errors
/// `SourceInvalid` if the record lacks a part of it.
pub fn record_key(item: &Item, names: &[String]) -> Result<Vec<u8>> {
    let mut key = Vec::new();
    write_key(&mut key, item, names)?;
    Ok(key)
}

/// Whether two records hold the same, whatever the order of their sets and the writing of their numbers.
#[must_use]
pub fn same_record(left: &Item, right: &Item) -> bool {
    same_item(left, right)
}
