//! What AWS Backup failed to do, against recorded API shapes: `ListProtectedResources`, `ListBackupJobs`,
//! `ListCopyJobs`, all in pages.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use crate::support::{Aws, refusal};
use holdfast_recovery::report::{ReportEvent, report};
use holdfast_vault::error::Result;
use serde_json::{Value, json};

const NOW: &str = "2026-11-21T05:00:00Z";
/// The same in seconds.
const SECONDS: f64 = 1_795_237_200.0;

fn arn(table: &str) -> String {
    format!("arn:aws:dynamodb:eu-west-1:123456789012:table/{table}")
}

fn job(table: &str, hours_ago: f64, state: &str, message: &str) -> Value {
    json!({
        "BackupJobId": format!("{table}-{hours_ago}"), "ResourceArn": arn(table), "ResourceType": "DynamoDB",
        "BackupVaultName": "shop", "State": state, "StatusMessage": message,
        "CreationDate": SECONDS - hours_ago * 3600.0,
    })
}

fn protected(table: &str) -> Value {
    json!({"ResourceArn": arn(table), "ResourceType": "DynamoDB", "LastBackupTime": SECONDS - 200_000.0})
}

fn world(resources: Vec<Value>, jobs: Vec<Value>, copies: Vec<Value>) -> Aws {
    let aws = Aws::new();
    let paged = |field: &'static str, all: Vec<Value>| {
        let pages: Vec<Vec<Value>> = all.chunks(2).map(<[_]>::to_vec).collect();
        move |body: &Value| {
            let query = body["?"].as_str().unwrap_or_default();
            let next = query.split('&').find_map(|part| part.strip_prefix("nextToken="));
            let page = next.map_or(0, |next| next.parse::<usize>().unwrap());
            let mut answer = json!({ field: pages.get(page).cloned().unwrap_or_default() });
            if page + 1 < pages.len() {
                answer["NextToken"] = json!((page + 1).to_string());
            }
            (200, answer)
        }
    };
    aws.on("GET /resources", paged("Results", resources));
    aws.on("GET /backup-jobs", paged("BackupJobs", jobs));
    aws.on("GET /copy-jobs", paged("CopyJobs", copies));
    aws
}

async fn ask(aws: &Aws, event: Value) -> Result<Value> {
    let event: ReportEvent = serde_json::from_value(event).unwrap();
    Ok(serde_json::to_value(report(&aws.recovery().0, &event).await?).unwrap())
}

#[tokio::test]
async fn every_resource_stands_by_its_last_job() {
    let resources: Vec<Value> =
        ["well", "retried", "fails", "part", "late", "stopped", "quiet", "runs"].map(protected).into();
    let mut child = job("well", 1.0, "FAILED", "a part of a larger job");
    child["ParentJobId"] = json!("p");
    let jobs = vec![
        job("well", 4.0, "COMPLETED", ""),
        child,
        job("retried", 6.0, "FAILED", "at first"),
        job("retried", 3.0, "COMPLETED", ""),
        job("fails", 6.0, "COMPLETED", ""),
        job("fails", 3.0, "FAILED", "the role may not"),
        job("part", 3.0, "PARTIAL", "half of it"),
        job("late", 3.0, "EXPIRED", "not begun in time"),
        job("stopped", 3.0, "ABORTED", ""),
        job("runs", 0.5, "RUNNING", ""),
        job("never-protected", 2.0, "FAILED", "the first one failed"),
        job("well", -1.0, "FAILED", "after the window"),
    ];
    let aws = world(resources, jobs, vec![]);
    let report = ask(&aws, json!({"now": NOW})).await.unwrap();
    assert_eq!(report["resources"], 9);
    assert_eq!(
        report["standings"],
        json!({"COMPLETED": 2, "RUNNING": 1, "PARTIAL": 1, "FAILED": 2, "EXPIRED": 1, "ABORTED": 1, "MISSING": 1})
    );
    assert_eq!((&report["findings"], &report["leftOff"]), (&json!(6), &json!(0)));
    let listed = report["listed"].as_array().unwrap();
    let of = |table: &str| {
        let found = listed.iter().find(|finding| finding["resource"] == arn(table)).unwrap();
        (found["status"].as_str().unwrap(), found["reason"].as_str().unwrap())
    };
    assert_eq!(of("fails"), ("FAILED", "the role may not"));
    assert_eq!(of("never-protected"), ("FAILED", "the first one failed"));
    assert_eq!(of("part"), ("PARTIAL", "half of it"));
    assert_eq!(of("late"), ("EXPIRED", "not begun in time"));
    assert_eq!(of("stopped"), ("ABORTED", "AWS Backup says no more"));
    assert_eq!(of("quiet").0, "MISSING");
    assert!(of("quiet").1.contains("2026-11-18"), "{:?}", of("quiet"));
    let asked = aws.called("GET /backup-jobs");
    assert_eq!(asked.len(), 6, "every page is read");
    let first = aws.asked(&asked[0])[0]["?"].as_str().unwrap().to_owned();
    assert!(first.contains("createdAfter=2026-11-20T05:00:00Z"), "{first}");
}

