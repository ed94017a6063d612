//! Tasks, and what they leave behind, as lists.

use super::failure::Failure;
use super::item::{
    Item, PACK_PREFIX, TASK_PREFIX, job_partition, read_pack, read_status, read_task, read_totals, seconds,
    task_item, task_sort, text,
};
use super::table::{EXPIRES_AT, PARTITION_KEY, SORT_KEY};
use super::write::{Change, PARALLEL, TRANSACTION_BYTES, TRANSACTION_ROWS, no_task, put_unbegun, weight};
use super::{JobStore, PackRow, Pages, Progress, Status, Task};
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt, TryStreamExt};
use holdfast_vault::error::{Code, Result};
use jiff::Timestamp;

impl JobStore {
    /// Stores tasks. One that somebody has begun stays as it is, so a late repeat undoes nobody's work; one that nobody
    /// has begun is replaced, so that planning again, of a source that has changed, leaves nothing of the first plan.
    ///
    /// # Errors
    /// `StateUnavailable`; some of the tasks may be stored then.
    #[must_use]
    pub fn put_tasks<'a>(&'a self, tasks: &'a [Task]) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let items = tasks.iter().map(task_item).collect::<Result<Vec<_>>>()?;
            stream::iter(transactions(items))
                .map(|items| self.put_where_unbegun(items))
                .buffer_unordered(PARALLEL)
                .try_collect::<Vec<()>>()
                .await?;
            Ok(())
        })
    }

    fn put_where_unbegun(&self, mut items: Vec<Item>) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            while !items.is_empty() {
                let writes = items
                    .iter()
                    .map(|item| put_unbegun(&self.table, item.clone()))
                    .collect::<Result<Vec<_>>>()?;
                let there = self.transact(&writes, "storing tasks").await?;
                if there.is_empty() {
                    break;
                }
                for at in there.into_iter().rev() {
                    items.remove(at);
                }
            }
            Ok(())
        })
    }

    /// A task.
    ///
    /// # Errors
    /// `JobUnknown` if there is none, `StateUnavailable`.
    #[must_use]
    pub fn task<'a>(&'a self, job: &'a str, task: u32) -> BoxFuture<'a, Result<Task>> {
        Box::pin(async move {
            let found = self
                .row(&job_partition(job), &task_sort(task), &format!("reading task {task} of job {job}"))
                .await?;
            read_task(&found.ok_or_else(|| no_task(job, task))?)
        })
    }

    /// A job's tasks, by number.
    #[must_use]
    pub fn tasks(&self, job: &str) -> Pages<Task> {
        Pages::new(self, self.rows(job, TASK_PREFIX), read_task)
    }

    /// What a job's tasks left in the vault, by task, step and index.
    #[must_use]
    pub fn pack_rows(&self, job: &str) -> Pages<PackRow> {
        Pages::new(self, self.rows(job, PACK_PREFIX), read_pack)
    }

    /// How far a job is. Reads figures only, whatever the tasks hold.
    ///
    /// # Errors
    /// `StateUnavailable`.
    #[must_use]
    pub fn task_totals<'a>(&'a self, job: &'a str) -> BoxFuture<'a, Result<Progress>> {
        Box::pin(async move {
            let query = self
                .rows(job, TASK_PREFIX)
                .projection_expression("pk, sk, #status, #records, #files, #bytes, #stored_bytes");
            let query = ["status", "records", "files", "bytes", "stored_bytes"]
                .into_iter()
                .fold(query, |query, name| query.expression_attribute_names(format!("#{name}"), name));
            let mut pages = Pages::new(self, query, |item| Ok((read_status(item)?, read_totals(item)?)));
            let mut progress = Progress::default();
            while let Some(page) = pages.next().await? {
                for (status, totals) in page {
                    progress.tasks_total += 1;
                    progress.tasks_done += u64::from(status == Status::Completed);
                    progress.totals += totals;
                }
            }
            Ok(progress)
        })
    }

    /// Removes, after a job's end, what only its work needed and what may hold a customer's paths and keys: all pack
    /// rows, and of each task its order, its cursor and what it staged. Its tasks expire with the job, where it does: so
    /// this is called again for a backup that was deleted. May be repeated.
    ///
    /// # Errors
    /// `StateUnavailable`; a repeat goes on.
    #[must_use]
    pub fn forget_work<'a>(&'a self, job: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let keys = |prefix| {
                let query = self.rows(job, prefix).projection_expression("pk, sk");
                Pages::new(self, query, |item: &Item| Ok(item.clone()))
            };
            let mut packs = keys(PACK_PREFIX);
            while let Some(page) = packs.next().await? {
                self.delete_all(page, &format!("removing pack rows of job {job}")).await?;
            }
            let expires_at = match self.job(job).await {
                Ok(job) => job.rows_expire_at(),
                Err(error) if error.code == Code::JobUnknown => None,
                Err(error) => return Err(error),
            };
            let mut tasks = keys(TASK_PREFIX);
            while let Some(page) = tasks.next().await? {
                stream::iter(page)
                    .map(|key| self.forget_task(job, key, expires_at))
                    .buffer_unordered(PARALLEL)
                    .try_collect::<Vec<()>>()
                    .await?;
            }
            Ok(())
        })
    }

    fn forget_task<'a>(
        &'a self,
        job: &'a str,
        key: Item,
        expires_at: Option<Timestamp>,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let mut change =
                Change::when("attribute_exists(pk)").remove("order").remove("cursor").remove("staged");
            if let Some(at) = expires_at {
                change = change.set(EXPIRES_AT, seconds(at));
            }
            match self.update(key, change).await {
                // The row went away meanwhile: it holds nothing any more.
                Ok(_) | Err(Failure::Condition) => Ok(()),
                Err(other) => Err(self.error(other, &format!("clearing tasks of job {job}"))),
            }
        })
    }

    fn rows(&self, job: &str, prefix: &str) -> QueryFluentBuilder {
        self.client
            .query()
            .table_name(&self.table)
            .key_condition_expression(format!("{PARTITION_KEY} = :pk AND begins_with({SORT_KEY}, :prefix)"))
            .expression_attribute_values(":pk", text(job_partition(job)))
            .expression_attribute_values(":prefix", text(prefix))
            .consistent_read(true)
    }
}

/// Rows in groups that fit into transactions.
fn transactions(items: Vec<Item>) -> Vec<Vec<Item>> {
    let mut groups: Vec<Vec<Item>> = Vec::new();
    let mut bytes = 0;
    for item in items {
        bytes += weight(&item);
        match groups.last_mut() {
            Some(group) if group.len() < TRANSACTION_ROWS && bytes <= TRANSACTION_BYTES => group.push(item),
            _ => {
                bytes = weight(&item);
                groups.push(vec![item]);
            }
        }
    }
    groups
}
