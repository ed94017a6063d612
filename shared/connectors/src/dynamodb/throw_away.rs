//! Removes a throw-away table.

use super::table::{Delays, Table};
use crate::aws::{Side, Subject};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::TableStatus;
use holdfast_vault::error::Result;

/// Deletes a table, its protection with it, and waits until it is gone. Succeeds where there is none.
pub(crate) async fn remove_table(client: Client, name: &str) -> Result<()> {
    let subject = Subject::new("table", name, Side::Target);
    let table = Table { client, name: name.to_owned(), subject, delays: Delays::default() };
    match table.describe().await? {
        None => Ok(()),
        Some(found) if found.table_status == Some(TableStatus::Deleting) => Ok(()),
        Some(found) => table.delete(&found).await,
    }
}
