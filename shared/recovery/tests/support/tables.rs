//! Tables, and what DynamoDB does with them beside: continuous backups and restores to a time.

use super::{Answer, Aws, refusal};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// What is known of tables beside what the database inside the process knows.
#[derive(Debug, Default)]
struct Known {
    /// Days of point-in-time recovery.
    recovery: BTreeMap<String, i64>,
    /// Restored tables: from which ARN, as of when.
    restored: BTreeMap<String, (String, i64)>,
    /// How often a restored table still shows up as being made.
    creating: BTreeMap<String, u32>,
}

/// A table with a bit of everything, with this many records.
pub fn shop(aws: &Aws, name: &str, records: usize) {
    create(aws, name);
    fill(aws, name, records);
}

pub fn create(aws: &Aws, name: &str) {
    let made = aws.table(
        "CreateTable",
        &json!({
            "TableName": name,
            "AttributeDefinitions": [
                {"AttributeName": "id", "AttributeType": "S"}, {"AttributeName": "mail", "AttributeType": "S"},
            ],
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
            "GlobalSecondaryIndexes": [{
                "IndexName": "by-mail",
                "KeySchema": [{"AttributeName": "mail", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "ALL"},
            }],
            "BillingMode": "PAY_PER_REQUEST",
        }),
    );
    assert_eq!(made.0, 200, "{}", made.1);
}

pub fn fill(aws: &Aws, name: &str, records: usize) {
    for number in 0..records {
        put(aws, name, &format!("o-{number}"), "1");
    }
}

pub fn put(aws: &Aws, name: &str, id: &str, price: &str) {
    let item = json!({"id": {"S": id}, "price": {"N": price}, "tags": {"SS": ["a", "b"]}});
    assert_eq!(aws.table("PutItem", &json!({"TableName": name, "Item": item})).0, 200);
}

/// Settings that a restore drops.
pub fn furnish(aws: &Aws, name: &str) {
    let arn = arn_of(aws, name);
    for (operation, body) in [
        (
            "UpdateTimeToLive",
            json!({"TableName": name, "TimeToLiveSpecification": {"Enabled": true, "AttributeName": "gone"}}),
        ),
        (
            "UpdateTable",
            json!({
                "TableName": name,
                "StreamSpecification": {"StreamEnabled": true, "StreamViewType": "NEW_IMAGE"},
            }),
        ),
        ("UpdateTable", json!({"TableName": name, "DeletionProtectionEnabled": true})),
        ("TagResource", json!({"ResourceArn": arn, "Tags": [{"Key": "team", "Value": "shop"}]})),
    ] {
        let done = aws.table(operation, &body);
        assert_eq!(done.0, 200, "{operation}: {}", done.1);
    }
}

pub fn arn_of(aws: &Aws, name: &str) -> String {
    let (_, answer) = aws.table("DescribeTable", &json!({"TableName": name}));
    answer["Table"]["TableArn"].as_str().unwrap().to_owned()
}

pub fn items(aws: &Aws, name: &str) -> Vec<Value> {
    aws.table("Scan", &json!({"TableName": name})).1["Items"].as_array().unwrap().clone()
}

/// Answers continuous backups and restores to a time. The tables named here have recovery of 14 days.
pub fn recoverable(aws: &Aws, tables: &[&str]) {
    let known: Arc<Mutex<Known>> = Arc::default();
    for table in tables {
        known.lock().unwrap().recovery.insert((*table).to_owned(), 14);
    }
    let (here, at) = (aws.clone(), known.clone());
    aws.on("DescribeContinuousBackups", move |body| continuous_backups(&here, &at, body));
    let at = known.clone();
    aws.on("UpdateContinuousBackups", move |body| {
        let days = body["PointInTimeRecoverySpecification"]["RecoveryPeriodInDays"].as_i64().unwrap_or(35);
        at.lock().unwrap().recovery.insert(body["TableName"].as_str().unwrap().to_owned(), days);
        (200, json!({}))
    });
    let (here, at) = (aws.clone(), known.clone());
    aws.on("RestoreTableToPointInTime", move |body| restore(&here, &at, body));
    let here = aws.clone();
    aws.on("DescribeTable", move |body| describe(&here, &known, body));
}

fn continuous_backups(aws: &Aws, known: &Mutex<Known>, body: &Value) -> Answer {
    let (status, answer) = aws.table("DescribeTable", body);
    if status != 200 {
        return (status, answer);
    }
    let now = Timestamp::now().as_second();
    let description = match known.lock().unwrap().recovery.get(body["TableName"].as_str().unwrap()) {
        Some(days) => json!({
            "PointInTimeRecoveryStatus": "ENABLED",
            "RecoveryPeriodInDays": days,
            "EarliestRestorableDateTime": now - days * 86_400,
            "LatestRestorableDateTime": now - 300,
        }),
        None => json!({"PointInTimeRecoveryStatus": "DISABLED"}),
    };
    let backups = json!({
        "ContinuousBackupsStatus": "ENABLED", "PointInTimeRecoveryDescription": description,
    });
    (200, json!({ "ContinuousBackupsDescription": backups }))
}

fn restore(aws: &Aws, known: &Mutex<Known>, body: &Value) -> Answer {
    let (arn, target) = (body["SourceTableArn"].as_str().unwrap(), body["TargetTableName"].as_str().unwrap());
    let source = arn.rsplit('/').next().unwrap();
    if aws.table("DescribeTable", &json!({"TableName": target})).0 == 200 {
        return refusal(400, "TableAlreadyExistsException", "there is one");
    }
    create(aws, target);
    for item in items(aws, source) {
        aws.table("PutItem", &json!({"TableName": target, "Item": item}));
    }
    let mut known = known.lock().unwrap();
    let at = body["RestoreDateTime"]
        .as_f64()
        .map_or(Timestamp::now().as_second() - 300, |at| format!("{at:.0}").parse().unwrap());
    known.restored.insert(target.to_owned(), (arn.to_owned(), at));
    known.creating.insert(target.to_owned(), 2);
    drop(known);
    aws.table("DescribeTable", &json!({"TableName": target}))
}

fn describe(aws: &Aws, known: &Mutex<Known>, body: &Value) -> Answer {
    let (status, mut answer) = aws.table("DescribeTable", body);
    let mut known = known.lock().unwrap();
    let name = body["TableName"].as_str().unwrap();
    if status == 200
        && let Some((arn, at)) = known.restored.get(name).cloned()
    {
        let left = known.creating.get_mut(name).unwrap();
        let creating = *left > 0;
        *left = left.saturating_sub(1);
        if creating {
            answer["Table"]["TableStatus"] = json!("CREATING");
        }
        answer["Table"]["RestoreSummary"] =
            json!({"SourceTableArn": arn, "RestoreDateTime": at, "RestoreInProgress": creating});
    }
    (status, answer)
}
