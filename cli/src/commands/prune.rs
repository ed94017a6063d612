//! `holdfast prune`

use crate::exit::{Exit, after_help};
use crate::options::Global;
use crate::output::{Outcome, Report, counted, size};
use crate::progress::Bar;
use holdfast_common::jobs::{PruneFigures, PruneRow};
use holdfast_vault::error::Result;
use holdfast_workflow::cost::prices::dollars_per_month;
use holdfast_workflow::margins::CONDEMNED_FOR;
use serde::Serialize;
use std::fmt::{self, Write as _};

/// Ends backups whose time is up, and deletes what nothing in the vault needs any more
///
/// What nothing needs is condemned first, and deleted by a prune some hours later if nothing needs it then: a backup that is
/// under way may be about to. Nothing is deleted while the manifest of any backup is missing or unreadable.
#[derive(Debug, clap::Args)]
#[command(after_help = after_help!(
    "holdfast prune --dry-run     count what would be condemned and deleted, and what it costs",
    "holdfast prune",
    "holdfast --stack holdfast prune --json",
))]
pub(crate) struct Args {
    /// Counts what would be done, and does nothing of it
    #[arg(long)]
    dry_run: bool,
}

/// What a prune did, or would do. Prices are of [`holdfast_workflow::prune::price`].
#[derive(Debug, Serialize)]
struct Pruned {
    id: String,
    dry_run: bool,
    started_at: String,
    completed_at: Option<String>,
    #[serde(flatten)]
    figures: PruneFigures,
    condemned_dollars_per_month: f64,
    waiting_dollars_per_month: f64,
    deleted_dollars_per_month: f64,
}

impl From<PruneRow> for Pruned {
    fn from(row: PruneRow) -> Self {
        let cents = |bytes| (dollars_per_month(bytes) * 1e4).round() / 1e4;
        Self {
            condemned_dollars_per_month: cents(row.figures.condemned_bytes),
            waiting_dollars_per_month: cents(row.figures.waiting_bytes),
            deleted_dollars_per_month: cents(row.figures.deleted_bytes),
            id: row.id,
            dry_run: row.dry_run,
            started_at: format!("{:.3}", row.started_at),
            completed_at: row.completed_at.map(|at| format!("{at:.3}")),
            figures: row.figures,
        }
    }
}

/// Carries the command out.
pub(crate) async fn run(global: &Global, args: &Args) -> Result<Outcome> {
    let place = global.open().await?;
    let bar = Bar::new(global, if args.dry_run { "looking for what nothing needs" } else { "pruning" });
    let row = place.run_prune(&place.new_id(), args.dry_run).await?;
    drop(bar);
    Outcome::new(&Pruned::from(row), global.json, Exit::Done)
}

impl Report for Pruned {
    fn text(&self, out: &mut String) -> fmt::Result {
        let figures = &self.figures;
        let would = if self.dry_run { "would be " } else { "" };
        writeln!(out, "looked at {}, {}", counted(figures.objects, "object"), size(figures.bytes))?;
        if figures.backups_ended > 0 {
            writeln!(out, "  {}ended      {}", would, counted(figures.backups_ended, "backup"))?;
        }
        let mut line = |what: &str, objects: u64, bytes: u64| {
            let price = dollars_per_month(bytes);
            writeln!(out, "  {what}  {}, {}, ${price:.2} a month", counted(objects, "object"), size(bytes))
        };
        line(&format!("{would}condemned"), figures.condemned, figures.condemned_bytes)?;
        line("waiting", figures.waiting, figures.waiting_bytes)?;
        line(&format!("{would}deleted"), figures.deleted, figures.deleted_bytes)?;
        if figures.locked > 0 {
            line("locked, so kept", figures.locked, figures.locked_bytes)?;
        }
        if figures.rescued > 0 {
            writeln!(out, "  rescued  {}", counted(figures.rescued, "object"))?;
        }
        if figures.extended > 0 {
            writeln!(out, "  locked for longer  {}", counted(figures.extended, "object"))?;
        }
        if figures.condemned > 0 && !self.dry_run {
            writeln!(
                out,
                "  note: what is condemned now may be deleted by a prune in {} hours",
                CONDEMNED_FOR.as_hours()
            )?;
        }
        Ok(())
    }
}
