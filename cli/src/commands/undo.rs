//! `holdfast undo`

use super::jobs::{took, write_warnings};
use super::window::{counts_text, exact_text, fields, fields_text, key, notes, ready, short, shown_value};
use crate::exit::{Exit, after_help};
use crate::options::Global;
use crate::output::{Outcome, Report, counted, duration};
use crate::place::Place;
use crate::progress::attend;
use clap::ValueEnum;
use holdfast_common::jobs::{Job, Status};
use holdfast_connectors::{OnConflict, RecordFilter};
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::model::Warning;
use holdfast_workflow::history::{Asked, Choice, Counts, Exactness, Point, window};
use holdfast_workflow::plan::detail;
use holdfast_workflow::undo::{
    Conflict, DryRun, UndoCounts, UndoDetail, UndoOf, UndoRequest, conflicts, dry_run,
};
use serde::Serialize;
use serde_json::Value;
use std::fmt::{self, Write as _};
use std::path::PathBuf;

/// So many conflicts are told to people, and so many to programs.
const SHOWN: usize = 20;
const TOLD: usize = 10_000;

/// Takes the writes of a window of time back, in place, and keeps every other
///
/// Each record that changed in the window becomes what it was at --from, but only if it still is what it was at --to:
/// what somebody wrote since is a conflict, kept and listed. Deleted records come back, added ones go. In the end the
/// records are read again and compared. What was written is recorded, so that an undo can be undone. On a stack there is
/// no --dry-run and no --key-file, and conflicts are counted, not listed.
#[derive(Debug, clap::Args)]
#[command(after_help = after_help!(
    "holdfast undo products --from 2026-11-21T14:00:00Z --to 2026-11-21T14:20:00Z --dry-run",
    "holdfast undo products --from 2026-11-21T14:00:00Z --to 2026-11-21T14:20:00Z --where currency=EUR",
    "holdfast undo products --from 2026-11-21T14:00:00Z --to now --key-file bad-keys.txt --on-conflict fail",
    "holdfast undo --undo 01K8Z6T3W4Q5R6S7T8V9W0X1Y2    takes an undo back",
))]
pub(crate) struct Args {
    /// The resource's name
    #[arg(value_name = "NAME", required_unless_present = "undo", conflicts_with = "undo")]
    resource: Option<String>,
    /// The beginning of the window: a time, or a backup's id
    #[arg(long, value_name = "TIME|ID", required_unless_present = "undo", conflicts_with = "undo")]
    from: Option<String>,
    /// The end of the window: a time, a backup's id, or now
    #[arg(long, value_name = "TIME|ID|now", required_unless_present = "undo", conflicts_with = "undo")]
    to: Option<String>,
    /// Only this stream
    #[arg(long, value_name = "STREAM", conflicts_with = "undo")]
    stream: Option<String>,
    /// Only records with this value before or after; may be given several times, then all must hold
    #[arg(long = "where", value_name = "FIELD=VALUE", conflicts_with = "undo")]
    conditions: Vec<String>,
    /// Only records whose keys begin so
    #[arg(long, value_name = "TEXT", conflicts_with = "undo")]
    key_prefix: Option<String>,
    /// Only the records of these keys: a file of one key a line
    #[arg(long, value_name = "FILE", conflicts_with = "undo")]
    key_file: Option<PathBuf>,
    /// Takes this undo back instead
    #[arg(long, value_name = "ID")]
    undo: Option<String>,
    /// What to do with a record that was written since the window
    #[arg(long, value_name = "WHAT", default_value = "skip")]
    on_conflict: Conflicting,
    /// Shows what would be put back and what is in the way, and writes nothing
    #[arg(long)]
    dry_run: bool,
}

/// [`OnConflict`] as the command line takes it.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Conflicting {
    /// Keep what was written since, and list it
    Skip,
    /// Write over it, and list it
    Overwrite,
    /// Write nothing if there is any
    Fail,
}

impl From<Conflicting> for OnConflict {
    fn from(asked: Conflicting) -> Self {
        match asked {
            Conflicting::Skip => Self::Skip,
            Conflicting::Overwrite => Self::Overwrite,
            Conflicting::Fail => Self::Fail,
        }
    }
}

