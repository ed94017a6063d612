//! Restore tests from CloudFormation's request to its answer: the very state machine, in the embedded interpreter, over
//! recorded shapes of AWS, tables in the process, and a server that takes answers.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../../../shared/recovery/tests/support/mod.rs"]
mod support;

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use holdfast_common::Clock;
use holdfast_common::clock::ManualClock;
use holdfast_local::asl::{
    ExecutionOutcome, Failure, Interpreter, Objects, Options, Ports, StateMachine, Tasks, Time,
};
use holdfast_local::functions::substitutions;
use holdfast_local::{Cloud, Options as HomeOptions};
use holdfast_recovery::Recovery;
use holdfast_recovery::test::Tester;
use holdfast_restore_test::{RestoreTest, handle};
use holdfast_vault::error::{Code, Error, Result};
use holdfast_workflow::executions::{Described, Executions, Started};
use holdfast_workflow::handler;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::tables::{furnish, put, recoverable, shop};
use support::{Aws, refusal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const MACHINE: &str = include_str!("../../../infra/statemachines/restore-test.asl.json");

/// Keeps what it is asked to start.
#[derive(Default)]
struct Kept {
    started: Mutex<Vec<(String, Value)>>,
    refuses: Mutex<bool>,
}

#[async_trait]
impl Executions for Kept {
    async fn start(&self, _: &str, name: &str, input: &Value) -> Result<Started> {
        if *self.refuses.lock().unwrap() {
            return Err(Error::new(Code::StateUnavailable, "Step Functions is away"));
        }
        let mut started = self.started.lock().unwrap();
        if started.iter().any(|(known, _)| known == name) {
            return Ok(Started::Before);
        }
        started.push((name.to_owned(), input.clone()));
        Ok(Started::Now)
    }

    async fn describe(&self, _: &str, _: &str) -> Result<Option<Described>> {
        Ok(None)
    }
}

/// Takes answers at an address of the loopback.
async fn listener() -> (String, Arc<Mutex<Vec<Value>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/answer?X-Amz-Signature=secret", listener.local_addr().unwrap());
    let answers: Arc<Mutex<Vec<Value>>> = Arc::default();
    let kept = answers.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut text = Vec::new();
            let body = loop {
                let mut buffer = [0; 4096];
                let read = stream.read(&mut buffer).await.unwrap();
                text.extend_from_slice(&buffer[..read]);
                let shown = String::from_utf8_lossy(&text);
                if let Some((_, body)) = shown.split_once("\r\n\r\n")
                    && let Ok(body) = serde_json::from_str::<Value>(body)
                {
                    assert!(shown.starts_with("PUT /answer"), "{shown}");
                    assert!(body.to_string().len() <= 4096);
                    break body;
                }
            };
            kept.lock().unwrap().push(body);
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                .await
                .unwrap();
        }
    });
    (url, answers)
}

/// A clock that waiting moves.
#[derive(Clone)]
struct Jumping(Arc<ManualClock>);

#[async_trait]
impl Time for Jumping {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    async fn sleep(&self, duration: Duration) {
        // So long is a time limit, which never comes.
        if duration >= Duration::from_mins(5) {
            std::future::pending::<()>().await;
        }
        self.0.advance(SignedDuration::try_from(duration).unwrap());
        tokio::task::yield_now().await;
    }

    fn random(&self) -> u64 {
        0
    }
}

/// All functions of a stack, and its topic.
struct World {
    aws: Aws,
    recovery: Recovery,
    test: RestoreTest,
    cloud: Cloud,
    clock: Arc<ManualClock>,
    kept: Arc<Kept>,
    told: Mutex<Vec<Value>>,
    url: String,
    answers: Arc<Mutex<Vec<Value>>>,
    _home: tempfile::TempDir,
}

struct Calls(Arc<World>);

