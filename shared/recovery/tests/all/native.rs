//! Native restores against recorded API shapes: `RestoreTableToPointInTime`, AWS Backup's restore jobs, and the settings
//! that are put back.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use crate::support;

use crate::support::tables::{arn_of, create, furnish, items, put, recoverable, shop};
use crate::support::{Aws, ROLE, refusal};
use holdfast_recovery::Recovery;
use holdfast_recovery::native::{NativeEvent, step};
use holdfast_vault::error::{Error, Result};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::time::Duration;

const POINT: &str = "arn:aws:backup:eu-west-1:123456789012:recovery-point:1EB3B5E7";

fn latest() -> Value {
    json!({
        "restoreType": "PITR", "sourceTableName": "orders", "targetTableName": "orders-back",
        "useLatestRestorableTime": true,
    })
}

fn of_point() -> Value {
    json!({"restoreType": "BACKUP", "recoveryPointArn": POINT, "targetTableName": "orders-back"})
}

async fn call(recovery: &Recovery, event: Value) -> Result<Value> {
    let event: NativeEvent = serde_json::from_value(event).unwrap();
    step(recovery, event).await
}

async fn begin(recovery: &Recovery, input: Value) -> Result<Value> {
    let started = recovery.clock.now().to_string();
    call(recovery, json!({"step": "begin", "input": input, "execution": "e-1", "started_at": started})).await
}

/// Repeats a step until it has no more to do.
async fn all(recovery: &Recovery, name: &str, mut progress: Value) -> Result<Value> {
    for _ in 0..50 {
        progress = call(recovery, json!({"step": name, "progress": progress})).await?;
        if progress["more"] == false {
            return Ok(progress);
        }
    }
    panic!("{name} does not end: {progress}")
}

async fn run(recovery: &Recovery, input: Value) -> Result<Value> {
    let mut progress = begin(recovery, input).await?;
    for name in ["check", "settle", "validate"] {
        progress = all(recovery, name, progress).await?;
    }
    Ok(progress["result"].clone())
}

/// A table that nothing scales and nobody watches.
fn unwatched(aws: &Aws) {
    aws.on("DescribeScalableTargets", |_| (200, json!({"ScalableTargets": []})));
    aws.on("DescribeScalingPolicies", |_| (200, json!({"ScalingPolicies": []})));
    aws.on("DescribeAlarms", |_| (200, json!({"MetricAlarms": []})));
}

fn world(records: usize) -> Aws {
    let aws = Aws::new();
    shop(&aws, "orders", records);
    recoverable(&aws, &["orders"]);
    unwatched(&aws);
    aws
}

fn refused(result: Result<Value>) -> (String, String, String) {
    let Error { code, object, message, .. } = result.unwrap_err();
    (code.to_string(), object.unwrap_or_default(), message)
}

fn messages(result: &Value) -> String {
    result["warnings"].to_string()
}

#[tokio::test]
async fn a_table_is_restored_to_its_latest_time_with_all_its_settings() {
    let aws = world(300);
    furnish(&aws, "orders");
    let (recovery, clock) = aws.recovery();
    let started = begin(&recovery, latest()).await.unwrap();
    assert_eq!((&started["more"], &started["wait"]), (&json!(true), &json!(10)));
    assert_eq!(
        aws.asked("RestoreTableToPointInTime"),
        [json!({
            "SourceTableArn": arn_of(&aws, "orders"),
            "TargetTableName": "orders-back",
            "UseLatestRestorableTime": true,
            "BillingModeOverride": "PAY_PER_REQUEST",
        })]
    );
    let waiting = call(&recovery, json!({"step": "check", "progress": started})).await.unwrap();
    assert_eq!(waiting["more"], true, "the table is being made");
    clock.advance(SignedDuration::from_secs(90));
    let there = all(&recovery, "check", waiting).await.unwrap();
    let settled = all(&recovery, "settle", there).await.unwrap();
    clock.advance(SignedDuration::from_secs(600));
    let result = all(&recovery, "validate", settled).await.unwrap()["result"].clone();
    assert_eq!(
        result["comparison"],
        json!({
            "arn": arn_of(&aws, "orders-back"), "restoredCount": 300, "sourceCount": 300, "compared": 100, "same": 100,
            "differing": 0, "missing": 0,
        })
    );
    assert_eq!((&result["identical"], &result["seconds"]), (&json!(true), &json!(90)), "{result}");
    assert_eq!(result["warnings"], json!([]), "{result}");

    let table = aws.table("DescribeTable", &json!({"TableName": "orders-back"})).1["Table"].clone();
    assert_eq!(table["StreamSpecification"]["StreamViewType"], "NEW_IMAGE");
    assert_eq!(table["DeletionProtectionEnabled"], true);
    let expiry = aws.table("DescribeTimeToLive", &json!({"TableName": "orders-back"})).1;
    assert_eq!(expiry["TimeToLiveDescription"]["AttributeName"], "gone");
    let tags = aws.table("ListTagsOfResource", &json!({"ResourceArn": table["TableArn"]})).1;
    assert_eq!(tags["Tags"], json!([{"Key": "team", "Value": "shop"}]));
    assert_eq!(
        aws.asked("UpdateContinuousBackups"),
        [json!({
            "TableName": "orders-back",
            "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": true, "RecoveryPeriodInDays": 14},
        })]
    );
}