/// Carries the command out.
pub(crate) async fn run(global: &Global, args: &Args) -> Result<Outcome> {
    let of = of(args)?;
    let keys = args.key_file.as_ref().map(read_keys).transpose()?;
    let place = match (args.dry_run, &args.key_file) {
        (true, _) => global.open_home("undo --dry-run").await?,
        (_, Some(_)) => global.open_home("undo --key-file").await?,
        _ => global.open().await?,
    };
    if let UndoOf::Window { asked, .. } = &of {
        Box::pin(ready(global, &place, asked)).await?;
    }
    let request = UndoRequest { of, on_conflict: args.on_conflict.into() };
    if args.dry_run {
        let most = if global.json { TOLD } else { SHOWN };
        let planned = Box::pin(dry_run(place.home()?.services(), &request, keys, most)).await?;
        let exit = Exit::differences(planned.conflicts > 0);
        return Outcome::new(&Planned::new(planned)?, global.json, exit);
    }
    let mut what = "undoing an undo".to_owned();
    if let UndoOf::Window { asked, .. } = &request.of {
        // On a stack they stand with the job's warnings.
        if let Place::Home(cloud) = &place {
            notes(global, &window(cloud.services(), asked).await?.exactness.notes);
        }
        what = format!("undoing in {}", asked.resource);
    }
    let id = place.new_id();
    let work = Box::pin(place.run_undo(&id, &request, keys.as_deref()));
    let job = attend(global, &place, &id, &what, work).await?;
    let undone = Undone::new(&place, job).await?;
    let kept = undone.counts.conflicts > undone.counts.overwritten;
    Outcome::new(&undone, global.json, Exit::differences(kept))
}

fn of(args: &Args) -> Result<UndoOf> {
    if let Some(id) = &args.undo {
        return Ok(UndoOf::Undo(id.clone()));
    }
    // Without --undo the three are required.
    let (resource, from, to) = (&args.resource, &args.from, &args.to);
    let asked = Asked {
        resource: resource.clone().unwrap_or_default(),
        from: Point::parse(from.as_deref().unwrap_or_default(), "--from")?,
        to: Point::parse(to.as_deref().unwrap_or_default(), "--to")?,
        stream: args.stream.clone(),
    };
    let filter = RecordFilter::parse(&args.conditions, args.key_prefix.clone())?;
    Ok(UndoOf::Window { asked, filter })
}

fn read_keys(path: &PathBuf) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(path).map_err(|e| {
        Error::new(Code::InvalidInput, format!("--key-file {} cannot be read: {e}", path.display()))
            .object(path.display().to_string())
            .hint("name a text file with one key a line")
    })?;
    Choice::key_list(&text, "--key-file")
}

/// A conflict with all its values.
#[derive(Debug, Serialize)]
pub(super) struct Told {
    stream: String,
    key: String,
    /// What it was before the window.
    was: Option<Value>,
    /// What the window left.
    left: Option<Value>,
    /// What somebody wrote since.
    now: Option<Value>,
    overwritten: bool,
    #[serde(skip)]
    fields: String,
}

impl Told {
    fn new(of: &Conflict) -> Result<Self> {
        let value = |value: &Option<Vec<u8>>| shown_value(&of.stream, value.as_deref());
        Ok(Self {
            stream: of.stream.name.clone(),
            key: key(&of.stream, &of.key),
            was: value(&of.was)?,
            left: value(&of.left)?,
            now: value(&of.now)?,
            overwritten: of.overwritten,
            fields: fields_text(&fields(&of.stream, of.left.as_deref(), of.now.as_deref())?),
        })
    }

    pub(super) fn write(all: &[Self], conflicts: u64, out: &mut String) -> fmt::Result {
        for told in all.iter().take(SHOWN) {
            let (was, left, now) =
                (short(told.was.as_ref()), short(told.left.as_ref()), short(told.now.as_ref()));
            writeln!(out, "  ! {}  was {was}, left {left}, now {now}", told.key.replace('\n', "\\n"))?;
            if !told.fields.is_empty() {
                writeln!(out, "      since: {}", told.fields)?;
            }
        }
        let shown = all.len().min(SHOWN) as u64;
        if conflicts > shown {
            writeln!(out, "  and {} more: see them with --json", counted(conflicts - shown, "conflict"))?;
        }
        Ok(())
    }
}

/// What an undo did.
#[derive(Debug, Serialize)]
pub(super) struct Undone {
    id: String,
    resource: String,
    status: Status,
    from: Option<String>,
    to: Option<String>,
    /// The undo that was taken back.
    undo_of: Option<String>,
    window: Counts,
    exactness: Exactness,
    #[serde(flatten)]
    pub(super) counts: UndoCounts,
    conflict_list: Vec<Told>,
    warnings: Vec<Warning>,
    #[serde(skip)]
    took: String,
}

