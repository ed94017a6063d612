//! Calls the steps of a drill, and those of the restore within it, one by one.

use holdfast_local::Cloud;
use holdfast_vault::error::{Error, Result};
use holdfast_workflow::drill::{self, DrillDetail, DrillRequest};
use holdfast_workflow::plan::detail;
use serde_json::{Value, json};
use std::fs;

/// A drill of the newest backup of a resource, in a home.
pub(crate) struct Hand<'a> {
    cloud: &'a Cloud,
    pub(crate) drill: String,
    restore: String,
}

impl<'a> Hand<'a> {
    pub(crate) async fn planned(cloud: &'a Cloud, resource: &str) -> Self {
        let (drill, services) = (cloud.new_id(), cloud.services());
        let request = DrillRequest { backup: drill::LATEST.to_owned(), ..DrillRequest::random(resource) };
        let directory = Some(cloud.drills());
        drill::request(&services.jobs, services.clock.now(), &drill, &request, directory).await.unwrap();
        let mut hand = Self { cloud, drill, restore: String::new() };
        hand.plan().await["restore"].as_str().unwrap().clone_into(&mut hand.restore);
        hand
    }

    /// With the first part of the restore written.
    pub(crate) async fn half(cloud: &'a Cloud, resource: &str) -> Self {
        let hand = Self::planned(cloud, resource).await;
        let task = hand.tasks().await.remove(0);
        hand.invoke("restore", task).await.unwrap();
        hand
    }

    pub(crate) async fn restored(cloud: &'a Cloud, resource: &str) -> Self {
        let hand = Self::planned(cloud, resource).await;
        hand.restore().await;
        hand
    }

    fn execution(&self) -> Value {
        json!({ "execution": self.drill, "started_at": "2026-11-21T00:00:00.000Z" })
    }

    async fn invoke(&self, function: &str, event: Value) -> Result<Value> {
        self.cloud.functions().invoke(function, event).await
    }

    fn with_input(&self, step: &str, input: &Value) -> Value {
        let mut event = self.execution();
        event["step"] = json!(step);
        event["input"] = input.clone();
        event
    }

    pub(crate) async fn plan(&self) -> Value {
        let event = self.with_input("plan", &json!({ "drill": self.drill }));
        self.invoke("drill", event).await.unwrap()
    }

    /// The parts of the restore, as the map calls them.
    async fn tasks(&self) -> Vec<Value> {
        let event = self.with_input("plan", &json!({ "restore": self.restore }));
        self.invoke("restore", event).await.unwrap();
        let list = self.cloud.home().path().join(format!("staging/{}/tasks.jsonl", self.restore));
        let task = |line: &str| {
            let mut task: Value = serde_json::from_str(line).unwrap();
            task["step"] = json!("part");
            task
        };
        fs::read_to_string(list).unwrap().lines().map(task).collect()
    }

    pub(crate) async fn restore(&self) {
        for task in self.tasks().await {
            while self.invoke("restore", task.clone()).await.unwrap()["more"] == json!(true) {}
        }
        let finish = json!({ "step": "finish", "job": self.restore });
        self.invoke("restore", finish).await.unwrap();
    }

    /// One step of the drill itself.
    pub(crate) async fn call(&self, step: &str) -> Result<Value> {
        self.invoke("drill", json!({ "step": step, "job": self.drill })).await
    }

    pub(crate) async fn compare_once(&self) -> bool {
        self.call("compare").await.unwrap()["more"] == json!(true)
    }

    pub(crate) async fn compare(&self) {
        while self.compare_once().await {}
    }

    pub(crate) async fn remove(&self) {
        assert_eq!(self.call("remove").await.unwrap()["more"], json!(false));
    }

    pub(crate) async fn finish(&self) -> Value {
        self.call("finish").await.unwrap()
    }

    pub(crate) async fn try_fail(&self) -> Result<Value, Error> {
        let mut event = self.execution();
        event["input"] = json!({ "drill": self.drill });
        event["error"] = json!({ "Error": "Internal", "Cause": "the test says so" });
        self.invoke("fail", event).await
    }

    pub(crate) async fn fail(&self) -> Value {
        self.try_fail().await.unwrap()
    }

    pub(crate) async fn detail(&self) -> DrillDetail {
        detail(&self.cloud.services().jobs.job(&self.drill).await.unwrap()).unwrap()
    }
}

/// The throw-away targets that there are, and what restores work in beside them.
pub(crate) async fn targets(cloud: &Cloud) -> Vec<String> {
    let tables = cloud.tables().list_tables().send().await.unwrap();
    let tables = tables.table_names().iter().filter(|name| name.starts_with("holdfast-drill-"));
    let mut found: Vec<String> = tables.cloned().collect();
    if let Ok(directory) = fs::read_dir(cloud.drills()) {
        found.extend(directory.map(|entry| entry.unwrap().file_name().into_string().unwrap()));
    }
    found
}
