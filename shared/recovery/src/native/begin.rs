//! The first step: everything is checked, then the restore starts.

use super::input::{Order, table_of, wrong};
use super::{Kind, Progress, SKEW};
use crate::aws::{
    Recovery, Side, Table, TimeRestore, Window, describe, find, recovery_window, restore_to_time, start_job,
};
use holdfast_vault::error::{Code, Error, Result};
use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest, Sha256};

pub(super) async fn begin(
    recovery: &Recovery,
    input: Value,
    execution: String,
    started_at: Timestamp,
) -> Result<Progress> {
    let progress = |kind, table: String| Progress {
        kind,
        execution: execution.clone(),
        started_at,
        source: None,
        settings_from: None,
        table,
        recovery_point: None,
        restore_job: None,
        restored_to: None,
        settled_at: None,
        tried: Vec::new(),
        comparison: crate::aws::ComparisonProgress::default(),
        warnings: Vec::new(),
        more: false,
        wait: 0,
        result: None,
    };
    match Order::read(input)? {
        Order::Time { source, arn, at, target } => {
            let progress = progress(Kind::Pitr, target);
            to_time(recovery, progress, (&source, arn.as_deref()), at).await
        }
        Order::Point { arn, vault, settings_from, target } => {
            let progress = Progress { settings_from, ..progress(Kind::Backup, target) };
            from_point(recovery, progress, &arn, vault.as_deref()).await
        }
    }
}

async fn to_time(
    recovery: &Recovery,
    progress: Progress,
    (name, arn): (&str, Option<&str>),
    at: Option<Timestamp>,
) -> Result<Progress> {
    let client = &recovery.dynamodb;
    let missing = |what: &str| {
        Error::new(Code::SourceMissing, format!("there is no table {what}")).object(what).hint(
            "check its name, the account and the region; a table that was deleted is restored from a backup",
        )
    };
    let source = describe(client, name, Side::Source).await?.ok_or_else(|| missing(name))?;
    if let Some(arn) = arn.filter(|arn| *arn != source.arn) {
        return Err(missing(arn));
    }
    let window = recovery_window(client, name).await?.ok_or_else(|| {
        Error::new(Code::SourceInvalid, format!("point-in-time recovery is off for table {name}"))
            .object(name)
            .hint("restore a backup instead, and turn it on for the next time")
    })?;
    if let Some(at) = at {
        within(at, window)?;
    }
    let started = Progress {
        source: Some(source.name.clone()),
        settings_from: Some(source.name.clone()),
        restored_to: Some(at.unwrap_or(window.latest)),
        ..progress
    };
    if let Some(target) = describe(client, &started.table, Side::Target).await? {
        let from_it = |target: &Table| {
            let restored = target.restored.as_ref();
            restored.is_some_and(|restored| {
                restored.source_arn.as_ref() == Some(&source.arn)
                    && at.is_none_or(|at| restored.at.map(Timestamp::as_second) == Some(at.as_second()))
            })
        };
        // Another attempt at this step may have started it.
        if is_new(&target, started.started_at) && from_it(&target) {
            return Ok(started.again(recovery));
        }
        return Err(not_new(&target.name));
    }
    restore_to_time(client, &TimeRestore { source: &source, target: &started.table, at }).await?;
    tracing::info!(table = started.table, source = name, "restore started");
    Ok(started.again(recovery))
}

fn within(at: Timestamp, window: Window) -> Result<()> {
    if at.as_second() >= window.earliest.as_second() && at.as_second() <= window.latest.as_second() {
        return Ok(());
    }
    Err(wrong("restoreDateTime", &format!("{at} is no time that the table can be restored to"))
        .hint(format!("it can be restored to any second from {} to {}", window.earliest, window.latest)))
}

async fn from_point(
    recovery: &Recovery,
    progress: Progress,
    arn: &str,
    vault: Option<&str>,
) -> Result<Progress> {
    let point = find(recovery, arn, vault).await?;
    if point.resource_type != "DynamoDB" {
        return Err(wrong("recoveryPointArn", &format!("is a recovery point of {}", point.resource_type))
            .hint("only tables of DynamoDB are restored here; use AWS Backup itself for others"));
    }
    if let Some(why) = &point.unusable {
        return Err(Error::new(
            Code::SourceInvalid,
            format!("the recovery point cannot be restored: it is {why}"),
        )
        .object(arn));
    }
    let source = point.resource_arn.as_deref().and_then(table_of);
    if let Some(target) = describe(&recovery.dynamodb, &progress.table, Side::Target).await?
        // Another attempt at this step may have started it: the token says so to AWS Backup.
        && !is_new(&target, progress.started_at)
    {
        return Err(not_new(&target.name));
    }
    let token = token(&progress.execution, progress.started_at);
    let job = start_job(recovery, arn, &point, &progress.table, &token).await?;
    tracing::info!(table = progress.table, job, "restore started");
    let started = Progress {
        settings_from: progress.settings_from.clone().or_else(|| source.clone()),
        source,
        recovery_point: Some(arn.to_owned()),
        restore_job: Some(job),
        restored_to: point.created,
        ..progress
    };
    Ok(started.again(recovery))
}

/// Names an execution to AWS Backup.
fn token(execution: &str, started_at: Timestamp) -> String {
    hex::encode(&Sha256::digest(format!("{execution}/{started_at}"))[..16])
}

/// Whether a table may have been made by an execution that started then.
pub(crate) fn is_new(table: &Table, started_at: Timestamp) -> bool {
    let from = started_at.checked_sub(SKEW).unwrap_or(started_at);
    table.created.is_some_and(|created| created >= from)
}

fn not_new(table: &str) -> Error {
    Error::new(Code::TargetNotEmpty, format!("there is a table {table} already"))
        .object("targetTableName")
        .hint("a restore makes a new table: give another name, or delete that one")
}
