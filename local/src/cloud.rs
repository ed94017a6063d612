//! The embedded cloud as a whole: opens a home, ends what was left, runs backups and restores.

use crate::asl::{self, ExecutionOutcome, Interpreter, Ports, StateMachine, WallTime};
use crate::clients::HomeClients;
use crate::dynamodb::EmbeddedDynamoDb;
use crate::functions::{Functions, substitutions};
use crate::home::Home;
use crate::journal::{Entry, Journal};
use crate::keys::{self, Rotation};
use holdfast_common::clock::{Clock, Ids, RandomIds, SystemClock};
use holdfast_common::jobs::{BackupType, Job, JobChange, JobStore, PruneRow, Status};
use holdfast_common::storage::{Counting, DirectoryStorage, Operation};
use holdfast_common::telemetry::NoMetrics;
use holdfast_connectors::{Ground, SourceSpec};
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::format::root::VAULT_KEY;
use holdfast_vault::model::Warning;
use holdfast_vault::read::Vault;
use holdfast_vault::storage::{Storage, list_all};
use holdfast_workflow::config::Resource;
use holdfast_workflow::drill::{self, DrillRequest};
use holdfast_workflow::events::{
    BackupInput, Caught, Execution, FailEvent, RestoreRequest, VerifyAnswer, VerifyEvent,
};
use holdfast_workflow::prune::PruneInput;
use holdfast_workflow::undo::{self, UndoRequest};
use holdfast_workflow::{Services, WorkLimits, capture, catalogue, fail, handler, restore, verify};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const BACKUP: &str = include_str!("../../infra/statemachines/backup.asl.json");
const RESTORE: &str = include_str!("../../infra/statemachines/restore.asl.json");
const PRUNE: &str = include_str!("../../infra/statemachines/prune.asl.json");
const UNDO: &str = include_str!("../../infra/statemachines/undo.asl.json");
const DRILL: &str = include_str!("../../infra/statemachines/drill.asl.json");
/// The job table of a home.
const JOB_TABLE: &str = "holdfast-jobs";

/// How the embedded cloud works.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Whether to make a home where there is none.
    pub create: bool,
    /// Tasks at work at a time.
    pub workers: usize,
    /// How much one call does.
    pub limits: WorkLimits,
}

impl Default for Options {
    fn default() -> Self {
        let workers = std::thread::available_parallelism().map_or(2, usize::from);
        Self { create: false, workers, limits: WorkLimits::default() }
    }
}

/// An open home with everything that works on it.
pub struct Cloud {
    home: Arc<Home>,
    services: Services,
    functions: Functions,
    interpreter: Interpreter,
    backup: StateMachine,
    restore: StateMachine,
    undo: StateMachine,
    prune: StateMachine,
    drill: StateMachine,
    journal: Journal,
    ids: Arc<dyn Ids>,
    pub(crate) tables: EmbeddedDynamoDb,
    vault_calls: Arc<Counting>,
}