/// Auto scaling of `orders` and its index.
fn scaled(aws: &Aws) {
    let target = |resource: &str, dimension: &str| {
        json!({
            "ServiceNamespace": "dynamodb", "ResourceId": resource, "ScalableDimension": dimension,
            "MinCapacity": 5, "MaxCapacity": 500, "RoleARN": "arn:aws:iam::1:role/x", "CreationTime": 1,
        })
    };
    let targets = vec![
        target("table/orders", "dynamodb:table:WriteCapacityUnits"),
        target("table/orders/index/by-mail", "dynamodb:index:ReadCapacityUnits"),
    ];
    aws.on("DescribeScalableTargets", move |body| {
        assert_eq!(body["ResourceIds"], json!(["table/orders", "table/orders/index/by-mail"]));
        (200, json!({ "ScalableTargets": targets }))
    });
    aws.on("DescribeScalingPolicies", |body| {
        let policy = json!({
            "PolicyARN": "arn:p", "PolicyName": "writes", "ServiceNamespace": "dynamodb", "ResourceId": "table/orders",
            "ScalableDimension": "dynamodb:table:WriteCapacityUnits", "PolicyType": "TargetTrackingScaling",
            "TargetTrackingScalingPolicyConfiguration": {
                "TargetValue": 70.0,
                "PredefinedMetricSpecification": {"PredefinedMetricType": "DynamoDBWriteCapacityUtilization"},
            },
            "CreationTime": 1,
        });
        let of_table = body["ResourceId"] == "table/orders";
        (200, json!({"ScalingPolicies": if of_table { vec![policy] } else { vec![] }}))
    });
    aws.on("RegisterScalableTarget", |_| (200, json!({})));
    aws.on("PutScalingPolicy", |_| (200, json!({"PolicyARN": "arn:q", "Alarms": []})));
}

/// An alarm on `orders`, and two that are not to be copied.
fn watched(aws: &Aws) {
    let alarm = |name: &str, table: &str| {
        json!({
            "AlarmName": name, "Namespace": "AWS/DynamoDB", "MetricName": "WriteThrottleEvents", "Statistic": "Sum",
            "Dimensions": [{"Name": "TableName", "Value": table}], "Period": 60, "EvaluationPeriods": 5,
            "Threshold": 10.5, "ComparisonOperator": "GreaterThanThreshold", "AlarmActions": ["arn:topic"],
            "ActionsEnabled": true,
        })
    };
    aws.on_each(
        "DescribeAlarms",
        vec![
            (200, json!({"MetricAlarms": [alarm("orders-throttled", "orders")], "NextToken": "2"})),
            (
                200,
                json!({"MetricAlarms": [
                    alarm("of another", "carts"), alarm("TargetTracking-table/orders-AlarmHigh-1", "orders"),
                ]}),
            ),
        ],
    );
    aws.on("PutMetricAlarm", |_| (200, json!({})));
}

