//! What the API answers, through the handler, over a job table in memory.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use async_trait::async_trait;
use holdfast_api::{Api, Machines, handle};
use holdfast_common::clock::{ManualClock, SeededIds};
use holdfast_common::jobs::{Job, JobChange, JobKind, JobStore, Status, Task};
use holdfast_local::dynamodb::EmbeddedDynamoDb;
use holdfast_vault::error::{Code, Error, Result};
use holdfast_workflow::config::Resource;
use holdfast_workflow::executions::{Described, Executions, Started};
use holdfast_workflow::plan::BackupDetail;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

type StartedOnes = Vec<(String, String, Value)>;

/// Takes every execution, or none.
#[derive(Default)]
struct Taken(Mutex<(StartedOnes, Option<Code>)>);

#[async_trait]
impl Executions for Taken {
    async fn start(&self, machine: &str, name: &str, input: &Value) -> Result<Started> {
        let mut taken = self.0.lock().unwrap();
        if let Some(code) = taken.1 {
            return Err(Error::new(code, "Step Functions would not start it"));
        }
        taken.0.push((machine.to_owned(), name.to_owned(), input.clone()));
        Ok(Started::Now)
    }

    async fn describe(&self, _: &str, _: &str) -> Result<Option<Described>> {
        Ok(None)
    }
}

struct Bench {
    api: Api,
    taken: Arc<Taken>,
}

impl Bench {
    async fn new() -> Self {
        let clock = Arc::new(ManualClock::new("2026-11-21T12:00:00Z".parse().unwrap()));
        let jobs = JobStore::new(EmbeddedDynamoDb::memory().unwrap().client(), "jobs", clock.clone());
        jobs.create_table_if_missing().await.unwrap();
        let document = json!({ "name": "orders", "source": { "kind": "dynamodb", "table": "shop-orders" } });
        jobs.put_resource("orders", &document).await.unwrap();
        let taken = Arc::new(Taken::default());
        let machine = |name: &str| name.to_owned();
        let api = Api {
            jobs,
            executions: taken.clone(),
            ids: Arc::new(SeededIds::new(clock.clone(), 1)),
            clock,
            machines: Machines {
                backup: machine("backup"),
                restore: machine("restore"),
                verify: machine("verify"),
            },
        };
        Self { api, taken }
    }

    fn started(&self) -> StartedOnes {
        self.taken.0.lock().unwrap().0.clone()
    }

    /// Asks as the service does, and gives status and body.
    async fn ask(&self, route: &str, parameters: Value, body: Value) -> (u64, Value) {
        let query = parameters.get("query").cloned().unwrap_or(Value::Null);
        let event = json!({
            "version": "2.0",
            "routeKey": route,
            "rawPath": "/somewhere",
            "rawQueryString": "",
            "headers": { "host": "api.example" },
            "pathParameters": parameters.get("path").cloned().unwrap_or(Value::Null),
            "queryStringParameters": query,
            "requestContext": { "http": { "method": "GET" }, "stage": "$default" },
            "body": if body.is_null() { Value::Null } else { json!(body.to_string()) },
            "isBase64Encoded": false,
        });
        let answer = handle(&self.api, event).await.unwrap();
        assert_eq!(answer["headers"]["content-type"], "application/json");
        (
            answer["statusCode"].as_u64().unwrap(),
            serde_json::from_str(answer["body"].as_str().unwrap()).unwrap(),
        )
    }

    async fn path(&self, route: &str, name: &str, value: &str, body: Value) -> (u64, Value) {
        self.ask(route, json!({ "path": { name: value } }), body).await
    }

    /// A backup that has come to a status.
    async fn backup(&self, id: &str, status: Status) {
        let document = self.api.jobs.resource("orders").await.unwrap();
        let detail = BackupDetail::new(serde_json::from_value::<Resource>(document).unwrap());
        let detail = serde_json::to_value(detail).unwrap();
        let job = Job::new(id, JobKind::Backup, "orders", self.api.clock.now(), detail);
        self.api.jobs.create_job(&job).await.unwrap();
        let enter = |from, to| self.api.jobs.transition(id, from, to, JobChange::default());
        enter(&[Status::Pending], Status::Running).await.unwrap();
        enter(&[Status::Running], status).await.unwrap();
    }
}

const ID: &str = "01K8Z6T3W4Q5R6S7T8V9W0X1Y2";

