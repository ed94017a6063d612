//! Where a command works: in a home, or on a stack. What commands ask of either is asked here, so that each has one
//! way to its answer.

use crate::stack::Stack;
use holdfast_common::jobs::{BackupType, Job, JobChange, JobStore, PruneRow, Status};
use holdfast_connectors::Ground;
use holdfast_local::Cloud;
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::model::Warning;
use holdfast_workflow::capture::log;
use holdfast_workflow::config::Resource;
use holdfast_workflow::drill::{self, DrillRequest};
use holdfast_workflow::events::{RestoreRequest, VerifyAnswer, WouldRestore};
use holdfast_workflow::restore;
use holdfast_workflow::undo::UndoRequest;
use jiff::Timestamp;
use std::time::Duration;

/// An open home, or a stack that was found.
pub(crate) enum Place {
    /// The embedded cloud.
    Home(Box<Cloud>),
    /// What template.yaml deploys.
    Stack(Box<Stack>),
}

impl Place {
    /// Job state.
    pub(crate) fn jobs(&self) -> &JobStore {
        match self {
            Self::Home(cloud) => &cloud.services().jobs,
            Self::Stack(stack) => stack.jobs(),
        }
    }

    /// The time.
    pub(crate) fn now(&self) -> Timestamp {
        match self {
            Self::Home(cloud) => cloud.services().clock.now(),
            Self::Stack(stack) => stack.now(),
        }
    }

    /// An id for a new job.
    pub(crate) fn new_id(&self) -> String {
        match self {
            Self::Home(cloud) => cloud.new_id(),
            Self::Stack(stack) => stack.new_id(),
        }
    }

    /// How often a job is asked how far it is: a stack is asked over the network, and at a price.
    pub(crate) fn tick(&self) -> Duration {
        match self {
            Self::Home(_) => Duration::from_millis(200),
            Self::Stack(_) => Duration::from_secs(1),
        }
    }

    /// The home, for what needs the vault itself.
    pub(crate) fn home(&self) -> Result<&Cloud> {
        match self {
            Self::Home(cloud) => Ok(cloud),
            Self::Stack(_) => Err(home_only("this command")),
        }
    }

    /// Whether these resources can be backed up here; what cannot be told is a warning.
    pub(crate) async fn admit(&self, resources: &[Resource]) -> Result<Vec<Warning>> {
        match self {
            Self::Home(_) => Ok(Vec::new()),
            Self::Stack(stack) => stack.admit(resources).await,
        }
    }

    /// The newest time of a resource that can be restored.
    pub(crate) async fn restorable_until(&self, resource: &str) -> Result<Option<Timestamp>> {
        match self {
            Self::Home(cloud) => log::restorable_until(cloud.services(), resource).await,
            Self::Stack(stack) => log::noted_until(stack.jobs(), resource).await,
        }
    }

    /// Captures what an embedded table's stream holds; on a stack the function on the stream does that as it comes.
    pub(crate) async fn capture_if_asked(&self, resource: &str) -> Result<()> {
        if let Self::Home(cloud) = self {
            cloud.capture_if_asked(resource).await?;
        }
        Ok(())
    }

    /// Backs a resource up under a new id, and returns the job as it ended.
    pub(crate) async fn run_backup(&self, id: &str, resource: &str, of: Option<BackupType>) -> Result<Job> {
        match self {
            Self::Home(cloud) => cloud.run_backup(id, resource, of).await,
            Self::Stack(stack) => stack.run_backup(id, resource, of).await,
        }
    }

    /// Restores under a new id, and returns the job as it ended.
    pub(crate) async fn run_restore(&self, id: &str, request: &RestoreRequest) -> Result<Job> {
        match self {
            Self::Home(cloud) => cloud.run_restore(id, request).await,
            Self::Stack(stack) => stack.run_restore(id, request).await,
        }
    }

    /// What a restore would write, with the target's own word on whether it can.
    pub(crate) async fn dry_run(&self, id: &str, request: &RestoreRequest) -> Result<WouldRestore> {
        match self {
            Self::Home(cloud) => restore::dry_run(cloud.services(), id, request).await,
            Self::Stack(stack) => stack.dry_run(id, request).await,
        }
    }

    /// Takes writes back under a new id, and returns the job as it ended. `keys` are the only records that are meant; a
    /// stack takes no list of them.
    pub(crate) async fn run_undo(
        &self,
        id: &str,
        request: &UndoRequest,
        keys: Option<&[String]>,
    ) -> Result<Job> {
        match (self, keys) {
            (Self::Home(cloud), keys) => cloud.run_undo(id, request, keys).await,
            (Self::Stack(stack), None) => stack.run_undo(id, request).await,
            (Self::Stack(_), Some(_)) => Err(home_only("a list of keys")),
        }
    }

    /// Drills under a new id, and returns the job as it ended.
    pub(crate) async fn run_drill(&self, id: &str, request: &DrillRequest) -> Result<Job> {
        match self {
            Self::Home(cloud) => cloud.run_drill(id, request).await,
            Self::Stack(stack) => stack.run_drill(id, request).await,
        }
    }

    /// Which backup a drill would restore, and where to.
    pub(crate) async fn would_drill(&self, id: &str, request: &DrillRequest) -> Result<(String, String)> {
        let ground = match self {
            Self::Home(cloud) => Ground::Directory(cloud.drills()),
            Self::Stack(stack) => stack.ground(),
        };
        let (backup, place) = drill::would(self.jobs(), id, request, &ground).await?;
        Ok((backup, place.target.to_string()))
    }

    /// Deletes what nothing needs any more; in a dry run, counts it.
    pub(crate) async fn run_prune(&self, id: &str, dry_run: bool) -> Result<PruneRow> {
        match self {
            Self::Home(cloud) => cloud.run_prune(id, dry_run).await,
            Self::Stack(stack) => stack.run_prune(id, dry_run).await,
        }
    }

    /// Verifies a backup to the end.
    pub(crate) async fn run_verify(&self, id: &str, level: &str) -> Result<VerifyAnswer> {
        match self {
            Self::Home(cloud) => cloud.run_verify(id, level).await,
            Self::Stack(stack) => stack.run_verify(id, level).await,
        }
    }

    /// Cancels a job: its execution finds that before its next step, and clears up after it.
    pub(crate) async fn cancel(&self, id: &str) -> Result<Job> {
        let from = [Status::Pending, Status::Running];
        let job = self.jobs().transition(id, &from, Status::Cancelled, JobChange::default()).await?;
        drill::cancel_restore(self.jobs(), &job).await?;
        Ok(job)
    }

    /// How often the vault was read from, where it was read by this process.
    pub(crate) fn vault_reads(&self) -> Option<u64> {
        match self {
            Self::Home(cloud) => Some(cloud.vault_reads()),
            Self::Stack(_) => None,
        }
    }
}

/// Why a command does nothing on a stack.
pub(crate) fn home_only(command: &str) -> Error {
    Error::new(Code::InvalidInput, format!("{command} needs the vault itself, and works on a home only"))
        .object("--stack")
        .hint("leave --stack (HOLDFAST_STACK) out, and name a home with --home")
}