#[async_trait]
impl Tasks for Calls {
    async fn call(&self, resource: &str, parameters: Value) -> Result<Value, Failure> {
        let world = &self.0;
        if resource.ends_with("sns:publish") {
            world.told.lock().unwrap().push(parameters["Message"].clone());
            return Ok(json!({}));
        }
        let payload = parameters["Payload"].clone();
        let answer = match parameters["FunctionName"].as_str().unwrap() {
            "restore-test" => handle(&world.test, payload).await,
            "native-restore" => {
                let event = handler::decode(payload).unwrap();
                holdfast_recovery::native::step(&world.recovery, event).await
            }
            other => world.cloud.functions().invoke(other, payload).await,
        };
        answer.map_err(|error| Failure::new(error.code.as_str(), handler::diagnostic(&error).to_string()))
    }
}

#[async_trait]
impl Objects for Calls {
    async fn read(&self, bucket: &str, key: &str, offset: u64) -> Result<Vec<u8>, Failure> {
        self.0.cloud.functions().read(bucket, key, offset).await
    }
}

async fn world() -> Arc<World> {
    let aws = Aws::new();
    shop(&aws, "orders", 120);
    recoverable(&aws, &["orders"]);
    let home = tempfile::tempdir().unwrap();
    let options = HomeOptions { create: true, ..HomeOptions::default() };
    let cloud = Cloud::open(&home.path().join("home"), options).await.unwrap();
    let (recovery, clock) = aws.recovery();
    let kept = Arc::new(Kept::default());
    let services = cloud.services();
    let tester =
        Tester { recovery: recovery.clone(), jobs: services.jobs.clone(), clients: services.clients.clone() };
    let test = RestoreTest { tester, executions: kept.clone(), machine: "arn:machine".to_owned() };
    let (url, answers) = listener().await;
    let told = Mutex::default();
    Arc::new(World { aws, recovery, test, cloud, clock, kept, told, url, answers, _home: home })
}

impl World {
    fn request(&self, kind: &str, properties: &Value) -> Value {
        let mut all = json!({"ServiceToken": "arn:function", "ServiceTimeout": "3600"});
        all.as_object_mut().unwrap().extend(properties.as_object().unwrap().clone());
        json!({
            "RequestType": kind,
            "ResponseURL": self.url,
            "StackId": "arn:aws:cloudformation:eu-west-1:123456789012:stack/shop/1",
            "RequestId": format!("{kind}-7f3c"),
            "ResourceType": "Custom::RestoreTest",
            "LogicalResourceId": "Proof",
            "ResourceProperties": all,
        })
    }

    /// Asks the function, and runs what it starts.
    async fn run(self: &Arc<Self>, request: Value) -> ExecutionOutcome {
        handle(&self.test, request).await.unwrap();
        let (name, input) = self.kept.started.lock().unwrap().last().unwrap().clone();
        let calls = Arc::new(Calls(self.clone()));
        let ports = Ports {
            tasks: calls.clone(),
            objects: calls,
            time: Arc::new(Jumping(self.clock.clone())),
            observer: Arc::new(()),
        };
        let machine = StateMachine::load("restore-test", MACHINE, &substitutions()).unwrap();
        Interpreter::new(ports, Options::default()).start(&machine, &name, input).outcome().await
    }

    fn answer(&self) -> Value {
        let answers = self.answers.lock().unwrap();
        assert_eq!(answers.len(), 1, "{answers:?}");
        answers[0].clone()
    }

    fn tables(&self) -> Value {
        self.aws.table("ListTables", &json!({})).1["TableNames"].clone()
    }
}

fn succeeded(outcome: &ExecutionOutcome) -> bool {
    matches!(outcome, ExecutionOutcome::Succeeded { .. })
}