#[tokio::test]
async fn what_scales_and_watches_a_table_is_copied() {
    let aws = world(1);
    scaled(&aws);
    watched(&aws);
    let (recovery, _) = aws.recovery();
    let result = run(&recovery, latest()).await.unwrap();
    assert_eq!(result["warnings"], json!([]), "{result}");
    let registered = aws.asked("RegisterScalableTarget");
    assert_eq!(registered.len(), 2);
    assert_eq!(registered[1]["ResourceId"], "table/orders-back/index/by-mail");
    assert_eq!((&registered[0]["MinCapacity"], &registered[0]["MaxCapacity"]), (&json!(5), &json!(500)));
    let policy = &aws.asked("PutScalingPolicy")[0];
    assert_eq!(
        (&policy["ResourceId"], &policy["PolicyName"]),
        (&json!("table/orders-back"), &json!("writes"))
    );
    assert_eq!(policy["TargetTrackingScalingPolicyConfiguration"]["TargetValue"], 70.0);
    let alarms = aws.asked("PutMetricAlarm");
    assert_eq!(alarms.len(), 1, "alarms of other tables and of auto scaling are left: {alarms:?}");
    assert_eq!(alarms[0]["AlarmName"], "orders-back-throttled");
    assert_eq!(alarms[0]["Dimensions"], json!([{"Name": "TableName", "Value": "orders-back"}]));
    assert_eq!((&alarms[0]["Threshold"], &alarms[0]["AlarmActions"]), (&json!(10.5), &json!(["arn:topic"])));
}

#[tokio::test]
async fn what_is_wrong_is_told_before_anything_starts() {
    let aws = world(1);
    create(&aws, "carts");
    let (recovery, _) = aws.recovery();
    let with = |field: &str, value: Value| {
        let mut input = latest();
        input[field] = value;
        input
    };
    let at = |time: &str| {
        let mut input = with("restoreDateTime", json!(time));
        input.as_object_mut().unwrap().remove("useLatestRestorableTime");
        input
    };
    for (input, code, object) in [
        (with("sourceTableName", json!("nothing")), "SourceMissing", "nothing"),
        (with("sourceTableName", json!("carts")), "SourceInvalid", "carts"),
        (with("targetTableName", json!("carts")), "TargetNotEmpty", "targetTableName"),
        (at("2020-01-01T00:00:00Z"), "InvalidInput", "restoreDateTime"),
        (at("2999-01-01T00:00:00Z"), "InvalidInput", "restoreDateTime"),
        (with("colour", json!("red")), "InvalidInput", "input"),
    ] {
        let later = Timestamp::now().checked_add(SignedDuration::from_hours(1)).unwrap().to_string();
        let event = json!({"step": "begin", "input": input, "execution": "e-1", "started_at": later});
        let (told, about, message) = refused(call(&recovery, event).await);
        assert_eq!((told.as_str(), about.as_str()), (code, object), "{input}: {message}");
    }
    assert!(aws.asked("RestoreTableToPointInTime").is_empty());
}

#[tokio::test]
async fn a_begin_that_is_repeated_follows_what_it_started() {
    let aws = world(3);
    let (recovery, _) = aws.recovery();
    let first = begin(&recovery, latest()).await.unwrap();
    let second = begin(&recovery, latest()).await.unwrap();
    assert_eq!((&first["table"], &second["more"]), (&json!("orders-back"), &json!(true)));
    assert_eq!(aws.asked("RestoreTableToPointInTime").len(), 1);
}

#[tokio::test]
async fn later_writes_are_told_as_figures() {
    let aws = world(50);
    let (recovery, _) = aws.recovery();
    let minutes_ago = Timestamp::now().checked_sub(SignedDuration::from_mins(10)).unwrap();
    let input = json!({
        "restoreType": "PITR", "sourceTableArn": arn_of(&aws, "orders"), "targetTableName": "orders-back",
        "restoreDateTime": minutes_ago.to_string(),
    });
    let started = begin(&recovery, input).await.unwrap();
    assert_eq!(aws.asked("RestoreTableToPointInTime")[0]["RestoreDateTime"], minutes_ago.as_second());
    put(&aws, "orders", "o-1", "2");
    put(&aws, "orders", "new", "1");
    let mut progress = started;
    for name in ["check", "settle", "validate"] {
        progress = all(&recovery, name, progress).await.unwrap();
    }
    let result = &progress["result"];
    let comparison = &result["comparison"];
    assert_eq!(result["identical"], false);
    assert_eq!((&comparison["restoredCount"], &comparison["sourceCount"]), (&json!(50), &json!(51)));
    assert!(messages(result).contains("DiffersFromSource"), "{result}");
    assert_eq!(result["restoredTo"], Timestamp::from_second(minutes_ago.as_second()).unwrap().to_string());
}

