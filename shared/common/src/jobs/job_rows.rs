//! Jobs.

use super::failure::{Failure, TRIES, failure};
use super::item::{
    self, JOB_SORT, OPEN_PARTITION, job_item, job_partition, read_job, read_number, resource_partition, text,
};
use super::table::{BY_KIND, BY_OPEN, BY_RESOURCE, IndexDefinition};
use super::{Job, JobChange, JobKind, JobStore, Pages, Status, StatusChange};
use crate::wait::back_off;
use futures::future::BoxFuture;
use holdfast_vault::error::{Code, Error, Result};
use jiff::Timestamp;

impl JobStore {
    /// Stores a new job and returns it; where one of that id is stored, returns that one and changes nothing.
    ///
    /// # Errors
    /// `StateUnavailable`.
    #[must_use]
    pub fn create_job<'a>(&'a self, job: &'a Job) -> BoxFuture<'a, Result<Job>> {
        Box::pin(async move {
            match self.put_job(job, 0, None).await {
                Ok(()) => Ok(job.clone()),
                Err(Failure::Condition) => self.job(&job.id).await,
                Err(other) => Err(self.error(other, &format!("creating {} {}", job.kind, job.id))),
            }
        })
    }

    /// Stores a job in place of whatever is stored of that id: for rebuilding the catalogue from the vault.
    ///
    /// # Errors
    /// `StateUnavailable`.
    #[must_use]
    pub fn put_catalogue<'a>(&'a self, job: &'a Job) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let doing = format!("cataloguing {} {}", job.kind, job.id);
            self.client
                .put_item()
                .table_name(&self.table)
                .set_item(Some(job_item(job, 0)?))
                .send()
                .await
                .map_err(|error| self.error(failure(&error), &doing))?;
            Ok(())
        })
    }

    /// A job.
    ///
    /// # Errors
    /// `JobUnknown` if there is none, `StateUnavailable`.
    #[must_use]
    pub fn job<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<Job>> {
        Box::pin(async move { Ok(self.job_and_revision(id).await?.0) })
    }

    /// Jobs of a kind, newest first: all of them, or those of one resource.
    #[must_use]
    pub fn jobs(&self, kind: JobKind, resource: Option<&str>) -> Pages<Job> {
        self.jobs_before(kind, resource, None)
    }

    /// As [`JobStore::jobs`], from the first on that is older than the job of this id.
    #[must_use]
    pub fn jobs_before(&self, kind: JobKind, resource: Option<&str>, before: Option<&str>) -> Pages<Job> {
        let (index, partition) = match resource {
            Some(resource) => (BY_RESOURCE, resource_partition(kind.as_str(), resource)),
            None => (BY_KIND, kind.as_str().to_owned()),
        };
        self.indexed(index, partition, before)
    }

    /// The jobs of all kinds that have not ended, newest first. A job that ended a moment ago may still be among them.
    #[must_use]
    pub fn open_jobs(&self) -> Pages<Job> {
        self.indexed(BY_OPEN, OPEN_PARTITION.to_owned(), None)
    }

    fn indexed(&self, index: IndexDefinition, partition: String, before: Option<&str>) -> Pages<Job> {
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(index.name)
            .expression_attribute_names("#partition", index.partition_key)
            .expression_attribute_values(":partition", text(partition))
            .scan_index_forward(false);
        let query = match before {
            None => query.key_condition_expression("#partition = :partition"),
            Some(id) => query
                .key_condition_expression("#partition = :partition AND #sort < :before")
                .expression_attribute_names("#sort", index.sort_key)
                .expression_attribute_values(":before", text(id)),
        };
        Pages::new(self, query, read_job)
    }

    /// Changes a job's status, if it is one of `from`, and what else changes with it. The change's time is now.
    ///
    /// A job that is in `to` already is returned as it stands, so the call may be repeated.
    ///
    /// # Errors
    /// `JobUnknown`, `Cancelled` if the job was cancelled, `JobState` if it is of another status than `from`,
    /// `StateUnavailable`, `StateConflict` if others change the job all the time.
    #[must_use]
    pub fn transition<'a>(
        &'a self,
        id: &'a str,
        from: &'a [Status],
        to: Status,
        change: JobChange,
    ) -> BoxFuture<'a, Result<Job>> {
        Box::pin(async move { Ok(self.enter(id, from, to, change).await?.0) })
    }

    /// As [`JobStore::transition`], and whether it was this call that changed the status: false for a repeat. Where an
    /// answer was lost on the way, both calls may say false.
    ///
    /// # Errors
    /// As [`JobStore::transition`].
    #[must_use]
    pub fn enter<'a>(
        &'a self,
        id: &'a str,
        from: &'a [Status],
        to: Status,
        change: JobChange,
    ) -> BoxFuture<'a, Result<(Job, bool)>> {
        Box::pin(async move {
            let now = self.clock.now();
            self.change_job(id, |job| {
                if job.status == to {
                    return Ok(false);
                }
                if !from.contains(&job.status) {
                    return Err(refused(job, to));
                }
                apply(job, &change);
                enter(job, to, now);
                Ok(true)
            })
            .await
        })
    }

    /// Changes what a job says without changing its status. May be repeated.
    ///
    /// # Errors
    /// `JobUnknown`, `StateUnavailable`, `StateConflict` if others change the job all the time.
    #[must_use]
    pub fn update_job<'a>(&'a self, id: &'a str, change: JobChange) -> BoxFuture<'a, Result<Job>> {
        Box::pin(async move {
            let changed = self.change_job(id, |job| {
                let before = job.clone();
                apply(job, &change);
                Ok(*job != before)
            });
            Ok(changed.await?.0)
        })
    }

    /// Removes the row of a job that did nothing and is not to: it was asked for only to be looked at. One that is at work
    /// or has completed stays.
    ///
    /// # Errors
    /// `StateUnavailable`.
    #[must_use]
    pub fn withdraw_job<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let sent = self
                .client
                .delete_item()
                .table_name(&self.table)
                .set_key(Some(item::key(job_partition(id), JOB_SORT)))
                .condition_expression("NOT #status IN (:running, :completed)")
                .expression_attribute_names("#status", "status")
                .expression_attribute_values(":running", text(Status::Running.as_str()))
                .expression_attribute_values(":completed", text(Status::Completed.as_str()))
                .send()
                .await;
            match sent.map_err(|error| failure(&error)) {
                Ok(_) | Err(Failure::Condition) => Ok(()),
                Err(other) => Err(self.error(other, &format!("withdrawing job {id}"))),
            }
        })
    }

    /// Reads, decides and writes, again if another writer came between. `decide` says whether there is a change; the
    /// answer says whether one was written.
    ///
    /// # Errors
    /// `JobUnknown`, what `decide` gives, `StateUnavailable`, `StateConflict` if others change the job all the time.
    pub async fn change_job(
        &self,
        id: &str,
        decide: impl Fn(&mut Job) -> Result<bool>,
    ) -> Result<(Job, bool)> {
        let mut attempt = 0;
        loop {
            let (mut job, revision) = self.job_and_revision(id).await?;
            if !decide(&mut job)? {
                return Ok((job, false));
            }
            match self.put_job(&job, revision + 1, Some(revision)).await {
                Ok(()) => return Ok((job, true)),
                Err(Failure::Condition | Failure::Conflict) if attempt < TRIES => {
                    back_off(attempt).await;
                    attempt += 1;
                }
                Err(other) => return Err(self.error(other, &format!("changing {} {id}", job.kind))),
            }
        }
    }

    async fn put_job(&self, job: &Job, revision: u64, expected: Option<u64>) -> Result<(), Failure> {
        let item = job_item(job, revision).map_err(|error| Failure::Other(error.message))?;
        self.put_over(item, expected).await
    }

    pub(super) fn job_and_revision<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(Job, u64)>> {
        Box::pin(async move {
            // What could be no id is not asked for: a mistyped argument gets the answer that it needs.
            let plausible = (1..=64).contains(&id.len())
                && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
            if !plausible {
                return Err(unknown(id));
            }
            let found = self.row(&job_partition(id), JOB_SORT, &format!("reading job {id}")).await?;
            let item = found.ok_or_else(|| unknown(id))?;
            Ok((read_job(&item)?, read_number(&item, "revision")?))
        })
    }
}