impl Cloud {
    /// Opens a home, and ends the jobs that a killed process left.
    ///
    /// # Errors
    /// `HomeInUse`, `HomeInvalid`, `KeyWrong`, or what storage and state give.
    pub async fn open(path: &Path, options: Options) -> Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        Self::open_with(path, options, clock.clone(), Arc::new(RandomIds::new(clock))).await
    }

    /// As [`Cloud::open`], with a clock and ids of the caller's.
    ///
    /// # Errors
    /// As [`Cloud::open`].
    pub async fn open_with(
        path: &Path,
        options: Options,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn Ids>,
    ) -> Result<Self> {
        let home = Arc::new(Home::open(path, options.create)?);
        let vault = keys::open_vault(&home).await?;
        let state = EmbeddedDynamoDb::open(&home.path().join("state.db"))?;
        let cloud = Self::over(home, vault, state, options, (clock, ids)).await?;
        cloud.end_interrupted().await?;
        Ok(cloud)
    }

    /// As [`Cloud::open`], with a copy of the vault in place of the home's own: its keys and its job state are the home's.
    ///
    /// # Errors
    /// As [`Cloud::open`].
    pub async fn open_copy(path: &Path, options: Options, copy: Arc<dyn Storage>) -> Result<Self> {
        let left = Home::open(path, options.create)?.journal().unfinished()?;
        if !left.is_empty() && path.join("vault").join(VAULT_KEY).is_file() {
            // Whether a backup that was killed had its manifest, the home's own vault knows. Where that is lost, the
            // copy serves all the same, and the backup waits.
            drop(Self::open(path, options).await);
        }
        let home = Arc::new(Home::open(path, options.create)?);
        let state = EmbeddedDynamoDb::open(&home.path().join("state.db"))?;
        Self::over_copy(home, state, options, copy).await
    }

    /// As [`Cloud::open_copy`], with a catalogue of its own, made from the copy and gone with this: what is found in a copy
    /// says nothing of the home's own vault.
    ///
    /// # Errors
    /// As [`Cloud::open`].
    pub async fn look_at_copy(path: &Path, options: Options, copy: Arc<dyn Storage>) -> Result<Self> {
        let home = Arc::new(Home::open(path, options.create)?);
        let cloud = Self::over_copy(home, EmbeddedDynamoDb::memory()?, options, copy).await?;
        catalogue::rebuild(&cloud.services).await?;
        Ok(cloud)
    }

    async fn over_copy(
        home: Arc<Home>,
        state: EmbeddedDynamoDb,
        options: Options,
        copy: Arc<dyn Storage>,
    ) -> Result<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let vault = keys::open_elsewhere(&home, copy).await?;
        Self::over(home, vault, state, options, (clock.clone(), Arc::new(RandomIds::new(clock)))).await
    }

    async fn over(
        home: Arc<Home>,
        (vault, vault_calls): (Vault, Arc<Counting>),
        state: EmbeddedDynamoDb,
        options: Options,
        (clock, ids): (Arc<dyn Clock>, Arc<dyn Ids>),
    ) -> Result<Self> {
        let staging: Arc<dyn Storage> = Arc::new(DirectoryStorage::scratch(&home.path().join("staging"))?);
        let tables = EmbeddedDynamoDb::open(&home.path().join("tables.db"))?;
        let jobs = JobStore::new(state.client(), JOB_TABLE, clock.clone());
        jobs.create_table_if_missing().await?;
        let clients = Arc::new(HomeClients::new(tables.clone()));
        // A source that is cut by number gains nothing from more ranges than are read at a time.
        let workers = u32::try_from(options.workers).unwrap_or(u32::MAX);
        let limits = WorkLimits { workers: options.limits.workers.min(workers), ..options.limits };
        let metrics = Arc::new(NoMetrics);
        let services = Services { jobs, vault, staging, clients, clock, metrics, limits };
        let functions = Functions::new(services.clone(), home.clone());
        let ports = Ports {
            tasks: Arc::new(functions.clone()),
            objects: Arc::new(functions.clone()),
            time: Arc::new(WallTime),
            observer: Arc::new(()),
        };
        let limits = asl::Options { max_concurrency: options.workers, ..asl::Options::default() };
        Ok(Self {
            journal: home.journal(),
            home,
            services,
            functions,
            interpreter: Interpreter::new(ports, limits),
            backup: StateMachine::load("backup", BACKUP, &substitutions())?,
            restore: StateMachine::load("restore", RESTORE, &substitutions())?,
            undo: StateMachine::load("undo", UNDO, &substitutions())?,
            prune: StateMachine::load("prune", PRUNE, &substitutions())?,
            drill: StateMachine::load("drill", DRILL, &substitutions())?,
            ids,
            tables,
            vault_calls,
        })
    }

    /// How often the vault was read from so far: whole objects or ranges of them.
    #[must_use]
    pub fn vault_reads(&self) -> u64 {
        self.vault_calls.count(Operation::Get)
    }

    /// What the steps work with.
    #[must_use]
    pub fn services(&self) -> &Services {
        &self.services
    }

    /// The tables of the embedded DynamoDB, under the endpoint `embedded`.
    #[must_use]
    pub fn tables(&self) -> aws_sdk_dynamodb::Client {
        self.tables.client()
    }

    /// The home.
    #[must_use]
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// The handlers, to be called by hand.
    #[must_use]
    pub fn functions(&self) -> &Functions {
        &self.functions
    }

    /// An id for a new job.
    #[must_use]
    pub fn new_id(&self) -> String {
        self.ids.next()
    }

    /// Backs up a resource under an id of [`Cloud::new_id`], and returns the job as it ended.
    ///
    /// # Errors
    /// Why the backup did not complete.
    pub async fn run_backup(&self, id: &str, resource: &str, backup_type: Option<BackupType>) -> Result<Job> {
        // What is wrong with the request is told before a job is made of it.
        self.check_resource(&self.services.jobs.resource(resource).await?)?;
        let input = BackupInput { resource: resource.to_owned(), backup_type };
        let captured = self.capture_if_asked(resource).await?;
        let job = self.run(&self.backup, id, handler::encode(&input)?).await?;
        if captured {
            self.capture_if_asked(resource).await?;
            let event = capture::CheckEvent { check: job.id.clone(), last: false };
            capture::check(&self.services, &event).await?;
            return self.services.jobs.job(&job.id).await;
        }
        Ok(job)
    }

    /// Captures the changes of a resource, if its policy asks for that and its table is an embedded one. False if not.
    ///
    /// # Errors
    /// As [`Cloud::capture`].
    pub async fn capture_if_asked(&self, resource: &str) -> Result<bool> {
        let document: Resource = handler::decode(self.services.jobs.resource(resource).await?)?;
        let embedded = matches!(
            &document.source,
            SourceSpec::Dynamodb { endpoint: Some(endpoint), .. } if endpoint == "embedded"
        );
        if !document.policy.capture || !embedded {
            return Ok(false);
        }
        self.capture(resource).await?;
        Ok(true)
    }

    /// Restores under an id of [`Cloud::new_id`], and returns the job as it ended.
    ///
    /// # Errors
    /// Why the restore did not complete.
    pub async fn run_restore(&self, id: &str, request: &RestoreRequest) -> Result<Job> {
        restore::dry_run(&self.services, id, request).await?;
        restore::request(&self.services, id, request).await?;
        self.run(&self.restore, id, json!({ "restore": id })).await
    }

    /// Takes writes back under an id of [`Cloud::new_id`], and returns the job as it ended. `keys` are the only records
    /// that are meant, as an operator types them.
    ///
    /// # Errors
    /// Why the undo did not complete.
    pub async fn run_undo(&self, id: &str, request: &UndoRequest, keys: Option<&[String]>) -> Result<Job> {
        undo::request(&self.services, id, request, keys).await?;
        self.run(&self.undo, id, json!({ "undo": id })).await
    }

    /// Where throw-away targets of drills have their place.
    #[must_use]
    pub fn drills(&self) -> PathBuf {
        self.home.path().join("drills")
    }

    /// Drills under an id of [`Cloud::new_id`], and returns the job as it ended: completed too where what was restored
    /// differs from what was backed up, which its detail tells.
    ///
    /// # Errors
    /// Why the drill did not complete.
    pub async fn run_drill(&self, id: &str, request: &DrillRequest) -> Result<Job> {
        let (jobs, now) = (&self.services.jobs, self.services.clock.now());
        // What is wrong with the request is told before a job is made of it.
        drill::would(jobs, id, request, &Ground::Directory(self.drills())).await?;
        drill::request(jobs, now, id, request, Some(self.drills())).await?;
        self.run(&self.drill, id, json!({ "drill": id })).await
    }

    /// Verifies a backup to the end.
    ///
    /// # Errors
    /// What kept it from looking; damage is in the answer.
    pub async fn run_verify(&self, id: &str, level: &str) -> Result<VerifyAnswer> {
        let mut event = VerifyEvent { job: id.to_owned(), level: Some(level.to_owned()), progress: None };
        loop {
            let answer = verify::verify(&self.services, &event).await?;
            if !answer.more {
                return Ok(answer);
            }
            event.progress = Some(answer.progress);
        }
    }

    /// Deletes what nothing in the vault needs any more, under an id of [`Cloud::new_id`]; in a dry run, counts it.
    ///
    /// # Errors
    /// Why it did not complete. What it condemned or deleted until then stands.
    pub async fn run_prune(&self, id: &str, dry_run: bool) -> Result<PruneRow> {
        let input = handler::encode(&PruneInput { dry_run })?;
        let outcome = self.interpreter.start(&self.prune, id, input).outcome().await;
        if let ExecutionOutcome::Failed { .. } = outcome {
            Err(self.refused(id, &outcome))
        } else {
            // A table on AWS expires its rows by itself.
            if !dry_run {
                self.services.jobs.sweep_expired(self.services.clock.now()).await?;
            }
            self.services.jobs.prune(id).await
        }
    }

    /// Makes the next version of the vault key; a dry run only looks whether it could.
    ///
    /// # Errors
    /// `KeyWrong` or `HomeInvalid` if what wraps the key is not at hand, or `Storage*`.
    pub async fn rotate_keys(&self, dry_run: bool) -> Result<Rotation> {
        keys::rotate(self.home.path(), &self.services.vault, dry_run).await
    }

    /// Cancels a job; its execution ends before its next step.
    ///
    /// # Errors
    /// `JobUnknown`, or `JobState` if it has ended.
    pub async fn cancel(&self, id: &str) -> Result<Job> {
        let from = [Status::Pending, Status::Running];
        let job = self.services.jobs.transition(id, &from, Status::Cancelled, JobChange::default()).await?;
        drill::cancel_restore(&self.services.jobs, &job).await?;
        Ok(job)
    }

    /// A directory that holds the home would be backed up into itself, and grow with every backup.
    fn check_resource(&self, document: &Value) -> Result<()> {
        let resource: Resource = handler::decode(document.clone())?;
        let SourceSpec::Files { path } = &resource.source else { return Ok(()) };
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        if real(self.home.path()).starts_with(real(path)) {
            let message = format!("resource {} holds the home {}", resource.name, self.home.path().display());
            return Err(Error::new(Code::InvalidInput, message)
                .object(path.display().to_string())
                .hint("put the home elsewhere with --home DIR"));
        }
        Ok(())
    }

    async fn run(&self, machine: &StateMachine, id: &str, input: Value) -> Result<Job> {
        let started_at = format!("{:.3}", self.services.clock.now());
        self.journal.begin(&Entry {
            machine: machine.name().to_owned(),
            execution: id.to_owned(),
            started_at,
            input: input.clone(),
        })?;
        let outcome = self.interpreter.start(machine, id, input).outcome().await;
        self.journal.end(id)?;
        let job = match self.services.jobs.job(id).await {
            Ok(job) => job,
            // It failed before a job was made of it.
            Err(error) if error.code == Code::JobUnknown => return Err(self.refused(id, &outcome)),
            Err(error) => return Err(error),
        };
        match job.status {
            Status::Completed => self.followed_up(job, &outcome).await,
            Status::Cancelled => {
                Err(Error::new(Code::Cancelled, format!("{} {id} was cancelled", job.kind)).object(id))
            }
            _ => Err(why(&job, &outcome)),
        }
    }

    /// Why an execution failed before it made a job: what it caught stands with the last notice.
    fn refused(&self, id: &str, outcome: &ExecutionOutcome) -> Error {
        let told = self.functions.last_error();
        told.unwrap_or_else(|| Error::new(Code::Internal, format!("{id} ended as {outcome:?}")).object(id))
    }

    /// A job that completed, while what comes after it (verifying, notifying) did not: said, not hidden.
    async fn followed_up(&self, job: Job, outcome: &ExecutionOutcome) -> Result<Job> {
        let ExecutionOutcome::Failed { error, .. } = outcome else { return Ok(job) };
        let message = format!("the {} completed, and what follows it failed with {error}", job.kind);
        let change =
            JobChange { warnings: vec![Warning::new("NotFollowedUp", message)], ..JobChange::default() };
        self.services.jobs.update_job(&job.id, change).await
    }

    /// Ends the executions of a process that was killed. They are failed rather than resumed: a restart that quietly
    /// works for hours surprises, and a new backup takes up nothing of the old one.
    async fn end_interrupted(&self) -> Result<()> {
        let unfinished = self.journal.unfinished()?;
        for entry in unfinished {
            let event = FailEvent {
                execution: Execution { execution: entry.execution.clone(), started_at: entry.started_at },
                input: entry.input,
                error: Caught {
                    error: Code::Interrupted.to_string(),
                    cause: "the process ended before the job did".to_owned(),
                },
            };
            fail::fail(&self.services, &event).await?;
            self.journal.end(&entry.execution)?;
        }
        // The home is this process's alone and nothing has begun: whatever waits in staging, nobody waits for it.
        for object in list_all(self.services.staging.as_ref(), "").await? {
            self.services.staging.delete(&object.key).await?;
        }
        Ok(())
    }
}

/// Why a job failed, out of its row, or out of its execution where it has none.
fn why(job: &Job, outcome: &ExecutionOutcome) -> Error {
    let Some(error) = &job.error else {
        return Error::new(Code::Internal, format!("{} {} ended as {:?}", job.kind, job.id, outcome))
            .object(&job.id);
    };
    let code = Code::ALL.iter().copied().find(|code| code.as_str() == error.code).unwrap_or(Code::Internal);
    let mut told = Error::new(code, error.message.clone()).object(&job.id);
    told.hint.clone_from(&error.hint);
    told
}
