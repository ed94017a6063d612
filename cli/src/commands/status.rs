//! `holdfast status`

use super::drill::rto;
use crate::exit::{Exit, after_help};
use crate::options::Global;
use crate::output::Side::{Left, Right};
use crate::output::{Outcome, Report, Table, age};
use crate::place::Place;
use holdfast_vault::error::Result;
use holdfast_workflow::status::{self, ResourceStatus, StatusReport};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use std::fmt::{self, Write as _};

/// Shows whether each resource is protected as its tier promises
///
/// What may be lost (RPO) and how long a restore may take (RTO) follow from the tier: critical 1 h and 1 h, important
/// 24 h and 4 h, reference 7 d and 24 h. A promise is broken too where the last scheduled backup failed, damage was found,
/// nothing was verified for long, or the last drill failed, differed or is overdue: then the exit code is 3.
#[derive(Debug, clap::Args)]
#[command(after_help = after_help!("holdfast status", "holdfast status orders", "holdfast status --json"))]
pub(crate) struct Args {
    /// Only this resource
    #[arg(value_name = "RESOURCE")]
    resource: Option<String>,
}

/// Carries the command out.
pub(crate) async fn run(global: &Global, args: &Args) -> Result<Outcome> {
    let place = global.open().await?;
    let on_a_stack = matches!(place, Place::Stack(_));
    let now = place.now();
    let report = status::report(place.jobs(), now, args.resource.as_deref(), on_a_stack).await?;
    let exit = Exit::differences(!report.kept);
    Outcome::new(&Shown { report, now }, global.json, exit)
}

#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    report: StatusReport,
    #[serde(skip)]
    now: Timestamp,
}

impl Shown {
    fn cells(&self, of: &ResourceStatus) -> [String; 9] {
        let none = || "-".to_owned();
        let ago = |at: Timestamp| age(self.now.duration_since(at));
        let seconds = |seconds: i64| age(SignedDuration::from_secs(seconds));
        let verified = of.verified.as_ref().map(|found| {
            let said = if found.valid { found.level.as_str() } else { "DAMAGED" };
            format!("{said}, {}", ago(found.at))
        });
        let drill = of.last_drill.as_ref().map(|last| {
            let said = match (last.completed, last.equal) {
                (false, _) => "FAILED",
                (true, false) => "DIFFERENT",
                (true, true) => "equal",
            };
            format!("{said}, {}", ago(last.at))
        });
        let took = of.last_drill.as_ref().and_then(|last| last.rto_ms).map(rto);
        let next = of.next_run.as_ref().and_then(|next| next.parse::<Timestamp>().ok());
        [
            of.name.clone(),
            of.tier.as_str().to_owned(),
            of.age_seconds.map_or_else(none, seconds),
            format!("{} / {}", of.rpo_seconds.map_or_else(none, seconds), seconds(of.rpo_limit_seconds)),
            verified.unwrap_or_else(none),
            drill.unwrap_or_else(none),
            format!("{} / {}", took.unwrap_or_else(none), seconds(of.rto_limit_seconds)),
            next.map_or_else(none, |next| format!("{next:.0}")),
            of.warnings.to_string(),
        ]
    }
}

impl Report for Shown {
    fn text(&self, out: &mut String) -> fmt::Result {
        let resources = &self.report.resources;
        if resources.is_empty() {
            return writeln!(out, "nothing is protected yet: see `holdfast apply --help`");
        }
        let left = ["NAME", "TIER", "LAST BACKUP", "RPO", "VERIFIED", "LAST DRILL", "RTO", "NEXT RUN"];
        let columns: Vec<_> =
            left.into_iter().map(|head| (head, Left)).chain([("WARNINGS", Right)]).collect();
        let mut table = Table::new(&columns);
        for resource in resources {
            table.row(self.cells(resource));
        }
        write!(out, "{table}")?;
        if let Some(prune) = &self.report.last_prune {
            let ended = prune.completed_at.as_deref().map_or("not completed", |_| "completed");
            writeln!(out, "last prune: {}, {ended}", prune.started_at)?;
        }
        for resource in resources {
            for broken in &resource.broken {
                writeln!(out, "broken: {}: {}", resource.name, broken.message)?;
            }
        }
        if self.report.kept {
            writeln!(out, "every promise is kept")?;
        }
        Ok(())
    }
}
