//! `holdfast drill`

use super::jobs::write_warnings;
use crate::exit::{Exit, after_help};
use crate::options::Global;
use crate::output::{Outcome, Report, amount, duration, exact};
use crate::progress::attend;
use holdfast_common::jobs::{Job, Status};
use holdfast_vault::error::Result;
use holdfast_vault::model::Warning;
use holdfast_workflow::drill::{Compared, DrillDetail, DrillReport, DrillRequest, RANDOM};
use holdfast_workflow::plan::detail;
use jiff::SignedDuration;
use serde::Serialize;
use std::fmt::{self, Write as _};

/// Restores a backup into a throw-away target, and compares that with what was backed up
///
/// Every record and file is read back and held against the digests of the backup's manifest. The target is a table
/// holdfast-drill-ID, or a directory in the home (on a stack: a prefix of its staging bucket). It is removed at the end,
/// also when the drill fails. How long the restore took is the RTO that `holdfast status` shows.
#[derive(Debug, clap::Args)]
#[command(after_help = after_help!(
    "holdfast drill orders                    of a backup by chance",
    "holdfast drill orders --backup latest",
    "holdfast drill exports --stream orders",
    "holdfast drill orders --dry-run          which backup, and where to",
))]
pub(crate) struct Args {
    /// The resource
    #[arg(value_name = "RESOURCE")]
    resource: String,
    /// Which of its backups: an id, latest, or random
    #[arg(long, value_name = "BACKUP", default_value = RANDOM)]
    backup: String,
    /// Only this stream; may be given several times
    #[arg(long = "stream", value_name = "STREAM")]
    streams: Vec<String>,
    /// Shows what would be restored and where to, and restores nothing
    #[arg(long)]
    dry_run: bool,
}

/// Carries the command out.
pub(crate) async fn run(global: &Global, args: &Args) -> Result<Outcome> {
    let place = global.open().await?;
    let (resource, backup) = (args.resource.clone(), args.backup.clone());
    let request = DrillRequest { resource, backup, streams: args.streams.clone() };
    let id = place.new_id();
    if args.dry_run {
        let (backup, target) = place.would_drill(&id, &request).await?;
        let would = Would { dry_run: true, resource: request.resource, backup, target };
        return Outcome::new(&would, global.json, Exit::Done);
    }
    let work = Box::pin(place.run_drill(&id, &request));
    let job = attend(global, &place, &id, &format!("drilling {}", args.resource), work).await?;
    let drilled = Drilled::new(job)?;
    let differs = drilled.report.equal != Some(true);
    Outcome::new(&drilled, global.json, Exit::differences(differs))
}

#[derive(Debug, Serialize)]
struct Would {
    dry_run: bool,
    resource: String,
    backup: String,
    target: String,
}

impl Report for Would {
    fn text(&self, out: &mut String) -> fmt::Result {
        let Self { backup, target, resource, .. } = self;
        writeln!(out, "dry run: backup {backup} of {resource} would be restored into {target}; nothing was")
    }
}

#[derive(Debug, Serialize)]
struct Drilled {
    id: String,
    resource: String,
    status: Status,
    #[serde(flatten)]
    report: DrillReport,
    records: u64,
    files: u64,
    bytes: u64,
    completed_at: Option<String>,
    warnings: Vec<Warning>,
}

impl Drilled {
    fn new(job: Job) -> Result<Self> {
        let report = DrillReport::of(detail::<DrillDetail>(&job)?, job.status == Status::Completed);
        Ok(Self {
            report,
            records: job.totals.records,
            files: job.totals.files,
            bytes: job.totals.bytes,
            completed_at: job.completed_at.map(exact),
            id: job.id,
            resource: job.resource,
            status: job.status,
            warnings: job.warnings,
        })
    }
}

impl Report for Drilled {
    fn text(&self, out: &mut String) -> fmt::Result {
        let said = if self.report.equal == Some(true) { "equal" } else { "DIFFERENT" };
        writeln!(out, "drilled {}: what was restored is {said}", self.resource)?;
        writeln!(out, "  id         {}", self.id)?;
        write_report(out, &self.report)?;
        writeln!(out, "  compared   {}", amount(self.records, self.files, self.bytes))?;
        write_warnings(out, &self.warnings)
    }
}

/// What a drill did, each on a line.
pub(super) fn write_report(out: &mut String, report: &DrillReport) -> fmt::Result {
    let line = |out: &mut String, name: &str, value: &Option<String>| {
        value.as_ref().map_or(Ok(()), |value| writeln!(out, "  {name:<10} {value}"))
    };
    line(out, "backup", &report.backup)?;
    line(out, "target", &report.target)?;
    line(out, "removed", &report.removed_at)?;
    line(out, "RTO", &report.rto_ms.map(rto))?;
    report.compared.iter().try_for_each(|stream| {
        let said = if stream.equal { "equal" } else { "DIFFERENT" };
        writeln!(out, "  stream     {}: {said}, {}", stream.stream, held(stream))
    })
}

fn held(of: &Compared) -> String {
    amount(of.found.records, of.found.files, of.found.bytes)
}

/// How long a restore took, for people.
pub(super) fn rto(millis: u64) -> String {
    duration(SignedDuration::from_millis(i64::try_from(millis).unwrap_or(i64::MAX)))
}
