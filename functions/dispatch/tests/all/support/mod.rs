//! A job table in memory, executions that do what a test says, figures that are kept, and a clock that is set.
#![allow(dead_code, reason = "each test uses some of it")]

use async_trait::async_trait;
use holdfast_common::clock::{Clock, ManualClock};
use holdfast_common::jobs::{Job, JobChange, JobKind, JobStore, Status};
use holdfast_common::telemetry::{Measure, Metrics};
use holdfast_dispatch::{Dispatch, Machines, handle};
use holdfast_local::dynamodb::EmbeddedDynamoDb;
use holdfast_vault::error::{Code, Error, Result};
use holdfast_workflow::executions::{Described, ExecutionStatus, Executions, Started};
use holdfast_workflow::verify::Level;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Step Functions as a test wants it.
#[derive(Default)]
pub(crate) struct Scripted(Mutex<State>);

#[derive(Default)]
struct State {
    executions: BTreeMap<(String, String), (Value, Described)>,
    /// How many of the next starts are asked to come later.
    throttled: u32,
    /// What no execution can be started of.
    refused: BTreeSet<String>,
}

impl Scripted {
    pub(crate) fn throttle(&self, starts: u32) {
        self.0.lock().unwrap().throttled = starts;
    }

    pub(crate) fn refuse(&self, machine: &str) {
        self.0.lock().unwrap().refused.insert(machine.to_owned());
    }

    pub(crate) fn allow(&self, machine: &str) {
        self.0.lock().unwrap().refused.remove(machine);
    }

    /// Says where an execution stands, made if need be.
    pub(crate) fn set(&self, machine: &str, name: &str, status: ExecutionStatus, started_at: Timestamp) {
        let described = Described { status, started_at };
        let key = (machine.to_owned(), name.to_owned());
        self.0.lock().unwrap().executions.entry(key).or_insert((Value::Null, described)).1 = described;
    }

    /// The executions of a machine that were started, by their names.
    pub(crate) fn of(&self, machine: &str) -> BTreeMap<String, Value> {
        let state = self.0.lock().unwrap();
        let of = state.executions.iter().filter(|((of, _), _)| of == machine);
        of.map(|((_, name), (input, _))| (name.clone(), input.clone())).collect()
    }

    pub(crate) fn names(&self, machine: &str) -> Vec<String> {
        self.of(machine).into_keys().collect()
    }
}

#[async_trait]
impl Executions for Scripted {
    async fn start(&self, machine: &str, name: &str, input: &Value) -> Result<Started> {
        // What runs beside this goes first, so that two dispatchers meet.
        tokio::task::yield_now().await;
        let mut state = self.0.lock().unwrap();
        if state.throttled > 0 {
            state.throttled -= 1;
            return Err(Error::new(Code::StateUnavailable, "slow down"));
        }
        if state.refused.contains(machine) {
            return Err(Error::new(Code::HomeInvalid, "there is no such machine"));
        }
        let key = (machine.to_owned(), name.to_owned());
        if state.executions.contains_key(&key) {
            return Ok(Started::Before);
        }
        let described = Described { status: ExecutionStatus::Running, started_at: Timestamp::UNIX_EPOCH };
        state.executions.insert(key, (input.clone(), described));
        Ok(Started::Now)
    }

    async fn describe(&self, machine: &str, name: &str) -> Result<Option<Described>> {
        let key = (machine.to_owned(), name.to_owned());
        Ok(self.0.lock().unwrap().executions.get(&key).map(|(_, described)| *described))
    }
}

/// Keeps figures.
#[derive(Debug, Default)]
pub(crate) struct Kept(Mutex<Vec<(String, String, String, f64)>>);

