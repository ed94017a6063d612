//! `holdfast capture`, and what `holdfast resources` says of it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "not every test uses all of the support")]

use crate::support::Place;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use holdfast_local::{Cloud, Options};
use serde_json::{Value, json};

const RESOURCES: &str = "resources:\n\
    - { name: orders, source: { kind: dynamodb, table: orders, endpoint: embedded }, policy: { capture: true } }\n\
    - { name: site, source: { kind: files, path: site } }\n";

/// Works on the home's tables as the shop's own application would.
fn with_tables(place: &Place, work: impl AsyncFnOnce(aws_sdk_dynamodb::Client)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    runtime.block_on(async {
        let cloud = Cloud::open(&place.home(), Options::default()).await.unwrap();
        work(cloud.tables()).await;
    });
}

fn put(place: &Place, n: u32) {
    with_tables(place, async |tables| {
        let id = AttributeValue::S("o-1".to_owned());
        let n = AttributeValue::N(n.to_string());
        tables.put_item().table_name("orders").item("id", id).item("n", n).send().await.unwrap();
    });
}

#[test]
fn a_pass_tells_what_it_captured_and_resources_the_rpo() {
    let place = Place::new();
    place.write("r.yaml", RESOURCES);
    place.run(&["apply", "-f", "r.yaml"]).text(0);
    with_tables(&place, async |tables| {
        let key = KeySchemaElement::builder().attribute_name("id").key_type(KeyType::Hash).build().unwrap();
        let id = AttributeDefinition::builder().attribute_name("id").attribute_type(ScalarAttributeType::S);
        let request = tables.create_table().table_name("orders").billing_mode(BillingMode::PayPerRequest);
        request.key_schema(key).attribute_definitions(id.build().unwrap()).send().await.unwrap();
    });
    let rpo = || place.json(&["resources"]).answer(0)["resources"][0]["rpo_seconds"].clone();
    let first = place.json(&["capture", "orders"]).answer(0);
    assert_eq!((&first["switched_on"], &first["changes"]), (&json!(true), &json!(0)));
    assert_eq!(rpo(), Value::Null, "nothing is backed up");
    place.json(&["backup", "orders"]).answer(0);
    put(&place, 1);
    put(&place, 2);
    let second = place.json(&["capture", "orders"]).answer(0);
    assert_eq!(
        (&second["changes"], &second["gaps"], &second["since"]),
        (&json!(2), &json!(0), &first["since"])
    );
    assert!(rpo().as_i64().unwrap() < 600);
    let told = place.run(&["capture", "orders"]);
    assert!(told.text(0).starts_with("orders: 0 changes captured, complete from "), "{}", told.stdout);

    with_tables(&place, async |tables| {
        for on in [false, true] {
            let view = on.then_some(aws_sdk_dynamodb::types::StreamViewType::NewAndOldImages);
            let stream = aws_sdk_dynamodb::types::StreamSpecification::builder().stream_enabled(on);
            let stream = stream.set_stream_view_type(view).build().unwrap();
            tables.update_table().table_name("orders").stream_specification(stream).send().await.unwrap();
        }
    });
    let gap = place.json(&["capture", "orders"]).answer(3);
    assert_eq!((&gap["gaps"], &gap["new_gaps"]), (&json!(1), &json!(1)));
    assert_eq!(place.json(&["capture", "orders"]).answer(0)["gaps"], 1, "it is told once");
}

#[test]
fn what_cannot_be_captured_is_bad_input() {
    let place = Place::new();
    place.write("site/a", "a");
    place.write("r.yaml", RESOURCES);
    place.run(&["apply", "-f", "r.yaml"]).text(0);
    assert_eq!(place.json(&["capture", "shop"]).error(2)["code"], "ResourceUnknown");
    assert_eq!(place.json(&["capture", "site"]).error(2)["code"], "InvalidInput");
    assert_eq!(place.json(&["capture", "orders"]).error(2)["code"], "SourceMissing");
    place.write(
        "r.yaml",
        "resources:\n- { name: site, source: { kind: files, path: site }, policy: { capture: true } }\n",
    );
    let refused = place.json(&["apply", "-f", "r.yaml"]).error(2);
    assert_eq!(
        (&refused["code"], &refused["object"]),
        (&json!("InvalidInput"), &json!("resources[0].policy.capture"))
    );
}