#[tokio::test]
async fn a_backup_is_asked_for_and_can_be_looked_at_at_once() {
    let bench = Bench::new().await;
    let route = "POST /resources/{resource}/backups";
    let (status, body) = bench.path(route, "resource", "orders", json!({ "type": "incremental" })).await;
    let id = body["id"].as_str().unwrap().to_owned();
    assert_eq!((status, id.len()), (202, 26));
    let input = json!({ "resource": "orders", "type": "incremental" });
    assert_eq!(bench.started(), [("backup".to_owned(), id.clone(), input)]);
    let (status, job) = bench.path("GET /jobs/{id}", "id", &id, Value::Null).await;
    assert_eq!((status, &job["status"], &job["type"]), (200, &json!("pending"), &json!("incremental")));
    assert_eq!(job["source"], json!({ "kind": "dynamodb", "table": "shop-orders" }));
    // Without a body it is the policy's type.
    let (status, _) = bench.path(route, "resource", "orders", Value::Null).await;
    assert_eq!((status, &bench.started()[1].2), (202, &json!({ "resource": "orders" })));
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_told_and_starts_nothing() {
    let bench = Bench::new().await;
    bench.backup(ID, Status::Failed).await;
    let back_up = "POST /resources/{resource}/backups";
    let orders = json!({ "path": { "resource": "orders" } });
    let restore = |body: Value| ("POST /restores", json!({}), body);
    let to = json!({ "kind": "dynamodb", "table": "back" });
    for ((route, parameters, body), status, object) in [
        ((back_up, orders.clone(), json!({ "kind": "full" })), 400, "body"),
        ((back_up, orders.clone(), json!({ "type": "total" })), 400, "body"),
        ((back_up, orders.clone(), json!([])), 400, "body"),
        ((back_up, json!({ "path": { "resource": "stock" } }), json!({})), 404, "stock"),
        ((back_up, json!({ "path": { "resource": "orders" }, "query": { "a": "1" } }), json!({})), 400, "a"),
        ((back_up, json!({}), json!({})), 400, "resource"),
        (("POST /backups/{id}/verify", json!({ "path": { "id": ID } }), json!({})), 409, ID),
        (
            ("POST /backups/{id}/verify", json!({ "path": { "id": ID } }), json!({ "level": "deep" })),
            400,
            "level",
        ),
        (("GET /jobs/{id}", json!({ "path": { "id": "../x" } }), Value::Null), 404, "../x"),
        (("POST /jobs/{id}/cancel", json!({ "path": { "id": ID } }), json!({})), 409, ID),
        (("GET /backups", json!({ "query": { "limit": "0" } }), Value::Null), 400, "limit"),
        (("GET /backups", json!({ "query": { "resource": "stock" } }), Value::Null), 404, "stock"),
        (("DELETE /jobs/{id}", json!({}), Value::Null), 404, "route"),
        (restore(json!({ "target": to })), 400, "backup"),
        (restore(json!({ "backup": ID, "resource": "orders", "target": to })), 400, "backup"),
        (restore(json!({ "backup": ID, "target": { "kind": "files", "path": "/tmp" } })), 400, "target.kind"),
        (
            restore(
                json!({ "backup": ID, "target": { "kind": "s3", "bucket": "b", "endpoint": "http://x" } }),
            ),
            400,
            "target.endpoint",
        ),
        (restore(json!({ "backup": ID, "target": to, "force": true })), 400, "body"),
        (restore(json!({ "backup": ID, "target": to })), 404, ID),
    ] {
        let (told, error) = bench.ask(route, parameters, body.clone()).await;
        assert_eq!((told, &error["object"]), (status, &json!(object)), "{route} {body}: {error}");
        assert!(error["code"].is_string() && error["message"].is_string() && error["retryable"] == false);
    }
    assert_eq!(bench.started(), []);
}

#[tokio::test]
async fn a_body_may_be_base64_and_must_be_json() {
    let bench = Bench::new().await;
    let event = |body: &str, encoded: bool| {
        json!({
            "routeKey": "POST /resources/{resource}/backups",
            "pathParameters": { "resource": "orders" },
            "body": body,
            "isBase64Encoded": encoded,
        })
    };
    // {"type":"full"}
    for (body, encoded, status) in [
        ("eyJ0eXBlIjoiZnVsbCJ9", true, 202),
        ("eyJ0eXBlIjoiZnVsbCJ9", false, 400),
        ("{", false, 400),
        (" ", false, 202),
    ] {
        let answer = handle(&bench.api, event(body, encoded)).await.unwrap();
        assert_eq!(answer["statusCode"], status, "{body}");
    }
}

#[tokio::test]
async fn an_execution_that_does_not_start_leaves_a_failed_job_and_says_when_to_come_again() {
    let bench = Bench::new().await;
    bench.taken.0.lock().unwrap().1 = Some(Code::StateUnavailable);
    let route = "POST /resources/{resource}/backups";
    let (status, error) = bench.path(route, "resource", "orders", Value::Null).await;
    assert_eq!(
        (status, &error["retryable"], &error["code"]),
        (503, &json!(true), &json!("StateUnavailable"))
    );
    bench.taken.0.lock().unwrap().1 = Some(Code::HomeInvalid);
    assert_eq!(bench.path(route, "resource", "orders", Value::Null).await.0, 500);
    let (_, told) = bench.ask("GET /backups", json!({}), Value::Null).await;
    let all = told["backups"].as_array().unwrap();
    assert_eq!(all.len(), 2);
    assert!(all.iter().all(|backup| backup["status"] == "failed" && backup["error"]["code"].is_string()));
}

#[tokio::test]
async fn a_restore_is_asked_for_by_backup_or_by_time() {
    let bench = Bench::new().await;
    bench.backup(ID, Status::Completed).await;
    let target = json!({ "kind": "dynamodb", "table": "back" });
    for body in [
        json!({ "backup": ID, "target": target, "selection": { "keys": ["o-1"] }, "on_conflict": "skip" }),
        json!({ "resource": "orders", "at": "2026-11-21T11:59:00Z", "target": target }),
    ] {
        let (status, told) = bench.ask("POST /restores", json!({}), body).await;
        assert_eq!(status, 202, "{told}");
        let id = told["id"].as_str().unwrap().to_owned();
        // Keys of records stand in job state alone.
        assert_eq!(
            bench.started().pop().unwrap(),
            ("restore".to_owned(), id.clone(), json!({ "restore": id }))
        );
        let (status, job) = bench.path("GET /jobs/{id}", "id", &id, Value::Null).await;
        assert_eq!((status, &job["kind"], &job["target"]), (200, &json!("restore"), &json!("dynamodb:back")));
    }
}

#[tokio::test]
async fn a_completed_backup_is_verified() {
    let bench = Bench::new().await;
    bench.backup(ID, Status::Completed).await;
    let route = "POST /backups/{id}/verify";
    let (status, told) = bench.path(route, "id", ID, json!({ "level": "sample=5" })).await;
    let execution = told["execution"].as_str().unwrap().to_owned();
    assert_eq!(
        (status, execution.starts_with(&format!("verify-{ID}-")), execution.len() <= 80),
        (202, true, true)
    );
    bench.path(route, "id", ID, Value::Null).await;
    let inputs: Vec<Value> = bench.started().into_iter().map(|(_, _, input)| input).collect();
    assert_eq!(inputs, [json!({ "verify": ID, "level": "sample=5" }), json!({ "verify": ID })]);
}

#[tokio::test]
async fn a_job_is_cancelled_once_and_told_with_its_tasks() {
    let bench = Bench::new().await;
    let (_, body) = bench.path("POST /resources/{resource}/backups", "resource", "orders", Value::Null).await;
    let id = body["id"].as_str().unwrap();
    let tasks: Vec<Task> =
        (0..1_200).map(|task| Task::new(id, task, "orders", json!({ "secret": 1 }))).collect();
    bench.api.jobs.put_tasks(&tasks).await.unwrap();
    for _ in 0..2 {
        let told = bench.path("POST /jobs/{id}/cancel", "id", id, Value::Null).await;
        assert_eq!(told, (200, json!({ "id": id, "status": "cancelled" })));
    }
    let (_, job) = bench.path("GET /jobs/{id}", "id", id, Value::Null).await;
    assert_eq!(job["tasks"].as_array().unwrap().len(), 1_000, "an answer has its limits");
    assert_eq!(job["history"].as_array().unwrap().len(), 2);
    assert!(!job.to_string().contains("secret"), "what a task reads stays in job state");
}

#[tokio::test]
async fn backups_are_told_page_by_page() {
    let bench = Bench::new().await;
    let id = |number: u32| format!("01K8Z6T3W4Q5R6S7T8V9W0{number:04}");
    for number in 0..5 {
        bench.backup(&id(number), Status::Completed).await;
    }
    let mut after = String::new();
    let mut told = Vec::new();
    loop {
        let query = json!({ "query": { "resource": "orders", "limit": "2", "after": after } });
        let (status, page) = bench.ask("GET /backups", query, Value::Null).await;
        assert_eq!(status, 200);
        told.extend(page["backups"].as_array().unwrap().iter().map(|b| b["id"].as_str().unwrap().to_owned()));
        match page["after"].as_str() {
            Some(next) => next.clone_into(&mut after),
            None => break,
        }
    }
    assert_eq!(told, [4, 3, 2, 1, 0].map(id));
}

#[tokio::test]
async fn resources_are_told_without_what_they_hold() {
    let bench = Bench::new().await;
    let document = json!({
        "name": "settings",
        "source": { "kind": "json", "document": { "tokens": [{ "id": 1, "value": "hidden" }] } },
        "policy": { "tier": "critical" },
    });
    bench.api.jobs.put_resource("settings", &document).await.unwrap();
    let (status, told) = bench.ask("GET /resources", json!({}), Value::Null).await;
    let names: Vec<&Value> = told["resources"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!((status, names), (200, vec![&json!("orders"), &json!("settings")]));
    assert_eq!(told["resources"][1]["policy"]["tier"], "critical");
    assert!(!told.to_string().contains("hidden"));
}

#[tokio::test]
async fn the_status_tells_what_is_promised_and_what_holds() {
    let bench = Bench::new().await;
    let (status, told) =
        bench.ask("GET /status", json!({ "query": { "resource": "orders" } }), Value::Null).await;
    assert_eq!((status, &told["resources"][0]["name"]), (200, &json!("orders")));
    assert!(told["kept"].is_boolean() && told["resources"][0]["broken"].is_array(), "{told}");
    let (status, told) =
        bench.ask("GET /status", json!({ "query": { "resource": "no-such" } }), Value::Null).await;
    assert_eq!((status, &told["code"]), (404, &json!("ResourceUnknown")), "{told}");
}

#[tokio::test]
async fn an_event_that_is_no_request_is_refused() {
    let bench = Bench::new().await;
    for event in [json!({}), json!(null), json!({ "task": "backups" }), json!({ "routeKey": 1 })] {
        assert_eq!(handle(&bench.api, event).await.unwrap_err().code, Code::InvalidInput);
    }
}

#[tokio::test]
async fn a_backup_is_held_and_released_deleted_and_taken_back() {
    let bench = Bench::new().await;
    bench.backup(ID, Status::Completed).await;
    let ask = async |what: &str, body: Value| {
        bench.path(&format!("POST /backups/{{id}}/{what}"), "id", ID, body).await
    };
    let deletion = |due_at: &str| {
        json!({
            "asked_at": "2026-11-21T12:00:00.000Z",
            "due_at": due_at,
            "by": "operator",
            "reason": "asked for by hand",
        })
    };
    let (status, body) = ask("delete", Value::Null).await;
    assert_eq!((status, &body["deletion"]), (200, &deletion("2026-11-22T12:00:00.000Z")));
    let (status, body) = ask("delete", json!({ "now": true })).await;
    assert_eq!((status, &body["deletion"]), (200, &deletion("2026-11-21T12:00:00.000Z")));
    assert_eq!(ask("undelete", Value::Null).await.1["deletion"], Value::Null);

    let (status, body) = ask("hold", Value::Null).await;
    assert_eq!((status, &body["object"]), (400, &json!("reason")));
    let (status, body) = ask("hold", json!({ "reason": "audit" })).await;
    assert_eq!((status, &body["hold"]["reason"]), (200, &json!("audit")));
    let (status, body) = ask("delete", Value::Null).await;
    assert_eq!((status, &body["code"]), (409, &json!("JobState")));
    let (status, told) =
        bench.path("GET /resources/{resource}/retention", "resource", "orders", Value::Null).await;
    assert_eq!((status, &told["origin"]), (200, &json!("for_ever")));
    assert_eq!(told["backups"][0]["why"], json!(["held", "the newest", "no rule lets it go"]));
    assert_eq!(ask("release", Value::Null).await.1["hold"], Value::Null);
    assert_eq!(ask("release", json!({ "now": true })).await.0, 400, "nothing is asked of a release");
}
