//! Restore testing of AWS Backup, against recorded API shapes: the event, `DescribeRestoreJob`,
//! `PutRestoreValidationResult`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use crate::support::tables::{arn_of, create, put, shop};
use crate::support::{Aws, refusal};
use holdfast_recovery::judge::{JobEvent, Judged, judge};
use holdfast_vault::error::Result;
use serde_json::{Value, json};

const VALIDATIONS: &str = "PUT /restore-jobs/job-1/validations";

fn event() -> Value {
    json!({
        "version": "0", "id": "e", "detail-type": "Restore Job State Change", "source": "aws.backup",
        "account": "123456789012", "time": "2026-11-21T05:00:00Z", "region": "eu-west-1",
        "resources": ["arn:aws:backup:eu-west-1:123456789012:recovery-point:1EB3"],
        "detail": {
            "restoreJobId": "job-1", "status": "COMPLETED", "resourceType": "DynamoDB", "percentDone": 100.0,
            "restoreTestingPlanArn": "arn:aws:backup:eu-west-1:123456789012:restore-testing-plan:weekly",
            "something": "new",
        },
    })
}

/// A completed job that restored `orders` into `awsbackup-restore-test-1`.
fn world(records: usize) -> Aws {
    let aws = Aws::new();
    shop(&aws, "orders", records);
    create(&aws, "awsbackup-restore-test-1");
    let (source, made) = (arn_of(&aws, "orders"), arn_of(&aws, "awsbackup-restore-test-1"));
    aws.on("GET /restore-jobs/job-1", move |_| {
        (
            200,
            json!({
                "RestoreJobId": "job-1", "Status": "COMPLETED", "ResourceType": "DynamoDB",
                "CreatedResourceArn": made, "SourceResourceArn": source,
            }),
        )
    });
    aws.on(VALIDATIONS, |_| (204, json!({})));
    aws
}

async fn ask(aws: &Aws, event: Value) -> Result<Judged> {
    let event: JobEvent = serde_json::from_value(event).unwrap();
    judge(&aws.recovery().0, &event).await
}

#[tokio::test]
async fn a_table_that_is_as_its_source_is_successful() {
    let aws = world(30);
    for number in 0..30 {
        put(&aws, "awsbackup-restore-test-1", &format!("o-{number}"), "1");
    }
    put(&aws, "orders", "o-3", "9");
    let judged = ask(&aws, event()).await.unwrap();
    assert_eq!(judged.valid, Some(true), "{}", judged.message);
    let said = &aws.asked(VALIDATIONS)[0];
    assert_eq!(said["ValidationStatus"], "SUCCESSFUL");
    assert_eq!(
        said["ValidationStatusMessage"],
        "the definition is the source's; of 30 records of the source 29 are the same, 1 differ, 0 are missing"
    );
}

#[tokio::test]
async fn an_empty_table_and_one_of_another_shape_fail() {
    let aws = world(5);
    assert_eq!(ask(&aws, event()).await.unwrap().valid, Some(false));
    assert_eq!(aws.asked(VALIDATIONS)[0]["ValidationStatus"], "FAILED");

    let aws = world(5);
    aws.table("DeleteTable", &json!({"TableName": "awsbackup-restore-test-1"}));
    let other = json!({
        "TableName": "awsbackup-restore-test-1", "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": "other", "AttributeType": "N"}],
        "KeySchema": [{"AttributeName": "other", "KeyType": "HASH"}],
    });
    assert_eq!(aws.table("CreateTable", &other).0, 200);
    let judged = ask(&aws, event()).await.unwrap();
    assert_eq!(judged.valid, Some(false));
    assert!(judged.message.contains("another key"), "{}", judged.message);

    aws.table("DeleteTable", &json!({"TableName": "awsbackup-restore-test-1"}));
    assert!(ask(&aws, event()).await.unwrap().message.contains("there is no table"));
}

#[tokio::test]
async fn a_table_without_its_source_is_judged_by_itself() {
    let aws = world(5);
    aws.table("DeleteTable", &json!({"TableName": "orders"}));
    let judged = ask(&aws, event()).await.unwrap();
    assert_eq!(judged.valid, Some(true));
    assert!(judged.message.contains("nothing was compared"), "{}", judged.message);
}

#[tokio::test]
async fn other_events_are_left_with_a_word() {
    let aws = world(5);
    let with = |field: &str, value: Value| {
        let mut event = event();
        event["detail"][field] = value;
        event
    };
    for (event, why) in [
        (with("restoreTestingPlanArn", Value::Null), "no restore testing plan"),
        (with("status", json!("FAILED")), "the job is FAILED"),
    ] {
        let judged = ask(&aws, event).await.unwrap();
        assert_eq!(judged.valid, None);
        assert!(judged.message.contains(why), "{}", judged.message);
    }
    aws.on("GET /restore-jobs/job-1", |_| {
        (200, json!({"Status": "COMPLETED", "ResourceType": "S3", "CreatedResourceArn": "arn:aws:s3:::x"}))
    });
    assert!(ask(&aws, event()).await.unwrap().message.contains("it restored S3"));
    assert!(aws.asked(VALIDATIONS).is_empty());

    let mut other = event();
    other["source"] = json!("aws.s3");
    assert_eq!(ask(&aws, other).await.unwrap_err().code.as_str(), "InvalidInput");
    let mut unknown = event();
    unknown["colour"] = json!("red");
    let refused = serde_json::from_value::<JobEvent>(unknown).unwrap_err();
    assert!(refused.to_string().contains("colour"));
}

#[tokio::test]
async fn what_cannot_be_judged_is_no_judgement() {
    let aws = world(5);
    aws.on("GET /restore-jobs/job-1", |_| refusal(400, "ThrottlingException", "slow down"));
    assert_eq!(ask(&aws, event()).await.unwrap_err().code.as_str(), "SourceThrottled");
    let aws = world(5);
    put(&aws, "awsbackup-restore-test-1", "o-1", "1");
    aws.on(VALIDATIONS, |_| refusal(500, "ServiceUnavailableException", "later"));
    assert_eq!(ask(&aws, event()).await.unwrap_err().code.as_str(), "SourceUnavailable");
}
