//! `holdfast show`

use super::delta;
use super::drill::write_report;
use super::jobs::{Fate, backup_id, took, verification, write_error, write_warnings};
use super::undo::Undone;
use crate::exit::{Exit, after_help};
use crate::options::Global;
use crate::output::{Outcome, Report, amount, counted, duration, exact, size, time};
use holdfast_common::jobs::{
    BackupType, Job, JobError, JobKind, Status, StatusChange, StreamSummary, Task, Totals, Verified,
};
use holdfast_connectors::SourceSpec;
use holdfast_vault::error::Result;
use holdfast_vault::model::Warning;
use holdfast_workflow::drill::{DrillDetail, DrillReport};
use holdfast_workflow::events::Selection;
use holdfast_workflow::plan::{BackupDetail, detail};
use holdfast_workflow::restore;
use jiff::Timestamp;
use serde::Serialize;
use std::fmt::{self, Write as _};

/// Shows everything about a backup, a restore, an undo or a drill
#[derive(Debug, clap::Args)]
#[command(after_help = after_help!(
    "holdfast show 01K8Z6T3W4Q5R6S7T8V9W0X1Y2",
    "holdfast show latest:orders --json",
    "holdfast show latest:orders --delta",
))]
pub(crate) struct Args {
    /// The id of the backup, restore, undo or drill, or latest:RESOURCE
    #[arg(value_name = "ID")]
    id: String,
    /// What the backup changed, as one JSON object: against the backup it was built on, or the one before it
    #[arg(long)]
    delta: bool,
}

#[derive(Debug, Serialize)]
struct Shown {
    id: String,
    kind: JobKind,
    resource: String,
    #[serde(rename = "type")]
    backup_type: Option<BackupType>,
    status: Status,
    history: Vec<StatusChange>,
    created_at: String,
    started_at: Option<String>,
    completed_at: Option<String>,
    #[serde(flatten)]
    what: What,
    streams: Vec<StreamSummary>,
    #[serde(flatten)]
    totals: Totals,
    verified: Option<Verified>,
    warnings: Vec<Warning>,
    error: Option<JobError>,
    #[serde(flatten)]
    fate: Fate,
    tasks: Vec<TaskLine>,
    #[serde(skip)]
    took: Option<jiff::SignedDuration>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum What {
    Backup { source: SourceSpec },
    Restore { backup: String, target: String, selection: Selection, conflicts: u64 },
    Undo { undo: Box<Undone> },
    Drill { drill: Box<DrillReport> },
}

#[derive(Debug, Serialize)]
struct TaskLine {
    task: u32,
    stream: String,
    status: Status,
    attempts: u32,
    steps: u32,
    #[serde(flatten)]
    totals: Totals,
    started_at: Option<String>,
    completed_at: Option<String>,
    warnings: Vec<Warning>,
    error: Option<JobError>,
}

/// Carries the command out.
pub(crate) async fn run(global: &Global, args: &Args) -> Result<Outcome> {
    let place = if args.delta { global.open_home("show --delta").await? } else { global.open().await? };
    let id = backup_id(&place, &args.id).await?;
    if args.delta {
        return Box::pin(delta::show(place.home()?, &id)).await;
    }
    let job = place.jobs().job(&id).await?;
    let undone = match job.kind {
        JobKind::Undo => Some(Undone::new(&place, job.clone()).await?),
        JobKind::Backup | JobKind::Restore | JobKind::Drill => None,
    };
    let tasks = place.jobs().tasks(&id).all().await?;
    Outcome::new(&Shown::new(job, undone, tasks, place.now())?, global.json, Exit::Done)
}

impl Shown {
    fn new(job: Job, undone: Option<Undone>, tasks: Vec<Task>, now: Timestamp) -> Result<Self> {
        let what = match (job.kind, undone) {
            (_, Some(undone)) => What::Undo { undo: Box::new(undone) },
            (JobKind::Backup, _) => What::Backup { source: detail::<BackupDetail>(&job)?.resource.source },
            (JobKind::Drill, None) => {
                let completed = job.status == Status::Completed;
                let report = DrillReport::of(detail::<DrillDetail>(&job)?, completed);
                What::Drill { drill: Box::new(report) }
            }
            (JobKind::Restore | JobKind::Undo, None) => {
                let (backup, target, selection, written) = restore::asked(&job)?;
                What::Restore { backup, target: target.to_string(), selection, conflicts: written.conflicts }
            }
        };
        Ok(Self {
            took: took(&job, now),
            fate: Fate::of(&job),
            created_at: exact(job.created_at),
            started_at: job.started_at.map(exact),
            completed_at: job.completed_at.map(exact),
            what,
            id: job.id,
            kind: job.kind,
            resource: job.resource,
            backup_type: job.backup_type,
            status: job.status,
            history: job.history,
            streams: job.streams,
            totals: job.totals,
            verified: job.verified,
            warnings: job.warnings,
            error: job.error,
            tasks: tasks.into_iter().map(TaskLine::from).collect(),
        })
    }

