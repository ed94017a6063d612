//! `holdfast resources`

use crate::exit::{Exit, after_help};
use crate::options::Global;
use crate::output::Side::Left;
use crate::output::{Outcome, Report, Table, age, exact, time};
use holdfast_common::jobs::{BackupType, Job, JobKind, Status};
use holdfast_connectors::SourceSpec;
use holdfast_vault::error::{Code, Error, Result};
use holdfast_workflow::config::{Resource, Tier};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use std::fmt::{self, Write as _};

/// Lists what is protected, with the newest backup of each
///
/// RPO is how long ago the newest moment was that can be restored: what happened since would be lost.
#[derive(Debug, clap::Args)]
#[command(after_help = after_help!("holdfast resources", "holdfast resources --json"))]
pub(crate) struct Args {}

#[derive(Debug, Serialize)]
struct Resources {
    resources: Vec<Line>,
    #[serde(skip)]
    now: Timestamp,
}

#[derive(Debug, Serialize)]
struct Line {
    name: String,
    kind: &'static str,
    tier: Tier,
    source: SourceSpec,
    last_backup: Option<LastBackup>,
    /// Seconds from the newest time that can be restored until now; none where nothing was backed up.
    rpo_seconds: Option<i64>,
}

#[derive(Debug, Serialize)]
struct LastBackup {
    id: String,
    #[serde(rename = "type")]
    backup_type: BackupType,
    status: Status,
    completed_at: Option<String>,
    age_seconds: Option<i64>,
    #[serde(skip)]
    ended: Option<Timestamp>,
}

/// Carries the command out.
pub(crate) async fn run(global: &Global) -> Result<Outcome> {
    let place = global.open().await?;
    let (jobs, now) = (place.jobs(), place.now());
    let mut lines = Vec::new();
    for (name, document) in jobs.resources().all().await? {
        let resource: Resource = serde_json::from_value(document).map_err(|e| {
            Error::new(Code::Internal, format!("resource {name:?} is unreadable: {e}"))
                .object(&name)
                .hint("apply it again with `holdfast apply -f FILE`")
        })?;
        let newest = jobs.jobs(JobKind::Backup, Some(&name)).page_size(1).next().await?;
        let last_backup = newest.into_iter().flatten().next().map(|job| last(&job, now));
        let restorable = place.restorable_until(&name).await?;
        lines.push(Line {
            name,
            kind: kind(&resource.source),
            tier: resource.policy.tier,
            source: resource.source,
            last_backup,
            rpo_seconds: restorable.map(|until| now.duration_since(until).as_secs().max(0)),
        });
    }
    Outcome::new(&Resources { resources: lines, now }, global.json, Exit::Done)
}

fn last(job: &Job, now: Timestamp) -> LastBackup {
    LastBackup {
        id: job.id.clone(),
        backup_type: job.backup_type.unwrap_or_default(),
        status: job.status,
        completed_at: job.completed_at.map(exact),
        age_seconds: job.completed_at.map(|ended| now.duration_since(ended).as_secs()),
        ended: job.completed_at,
    }
}

const fn kind(source: &SourceSpec) -> &'static str {
    match source {
        SourceSpec::Files { .. } => "files",
        SourceSpec::Jsonl { .. } => "jsonl",
        SourceSpec::Json { .. } => "json",
        SourceSpec::Dynamodb { .. } => "dynamodb",
        SourceSpec::S3 { .. } => "s3",
    }
}

impl Report for Resources {
    fn text(&self, out: &mut String) -> fmt::Result {
        if self.resources.is_empty() {
            return writeln!(out, "nothing is protected yet: see `holdfast apply --help`");
        }
        let columns = ["NAME", "KIND", "TIER", "LAST BACKUP", "STATUS", "COMPLETED", "AGE", "RPO"];
        let mut table = Table::new(&columns.map(|head| (head, Left)));
        for line in &self.resources {
            let cells = [line.name.clone(), line.kind.to_owned(), line.tier.as_str().to_owned()];
            let last = line.last_backup.as_ref();
            let ended = last.and_then(|last| last.ended);
            let of_backup = [
                last.map(|last| last.id.clone()),
                last.map(|last| last.status.to_string()),
                ended.map(|ended| time(Some(ended))),
                ended.map(|ended| age(self.now.duration_since(ended))),
            ];
            let rpo = line.rpo_seconds.map(|seconds| age(SignedDuration::from_secs(seconds)));
            let of_backup = of_backup.into_iter().chain([rpo]);
            table.row(cells.into_iter().chain(of_backup.map(|cell| cell.unwrap_or_else(|| "-".to_owned()))));
        }
        write!(out, "{table}")
    }
}
