//! Drives the handlers of a backup as Step Functions would, and worse: in any order, twice, late, with failures.

use super::bench::Bench;
use super::chance::Chance;
use super::faults::Weather;
use holdfast_common::jobs::{BackupType, Job, Status};
use holdfast_vault::error::{Code, Error, Result};
use holdfast_workflow::events::{
    BackupInput, Caught, Execution, FailEvent, JobEvent, JoinEvent, PlanEvent, TaskAnswer, TaskEvent,
};
use holdfast_workflow::{Services, commit, export, fail, handler, join, plan, upload};
use serde_json::Value;

/// How a backup is driven.
pub(crate) struct Drive<'a> {
    pub(crate) bench: &'a Bench,
    pub(crate) services: &'a Services,
    pub(crate) chance: Chance,
    /// How many calls of a hundred are made twice, or again later.
    pub(crate) repeats: u64,
    /// How often a call is made before its error counts.
    pub(crate) tries: u32,
    /// Tasks of jobs that have ended, called now and then as a duplicate that comes late.
    pub(crate) old: &'a mut Vec<TaskEvent>,
}

/// A handler of a task's step.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Export,
    Upload,
}

impl Drive<'_> {
    /// Runs a backup under an execution to its end.
    pub(crate) async fn backup(
        &mut self,
        execution: &Execution,
        resource: &str,
        backup_type: BackupType,
    ) -> Result<Job> {
        let input = BackupInput { resource: resource.to_owned(), backup_type: Some(backup_type) };
        let event = PlanEvent { input, execution: execution.clone() };
        let services = self.services;
        // Two plans at a time may end the backup: one cuts otherwise than the other.
        let planned = self.again(false, async || plan::plan(services, &event).await).await?;
        self.tasks(&planned.tasks.key).await?;
        let event = JoinEvent { join: planned.job.clone() };
        let joins = self.again(true, async || join::plan(services, &event).await).await?;
        if joins.work {
            self.tasks(&joins.tasks.key).await?;
            self.again(true, async || join::plan(services, &event).await).await?;
        }
        let event = JobEvent { job: planned.job.clone() };
        self.again(true, async || commit::commit(services, &event).await).await?;
        self.again(true, async || services.jobs.job(&planned.job).await).await
    }

    /// Runs a backup; where it fails, ends it as the state machine does. Says whether it completed.
    pub(crate) async fn backup_or_fail(
        &mut self,
        execution: &Execution,
        resource: &str,
        backup_type: BackupType,
    ) -> Result<Job> {
        let result = self.backup(execution, resource, backup_type).await;
        self.bench.faults.set(Weather::Fair);
        match result {
            Ok(job) => Ok(job),
            Err(error) => {
                let ended = self.fail(execution, resource, &error).await;
                match ended {
                    Some(job) if job.status == Status::Completed => Ok(job),
                    _ => Err(error),
                }
            }
        }
    }

    /// Tells `fail` of an execution, twice.
    pub(crate) async fn fail(&mut self, execution: &Execution, resource: &str, error: &Error) -> Option<Job> {
        let event = FailEvent {
            execution: execution.clone(),
            input: serde_json::json!({ "resource": resource }),
            error: Caught { error: error.code.to_string(), cause: handler::diagnostic(error).to_string() },
        };
        let first = fail::fail(self.services, &event).await.unwrap();
        assert_eq!(fail::fail(self.services, &event).await.unwrap(), first);
        let job = self.services.jobs.job(&first.job).await.ok()?;
        assert!(job.status.is_terminal(), "{job:?}");
        let prefix = format!("{}/", job.id);
        assert_eq!(self.bench.staged(&prefix).await, Vec::<String>::new(), "nothing stays in staging");
        Some(job)
    }

    async fn tasks(&mut self, list: &str) -> Result<()> {
        let mut open: Vec<(TaskEvent, Step)> =
            self.bench.listed(list).await.into_iter().map(|task| (task, Step::Export)).collect();
        let mut done: Vec<TaskEvent> = Vec::new();
        while !open.is_empty() {
            let at = self.chance.place(open.len());
            let (task, step) = open[at].clone();
            let more = self.step(&task, step).await?.more;
            match step {
                Step::Export if more => open[at].1 = Step::Upload,
                Step::Upload if more => open[at].1 = Step::Export,
                _ => done.push(open.swap_remove(at).0),
            }
            if self.chance.percent(self.repeats) && !done.is_empty() {
                let late = self.chance.of(&done);
                let step = self.chance.of(&[Step::Export, Step::Upload]);
                assert!(!self.step(&late, step).await?.more, "a late call finds the task done");
            }
            self.late().await;
        }
        self.old.append(&mut done);
        Ok(())
    }

    /// A call for a job that has ended is refused and changes nothing.
    async fn late(&mut self) {
        if self.old.is_empty() || !self.chance.percent(self.repeats / 4) {
            return;
        }
        let task = self.chance.of(self.old);
        let job = task.job.clone();
        match self.chance.below(4) {
            0 => drop(export::export_chunk(self.services, &task).await),
            1 => drop(upload::upload_part(self.services, &task).await),
            2 => drop(join::plan(self.services, &JoinEvent { join: job }).await),
            _ => drop(commit::commit(self.services, &JobEvent { job }).await),
        }
    }

    async fn step(&mut self, task: &TaskEvent, step: Step) -> Result<TaskAnswer> {
        let services = self.services;
        let call = async || match step {
            Step::Export => export::export_chunk(services, task).await,
            Step::Upload => upload::upload_part(services, task).await,
        };
        self.again(true, call).await
    }

    /// Makes a call until it succeeds or has failed too often, and sometimes once more, or twice at a time.
    async fn again<T>(&mut self, at_once: bool, call: impl AsyncFn() -> Result<T>) -> Result<T> {
        let mut tries = 0;
        loop {
            let result = if at_once && self.chance.percent(self.repeats) {
                let (one, other) = tokio::join!(call(), call());
                if self.chance.percent(50) { one.and(other) } else { other.and(one) }
            } else {
                call().await
            };
            tries += 1;
            match result {
                Err(error)
                    if tries < self.tries && is_retried(error.code) && !self.bench.faults.crashed() => {}
                Ok(_) if self.chance.percent(self.repeats) && tries < self.tries => {}
                other => return other,
            }
        }
    }
}

/// What the state machine retries.
fn is_retried(code: Code) -> bool {
    matches!(
        code,
        Code::StorageUnavailable | Code::StateUnavailable | Code::StateConflict | Code::StagingDamaged
    )
}

/// The codes of a job's warnings, sorted.
pub(crate) fn warned(job: &Job) -> Vec<String> {
    let mut codes: Vec<String> = job.warnings.iter().map(|warning| warning.code.clone()).collect();
    codes.sort_unstable();
    codes
}

/// A JSON value of a type as a manifest writes it.
pub(crate) fn name_of(backup_type: BackupType) -> Value {
    Value::String(backup_type.as_str().to_owned())
}

/// One backup without repeats and failures; where it ends by itself, it is ended as the state machine does.
pub(crate) async fn plain(
    bench: &Bench,
    services: &Services,
    resource: &str,
    backup_type: BackupType,
) -> Result<Job> {
    let execution = bench.execution();
    let mut drive =
        Drive { bench, services, chance: Chance::new(5), repeats: 0, tries: 1, old: &mut Vec::new() };
    drive.backup_or_fail(&execution, resource, backup_type).await
}
