//! `holdfast capture`

use crate::exit::{Exit, after_help};
use crate::options::Global;
use crate::output::{Outcome, Report, counted, exact};
use holdfast_local::CaptureReport;
use holdfast_vault::error::Result;
use serde::Serialize;
use std::fmt::{self, Write as _};

/// Captures the changes of a table that its stream holds
///
/// One pass: it ends when all is captured that was written before it began. The table is one of this home
/// (`endpoint: embedded`); its stream is switched on if the resource's policy says `capture: true`. A table on AWS is
/// captured by the function on its stream.
#[derive(Debug, clap::Args)]
#[command(after_help = after_help!("holdfast capture orders", "holdfast capture orders --json"))]
pub(crate) struct Args {
    /// The resource's name
    #[arg(value_name = "RESOURCE")]
    resource: String,
}

#[derive(Debug, Serialize)]
struct Captured {
    resource: String,
    changes: u64,
    batches: u64,
    since: String,
    watermark: String,
    gaps: usize,
    new_gaps: usize,
    switched_on: bool,
}

impl From<CaptureReport> for Captured {
    fn from(report: CaptureReport) -> Self {
        Self {
            resource: report.resource,
            changes: report.changes,
            batches: report.batches,
            since: exact(report.since),
            watermark: exact(report.watermark),
            gaps: report.gaps,
            new_gaps: report.new_gaps,
            switched_on: report.switched_on,
        }
    }
}

/// Carries the command out. A gap that was found ends it with exit code 3.
pub(crate) async fn run(global: &Global, args: &Args) -> Result<Outcome> {
    let place = global.open_home("capture").await?;
    let captured = Captured::from(place.home()?.capture(&args.resource).await?);
    let exit = Exit::differences(captured.new_gaps > 0);
    Outcome::new(&captured, global.json, exit)
}

impl Report for Captured {
    fn text(&self, out: &mut String) -> fmt::Result {
        if self.switched_on {
            writeln!(out, "{}: the table's stream is on from now", self.resource)?;
        }
        let changes = counted(self.changes, "change");
        writeln!(
            out,
            "{}: {changes} captured, complete from {} to {}",
            self.resource, self.since, self.watermark
        )?;
        if self.gaps > 0 {
            let (gaps, new) = (counted(self.gaps as u64, "gap"), self.new_gaps);
            writeln!(out, "  {gaps}, {new} of them new: changes in them are missing until the next backup")?;
        }
        Ok(())
    }
}
