//! A task's way through its steps: begun, staged, admitted, step by step, until it is done or failed.

use super::failure::Failure;
use super::item::{
    self, Item, job_partition, json, number, pack_item, read_task, task_sort, text, totals, warnings,
};
use super::job_rows::refused;
use super::write::{Change, TRANSACTION_BYTES, TRANSACTION_ROWS, put, weight};
use super::{JobError, JobStore, PackRow, Staged, Status, StepEnd, Task, time};
use futures::future::BoxFuture;
use holdfast_vault::error::{Code, Error, Result};
use serde_json::Value;

impl JobStore {
    /// Counts one more attempt at a task and returns it. A task that is completed is returned as it is.
    ///
    /// # Errors
    /// `Cancelled` or `JobState` if its job is not running, `JobUnknown` if there is no such task, `StateUnavailable`.
    #[must_use]
    pub fn begin_attempt<'a>(&'a self, job: &'a str, task: u32) -> BoxFuture<'a, Result<Task>> {
        Box::pin(async move {
            let (of, _) = self.job_and_revision(job).await?;
            if of.status != Status::Running {
                return Err(refused(&of, Status::Running));
            }
            let change = Change::when("attribute_exists(pk) AND #status <> :completed")
                .value("completed", text(Status::Completed.as_str()))
                .set("status", text(Status::Running.as_str()))
                .set_once("started_at", text(time::text(self.clock.now())))
                .remove("completed_at")
                .remove("error")
                .add("attempts", number(1_u32));
            match self.update(task_key(job, task), change).await {
                Ok(answer) => read_task(&answer.attributes.unwrap_or_default()),
                Err(Failure::Condition) => self.task(job, task).await,
                Err(other) => Err(self.error(other, &format!("beginning task {task} of job {job}"))),
            }
        })
    }

    /// Keeps what a step exported until it is admitted. Of several writers of one step one is `Now`.
    ///
    /// # Errors
    /// `JobUnknown` if there is no such task, `StateConflict` if the step is not the task's next, `StateUnavailable`.
    #[must_use]
    pub fn stage_step<'a>(
        &'a self,
        job: &'a str,
        task: u32,
        step: u32,
        staged: &'a Value,
    ) -> BoxFuture<'a, Result<Staged>> {
        Box::pin(async move {
            let change = Change::when("#step = :step AND attribute_not_exists(#staged)")
                .named("step")
                .value("step", number(step))
                .set("staged", json(staged)?);
            match self.update(task_key(job, task), change).await {
                Ok(_) => Ok(Staged::Now),
                Err(Failure::Condition) => {
                    let stored = self.task(job, task).await?;
                    match stored.staged {
                        _ if stored.step > step => Ok(Staged::Admitted),
                        Some(value) if stored.step == step => Ok(Staged::Already(value)),
                        _ => Err(out_of_step(job, task, step)),
                    }
                }
                Err(other) => {
                    Err(self.error(other, &format!("staging step {step} of task {task} of job {job}")))
                }
            }
        })
    }

    /// Ends a staged step: its rows are stored, its figures added, and the task stands at the next step or is
    /// completed, all at once. A repeat, after the step was admitted, changes nothing.
    ///
    /// More rows than one transaction takes are stored first: they count only once the step is admitted.
    ///
    /// # Errors
    /// `JobUnknown` if there is no such task, `StateConflict` if the step is not staged, `StateUnavailable`.
    #[must_use]
    pub fn admit_step<'a>(
        &'a self,
        job: &'a str,
        task: u32,
        step: u32,
        rows: &'a [PackRow],
        end: &'a StepEnd,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let doing = format!("admitting step {step} of task {task} of job {job}");
            let rows = rows.iter().map(pack_item).collect::<Result<Vec<Item>>>()?;
            let update = self.step_update(step, end)?.in_transaction(&self.table, task_key(job, task))?;
            let mut writes = vec![update];
            if rows.len() < TRANSACTION_ROWS && rows.iter().map(weight).sum::<usize>() <= TRANSACTION_BYTES {
                for row in rows {
                    writes.push(put(&self.table, row)?);
                }
            } else {
                // A repeat that comes late must not bring back rows that were forgotten since.
                if self.admitted(job, task, step).await? {
                    return Ok(());
                }
                self.put_all(rows, &doing).await?;
            }
            if self.transact(&writes, &doing).await?.is_empty() || self.admitted(job, task, step).await? {
                return Ok(());
            }
            Err(out_of_step(job, task, step))
        })
    }

    /// Ends a task by an error. A task that is completed stays so: the error was a late duplicate's.
    ///
    /// # Errors
    /// `JobUnknown` if there is no such task, `StateUnavailable`.
    #[must_use]
    pub fn fail_task<'a>(
        &'a self,
        job: &'a str,
        task: u32,
        error: &'a JobError,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let change = Change::when("attribute_exists(pk) AND #status <> :completed")
                .value("completed", text(Status::Completed.as_str()))
                .set("status", text(Status::Failed.as_str()))
                .set("completed_at", text(time::text(self.clock.now())))
                .set("error", json(error)?);
            match self.update(task_key(job, task), change).await {
                Ok(_) => Ok(()),
                Err(Failure::Condition) => self.task(job, task).await.map(|_| ()),
                Err(other) => Err(self.error(other, &format!("failing task {task} of job {job}"))),
            }
        })
    }

    fn step_update(&self, step: u32, end: &StepEnd) -> Result<Change> {
        let mut change = Change::when("#step = :step AND attribute_exists(#staged)")
            .value("step", number(step))
            .set("step", number(step + 1))
            .remove("staged");
        change = match &end.cursor {
            Some(cursor) => change.set("cursor", json(cursor)?),
            None => change.remove("cursor"),
        };
        if end.done {
            change = change
                .set("status", text(Status::Completed.as_str()))
                .set("completed_at", text(time::text(self.clock.now())));
        }
        if !end.warnings.is_empty() {
            change = change.append("warnings", warnings(&end.warnings)?);
        }
        for (name, value) in totals(&end.totals) {
            change = change.add(name, value);
        }
        Ok(change)
    }

    async fn admitted(&self, job: &str, task: u32, step: u32) -> Result<bool> {
        Ok(self.task(job, task).await?.step > step)
    }
}

fn task_key(job: &str, task: u32) -> Item {
    item::key(job_partition(job), task_sort(task))
}

fn out_of_step(job: &str, task: u32, step: u32) -> Error {
    Error::new(Code::StateConflict, format!("task {task} of job {job} does not stand at step {step}"))
        .object(job)
        .hint("another worker is at the same task; its result counts")
}