#[tokio::test]
async fn counting_goes_on_where_it_stopped_and_remembers_no_key() {
    let aws = world(200);
    let (mut recovery, _) = aws.recovery();
    recovery.limits.counting = Duration::ZERO;
    recovery.limits.segment_bytes = 50;
    let started = begin(&recovery, latest()).await.unwrap();
    let there = all(&recovery, "check", started).await.unwrap();
    let mut progress = all(&recovery, "settle", there).await.unwrap();
    let mut calls = 0;
    loop {
        progress = call(&recovery, json!({"step": "validate", "progress": progress})).await.unwrap();
        calls += 1;
        assert!(!progress.to_string().contains("o-"), "no key of a record: {progress}");
        if progress["more"] == false {
            break;
        }
    }
    assert!(calls > 4, "{calls} calls");
    assert_eq!(progress["result"]["comparison"]["restoredCount"], 200);
    assert_eq!(progress["result"]["identical"], true);
}

#[tokio::test]
async fn a_large_table_is_sampled_in_many_places() {
    let aws = world(2500);
    let (recovery, _) = aws.recovery();
    let result = run(&recovery, latest()).await.unwrap();
    let comparison = &result["comparison"];
    assert_eq!((&comparison["compared"], &comparison["same"]), (&json!(100), &json!(100)), "{result}");
    let scans = aws.asked("Scan");
    let places: std::collections::BTreeSet<i64> = scans
        .iter()
        .filter(|scan| scan["TotalSegments"] == 500)
        .map(|scan| scan["Segment"].as_i64().unwrap())
        .collect();
    assert!((20..=40).contains(&places.len()), "{places:?}");
}

/// AWS Backup with one recovery point, in the second of two vaults.
fn backup(aws: &Aws) {
    aws.on_each(
        "GET /backup-vaults",
        vec![
            (200, json!({"BackupVaultList": [{"BackupVaultName": "other"}], "NextToken": "n"})),
            (200, json!({"BackupVaultList": [{"BackupVaultName": "shop"}]})),
        ],
    );
    let place = |vault: &str| format!("GET /backup-vaults/{vault}/recovery-points/{POINT}");
    aws.on(&place("other"), |_| refusal(400, "ResourceNotFoundException", "no such recovery point"));
    let arn = arn_of(aws, "orders");
    aws.on(&place("shop"), move |_| {
        (200, json!({
            "RecoveryPointArn": POINT, "BackupVaultName": "shop", "ResourceType": "DynamoDB", "ResourceArn": arn,
            "Status": "COMPLETED", "CreationDate": 1_795_000_000.5,
        }))
    });
    aws.on(&format!("{}/restore-metadata", place("shop")), |_| {
        (200, json!({"RestoreMetadata": {"encryptionType": "KMS", "kmsMasterKeyArn": "arn:key"}}))
    });
    aws.on("PUT /restore-jobs", |_| (200, json!({"RestoreJobId": "job-1"})));
}

fn job(status: &str) -> support::Answer {
    (
        200,
        json!({
            "RestoreJobId": "job-1", "Status": status, "StatusMessage": "the role may not", "ResourceType": "DynamoDB",
            "RecoveryPointArn": POINT, "PercentDone": "50.00%",
        }),
    )
}

