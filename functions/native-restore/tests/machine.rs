//! The native branch of the restore machine, in the embedded interpreter, over recorded shapes of AWS and tables in the
//! process.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../../../shared/recovery/tests/support/mod.rs"]
mod support;

use async_trait::async_trait;
use holdfast_common::Clock;
use holdfast_common::clock::ManualClock;
use holdfast_local::asl::{
    ExecutionOutcome, Failure, Interpreter, Objects, Options, Ports, StateMachine, Tasks, Time,
};
use holdfast_local::functions::substitutions;
use holdfast_native_restore::handle;
use holdfast_recovery::Recovery;
use holdfast_vault::error::Code;
use holdfast_workflow::handler;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use support::tables::{furnish, items, recoverable, shop};
use support::{Aws, refusal};

const MACHINE: &str = include_str!("../../../infra/statemachines/restore.asl.json");

struct World {
    recovery: Recovery,
    clock: Arc<ManualClock>,
    told: Mutex<Vec<Value>>,
}

struct Port(Arc<World>);

#[async_trait]
impl Tasks for Port {
    async fn call(&self, resource: &str, parameters: Value) -> Result<Value, Failure> {
        if resource.ends_with("sns:publish") {
            self.0.told.lock().unwrap().push(parameters["Message"].clone());
            return Ok(json!({}));
        }
        assert_eq!(parameters["FunctionName"], "native-restore");
        handle(&self.0.recovery, parameters["Payload"].clone())
            .await
            .map_err(|error| Failure::new(error.code.as_str(), handler::diagnostic(&error).to_string()))
    }
}

#[async_trait]
impl Objects for Port {
    async fn read(&self, _: &str, _: &str, _: u64) -> Result<Vec<u8>, Failure> {
        panic!("a native restore reads no objects")
    }
}

#[async_trait]
impl Time for Port {
    fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    async fn sleep(&self, duration: Duration) {
        // So long is a time limit, which never comes.
        if duration >= Duration::from_mins(5) {
            std::future::pending::<()>().await;
        }
        self.0.clock.advance(SignedDuration::try_from(duration).unwrap());
        tokio::task::yield_now().await;
    }

    fn random(&self) -> u64 {
        0
    }
}

fn aws() -> Aws {
    let aws = Aws::new();
    shop(&aws, "orders", 150);
    recoverable(&aws, &["orders"]);
    aws.on("DescribeScalableTargets", |_| (200, json!({"ScalableTargets": []})));
    aws.on("DescribeScalingPolicies", |_| (200, json!({"ScalingPolicies": []})));
    aws.on("DescribeAlarms", |_| (200, json!({"MetricAlarms": []})));
    aws
}

/// Runs the machine, and gives back what the topic was told.
async fn run(aws: &Aws, input: Value) -> (ExecutionOutcome, Vec<Value>) {
    let (recovery, clock) = aws.recovery();
    let world = Arc::new(World { recovery, clock, told: Mutex::default() });
    let port = || Arc::new(Port(world.clone()));
    let ports = Ports { tasks: port(), objects: port(), time: port(), observer: Arc::new(()) };
    let machine = StateMachine::load("restore", MACHINE, &substitutions()).unwrap();
    let outcome = Interpreter::new(ports, Options::default()).start(&machine, "r-1", input).outcome().await;
    let told = world.told.lock().unwrap().clone();
    (outcome, told)
}

fn input() -> Value {
    json!({
        "restoreType": "PITR", "sourceTableName": "orders", "targetTableName": "orders-back",
        "useLatestRestorableTime": true,
    })
}

#[tokio::test]
async fn a_table_is_restored_settled_validated_and_told() {
    let aws = aws();
    furnish(&aws, "orders");
    let (outcome, told) = run(&aws, input()).await;
    let ExecutionOutcome::Succeeded { output } = outcome else { panic!("{outcome:?}") };
    assert_eq!((&output["table"], &output["identical"]), (&json!("orders-back"), &json!(true)));
    assert_eq!(output["comparison"]["restoredCount"], 150);
    // Two looks at ten seconds each, then settings, five seconds each.
    assert!((20..120).contains(&output["seconds"].as_i64().unwrap()), "{output}");
    assert_eq!(told, [json!({"event": "restore-completed", "restore": output})]);
    assert_eq!(items(&aws, "orders-back").len(), 150);
}

#[tokio::test]
async fn a_service_that_is_busy_is_asked_again() {
    let aws = aws();
    let (here, tries) = (aws.clone(), Mutex::new(0));
    aws.on("Scan", move |body| {
        let mut tries = tries.lock().unwrap();
        *tries += 1;
        match *tries {
            1..=3 => refusal(400, "ProvisionedThroughputExceededException", "slow down"),
            _ => here.table("Scan", body),
        }
    });
    let (outcome, _) = run(&aws, input()).await;
    assert!(matches!(outcome, ExecutionOutcome::Succeeded { .. }), "{outcome:?}");
    assert_eq!(aws.asked("RestoreTableToPointInTime").len(), 1);
}

#[tokio::test]
async fn a_failure_is_told_with_what_is_left() {
    let aws = aws();
    aws.on("Scan", |_| refusal(403, "AccessDeniedException", "no"));
    let (outcome, told) = run(&aws, input()).await;
    assert!(
        matches!(&outcome, ExecutionOutcome::Failed { error, .. } if error == "RestoreFailed"),
        "{outcome:?}"
    );
    assert_eq!(told[0]["event"], "restore-failed");
    let failure = &told[0]["failure"];
    assert_eq!((&failure["table"], &failure["state"]), (&json!("orders-back"), &json!("ACTIVE")));
    assert_eq!(failure["code"], "TargetDenied");

    let (outcome, told) = run(&aws, json!({"restoreType": "PITR", "targetTableName": "x"})).await;
    assert!(matches!(outcome, ExecutionOutcome::Failed { .. }));
    assert_eq!(told[0]["failure"]["code"], "InvalidInput", "{told:?}");
    assert_eq!(told[0]["failure"]["table"], Value::Null);
}

#[tokio::test]
async fn an_event_of_no_kind_is_refused() {
    let (recovery, _) = aws().recovery();
    for event in
        [Value::Null, json!({}), json!({"step": "dance"}), json!({"step": "check", "progress": {}, "x": 1})]
    {
        assert_eq!(handle(&recovery, event).await.unwrap_err().code, Code::InvalidInput);
    }
}