impl Metrics for Kept {
    fn put(&self, resource: &str, tier: &str, measures: &[Measure<'_>]) {
        let kept =
            measures.iter().map(|m| (resource.to_owned(), tier.to_owned(), m.name.to_owned(), m.value));
        self.0.lock().unwrap().extend(kept);
    }
}

impl Kept {
    /// The values of a figure of a resource so far, and its tier.
    pub(crate) fn take(&self, resource: &str, name: &str) -> Vec<(String, f64)> {
        let mut kept = self.0.lock().unwrap();
        let (of, rest) = kept.drain(..).partition(|(of, _, figure, _)| of == resource && figure == name);
        *kept = rest;
        let of: Vec<(String, String, String, f64)> = of;
        of.into_iter().map(|(_, tier, _, value)| (tier, value)).collect()
    }
}

pub(crate) struct Bench {
    pub(crate) dispatch: Dispatch,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) executions: Arc<Scripted>,
    pub(crate) metrics: Arc<Kept>,
}

impl Bench {
    pub(crate) async fn new(now: &str) -> Self {
        let clock = Arc::new(ManualClock::new(at(now)));
        let client = EmbeddedDynamoDb::memory().unwrap().client();
        let jobs = JobStore::new(client, "jobs", clock.clone());
        jobs.create_table_if_missing().await.unwrap();
        let (executions, metrics) = (Arc::new(Scripted::default()), Arc::new(Kept::default()));
        let dispatch = dispatcher(jobs, &executions, &metrics, clock.clone());
        Self { dispatch, clock, executions, metrics }
    }

    pub(crate) fn jobs(&self) -> &JobStore {
        &self.dispatch.jobs
    }

    /// Another dispatcher over the same table, by a clock of its own.
    pub(crate) fn another(&self, now: Timestamp) -> Dispatch {
        let clock = Arc::new(ManualClock::new(now));
        dispatcher(self.jobs().clone(), &self.executions, &self.metrics, clock)
    }

    pub(crate) async fn apply(&self, name: &str, policy: Value) {
        let document =
            json!({ "name": name, "source": { "kind": "dynamodb", "table": name }, "policy": policy });
        self.jobs().put_resource(name, &document).await.unwrap();
    }

    /// Sets the clock and dispatches.
    pub(crate) async fn run(&self, now: &str) -> Value {
        self.clock.set(at(now));
        handle(&self.dispatch, json!({ "task": "backups" })).await.unwrap()
    }

    pub(crate) fn backups(&self) -> Vec<String> {
        self.executions.names("backup")
    }

    /// A job that has come as far as a status; `id` is a ULID.
    pub(crate) async fn job(&self, id: &str, kind: JobKind, resource: &str, status: Status) -> Job {
        let job = Job::new(id, kind, resource, self.clock.now(), Value::Null);
        self.jobs().create_job(&job).await.unwrap();
        if status == Status::Pending {
            return job;
        }
        let change = JobChange { execution: Some(format!("run-{id}")), ..JobChange::default() };
        self.jobs().transition(id, &[Status::Pending], Status::Running, change).await.unwrap();
        self.jobs().transition(id, &[Status::Running], status, JobChange::default()).await.unwrap()
    }

    pub(crate) async fn end(&self, id: &str, status: Status) {
        self.jobs()
            .transition(id, &[Status::Pending, Status::Running], status, JobChange::default())
            .await
            .unwrap();
    }

    pub(crate) fn advance(&self, minutes: i64) {
        self.clock.advance(SignedDuration::from_mins(minutes));
    }
}

fn dispatcher(
    jobs: JobStore,
    executions: &Arc<Scripted>,
    metrics: &Arc<Kept>,
    clock: Arc<ManualClock>,
) -> Dispatch {
    let machine = |name: &str| name.to_owned();
    Dispatch {
        jobs,
        executions: executions.clone(),
        metrics: metrics.clone(),
        clock,
        machines: Machines {
            backup: machine("backup"),
            restore: machine("restore"),
            undo: machine("undo"),
            verify: machine("verify"),
            restore_test: machine("restore-test"),
            drill: machine("drill"),
            fail: machine("fail"),
        },
        verify_level: Level::Full,
    }
}
