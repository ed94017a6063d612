//! What a function finds in its environment.

use crate::executions::StepFunctions;
use aws_config::SdkConfig;
use futures::future::BoxFuture;
use holdfast_common::clock::{Clock, SystemClock};
use holdfast_common::jobs::JobStore;
use holdfast_common::storage::S3Storage;
use holdfast_common::telemetry::{Metrics, StdoutMetrics};
use holdfast_connectors::{EnvironmentClients, environment_config};
use holdfast_kms::open_vault;
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::storage::Storage;
use holdfast_workflow::executions::Executions;
use holdfast_workflow::{Services, WorkLimits};
use std::sync::Arc;

/// The variables that the template sets. A function that is given fewer does without what they name.
pub struct Environment;

impl Environment {
    /// The job table's name.
    pub const JOB_TABLE: &'static str = "HOLDFAST_JOB_TABLE";
    /// The vault bucket's name.
    pub const VAULT_BUCKET: &'static str = "HOLDFAST_VAULT_BUCKET";
    /// The staging bucket's name.
    pub const STAGING_BUCKET: &'static str = "HOLDFAST_STAGING_BUCKET";
    /// The ARN of the KMS key that wraps the vault's keys.
    pub const KEY_ARN: &'static str = "HOLDFAST_KEY_ARN";
    /// Tasks at work at a time: the backup machine's `MaxConcurrency`.
    pub const WORKERS: &'static str = "HOLDFAST_WORKERS";
    /// The ARN of the machine that backs up.
    pub const BACKUP_MACHINE: &'static str = "HOLDFAST_BACKUP_MACHINE";
    /// The ARN of the machine that restores.
    pub const RESTORE_MACHINE: &'static str = "HOLDFAST_RESTORE_MACHINE";
    /// The ARN of the machine that takes writes back.
    pub const UNDO_MACHINE: &'static str = "HOLDFAST_UNDO_MACHINE";
    /// The ARN of the machine that verifies.
    pub const VERIFY_MACHINE: &'static str = "HOLDFAST_VERIFY_MACHINE";
    /// The ARN of the machine that tests restores.
    pub const RESTORE_TEST_MACHINE: &'static str = "HOLDFAST_RESTORE_TEST_MACHINE";
    /// The ARN of the machine that drills.
    pub const DRILL_MACHINE: &'static str = "HOLDFAST_DRILL_MACHINE";
    /// The ARN of the machine that ends what died.
    pub const FAIL_MACHINE: &'static str = "HOLDFAST_FAIL_MACHINE";
    /// How thorough the daily verification is.
    pub const VERIFY_LEVEL: &'static str = "HOLDFAST_VERIFY_LEVEL";

    /// A variable's value.
    ///
    /// # Errors
    /// `HomeInvalid` if it is not set.
    pub fn get(name: &str) -> Result<String> {
        match std::env::var(name) {
            Ok(value) if !value.is_empty() => Ok(value),
            _ => Err(Error::new(Code::HomeInvalid, format!("the variable {name} is not set"))
                .object(name)
                .hint("deploy template.yaml again; it sets the variables of every function")),
        }
    }

    /// The job state that the environment names.
    ///
    /// # Errors
    /// `HomeInvalid` if it names none.
    pub fn jobs(config: &SdkConfig, clock: &Arc<dyn Clock>) -> Result<JobStore> {
        let client = aws_sdk_dynamodb::Client::new(config);
        Ok(JobStore::new(client, Self::get(Self::JOB_TABLE)?, clock.clone()))
    }

    /// A bucket that a variable names.
    ///
    /// # Errors
    /// `HomeInvalid` if it is not set.
    pub fn bucket(config: &SdkConfig, variable: &str) -> Result<Arc<dyn Storage>> {
        // An emulator's address has no room for a bucket's name in front.
        let local = config.endpoint_url().is_some();
        let client = aws_sdk_s3::config::Builder::from(config).force_path_style(local).build();
        Ok(Arc::new(S3Storage::new(aws_sdk_s3::Client::from_conf(client), Self::get(variable)?)))
    }
}

/// Region, credentials and endpoint as the environment gives them.
pub async fn aws_config() -> SdkConfig {
    environment_config(None, None).await
}

/// What functions work with that start executions and do no step themselves: they open no vault.
pub struct Control {
    /// Job state.
    pub jobs: JobStore,
    /// Where executions are started.
    pub executions: Arc<dyn Executions>,
    /// Where figures go.
    pub metrics: Arc<dyn Metrics>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// Job state and executions, as the environment names them.
///
/// # Errors
/// `HomeInvalid` if a variable is missing.
#[must_use]
pub fn control() -> BoxFuture<'static, Result<Control>> {
    Box::pin(async {
        let config = aws_config().await;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        Ok(Control {
            jobs: Environment::jobs(&config, &clock)?,
            executions: Arc::new(StepFunctions::new(&config)),
            metrics: Arc::new(StdoutMetrics::new(clock.clone())),
            clock,
        })
    })
}

/// Everything that the steps of the workflow reach, as the environment names it.
///
/// # Errors
/// `HomeInvalid` if a variable is missing, `KeyWrong` if KMS does not open the vault, or what storage gives.
#[must_use]
pub fn services() -> BoxFuture<'static, Result<Services>> {
    Box::pin(async {
        let config = aws_config().await;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let vault = Environment::bucket(&config, Environment::VAULT_BUCKET)?;
        let mut limits = WorkLimits::default();
        if let Ok(workers) = Environment::get(Environment::WORKERS) {
            limits.workers = workers.parse().map_err(|_| {
                Error::new(Code::HomeInvalid, format!("{} is no number: {workers:?}", Environment::WORKERS))
            })?;
        }
        Ok(Services {
            jobs: Environment::jobs(&config, &clock)?,
            vault: open_vault(&aws_sdk_kms::Client::new(&config), vault).await?,
            staging: Environment::bucket(&config, Environment::STAGING_BUCKET)?,
            clients: Arc::new(EnvironmentClients),
            metrics: Arc::new(StdoutMetrics::new(clock.clone())),
            clock,
            limits,
        })
    })
}
