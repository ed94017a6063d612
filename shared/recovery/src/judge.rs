//! Judges the restores that AWS Backup's restore testing makes: whether the restored table is what it was restored from.

use crate::aws::{Comparison, Recovery, RestoreState, restore_job, say_valid};
use crate::native::table_of;
use holdfast_vault::error::{Code, Error, Result};
use serde::{Deserialize, Serialize};

/// An event of EventBridge: `Restore Job State Change` of AWS Backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobEvent {
    /// The version of the envelope.
    #[serde(default)]
    pub version: String,
    /// The event.
    #[serde(default)]
    pub id: String,
    /// What happened.
    #[serde(rename = "detail-type")]
    pub detail_type: String,
    /// Who says so.
    pub source: String,
    /// The account.
    #[serde(default)]
    pub account: String,
    /// When.
    #[serde(default)]
    pub time: String,
    /// The region.
    #[serde(default)]
    pub region: String,
    /// What it is about.
    #[serde(default)]
    pub resources: Vec<String>,
    /// The replay of an archive that sent it, if one did.
    #[serde(rename = "replay-name", default, skip_serializing_if = "Option::is_none")]
    pub replay_name: Option<String>,
    /// The job.
    pub detail: Detail,
}

/// What the event says of the job; AWS Backup adds to it from time to time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Detail {
    /// The job.
    pub restore_job_id: String,
    /// How it stands.
    pub status: String,
    /// The testing plan that made it; none for what somebody restored.
    #[serde(default)]
    pub restore_testing_plan_arn: Option<String>,
}

/// What came of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Judged {
    /// The job.
    pub restore_job: String,
    /// Whether the restore is valid; none if it was not judged.
    pub valid: Option<bool>,
    /// Why.
    pub message: String,
}

/// Judges a restore, and tells AWS Backup.
///
/// # Errors
/// `InvalidInput` for an event of another kind, `Source*`, `Target*`.
pub async fn judge(recovery: &Recovery, event: &JobEvent) -> Result<Judged> {
    if event.source != "aws.backup" || event.detail_type != "Restore Job State Change" {
        let told = format!("{:?} of {:?} is no event of a restore job", event.detail_type, event.source);
        return Err(Error::new(Code::InvalidInput, told)
            .object("detail-type")
            .hint("the rule is to send \"Restore Job State Change\" of \"aws.backup\""));
    }
    let id = &event.detail.restore_job_id;
    let ignored = |why: &str| Ok(Judged { restore_job: id.clone(), valid: None, message: why.to_owned() });
    if event.detail.restore_testing_plan_arn.is_none() {
        return ignored("not judged: no restore testing plan made this job");
    }
    if event.detail.status != "COMPLETED" {
        return ignored(&format!("not judged: the job is {}", event.detail.status));
    }
    let job = restore_job(recovery, id).await?;
    if job.state != RestoreState::Completed {
        return ignored("not judged: the job has not completed");
    }
    if job.resource_type != "DynamoDB" {
        return ignored(&format!(
            "not judged: it restored {}, and only tables are compared",
            job.resource_type
        ));
    }
    let (valid, message) = match job.created_arn.as_deref().and_then(table_of) {
        None => (false, "the job names no table that it made".to_owned()),
        Some(table) => {
            let source = match job.source_arn.as_deref().and_then(table_of) {
                Some(source) => Some(source),
                None => source_of(recovery, job.recovery_point.as_deref(), job.vault.as_deref()).await?,
            };
            verdict(recovery, id, &table, source.as_deref()).await?
        }
    };
    say_valid(recovery, id, valid, &message).await?;
    tracing::info!(job = id, valid, "restore test judged: {message}");
    Ok(Judged { restore_job: id.clone(), valid: Some(valid), message })
}

async fn source_of(recovery: &Recovery, point: Option<&str>, vault: Option<&str>) -> Result<Option<String>> {
    let Some(point) = point else { return Ok(None) };
    if let Some(table) = table_of(point) {
        return Ok(Some(table));
    }
    match crate::aws::find(recovery, point, vault).await {
        Ok(point) => Ok(point.resource_arn.as_deref().and_then(table_of)),
        Err(error) if error.code == Code::SourceMissing => Ok(None),
        Err(error) => Err(error),
    }
}

/// A table is what it should be if its definition is, and if it is not empty where its source is not. Records that
/// differ are told: the source may have been written since.
async fn verdict(
    recovery: &Recovery,
    seed: &str,
    table: &str,
    source: Option<&str>,
) -> Result<(bool, String)> {
    let comparison = Comparison {
        recovery,
        client: &recovery.dynamodb,
        restored: table,
        source,
        sample: recovery.limits.sample,
        seed,
    };
    let compared = match comparison.at_a_glance().await {
        Ok(Some(compared)) => compared,
        Ok(None) => {
            return Ok((
                true,
                format!("table {table} can be read; its source is gone, so nothing was compared"),
            ));
        }
        // It is no table, or one of another key: that is what the test was to find.
        Err(error) if error.code == Code::TargetInvalid => return Ok((false, error.message)),
        Err(error) => return Err(error),
    };
    let figures = format!(
        "of {} records of the source {} are the same, {} differ, {} are missing",
        compared.compared, compared.same, compared.differing, compared.missing
    );
    if !compared.definition.is_empty() {
        return Ok((false, format!("not as the source: {}; {figures}", compared.definition.join(", "))));
    }
    if compared.compared > 0 && comparison.is_empty().await? {
        return Ok((false, format!("table {table} is empty, and its source is not")));
    }
    Ok((true, format!("the definition is the source's; {figures}")))
}
