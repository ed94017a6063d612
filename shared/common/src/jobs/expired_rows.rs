//! Rows of operations that ended long ago.

use super::failure::failure;
use super::item::{self, Item, JOB_SORT, job_partition, text};
use super::table::{PARTITION_KEY, SORT_KEY};
use super::{JobKind, JobStore, Pages};
use holdfast_vault::error::Result;
use jiff::Timestamp;

impl JobStore {
    /// Removes the rows of jobs whose time is up at `now`, as the service does by itself with the attribute that they
    /// carry: an embedded table does not. Returns how many jobs went. May be repeated, and goes on where it was stopped.
    ///
    /// # Errors
    /// `StateUnavailable`; what went is gone.
    pub async fn sweep_expired(&self, now: Timestamp) -> Result<u64> {
        let mut gone = 0;
        for kind in JobKind::ALL {
            let mut pages = self.jobs(kind, None);
            while let Some(page) = pages.next().await? {
                let over = page.into_iter().filter(|job| job.rows_expire_at().is_some_and(|at| at <= now));
                for job in over {
                    self.remove_rows(&job.id).await?;
                    gone += 1;
                }
            }
        }
        Ok(gone)
    }

    /// The job's own row goes last: as long as it is there, the rest is found.
    async fn remove_rows(&self, id: &str) -> Result<()> {
        let doing = format!("removing the rows of job {id}");
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression(format!("{PARTITION_KEY} = :pk"))
            .expression_attribute_values(":pk", text(job_partition(id)))
            .projection_expression(format!("{PARTITION_KEY}, {SORT_KEY}"))
            .consistent_read(true);
        let mut pages = Pages::new(self, query, |item: &Item| Ok(item.clone()));
        while let Some(mut page) = pages.next().await? {
            page.retain(|key| key.get(SORT_KEY).is_none_or(|sort| *sort != text(JOB_SORT)));
            self.delete_all(page, &doing).await?;
        }
        self.client
            .delete_item()
            .table_name(&self.table)
            .set_key(Some(item::key(job_partition(id), JOB_SORT)))
            .send()
            .await
            .map_err(|error| self.error(failure(&error), &doing))?;
        Ok(())
    }
}
