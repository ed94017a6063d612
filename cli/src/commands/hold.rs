//! `holdfast hold`, `holdfast release`

use super::jobs::{Fate, backup_id};
use crate::exit::{Exit, after_help};
use crate::options::Global;
use crate::output::{Outcome, Report, time};
use holdfast_common::jobs::Job;
use holdfast_vault::error::Result;
use holdfast_workflow::retention;
use serde::Serialize;
use std::fmt::{self, Write as _};

/// Holds a backup: it and all that it needs stay until it is released
///
/// Neither its policy, nor its expiry, nor `delete` ends a held backup. A deletion that was asked for and not carried out is
/// taken back. A second hold changes the reason.
#[derive(Debug, clap::Args)]
#[command(after_help = after_help!(
    "holdfast hold 01K8Z6T3W4Q5R6S7T8V9W0X1Y2 --reason \"court file 4711, ask legal@example.com\"",
    "holdfast hold latest:orders --reason audit --dry-run",
))]
pub(crate) struct Args {
    /// The backup's id, or latest:RESOURCE
    #[arg(value_name = "ID")]
    id: String,
    /// Why it must stay, and who may release it
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Says what would be held, and holds nothing
    #[arg(long)]
    dry_run: bool,
}

/// Releases a held backup: from then on its policy decides again
#[derive(Debug, clap::Args)]
#[command(after_help = after_help!("holdfast release 01K8Z6T3W4Q5R6S7T8V9W0X1Y2"))]
pub(crate) struct ReleaseArgs {
    /// The backup's id, or latest:RESOURCE
    #[arg(value_name = "ID")]
    id: String,
    /// Says what would be released, and releases nothing
    #[arg(long)]
    dry_run: bool,
}

/// A backup of which something was said, and how long it stays now.
#[derive(Debug, Serialize)]
pub(super) struct Said {
    id: String,
    resource: String,
    #[serde(flatten)]
    fate: Fate,
    dry_run: bool,
    #[serde(skip)]
    line: String,
}

impl Said {
    pub(super) fn new(job: &Job, dry_run: bool, line: impl Into<String>) -> Self {
        Self {
            id: job.id.clone(),
            resource: job.resource.clone(),
            fate: Fate::of(job),
            dry_run,
            line: line.into(),
        }
    }

    pub(super) fn outcome(&self, global: &Global) -> Result<Outcome> {
        Outcome::new(self, global.json, Exit::Done)
    }
}

impl Report for Said {
    fn text(&self, out: &mut String) -> fmt::Result {
        let would = if self.dry_run { "this is a dry run: nothing was changed. Then " } else { "" };
        writeln!(out, "{would}backup {} of {} {}", self.id, self.resource, self.line)
    }
}

/// Carries `hold` out.
pub(crate) async fn run(global: &Global, args: &Args) -> Result<Outcome> {
    let place = global.open().await?;
    let id = backup_id(&place, &args.id).await?;
    let (jobs, now) = (place.jobs(), place.now());
    let job = if args.dry_run {
        retention::held(jobs.job(&id).await?, now, &args.reason)?
    } else {
        retention::hold(jobs, now, &id, &args.reason).await?
    };
    let since = job.hold.as_ref().map(|hold| hold.at);
    Said::new(&job, args.dry_run, format!("is held since {}", time(since))).outcome(global)
}

/// Carries `release` out.
pub(crate) async fn release(global: &Global, args: &ReleaseArgs) -> Result<Outcome> {
    let place = global.open().await?;
    let id = backup_id(&place, &args.id).await?;
    let job = if args.dry_run {
        retention::released(place.jobs().job(&id).await?)?
    } else {
        retention::release(place.jobs(), &id).await?
    };
    Said::new(&job, args.dry_run, "is not held; its policy decides").outcome(global)
}
