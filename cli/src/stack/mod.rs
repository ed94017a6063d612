//! A stack of template.yaml: what the commands ask of it goes through Step Functions and its job table.
//!
//! AWS types stand in this module and nowhere else in the command line.

mod connect;
mod fault;
mod grants;
mod outputs;
mod run;
mod sources;

pub(crate) use connect::Access;

use aws_config::SdkConfig;
use holdfast_common::clock::{Clock, Ids, RandomIds};
use holdfast_common::jobs::{BackupType, Job, JobStore, PruneRow};
use holdfast_connectors::Ground;
use holdfast_vault::error::{Error, Result};
use holdfast_vault::model::Warning;
use holdfast_workflow::config::Resource;
use holdfast_workflow::drill::{self, DrillRequest};
use holdfast_workflow::events::{BackupInput, Checked, RestoreRequest, VerifyAnswer, WouldRestore};
use holdfast_workflow::undo::{self, UndoRequest};
use holdfast_workflow::{handler, restore};
use jiff::Timestamp;
use outputs::Outputs;
use run::{Ended, Machine};
use serde_json::json;
use std::sync::Arc;

/// A stack that was found.
pub(crate) struct Stack {
    outputs: Outputs,
    config: SdkConfig,
    executions: aws_sdk_sfn::Client,
    jobs: JobStore,
    clock: Arc<dyn Clock>,
    ids: RandomIds,
}

impl Stack {
    /// Job state.
    pub(crate) fn jobs(&self) -> &JobStore {
        &self.jobs
    }

    /// The time.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// An id for a new job.
    pub(crate) fn new_id(&self) -> String {
        self.ids.next()
    }

    /// Whether the stack's functions can read these sources; what cannot be told is a warning.
    ///
    /// # Errors
    /// `InvalidInput` for a source that no stack reaches, or that this one is not granted.
    pub(crate) async fn admit(&self, resources: &[Resource]) -> Result<Vec<Warning>> {
        sources::admit(&self.config, &self.outputs, resources).await
    }

    /// Backs a resource up, and returns the job as it ended.
    ///
    /// # Errors
    /// Why the backup did not complete.
    pub(crate) async fn run_backup(&self, id: &str, resource: &str, of: Option<BackupType>) -> Result<Job> {
        self.jobs.resource(resource).await?;
        let input = BackupInput { resource: resource.to_owned(), backup_type: of };
        self.run(Machine::Backup, id, &handler::encode(&input)?).await
    }

    /// Restores, and returns the job as it ended.
    ///
    /// # Errors
    /// Why the restore did not complete.
    pub(crate) async fn run_restore(&self, id: &str, request: &RestoreRequest) -> Result<Job> {
        self.ask(id, request).await?;
        self.take_up(Machine::Restore, id, "restore").await
    }

    /// Takes writes back, and returns the job as it ended.
    ///
    /// # Errors
    /// Why the undo did not complete.
    pub(crate) async fn run_undo(&self, id: &str, request: &UndoRequest) -> Result<Job> {
        let job = undo::request_unplanned(&self.jobs, self.now(), id, request).await?;
        let resource: Resource = handler::decode(self.jobs.resource(&job.resource).await?)?;
        let admitted = sources::admit_undo(&self.outputs, &resource);
        if admitted.is_err() {
            self.jobs.withdraw_job(id).await?;
        }
        admitted?;
        self.take_up(Machine::Undo, id, "undo").await
    }

    /// Drills, and returns the job as it ended.
    ///
    /// # Errors
    /// Why the drill did not complete.
    pub(crate) async fn run_drill(&self, id: &str, request: &DrillRequest) -> Result<Job> {
        // What is wrong with the request is told before a job is made of it.
        drill::would(&self.jobs, id, request, &self.ground()).await?;
        drill::request(&self.jobs, self.now(), id, request, None).await?;
        self.take_up(Machine::Drill, id, "drill").await
    }

    /// Where the stack has room for throw-away targets.
    pub(crate) fn ground(&self) -> Ground {
        Ground::Bucket(self.outputs.staging.clone())
    }

    /// Runs a job that job state holds.
    async fn take_up(&self, machine: Machine, id: &str, name: &str) -> Result<Job> {
        let run = self.run(machine, id, &json!({ name: id })).await;
        if run.as_ref().is_err_and(run::is_unstarted) {
            // Nothing will ever take it up.
            self.jobs.withdraw_job(id).await?;
        }
        run
    }

    /// What a restore would write. The job that holds the request goes when it is answered: keys and paths stand in job
    /// state only, never in an execution's input.
    ///
    /// # Errors
    /// Why the restore could not be done.
    pub(crate) async fn dry_run(&self, id: &str, request: &RestoreRequest) -> Result<WouldRestore> {
        self.ask(id, request).await?;
        let looked = self.check(id).await;
        self.jobs.withdraw_job(id).await?;
        match looked? {
            Checked::Possible(would) => Ok(would),
            Checked::Refused(refusal) => Err(refusal.into()),
        }
    }

    async fn check(&self, id: &str) -> Result<Checked> {
        let input = json!({ "restore": id, "dry_run": true });
        match self.execute(Machine::Restore, id, &input).await? {
            Ended::Succeeded(output) => handler::decode(output),
            ended => Err(self.why_of(id, &ended).await?),
        }
    }

    /// Makes the job of a restore.
    async fn ask(&self, id: &str, request: &RestoreRequest) -> Result<Job> {
        sources::admit_target(&self.outputs, &request.target)?;
        restore::request_unplanned(&self.jobs, self.now(), id, request).await
    }

    /// Deletes what nothing needs any more; in a dry run, counts it.
    ///
    /// # Errors
    /// Why it did not complete.
    pub(crate) async fn run_prune(&self, id: &str, dry_run: bool) -> Result<PruneRow> {
        match self.execute(Machine::Prune, id, &json!({ "dry_run": dry_run })).await? {
            Ended::Succeeded(output) => handler::decode(output),
            ended => Err(Error::from(ended)),
        }
    }

    /// Verifies a backup to the end.
    ///
    /// # Errors
    /// What kept it from looking; damage is in the answer.
    pub(crate) async fn run_verify(&self, id: &str, level: &str) -> Result<VerifyAnswer> {
        // A slip of the pen is told before it becomes an execution that fails.
        self.jobs.job(id).await?;
        let input = json!({ "verify": id, "level": level });
        match self.execute(Machine::Verify, &self.new_id(), &input).await? {
            Ended::Succeeded(output) => handler::decode(output),
            ended => Err(Error::from(ended).object(id)),
        }
    }
}
