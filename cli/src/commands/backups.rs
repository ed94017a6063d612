//! `holdfast backups`

use super::jobs::{BackupReport, Fate, took, verified};
use crate::exit::{Exit, after_help};
use crate::options::Global;
use crate::output::Side::{Left, Right};
use crate::output::{Outcome, Report, Table, count, duration, size, time};
use holdfast_common::jobs::{Job, JobError, JobKind, Verified};
use holdfast_vault::error::Result;
use jiff::Timestamp;
use serde::{Serialize, Serializer};
use std::fmt::{self, Write as _};

/// Lists backups, newest first
#[derive(Debug, clap::Args)]
#[command(after_help = after_help!(
    "holdfast backups",
    "holdfast backups orders --limit 1",
    "holdfast backups --limit 1000 --json",
    "holdfast backups --all                           those that were deleted too",
))]
pub(crate) struct Args {
    /// Only those of this resource
    #[arg(value_name = "NAME")]
    resource: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Also those that were deleted, of which nothing but the record is left
    #[arg(long)]
    all: bool,
}

struct Backups {
    jobs: Vec<Job>,
    now: Timestamp,
}

#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    backup: BackupReport<'a>,
    verified: Option<&'a Verified>,
    error: Option<&'a JobError>,
    #[serde(flatten)]
    fate: Fate,
}

/// Carries the command out.
pub(crate) async fn run(global: &Global, args: &Args) -> Result<Outcome> {
    let place = global.open().await?;
    let limit = args.limit as usize;
    let mut pages =
        place.jobs().jobs(JobKind::Backup, args.resource.as_deref()).page_size(args.limit.min(1_000));
    let mut jobs: Vec<Job> = Vec::new();
    while let Some(page) = pages.next().await? {
        jobs.extend(page.into_iter().filter(|job| args.all || !is_gone(job)));
        if jobs.len() >= limit {
            jobs.truncate(limit);
            break;
        }
    }
    if let Some(resource) = args.resource.as_deref().filter(|_| jobs.is_empty()) {
        // An empty list of a name that nothing has would hide a slip of the pen.
        place.jobs().resource(resource).await?;
    }
    Outcome::new(&Backups { jobs, now: place.now() }, global.json, Exit::Done)
}

/// Whether a backup was deleted.
fn is_gone(job: &Job) -> bool {
    job.deletion.as_ref().is_some_and(|deletion| deletion.deleted_at.is_some())
}

impl Serialize for Backups {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Answer<'a> {
            backups: Vec<Line<'a>>,
        }
        let line = |job| Line {
            backup: BackupReport::new(job),
            verified: job.verified.as_ref(),
            error: job.error.as_ref(),
            fate: Fate::of(job),
        };
        Answer { backups: self.jobs.iter().map(line).collect() }.serialize(to)
    }
}

impl Report for Backups {
    fn text(&self, out: &mut String) -> fmt::Result {
        if self.jobs.is_empty() {
            return writeln!(out, "there are no backups yet: see `holdfast backup --help`");
        }
        let mut table = Table::new(&[
            ("ID", Left),
            ("RESOURCE", Left),
            ("TYPE", Left),
            ("STATUS", Left),
            ("STARTED", Left),
            ("DURATION", Right),
            ("RECORDS", Right),
            ("FILES", Right),
            ("BYTES", Right),
            ("STORED", Right),
            ("VERIFIED", Left),
            ("STAYS", Left),
        ]);
        for job in &self.jobs {
            table.row([
                job.id.clone(),
                job.resource.clone(),
                job.backup_type.unwrap_or_default().to_string(),
                job.status.to_string(),
                time(job.started_at),
                took(job, self.now).map_or_else(|| "-".to_owned(), duration),
                count(job.totals.records),
                count(job.totals.files),
                size(job.totals.bytes),
                size(job.totals.stored_bytes),
                verified(job.verified.as_ref()),
                Fate::of(job).word(),
            ]);
        }
        write!(out, "{table}")
    }
}