#[tokio::test]
async fn a_recovery_point_is_found_restored_and_followed() {
    let aws = world(20);
    backup(&aws);
    aws.on_each("GET /restore-jobs/job-1", vec![job("PENDING"), job("RUNNING"), job("COMPLETED")]);
    let (recovery, _) = aws.recovery();
    let started = begin(&recovery, of_point()).await.unwrap();
    assert_eq!(begin(&recovery, of_point()).await.unwrap(), started, "a repeat is the same");
    let asked = aws.asked("PUT /restore-jobs");
    assert_eq!(asked[0], asked[1], "the token of an execution stays");
    let token = asked[0]["IdempotencyToken"].clone();
    assert_eq!(
        asked[0],
        json!({
            "RecoveryPointArn": POINT, "IamRoleArn": ROLE, "ResourceType": "DynamoDB", "IdempotencyToken": token,
            "Metadata": {"encryptionType": "KMS", "kmsMasterKeyArn": "arn:key", "targetTableName": "orders-back"},
        })
    );
    assert_eq!(started["restoreJob"], "job-1");
    let waiting = call(&recovery, json!({"step": "check", "progress": started})).await.unwrap();
    assert_eq!(waiting["more"], true);
    shop(&aws, "orders-back", 20);
    let mut progress = waiting;
    for name in ["check", "settle", "validate"] {
        progress = all(&recovery, name, progress).await.unwrap();
    }
    let result = &progress["result"];
    assert_eq!((&result["restoreType"], &result["identical"]), (&json!("BACKUP"), &json!(true)), "{result}");
}

#[tokio::test]
async fn a_table_whose_source_is_gone_gets_its_tags_and_says_what_is_lost() {
    let aws = world(5);
    backup(&aws);
    aws.on("GET /restore-jobs/job-1", |_| job("COMPLETED"));
    aws.on(&format!("GET /tags/{POINT}"), |_| (200, json!({"Tags": {"team": "shop", "aws:x": "y"}})));
    let (recovery, _) = aws.recovery();
    let started = begin(&recovery, of_point()).await.unwrap();
    shop(&aws, "orders-back", 5);
    aws.table("DeleteTable", &json!({"TableName": "orders"}));
    let mut progress = started;
    for name in ["check", "settle", "validate"] {
        progress = all(&recovery, name, progress).await.unwrap();
    }
    let result = &progress["result"];
    assert_eq!(result["comparison"]["restoredCount"], 5);
    assert_eq!(result["identical"], Value::Null);
    let told = messages(result);
    assert!(told.contains("SettingNotRestored") && told.contains("NotCompared"), "{told}");
    let tags = aws.table("ListTagsOfResource", &json!({"ResourceArn": arn_of(&aws, "orders-back")})).1;
    assert_eq!(tags["Tags"], json!([{"Key": "team", "Value": "shop"}]));
}

#[tokio::test]
async fn failures_of_aws_are_told_by_their_codes() {
    let aws = world(1);
    backup(&aws);
    let (mut recovery, _) = aws.recovery();
    aws.on("GET /restore-jobs/job-1", |_| job("FAILED"));
    let started = begin(&recovery, of_point()).await.unwrap();
    let (code, object, message) =
        refused(call(&recovery, json!({"step": "check", "progress": started})).await);
    assert_eq!((code.as_str(), object.as_str()), ("TargetInvalid", "job-1"));
    assert!(message.contains("FAILED: the role may not"), "{message}");

    for (answer, code) in [
        (refusal(400, "ThrottlingException", "slow down"), "SourceThrottled"),
        (refusal(429, "LimitExceededException", "too many jobs"), "SourceThrottled"),
        (refusal(500, "ServiceUnavailableException", "later"), "SourceUnavailable"),
        (refusal(403, "AccessDeniedException", "no"), "SourceDenied"),
        (refusal(400, "InvalidParameterValueException", "what?"), "SourceInvalid"),
    ] {
        aws.on("PUT /restore-jobs", move |_| answer.clone());
        assert_eq!(refused(begin(&recovery, of_point()).await).0, code);
    }
    for (answer, code) in [
        (refusal(400, "LimitExceededException", "50 restores at a time"), "SourceThrottled"),
        (refusal(400, "TableAlreadyExistsException", "there is one"), "TargetUnavailable"),
        (refusal(500, "InternalServerError", "later"), "SourceUnavailable"),
    ] {
        aws.on("RestoreTableToPointInTime", move |_| answer.clone());
        assert_eq!(refused(begin(&recovery, latest()).await).0, code);
    }
    recovery.restore_role = None;
    assert_eq!(refused(begin(&recovery, of_point()).await).0, "HomeInvalid");
}