impl Undone {
    pub(super) async fn new(place: &Place, job: Job) -> Result<Self> {
        let of: UndoDetail = detail(&job)?;
        // They stand in the vault, which a stack's operator does not read.
        let listed = match (of.counts.conflicts, place) {
            (0, _) | (_, Place::Stack(_)) => Vec::new(),
            (_, Place::Home(cloud)) => conflicts(cloud.services(), &job.id, TOLD).await?,
        };
        let plan = of.plan;
        Ok(Self {
            from: plan.as_ref().map(|plan| plan.from.clone()),
            to: plan.as_ref().map(|plan| plan.to.clone()),
            window: plan.as_ref().map(|plan| plan.window).unwrap_or_default(),
            undo_of: match of.request.of {
                UndoOf::Undo(id) => Some(id),
                UndoOf::Window { .. } => None,
            },
            exactness: plan.map(|plan| plan.exactness).unwrap_or_default(),
            counts: of.counts,
            conflict_list: listed.iter().map(Told::new).collect::<Result<_>>()?,
            took: took(&job, job.created_at)
                .map_or_else(String::new, |took| format!(" in {}", duration(took))),
            id: job.id,
            resource: job.resource,
            status: job.status,
            warnings: job.warnings,
        })
    }

    /// What became of the window's records, for people.
    pub(super) fn write(&self, out: &mut String) -> fmt::Result {
        let counts = &self.counts;
        let records = |number| counted(number, "record");
        if let (Some(from), Some(to)) = (&self.from, &self.to) {
            writeln!(out, "  window     {from} to {to} ({})", exact_text(&self.exactness))?;
            writeln!(out, "  changed    {}", counts_text(self.window))?;
        }
        writeln!(out, "  undone     {}", records(counts.undone))?;
        if counts.already > 0 {
            writeln!(out, "  already    {} were back", records(counts.already))?;
        }
        if counts.conflicts > 0 {
            let over = counts.overwritten;
            let kept = counts.conflicts.saturating_sub(over);
            writeln!(out, "  conflicts  {kept} kept as written since, {over} overwritten")?;
            if !self.conflict_list.is_empty() {
                Told::write(&self.conflict_list, counts.conflicts, out)?;
            }
        }
        writeln!(out, "  proved     {} are what they should be", records(counts.proved))?;
        if counts.changed_since > 0 {
            writeln!(out, "  since      {} were written again", records(counts.changed_since))?;
        }
        if counts.not_proved > 0 {
            writeln!(out, "  NOT PROVED {} are again what was taken back", records(counts.not_proved))?;
        }
        Ok(())
    }
}

impl Report for Undone {
    fn text(&self, out: &mut String) -> fmt::Result {
        if self.counts.in_window == 0 {
            writeln!(
                out,
                "nothing to undo in {}: nothing that is meant changed in the window",
                self.resource
            )?;
            writeln!(out, "  id         {}", self.id)?;
            return write_warnings(out, &self.warnings);
        }
        writeln!(
            out,
            "undid {} of {} in {}{}",
            self.counts.undone, self.counts.in_window, self.resource, self.took
        )?;
        writeln!(out, "  id         {}", self.id)?;
        self.write(out)?;
        if self.counts.undone > 0 {
            writeln!(out, "  take back  holdfast undo --undo {}", self.id)?;
        }
        write_warnings(out, &self.warnings)
    }
}

#[derive(Debug, Serialize)]
struct Planned {
    dry_run: bool,
    resource: String,
    window: Counts,
    exactness: Exactness,
    would_undo: u64,
    already: u64,
    conflicts: u64,
    conflict_list: Vec<Told>,
}

impl Planned {
    fn new(of: DryRun) -> Result<Self> {
        Ok(Self {
            dry_run: true,
            conflict_list: of.listed.iter().map(Told::new).collect::<Result<_>>()?,
            resource: of.resource,
            window: of.window,
            exactness: of.exactness,
            would_undo: of.would_undo,
            already: of.already,
            conflicts: of.conflicts,
        })
    }
}

impl Report for Planned {
    fn text(&self, out: &mut String) -> fmt::Result {
        let records = |number| counted(number, "record");
        writeln!(out, "dry run: nothing was written into {}", self.resource)?;
        writeln!(out, "  changed    {} ({})", counts_text(self.window), exact_text(&self.exactness))?;
        writeln!(out, "  to undo    {}", records(self.would_undo))?;
        if self.already > 0 {
            writeln!(out, "  already    {} are back", records(self.already))?;
        }
        if self.conflicts > 0 {
            writeln!(out, "  conflicts  {} were written since", records(self.conflicts))?;
            Told::write(&self.conflict_list, self.conflicts, out)?;
        }
        write_warnings(out, &self.exactness.notes)
    }
}