pub(super) fn unknown(id: &str) -> Error {
    Error::new(Code::JobUnknown, format!("no backup, restore or undo has the id {id:?}"))
        .object(id)
        .hint("`holdfast backups` lists the backups and their ids")
}

/// Why a job does not change to a status.
pub(super) fn refused(job: &Job, to: Status) -> Error {
    let Job { kind, id, status, .. } = job;
    if *status == Status::Cancelled {
        return Error::new(Code::Cancelled, format!("{kind} {id} was cancelled"))
            .object(id)
            .hint(format!("start a new {kind}"));
    }
    let ended = if status.is_terminal() { "has ended: it is " } else { "is " };
    Error::new(Code::JobState, format!("{kind} {id} {ended}{status}, so it cannot become {to}"))
        .object(id)
        .hint(if status.is_terminal() {
            format!("start a new {kind}")
        } else {
            format!("see `holdfast show {id}`")
        })
}

fn apply(job: &mut Job, change: &JobChange) {
    let change = change.clone();
    for warning in change.warnings {
        if !job.warnings.contains(&warning) {
            job.warnings.push(warning);
        }
    }
    if change.error.is_some() {
        job.error = change.error;
    }
    if change.verified.is_some() {
        job.verified = change.verified;
    }
    if change.backup_type.is_some() {
        job.backup_type = change.backup_type;
    }
    if change.execution.is_some() {
        job.execution = change.execution;
    }
    if let Some(totals) = change.totals {
        job.totals = totals;
    }
    if let Some(streams) = change.streams {
        job.streams = streams;
    }
    if let Some(detail) = change.detail {
        job.detail = detail;
    }
}

fn enter(job: &mut Job, status: Status, now: Timestamp) {
    job.status = status;
    job.history.push(StatusChange { status, at: now });
    if status == Status::Running && job.started_at.is_none() {
        job.started_at = Some(now);
    }
    job.completed_at = status.is_terminal().then_some(now);
}
