//! Recovery points of AWS Backup, and the jobs that restore them.

use super::clients::Recovery;
use super::fault::Side;
use super::table::timestamp;
use aws_sdk_backup::operation::describe_recovery_point::DescribeRecoveryPointError;
use aws_sdk_backup::types::{RecoveryPointStatus, RestoreJobStatus, RestoreValidationStatus};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use holdfast_vault::error::{Code, Error, Result};
use jiff::Timestamp;
use std::collections::{BTreeMap, HashMap};

/// A recovery point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Point {
    pub vault: String,
    pub resource_type: String,
    /// What it was made of.
    pub resource_arn: Option<String>,
    pub created: Option<Timestamp>,
    /// None if it can be restored; else why not.
    pub unusable: Option<String>,
}

/// Finds a recovery point: in the vault that is named, else in any.
///
/// # Errors
/// `SourceMissing` if no vault holds it, `Source*`.
pub(crate) async fn find(recovery: &Recovery, arn: &str, vault: Option<&str>) -> Result<Point> {
    let missing = || {
        Error::new(Code::SourceMissing, format!("no backup vault holds the recovery point {arn}"))
            .object("recoveryPointArn")
            .hint("check the ARN, the account and the region; it may have expired")
    };
    if let Some(vault) = vault {
        return look(recovery, arn, vault).await?.ok_or_else(missing);
    }
    let mut pages = recovery.backup.list_backup_vaults().into_paginator().send();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| Side::Source.fault("list the backup vaults", arn, &error))?;
        for vault in page.backup_vault_list() {
            let Some(name) = vault.backup_vault_name() else { continue };
            if let Some(point) = look(recovery, arn, name).await? {
                return Ok(point);
            }
        }
    }
    Err(missing())
}

async fn look(recovery: &Recovery, arn: &str, vault: &str) -> Result<Option<Point>> {
    let call = recovery.backup.describe_recovery_point().backup_vault_name(vault).recovery_point_arn(arn);
    let point = match call.send().await {
        Ok(point) => point,
        Err(error)
            if error
                .as_service_error()
                .is_some_and(DescribeRecoveryPointError::is_resource_not_found_exception)
                // What the service says of a point that is of another vault.
                || error.code() == Some("InvalidParameterValueException") =>
        {
            return Ok(None);
        }
        Err(error) => return Err(Side::Source.fault("describe the recovery point", arn, &error)),
    };
    let unusable = match &point.status {
        None | Some(RecoveryPointStatus::Completed | RecoveryPointStatus::Available) => None,
        Some(status) => Some(match &point.status_message {
            Some(message) => format!("{}: {message}", status.as_str()),
            None => status.as_str().to_owned(),
        }),
    };
    Ok(Some(Point {
        vault: vault.to_owned(),
        resource_type: point.resource_type.unwrap_or_default(),
        resource_arn: point.resource_arn,
        created: point.creation_date.as_ref().and_then(timestamp),
        unusable,
    }))
}

/// The tags that a resource had when its recovery point was made.
///
/// # Errors
/// `Source*`.
pub(crate) async fn tags(recovery: &Recovery, arn: &str) -> Result<BTreeMap<String, String>> {
    let mut pages = recovery.backup.list_tags().resource_arn(arn).into_paginator().send();
    let mut tags = BTreeMap::new();
    while let Some(page) = pages.next().await {
        let page =
            page.map_err(|error| Side::Source.fault("read the tags of the recovery point", arn, &error))?;
        tags.extend(page.tags.unwrap_or_default());
    }
    Ok(tags)
}

/// Starts the restore of a table's recovery point, and returns the job's id. A repeat with the same token starts
/// nothing and returns the same id.
///
/// # Errors
/// `HomeInvalid` if no role was set, `Source*`.
pub(crate) async fn start_job(
    recovery: &Recovery,
    arn: &str,
    point: &Point,
    target: &str,
    token: &str,
) -> Result<String> {
    let role = recovery.restore_role.as_ref().ok_or_else(|| {
        Error::new(Code::HomeInvalid, "no role is set with which AWS Backup restores")
            .object("HOLDFAST_RESTORE_ROLE_ARN")
            .hint("deploy template.yaml again; it sets the variables of every function")
    })?;
    let known = recovery
        .backup
        .get_recovery_point_restore_metadata()
        .backup_vault_name(&point.vault)
        .recovery_point_arn(arn)
        .send()
        .await
        .map_err(|error| Side::Source.fault("read the metadata of the recovery point", arn, &error))?;
    let mut metadata: HashMap<String, String> = known.restore_metadata.unwrap_or_default();
    metadata.insert("targetTableName".to_owned(), target.to_owned());
    metadata.entry("encryptionType".to_owned()).or_insert_with(|| "Default".to_owned());
    let started = recovery
        .backup
        .start_restore_job()
        .recovery_point_arn(arn)
        .set_metadata(Some(metadata))
        .iam_role_arn(role)
        .idempotency_token(token)
        .resource_type("DynamoDB")
        .send()
        .await
        .map_err(|error| Side::Source.fault("restore the recovery point", arn, &error))?;
    started
        .restore_job_id
        .ok_or_else(|| Error::new(Code::SourceUnavailable, "AWS Backup named no restore job").object(arn))
}

/// Where a restore job stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RestoreState {
    Running,
    Completed,
    /// It ended otherwise; why.
    Failed(String),
}

/// A restore job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RestoreJob {
    pub state: RestoreState,
    pub created_arn: Option<String>,
    pub source_arn: Option<String>,
    pub resource_type: String,
    pub recovery_point: Option<String>,
    pub vault: Option<String>,
}

/// Looks at a restore job.
///
/// # Errors
/// `Source*`.
pub(crate) async fn restore_job(recovery: &Recovery, id: &str) -> Result<RestoreJob> {
    let job = recovery
        .backup
        .describe_restore_job()
        .restore_job_id(id)
        .send()
        .await
        .map_err(|error| Side::Source.fault(&format!("describe restore job {id}"), id, &error))?;
    let state = match &job.status {
        Some(RestoreJobStatus::Completed) => RestoreState::Completed,
        Some(RestoreJobStatus::Pending | RestoreJobStatus::Running) | None => RestoreState::Running,
        Some(status) => {
            let why = job.status_message.as_deref().unwrap_or("AWS Backup says no more");
            RestoreState::Failed(format!("{}: {why}", status.as_str()))
        }
    };
    Ok(RestoreJob {
        state,
        created_arn: job.created_resource_arn,
        source_arn: job.source_resource_arn,
        resource_type: job.resource_type.unwrap_or_default(),
        recovery_point: job.recovery_point_arn,
        vault: job.backup_vault_arn.and_then(|arn| Some(arn.rsplit_once(':')?.1.to_owned())),
    })
}

/// Tells AWS Backup what a restore test found.
///
/// # Errors
/// `Source*`.
pub(crate) async fn say_valid(recovery: &Recovery, job: &str, valid: bool, message: &str) -> Result<()> {
    let status = if valid { RestoreValidationStatus::Successful } else { RestoreValidationStatus::Failed };
    let call = recovery
        .backup
        .put_restore_validation_result()
        .restore_job_id(job)
        .validation_status(status)
        .validation_status_message(message);
    match call.send().await {
        Ok(_) => Ok(()),
        Err(error) => Err(Side::Source.fault(&format!("judge restore job {job}"), job, &error)),
    }
}