    fn write_what(&self, out: &mut String) -> fmt::Result {
        match &self.what {
            What::Backup { source } => writeln!(out, "  source    {}", source_text(source)),
            What::Undo { undo } => undo.write(out),
            What::Drill { drill } => write_report(out, drill),
            What::Restore { backup, target, selection, conflicts } => {
                writeln!(out, "  backup    {backup}")?;
                writeln!(out, "  target    {target}")?;
                let chosen =
                    [("stream", &selection.streams), ("key", &selection.keys), ("path", &selection.paths)];
                for (what, values) in chosen {
                    values.iter().try_for_each(|value| writeln!(out, "  only      {what} {value}"))?;
                }
                if *conflicts > 0 {
                    writeln!(out, "  conflicts {conflicts}")?;
                }
                Ok(())
            }
        }
    }

    fn write_tasks(&self, out: &mut String) -> fmt::Result {
        if self.tasks.is_empty() {
            return Ok(());
        }
        let done = self.tasks.iter().filter(|task| task.status == Status::Completed).count();
        writeln!(out, "  tasks     {done} of {} completed", self.tasks.len())?;
        for task in self.tasks.iter().filter(|task| task.error.is_some()) {
            let attempts = counted(task.attempts.into(), "attempt");
            writeln!(
                out,
                "  task {} of stream {}: {} after {attempts}",
                task.task, task.stream, task.status
            )?;
        }
        Ok(())
    }
}

impl From<Task> for TaskLine {
    fn from(task: Task) -> Self {
        Self {
            task: task.task,
            stream: task.stream,
            status: task.status,
            attempts: task.attempts,
            steps: task.step,
            totals: task.totals,
            started_at: task.started_at.map(exact),
            completed_at: task.completed_at.map(exact),
            warnings: task.warnings,
            error: task.error,
        }
    }
}

fn source_text(source: &SourceSpec) -> String {
    match source {
        SourceSpec::Files { path } => format!("files:{}", path.display()),
        SourceSpec::Jsonl { path, key } => format!("jsonl:{} (key {})", path.display(), key.join(", ")),
        SourceSpec::Json { path: Some(path), .. } => format!("json:{}", path.display()),
        SourceSpec::Json { path: None, .. } => "json (an inline document)".to_owned(),
        SourceSpec::Dynamodb { table, .. } => format!("dynamodb:{table}"),
        SourceSpec::S3 { bucket, prefix, .. } => format!("s3://{bucket}/{prefix}"),
    }
}

impl Report for Shown {
    fn text(&self, out: &mut String) -> fmt::Result {
        let kind = self.backup_type.map_or_else(|| self.kind.to_string(), |of| format!("{of} {}", self.kind));
        writeln!(out, "{kind} {} of {}: {}", self.id, self.resource, self.status)?;
        self.write_what(out)?;
        for change in &self.history {
            writeln!(out, "  {:<9} {}", change.status, time(Some(change.at)))?;
        }
        if let Some(took) = self.took {
            writeln!(out, "  took      {}", duration(took))?;
        }
        let totals = &self.totals;
        writeln!(out, "  content   {}", amount(totals.records, totals.files, totals.bytes))?;
        if self.kind == JobKind::Backup {
            writeln!(out, "  stored    {}", size(totals.stored_bytes))?;
        }
        for stream in &self.streams {
            let amount = amount(stream.records, stream.files, stream.bytes);
            writeln!(out, "  stream    {}: {amount}", stream.name)?;
        }
        if let Some(verified) = &self.verified {
            writeln!(out, "  verified  {}", verification(verified))?;
        }
        self.fate.write(out)?;
        self.write_tasks(out)?;
        write_warnings(out, &self.warnings)?;
        self.error.as_ref().map_or(Ok(()), |error| write_error(out, error))
    }
}
