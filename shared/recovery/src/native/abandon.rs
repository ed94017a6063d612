//! What a restore that failed has left. Nothing is removed: what stands under the new name was restored, may be whole,
//! and whoever restores on a bad day decides over it.

use super::begin::is_new;
use super::input::named;
use crate::aws::{Recovery, Side, State, describe};
use holdfast_common::jobs::JobError;
use holdfast_vault::error::Result;
use holdfast_workflow::events::Caught;
use holdfast_workflow::fail::job_error;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a restore that failed has left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Abandoned {
    /// The new table, where one was named.
    pub table: Option<String>,
    /// How it stands: `ABSENT`, `CREATING`, `ACTIVE`, or `OTHER` if it is there and not of this restore.
    pub state: String,
    /// The job of AWS Backup, where one was started.
    pub restore_job: Option<String>,
    /// Why the restore failed.
    pub code: String,
    /// The same as a sentence.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

pub(super) async fn abandon(recovery: &Recovery, started_at: Timestamp, state: &Value) -> Result<Abandoned> {
    let caught: Caught = serde_json::from_value(state["error"].clone())
        .unwrap_or_else(|_| Caught { error: "Internal".to_owned(), cause: String::new() });
    let JobError { code, message, hint } = job_error(&caught);
    let known = &state["native"]["progress"];
    let name = known["table"].as_str().or_else(|| state["targetTableName"].as_str()).unwrap_or_default();
    // What is no name of a table was why it failed.
    let table = named("targetTableName", name).ok();
    let found = match &table {
        Some(name) => describe(&recovery.dynamodb, name, Side::Target).await?,
        None => None,
    };
    let stands = match &found {
        None => "ABSENT",
        Some(table) if !is_new(table, started_at) => "OTHER",
        Some(table) if table.state == State::Creating => "CREATING",
        Some(_) => "ACTIVE",
    };
    tracing::warn!(table, state = stands, code, "restore failed");
    Ok(Abandoned {
        table,
        state: stands.to_owned(),
        restore_job: known["restoreJob"].as_str().map(str::to_owned),
        code,
        message,
        hint,
    })
}
