//! Proves a restore: into a throw-away table, compared with its source, removed again.

mod order;

pub use order::{TestKind, TestOrder};

use crate::aws::{self, Compared, Comparison, ComparisonProgress, Recovery, Remove, RestoreState, Side};
use crate::native::{is_new, named, table_of};
use holdfast_common::jobs::{Job, JobKind, JobStore};
use holdfast_connectors::target::OnConflict;
use holdfast_connectors::{Clients, SourceSpec, TargetSpec};
use holdfast_vault::error::{Code, Error, Result};
use holdfast_workflow::config::Resource;
use holdfast_workflow::events::{RestoreRequest, Selection};
use holdfast_workflow::handler;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// What throw-away tables are called: whatever removes them may remove tables of no other name.
pub const PREFIX: &str = "holdfast-test-";
/// A table that is going is gone after about so many seconds.
const GOING: u32 = 10;

/// What tests are made with.
#[derive(Clone)]
pub struct Tester {
    /// The services of AWS.
    pub recovery: Recovery,
    /// Where backups are known.
    pub jobs: JobStore,
    /// Reaches the table of a resource that is elsewhere.
    pub clients: Arc<dyn Clients>,
}

/// A test, and how far it is. Holds names and figures only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Test {
    /// What is restored from.
    pub kind: TestKind,
    /// When the execution started.
    pub started_at: Timestamp,
    /// The throw-away table.
    pub table: String,
    /// The table that it is compared with, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The backup that is restored, of one of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<String>,
    /// Where the tables of one of ours are, if elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    endpoint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    region: Option<String>,
    /// What `restore` is asked for, of a backup of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    restore: Option<RestoreRequest>,
    /// What `native-restore` is asked for, of a recovery point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    native: Option<Value>,
    /// Records to compare.
    sample: u32,
    /// How many of a hundred may be missing.
    max_missing_percent: f64,
    /// How far comparing is.
    #[serde(default)]
    progress: ComparisonProgress,
    /// When the table could be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    restored_at: Option<Timestamp>,
    /// What comparing found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compared: Option<Compared>,
    /// Why the restore is not good enough, if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// Whether there is more to compare.
    more: bool,
}

impl Test {
    /// Seconds from the start of the execution until the table could be used.
    #[must_use]
    pub fn seconds(&self) -> Option<i64> {
        self.restored_at.map(|restored| restored.duration_since(self.started_at).as_secs().max(0))
    }
}

/// Whether there is more to remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    /// Ask again.
    pub more: bool,
    /// Seconds to wait before.
    pub wait: u32,
}

/// The name of a request's throw-away table: the same in a repeat of it.
#[must_use]
pub fn table_name(request: &str) -> String {
    format!("{PREFIX}{}", hex::encode(&Sha256::digest(request)[..8]))
}

/// Makes a test of an order: what is to be restored, and what to compare it with.
///
/// # Errors
/// `ResourceUnknown`, `InvalidInput`, `JobUnknown` if the resource has no backup, `Source*`.
pub async fn begin(tester: &Tester, order: &TestOrder, request: &str, started_at: &str) -> Result<Test> {
    let started_at = started_at.parse().map_err(|error| {
        Error::new(Code::InvalidInput, format!("started_at {started_at:?} is no time: {error}"))
            .object("started_at")
    })?;
    let test = Test {
        kind: order.kind(),
        started_at,
        table: table_name(request),
        source: None,
        backup: None,
        endpoint: None,
        region: None,
        restore: None,
        native: None,
        sample: order.sample,
        max_missing_percent: order.max_missing_percent,
        progress: ComparisonProgress::default(),
        restored_at: None,
        compared: None,
        failure: None,
        more: false,
    };
    match &order.what {
        order::What::Holdfast { resource } => of_backup(tester, test, resource).await,
        order::What::Pitr { table } => {
            let native = json!({
                "restoreType": "PITR",
                "sourceTableName": table,
                "targetTableName": test.table,
                "useLatestRestorableTime": true,
            });
            Ok(Test { source: Some(table.clone()), native: Some(native), ..test })
        }
        order::What::Backup { point, vault } => {
            let found = aws::find(&tester.recovery, point, vault.as_deref()).await?;
            let native = json!({
                "restoreType": "BACKUP",
                "recoveryPointArn": point,
                "targetTableName": test.table,
                "backupVaultName": found.vault,
            });
            let source = found.resource_arn.as_deref().and_then(table_of);
            Ok(Test { source, native: Some(native), ..test })
        }
    }
}