#[tokio::test]
async fn a_restore_to_the_latest_time_is_proved_and_removed() {
    let world = world().await;
    furnish(&world.aws, "orders");
    let outcome = world.run(world.request("Create", &json!({"Kind": "PITR", "TableName": "orders"}))).await;
    assert!(succeeded(&outcome), "{outcome:?}");
    let answer = world.answer();
    assert_eq!(answer["Status"], "SUCCESS", "{answer}");
    assert!(answer["PhysicalResourceId"].as_str().unwrap().starts_with("holdfast-restore-test-Proof-"));
    let data = &answer["Data"];
    assert_eq!((&data["RestoredCount"], &data["SourceCount"]), (&json!("120"), &json!("120")));
    assert_eq!(
        (&data["Compared"], &data["Missing"], &data["Differing"]),
        (&json!("100"), &json!("0"), &json!("0"))
    );
    assert!(data["Table"].as_str().unwrap().starts_with("holdfast-test-"));
    assert!(data["Seconds"].as_str().unwrap().parse::<u64>().unwrap() > 0);
    assert_eq!(world.tables(), json!(["orders"]), "what the test made is gone");
    assert!(world.told.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_restore_that_lacks_records_fails_with_figures_and_is_removed() {
    let world = world().await;
    let aws = world.aws.clone();
    // The source is written between the restore and the comparison.
    let here = aws.clone();
    aws.on("DescribeTimeToLive", move |body| {
        for number in 0..60 {
            put(&here, "orders", &format!("o-{number}"), "2");
        }
        here.table("DescribeTimeToLive", body)
    });
    let request = |kind: &str, most: &str| {
        let properties = json!({"Kind": "PITR", "TableName": "orders", "MaxMissingPercent": most});
        world.request(kind, &properties)
    };
    let outcome = world.run(request("Create", "10")).await;
    assert!(!succeeded(&outcome));
    let answer = world.answer();
    assert_eq!(answer["Status"], "FAILED");
    let reason = answer["Reason"].as_str().unwrap();
    assert!(reason.contains("differ: more than 10 %"), "{reason}");
    assert_eq!(world.tables(), json!(["orders"]));
    assert_eq!(world.told.lock().unwrap()[0]["event"], "restore-test-failed");
    world.answers.lock().unwrap().clear();
    assert!(succeeded(&world.run(request("Update", "90")).await), "as many may be missing");
}

#[tokio::test]
async fn whatever_fails_is_answered_and_cleared() {
    for (code, operation) in [
        ("SourceDenied", "DescribeContinuousBackups"),
        ("SourceDenied", "RestoreTableToPointInTime"),
        ("TargetDenied", "BatchGetItem"),
    ] {
        let world = world().await;
        world.aws.on(operation, |_| refusal(403, "AccessDeniedException", "no"));
        let request = world.request("Create", &json!({"Kind": "PITR", "TableName": "orders"}));
        assert!(!succeeded(&world.run(request).await));
        let answer = world.answer();
        assert_eq!(answer["Status"], "FAILED");
        assert!(answer["Reason"].as_str().unwrap().starts_with(code), "{answer}");
        assert_eq!(world.tables(), json!(["orders"]));
    }
}

#[tokio::test]
async fn a_table_that_cannot_be_removed_is_told() {
    let world = world().await;
    world.aws.on("DeleteTable", |_| refusal(403, "AccessDeniedException", "no"));
    let request = world.request("Create", &json!({"Kind": "PITR", "TableName": "orders"}));
    assert!(!succeeded(&world.run(request).await));
    assert_eq!(world.answer()["Status"], "SUCCESS", "the restore itself was proved");
    let told = world.told.lock().unwrap();
    assert_eq!(told[0]["event"], "restore-test-not-removed");
    assert!(told[0]["table"].as_str().unwrap().starts_with("holdfast-test-"));
}

#[tokio::test]
async fn the_newest_backup_of_a_resource_is_restored_compared_and_removed() {
    let world = world().await;
    let client = world.cloud.tables();
    carts(&client, 80).await;
    let resource =
        json!({"name": "carts", "source": {"kind": "dynamodb", "table": "carts", "endpoint": "embedded"}});
    world.cloud.services().jobs.put_resource("carts", &resource).await.unwrap();
    let request = |kind: &str| world.request(kind, &json!({"Kind": "HOLDFAST", "Resource": "carts"}));

    assert!(!succeeded(&world.run(request("Create")).await), "there is no backup");
    let reason = world.answer()["Reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("no completed backup") && reason.contains("back it up first"), "{reason}");
    world.answers.lock().unwrap().clear();

    let id = world.cloud.new_id();
    world.cloud.run_backup(&id, "carts", None).await.unwrap();
    let outcome = world.run(request("Update")).await;
    assert!(succeeded(&outcome), "{outcome:?}");
    let data = world.answer()["Data"].clone();
    assert_eq!(
        (&data["RestoredCount"], &data["Compared"], &data["Backup"]),
        (&json!("80"), &json!("80"), &json!(id))
    );
    let left = client.list_tables().send().await.unwrap();
    assert_eq!(left.table_names(), ["carts"]);
    let kept = client.scan().table_name("carts").send().await.unwrap();
    assert_eq!(kept.count(), 80);
}

/// A table of the home's own, that nobody may delete.
async fn carts(client: &Client, records: usize) {
    let id = AttributeDefinition::builder().attribute_name("id").attribute_type(ScalarAttributeType::S);
    let key = KeySchemaElement::builder().attribute_name("id").key_type(KeyType::Hash);
    client
        .create_table()
        .table_name("carts")
        .attribute_definitions(id.build().unwrap())
        .key_schema(key.build().unwrap())
        .billing_mode(BillingMode::PayPerRequest)
        .deletion_protection_enabled(true)
        .send()
        .await
        .unwrap();
    for number in 0..records {
        let put = client.put_item().table_name("carts").item("id", AttributeValue::S(format!("c-{number}")));
        put.item("n", AttributeValue::N(number.to_string())).send().await.unwrap();
    }
}

#[tokio::test]
async fn a_request_starts_one_execution_and_deleting_is_answered_at_once() {
    let world = world().await;
    let request = world.request("Create", &json!({"Kind": "PITR", "TableName": "orders"}));
    let first = handle(&world.test, request.clone()).await.unwrap();
    assert_eq!(first, handle(&world.test, request).await.unwrap());
    assert_eq!(first["execution"], "test-Create-7f3c");
    assert_eq!(world.kept.started.lock().unwrap().len(), 1);
    assert!(world.answers.lock().unwrap().is_empty());

    let mut delete = world.request("Delete", &json!({"Kind": "NO LONGER KNOWN"}));
    delete["PhysicalResourceId"] = json!("somebody-elses");
    handle(&world.test, delete).await.unwrap();
    let answer = world.answer();
    assert_eq!(
        (&answer["Status"], &answer["PhysicalResourceId"]),
        (&json!("SUCCESS"), &json!("somebody-elses"))
    );
}

#[tokio::test]
async fn what_cannot_start_is_answered_at_once() {
    let world = world().await;
    for (properties, refuses, why) in [
        (json!({"Kind": "PITR", "TableName": "orders", "Colour": "red"}), false, "Colour"),
        (json!({"Kind": "PITR"}), false, "TableName is missing"),
        (json!({"Kind": "PITR", "TableName": "orders"}), true, "StateUnavailable"),
    ] {
        *world.kept.refuses.lock().unwrap() = refuses;
        let said = handle(&world.test, world.request("Create", &properties)).await.unwrap();
        assert_eq!(said["status"], "FAILED");
        let answer = world.answers.lock().unwrap().pop().unwrap();
        assert!(answer["Reason"].as_str().unwrap().contains(why), "{answer}");
        assert!(!answer.to_string().contains("Signature"));
    }
    assert!(world.kept.started.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_event_of_no_kind_is_refused() {
    let world = world().await;
    for event in
        [Value::Null, json!({}), json!({"step": "dance"}), json!({"RequestType": "Create", "Colour": 1})]
    {
        assert_eq!(handle(&world.test, event).await.unwrap_err().code, Code::InvalidInput);
    }
}
