//! The last step: the new table beside its source.

use super::{Kind, Progress};
use crate::Compared;
use crate::aws::{Comparison, Recovery};
use holdfast_vault::error::Result;
use holdfast_vault::model::Warning;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What came of a restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Outcome {
    /// The new table.
    pub table: String,
    /// What was restored from.
    pub restore_type: Kind,
    /// The time that it holds, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored_to: Option<Timestamp>,
    /// The table that it was restored from, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// What comparing found.
    pub comparison: Compared,
    /// Whether the tables are the same as far as was looked; none without a source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identical: Option<bool>,
    /// What the operator should see.
    pub warnings: Vec<Warning>,
    /// Seconds from the start of the execution until the table could be used.
    pub seconds: i64,
}

pub(super) async fn validate(recovery: &Recovery, mut progress: Progress) -> Result<Progress> {
    let comparison = Comparison {
        recovery,
        client: &recovery.dynamodb,
        restored: &progress.table,
        source: progress.source.as_deref(),
        sample: recovery.limits.sample,
        seed: &progress.execution,
    };
    let mut so_far = progress.comparison.clone();
    let Some(compared) = comparison.advance(&mut so_far).await? else {
        progress.comparison = so_far;
        return Ok(progress.on(0));
    };
    let mut warnings = progress.warnings.clone();
    warnings.extend(told(&progress.table, &compared));
    let usable = progress.settled_at.unwrap_or_else(|| recovery.clock.now());
    let identical = compared.source_count.is_some().then(|| compared.identical());
    tracing::info!(
        table = progress.table,
        records = compared.restored_count,
        identical,
        warnings = warnings.len(),
        "restore validated"
    );
    progress.result = Some(Box::new(Outcome {
        table: progress.table.clone(),
        restore_type: progress.kind,
        restored_to: progress.restored_to,
        source: progress.source.clone(),
        comparison: compared,
        identical,
        warnings,
        seconds: usable.duration_since(progress.started_at).as_secs().max(0),
    }));
    Ok(progress.done())
}

/// What an operator should know of the differences. The source may have been written since: they are told, and no
/// failure.
fn told(table: &str, compared: &Compared) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for part in &compared.definition {
        let message = format!("table {table}: {part}: not as in the table that it was restored from");
        warnings.push(Warning::new("SettingNotRestored", message));
    }
    match compared.source_count {
        None => warnings.push(Warning::new(
            "NotCompared",
            format!("table {table} was not compared: the table that it was restored from is gone"),
        )),
        Some(records) if !compared.identical() => warnings.push(Warning::new(
            "DiffersFromSource",
            format!(
                "table {table} holds {} records and its source {records}; of {} that were compared {} differ and {} are \
                 missing, as later writes of the source would have it",
                compared.restored_count, compared.compared, compared.differing, compared.missing
            ),
        )),
        Some(_) => {}
    }
    warnings
}