async fn of_backup(tester: &Tester, test: Test, resource: &str) -> Result<Test> {
    let document: Resource = handler::decode(tester.jobs.resource(resource).await?)?;
    let SourceSpec::Dynamodb { table: source, endpoint, region } = document.source else {
        return Err(Error::new(Code::InvalidInput, format!("resource {resource} is no table"))
            .object("Resource")
            .hint("a restore test takes a resource of kind dynamodb; restore others into a throw-away place by hand"));
    };
    let backups = tester.jobs.jobs(JobKind::Backup, Some(resource));
    let Some(backup) = backups.find(Job::is_restorable).await? else {
        return Err(Error::new(Code::JobUnknown, format!("resource {resource} has no completed backup"))
            .object("Resource")
            .hint("back it up first"));
    };
    let target = TargetSpec::Dynamodb {
        table: test.table.clone(),
        endpoint: endpoint.clone(),
        region: region.clone(),
    };
    let restore = RestoreRequest {
        backup: backup.id.clone(),
        resource: None,
        at: None,
        target,
        on_conflict: OnConflict::default(),
        selection: Selection::default(),
    };
    Ok(Test {
        source: Some(source),
        backup: Some(backup.id),
        endpoint,
        region,
        restore: Some(restore),
        ..test
    })
}

async fn client(tester: &Tester, test: &Test) -> Result<aws::Tables> {
    if test.endpoint.is_none() && test.region.is_none() {
        return Ok(tester.recovery.dynamodb.clone());
    }
    tester.clients.dynamodb(test.endpoint.as_deref(), test.region.as_deref()).await
}

/// Compares on.
///
/// # Errors
/// `Source*`, `Target*`.
pub async fn compare(tester: &Tester, mut test: Test) -> Result<Test> {
    let restored_at = test.restored_at.unwrap_or_else(|| tester.recovery.clock.now());
    test.restored_at = Some(restored_at);
    let client = client(tester, &test).await?;
    let comparison = Comparison {
        recovery: &tester.recovery,
        client: &client,
        restored: &test.table,
        source: test.source.as_deref(),
        sample: test.sample,
        seed: &test.table,
    };
    let mut progress = test.progress.clone();
    let compared = comparison.advance(&mut progress).await?;
    test.progress = progress;
    test.more = compared.is_none();
    test.failure = compared.as_ref().and_then(|compared| failure(compared, test.max_missing_percent));
    test.compared = compared;
    Ok(test)
}

/// Why a restore is not good enough, if it is not. A record that is another one than in the source counts as missing.
fn failure(compared: &Compared, most: f64) -> Option<String> {
    let Some(source) = compared.source_count else {
        return Some("there is nothing to compare with: the source is gone".to_owned());
    };
    if !compared.definition.is_empty() {
        return Some(format!("not as in the source: {}", compared.definition.join(", ")));
    }
    let lost = compared.differing + compared.missing;
    if percent(lost, compared.compared) > most {
        return Some(format!(
            "of {} records of the source {} are missing and {} differ: more than {most} %",
            compared.compared, compared.missing, compared.differing
        ));
    }
    let short = source.saturating_sub(compared.restored_count);
    (percent(short, source) > most).then(|| {
        format!(
            "{} records were restored, and the source has {source}: more than {most} % less",
            compared.restored_count
        )
    })
}

fn percent(part: u64, whole: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 records")]
    let percent = part as f64 * 100.0 / whole.max(1) as f64;
    percent
}

/// Removes the throw-away table as far as that is possible now. `restore_job` is the job of AWS Backup that makes it.
///
/// # Errors
/// `TargetInvalid` if the table is none of this test, `Target*`.
pub async fn remove(tester: &Tester, test: &Test, restore_job: Option<&str>) -> Result<Removal> {
    const GONE: Removal = Removal { more: false, wait: 0 };
    const WAIT: Removal = Removal { more: true, wait: GOING };
    named("table", &test.table)?;
    let foreign = || {
        Error::new(Code::TargetInvalid, format!("table {} was not made by this test and is kept", test.table))
            .object(&test.table)
    };
    if !test.table.starts_with(PREFIX) {
        return Err(foreign());
    }
    // A table that a job is about to make would come up behind its removal.
    if let Some(job) = restore_job
        && aws::restore_job(&tester.recovery, job).await?.state == RestoreState::Running
    {
        return Ok(Removal { more: true, wait: 30 });
    }
    let client = client(tester, test).await?;
    let Some(table) = aws::describe(&client, &test.table, Side::Target).await? else { return Ok(GONE) };
    if !is_new(&table, test.started_at) {
        return Err(foreign());
    }
    Ok(match aws::remove(&client, &table).await? {
        Remove::Gone => GONE,
        Remove::Wait => WAIT,
    })
}