#[tokio::test]
async fn a_recovery_point_that_is_none_of_a_table_is_refused() {
    let aws = world(1);
    backup(&aws);
    let (recovery, _) = aws.recovery();
    let place = format!("GET /backup-vaults/shop/recovery-points/{POINT}");
    let of = |kind: &str, status: &str| {
        let answer = json!({"ResourceType": kind, "Status": status, "StatusMessage": "half of it"});
        move |_: &Value| (200, answer.clone())
    };
    aws.on(&place, of("EFS", "COMPLETED"));
    assert_eq!(refused(begin(&recovery, of_point()).await).1, "recoveryPointArn");
    aws.on(&place, of("DynamoDB", "PARTIAL"));
    assert_eq!(refused(begin(&recovery, of_point()).await).0, "SourceInvalid");
    aws.on(&place, |_| refusal(400, "ResourceNotFoundException", "gone"));
    assert_eq!(refused(begin(&recovery, of_point()).await).0, "SourceMissing");
    assert!(aws.asked("PUT /restore-jobs").is_empty());
}

#[tokio::test]
async fn what_the_service_refuses_to_set_is_a_warning_and_throttling_is_not() {
    let aws = world(2);
    furnish(&aws, "orders");
    let (recovery, _) = aws.recovery();
    aws.on("UpdateTimeToLive", |_| refusal(400, "ValidationException", "not today"));
    aws.on("DescribeAlarms", |_| refusal(400, "AccessDenied", "no"));
    // So an emulator answers that has no such service.
    aws.on("DescribeScalableTargets", |_| (400, json!({"error": "Unsupported service"})));
    aws.on_each(
        "UpdateContinuousBackups",
        vec![
            refusal(400, "ThrottlingException", "slow down"),
            refusal(400, "ValidationException", "35 at most"),
        ],
    );
    let started = begin(&recovery, latest()).await.unwrap();
    let there = all(&recovery, "check", started).await.unwrap();
    let again = json!({"step": "settle", "progress": there});
    assert_eq!(refused(call(&recovery, again).await).0, "TargetThrottled");
    let settled = all(&recovery, "settle", there).await.unwrap();
    let result = all(&recovery, "validate", settled).await.unwrap()["result"].clone();
    let told = messages(&result);
    for setting in ["time to live", "point-in-time recovery", "auto scaling", "alarms"] {
        assert_eq!(told.matches(&format!(": {setting}: not put back")).count(), 1, "{setting}: {told}");
    }
}

#[tokio::test]
async fn what_failed_is_told_and_nothing_is_removed() {
    let aws = world(4);
    let (recovery, clock) = aws.recovery();
    let started = begin(&recovery, latest()).await.unwrap();
    let cause = json!({"errorType": "TargetInvalid", "errorMessage": "bad\nhint: look"}).to_string();
    let event = |state: Value| json!({"step": "abandon", "execution": "e-1", "started_at": clock.now_text(), "state": state});
    let error = json!({"Error": "TargetInvalid", "Cause": cause});
    let left =
        call(&recovery, event(json!({"native": {"progress": started}, "error": error}))).await.unwrap();
    assert_eq!(
        left,
        json!({
            "table": "orders-back", "state": "CREATING", "restoreJob": null, "code": "TargetInvalid", "message": "bad",
            "hint": "look",
        })
    );
    let mut early = latest();
    early["error"] = error;
    early["targetTableName"] = json!("never-made");
    let left = call(&recovery, event(early)).await.unwrap();
    assert_eq!((&left["table"], &left["state"]), (&json!("never-made"), &json!("ABSENT")));
    assert_eq!(items(&aws, "orders-back").len(), 4);
    assert!(aws.asked("DeleteTable").is_empty());
}

trait NowText {
    fn now_text(&self) -> String;
}

impl NowText for holdfast_common::clock::ManualClock {
    fn now_text(&self) -> String {
        holdfast_common::Clock::now(self).to_string()
    }
}
