//! The resources under protection, as the workflow writes them.

use super::failure::failure;
use super::item::{self, Item, RESOURCE_PARTITION, json, read_json, read_text, text};
use super::table::SORT_KEY;
use super::{JobStore, Pages};
use holdfast_vault::error::{Code, Error, Result};
use serde_json::Value;

impl JobStore {
    /// Stores a resource's document, and returns the one that it replaces.
    ///
    /// # Errors
    /// `StateUnavailable`.
    pub async fn put_resource(&self, name: &str, document: &Value) -> Result<Option<Value>> {
        let mut item = item::key(RESOURCE_PARTITION, name);
        item.insert("body".to_owned(), json(document)?);
        let answer = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .return_values(aws_sdk_dynamodb::types::ReturnValue::AllOld)
            .send()
            .await
            .map_err(|error| self.error(failure(&error), &format!("storing resource {name}")))?;
        answer.attributes.filter(|old| !old.is_empty()).map(|old| read_json(&old, "body")).transpose()
    }

    /// A resource's document.
    ///
    /// # Errors
    /// `ResourceUnknown` if there is none, `StateUnavailable`.
    pub async fn resource(&self, name: &str) -> Result<Value> {
        let unknown = || {
            Error::new(Code::ResourceUnknown, format!("no resource is named {name:?}"))
                .object(name)
                .hint("`holdfast resources` lists them; `holdfast apply -f FILE` adds one")
        };
        if name.is_empty() || name.len() > 512 {
            return Err(unknown());
        }
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(item::key(RESOURCE_PARTITION, name)))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| self.error(failure(&error), &format!("reading resource {name}")))?;
        read_json(&answer.item.ok_or_else(unknown)?, "body")
    }

    /// All resources with their documents, by name.
    #[must_use]
    pub fn resources(&self) -> Pages<(String, Value)> {
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", text(RESOURCE_PARTITION))
            .consistent_read(true);
        Pages::new(self, query, |item: &Item| {
            Ok((read_text(item, SORT_KEY)?.to_owned(), read_json(item, "body")?))
        })
    }
}
