//! Tables of a DynamoDB: made, filled, and read without any code of the product's.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType,
    Projection, ProjectionType, PutRequest, ScalarAttributeType, Tag, TimeToLiveSpecification, WriteRequest,
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};

/// An item as the SDK has it.
pub type Item = HashMap<String, AttributeValue>;

/// Text.
#[must_use]
pub fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

/// A number as it is written.
#[must_use]
pub fn number(number: &str) -> AttributeValue {
    AttributeValue::N(number.to_owned())
}

/// An item of these attributes.
#[must_use]
pub fn item<const N: usize>(attributes: [(&str, AttributeValue); N]) -> Item {
    attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// A JSON value as an attribute.
#[must_use]
pub fn attribute(value: &Value) -> AttributeValue {
    match value {
        Value::Null => AttributeValue::Null(true),
        Value::Bool(flag) => AttributeValue::Bool(*flag),
        Value::Number(number) => AttributeValue::N(number.to_string()),
        Value::String(text) => AttributeValue::S(text.clone()),
        Value::Array(members) => AttributeValue::L(members.iter().map(attribute).collect()),
        Value::Object(_) => AttributeValue::M(item_of(value)),
    }
}

/// A JSON object as an item.
#[must_use]
pub fn item_of(object: &Value) -> Item {
    let members = object.as_object().expect("an object").iter();
    members.map(|(name, value)| (name.clone(), attribute(value))).collect()
}

/// Makes a table with a key of one or two attributes, each a name and its type.
pub async fn make(client: &Client, table: &str, key: &[(&str, ScalarAttributeType)]) {
    let kinds = [KeyType::Hash, KeyType::Range];
    let mut request = client.create_table().table_name(table).billing_mode(BillingMode::PayPerRequest);
    for ((name, kind), place) in key.iter().zip(kinds) {
        request = request.attribute_definitions(defined(name, kind)).key_schema(element(name, place));
    }
    request.send().await.expect("the table is made");
}

/// Makes a table with a number `id` as its key, an index over `state`, a time to live and tags.
pub async fn make_with_settings(client: &Client, table: &str) {
    let index = GlobalSecondaryIndex::builder()
        .index_name("by-state")
        .key_schema(element("state", KeyType::Hash))
        .key_schema(element("id", KeyType::Range))
        .projection(
            Projection::builder()
                .projection_type(ProjectionType::Include)
                .non_key_attributes("name")
                .non_key_attributes("city")
                .build(),
        )
        .build()
        .unwrap();
    client
        .create_table()
        .table_name(table)
        .billing_mode(BillingMode::PayPerRequest)
        .attribute_definitions(defined("id", &ScalarAttributeType::N))
        .attribute_definitions(defined("state", &ScalarAttributeType::S))
        .key_schema(element("id", KeyType::Hash))
        .global_secondary_indexes(index)
        .tags(Tag::builder().key("team").value("shops").build().unwrap())
        .tags(Tag::builder().key("cost").value("").build().unwrap())
        .send()
        .await
        .expect("the table is made");
    let ttl = TimeToLiveSpecification::builder().enabled(true).attribute_name("expires").build().unwrap();
    client.update_time_to_live().table_name(table).time_to_live_specification(ttl).send().await.unwrap();
}

fn defined(name: &str, kind: &ScalarAttributeType) -> AttributeDefinition {
    AttributeDefinition::builder().attribute_name(name).attribute_type(kind.clone()).build().unwrap()
}

fn element(name: &str, kind: KeyType) -> KeySchemaElement {
    KeySchemaElement::builder().attribute_name(name).key_type(kind).build().unwrap()
}

/// Puts items.
pub async fn put(client: &Client, table: &str, items: &[Item]) {
    for some in items.chunks(25) {
        let write = |item: &Item| {
            let put = PutRequest::builder().set_item(Some(item.clone())).build().unwrap();
            WriteRequest::builder().put_request(put).build()
        };
        let batch = client.batch_write_item().request_items(table, some.iter().map(write).collect());
        let left = batch.send().await.expect("the items are written").unprocessed_items;
        assert!(left.is_none_or(|left| left.is_empty()), "the embedded DynamoDB takes whole batches");
    }
}

/// All items of a table, each as JSON that names types, sorted.
pub async fn scan(client: &Client, table: &str) -> Vec<String> {
    let (mut items, mut start) = (Vec::new(), None);
    loop {
        let page = client.scan().table_name(table).consistent_read(true).set_exclusive_start_key(start);
        let page = page.send().await.expect("the table is read");
        items.extend(page.items().iter().map(|item| typed_item(item).to_string()));
        start = page.last_evaluated_key;
        if start.is_none() {
            items.sort_unstable();
            return items;
        }
    }
}

/// What [`scan`] gives for these items.
#[must_use]
pub fn typed(items: &[Item]) -> Vec<String> {
    let mut typed: Vec<String> = items.iter().map(|item| typed_item(item).to_string()).collect();
    typed.sort_unstable();
    typed
}

fn typed_item(item: &Item) -> Value {
    let sorted: BTreeMap<&String, Value> =
        item.iter().map(|(name, value)| (name, typed_value(value))).collect();
    json!(sorted)
}

fn typed_value(value: &AttributeValue) -> Value {
    let sorted = |members: &[String]| {
        let mut members = members.to_vec();
        members.sort_unstable();
        members
    };
    match value {
        AttributeValue::B(bytes) => json!({ "B": bytes.as_ref() }),
        AttributeValue::Bool(flag) => json!({ "BOOL": flag }),
        AttributeValue::Bs(members) => {
            let mut members: Vec<&[u8]> = members.iter().map(AsRef::as_ref).collect();
            members.sort_unstable();
            json!({ "BS": members })
        }
        AttributeValue::L(members) => json!({ "L": members.iter().map(typed_value).collect::<Vec<_>>() }),
        AttributeValue::M(members) => json!({ "M": typed_item(members) }),
        AttributeValue::N(number) => json!({ "N": number }),
        AttributeValue::Ns(members) => json!({ "NS": sorted(members) }),
        AttributeValue::Null(_) => json!({ "NULL": true }),
        AttributeValue::S(text) => json!({ "S": text }),
        AttributeValue::Ss(members) => json!({ "SS": sorted(members) }),
        other => panic!("{other:?} is no attribute that is known"),
    }
}

/// What a table is beside its items: keys, indexes, billing, time to live and tags.
pub async fn settings(client: &Client, table: &str) -> Value {
    let answer = client.describe_table().table_name(table).send().await.expect("the table is there");
    let described = answer.table.unwrap();
    let mut attributes: Vec<String> = described
        .attribute_definitions()
        .iter()
        .map(|of| format!("{} {}", of.attribute_name, of.attribute_type.as_str()))
        .collect();
    attributes.sort_unstable();
    let key = |elements: &[KeySchemaElement]| -> Vec<String> {
        elements.iter().map(|of| format!("{} {}", of.attribute_name, of.key_type.as_str())).collect()
    };
    let indexes: Vec<Value> = described
        .global_secondary_indexes()
        .iter()
        .map(|index| {
            let projection = index.projection.as_ref().unwrap();
            let mut others = projection.non_key_attributes().to_vec();
            others.sort_unstable();
            json!({"name": index.index_name, "key": key(index.key_schema()), "others": others,
                "projection": projection.projection_type.as_ref().map(|kind| kind.as_str().to_owned())})
        })
        .collect();
    let billing = described.billing_mode_summary.and_then(|summary| summary.billing_mode);
    let ttl = client.describe_time_to_live().table_name(table).send().await.unwrap();
    let ttl = ttl.time_to_live_description.and_then(|ttl| ttl.attribute_name);
    let tags =
        client.list_tags_of_resource().resource_arn(described.table_arn.unwrap()).send().await.unwrap();
    let tags: BTreeMap<String, String> =
        tags.tags.unwrap_or_default().into_iter().map(|tag| (tag.key, tag.value)).collect();
    json!({"attributes": attributes, "key": key(described.key_schema.as_deref().unwrap_or_default()),
        "indexes": indexes, "billing": billing.map(|mode| mode.as_str().to_owned()), "ttl": ttl, "tags": tags})
}