#[tokio::test]
async fn a_copy_that_failed_is_a_finding_of_its_own() {
    let copy = |vault: &str, hours_ago: f64, state: &str| {
        json!({
            "ResourceArn": arn("orders"), "ResourceType": "DynamoDB", "State": state, "StatusMessage": "no key there",
            "DestinationBackupVaultArn": format!("arn:aws:backup:eu-central-1:1:backup-vault:{vault}"),
            "CreationDate": SECONDS - hours_ago * 3600.0,
        })
    };
    let copies =
        vec![copy("far", 5.0, "COMPLETED"), copy("far", 2.0, "FAILED"), copy("near", 2.0, "COMPLETED")];
    let aws = world(vec![protected("orders")], vec![job("orders", 4.0, "COMPLETED", "")], copies);
    let report = ask(&aws, json!({"now": NOW})).await.unwrap();
    assert_eq!(report["findings"], 1);
    let finding = &report["listed"][0];
    assert_eq!(finding["job"], "copy to arn:aws:backup:eu-central-1:1:backup-vault:far");
    assert_eq!((&finding["status"], &finding["reason"]), (&json!("FAILED"), &json!("no key there")));
}

#[tokio::test]
async fn thousands_of_findings_fit_a_notification() {
    let resources: Vec<Value> = (0..3000).map(|number| protected(&format!("table-{number}"))).collect();
    let long = "x".repeat(5_000);
    let jobs = (0..3000).map(|number| job(&format!("table-{number}"), 1.0, "FAILED", &long)).collect();
    let aws = world(resources, jobs, vec![]);
    let report = ask(&aws, json!({"now": NOW})).await.unwrap();
    assert_eq!((&report["findings"], &report["leftOff"]), (&json!(3000), &json!(2900)));
    assert!(report.to_string().len() < 100_000);
}

#[tokio::test]
async fn bad_input_and_failing_pages_are_told() {
    let aws = world(vec![protected("orders")], vec![], vec![]);
    for (event, field) in [
        (json!({"hours": 0}), "hours"),
        (json!({"hours": 9999}), "hours"),
        (json!({"now": "tomorrow"}), "now"),
    ] {
        let error = ask(&aws, event).await.unwrap_err();
        assert_eq!((error.code.as_str(), error.object.as_deref()), ("InvalidInput", Some(field)));
    }
    let unknown = serde_json::from_value::<ReportEvent>(json!({"colour": 1})).unwrap_err();
    assert!(unknown.to_string().contains("colour"));
    assert_eq!(ask(&aws, json!({})).await.unwrap()["findings"], 1);
    aws.on("GET /backup-jobs", |_| refusal(400, "ThrottlingException", "slow down"));
    assert_eq!(ask(&aws, json!({})).await.unwrap_err().code.as_str(), "SourceThrottled");
}
