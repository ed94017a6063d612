//! What becomes of each backup, and why.

use super::rules::{Origin, Rules};
use super::{as_backup, restorable};
use holdfast_common::jobs::{BackupType, Deletion, Hold, JobStore};
use holdfast_retention::{Backup, Reason, Retention, decide};
use holdfast_vault::error::Result;
use jiff::Timestamp;
use serde::{Serialize, Serializer};

/// What becomes of the backups of a resource.
#[derive(Debug, Clone, Serialize)]
pub struct Explained {
    /// The resource.
    pub resource: String,
    /// The rules that hold.
    pub rules: Retention,
    /// Where they come from.
    pub origin: Origin,
    /// Whose calendar they go by.
    pub time_zone: String,
    /// Every backup that can be restored, newest first.
    pub backups: Vec<Fate>,
}

/// What becomes of one backup.
#[derive(Debug, Clone, Serialize)]
pub struct Fate {
    /// Its id.
    pub id: String,
    /// Its type.
    #[serde(rename = "type")]
    pub backup_type: BackupType,
    /// When it completed.
    #[serde(serialize_with = "exact")]
    pub completed_at: Timestamp,
    /// Whether it stays, as things are.
    pub keep: bool,
    /// All reasons for that.
    pub why: Vec<Reason>,
    /// It does not go before then, while its policy stays as it is. None where nothing says a time.
    #[serde(serialize_with = "exact_or_none")]
    pub until: Option<Timestamp>,
    /// How long it stays, in words.
    pub lasts: &'static str,
    /// What holds it.
    pub hold: Option<Hold>,
    /// That it was asked for to be deleted.
    pub deletion: Option<Deletion>,
}

/// Says of every backup of a resource that can be restored whether it stays, and why.
///
/// # Errors
/// As [`Rules::of_resource`].
pub async fn explain(jobs: &JobStore, now: Timestamp, resource: &str) -> Result<Explained> {
    let rules = Rules::of_resource(jobs, resource).await?;
    let found = restorable(jobs, resource).await?;
    let backups: Vec<Backup> = found.iter().map(as_backup).collect();
    let verdicts = decide(&rules.retention, &rules.zone, now, &backups);
    let fate = |((job, backup), verdict): ((_, Backup), holdfast_retention::Verdict)| {
        let job: holdfast_common::jobs::Job = job;
        Fate {
            lasts: verdict.lasts(),
            id: job.id,
            backup_type: job.backup_type.unwrap_or_default(),
            completed_at: backup.completed_at,
            keep: verdict.keep,
            why: verdict.why,
            until: verdict.until,
            hold: job.hold,
            deletion: job.deletion,
        }
    };
    Ok(Explained {
        resource: resource.to_owned(),
        rules: rules.retention,
        origin: rules.origin,
        time_zone: rules.zone_name,
        backups: found.into_iter().zip(backups).zip(verdicts).map(fate).collect(),
    })
}

fn exact<S: Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&format_args!("{time:.3}"))
}

#[allow(clippy::ref_option, reason = "the form that serde calls")]
fn exact_or_none<S: Serializer>(time: &Option<Timestamp>, to: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => exact(time, to),
        None => to.serialize_none(),
    }
}
