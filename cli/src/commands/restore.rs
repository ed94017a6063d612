//! `holdfast restore`

use super::jobs::{backup_id, took, write_warnings};
use crate::copies::{CopyPlace, backup_in_copy};
use crate::exit::{Exit, after_help};
use crate::options::Global;
use crate::output::{Outcome, Report, amount, counted, duration};
use crate::progress::attend;
use clap::ValueEnum;
use holdfast_common::jobs::{Job, Status, StreamSummary};
use holdfast_connectors::{OnConflict, TargetSpec};
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::model::Warning;
use holdfast_workflow::events::{RestoreRequest, Selection, WouldRestore};
use holdfast_workflow::restore;
use jiff::Timestamp;
use serde::Serialize;
use std::fmt::{self, Write as _};

/// Restores a backup, or some of it
///
/// Nothing is overwritten unless --on-conflict says so: the target must be new or empty. A restore that fails or is
/// cancelled removes what it made. Without --stream, --key and --path everything is restored.
#[derive(Debug, clap::Args)]
#[command(after_help = after_help!(
    "holdfast restore latest:site --to files:/srv/restored",
    "holdfast restore latest:site --to files:out --path 'img/**' --path index.html",
    "holdfast restore latest:orders --to dynamodb:orders-restored --region eu-central-1",
    "holdfast restore latest:orders --to jsonl:out --key 10042",
    "holdfast restore orders --at 2026-11-21T14:01:00Z --to dynamodb:orders-before",
    "holdfast restore 01K8Z6T3W4Q5R6S7T8V9W0X1Y2 --to s3://shop-restored/img/ --dry-run",
    "holdfast restore latest:orders --from-copy s3://shop-vault-copy/vault --to jsonl:out",
))]
pub(crate) struct Args {
    /// The backup's id, or latest:RESOURCE; with --at the resource's name
    #[arg(value_name = "ID")]
    id: String,
    /// As the resource was at this time: the newest backup at or before it, and the changes captured since
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// Out of the copy of the vault at this place, which `holdfast copy` made, with the keys of the home
    #[arg(long, value_name = "PLACE", conflicts_with = "at")]
    from_copy: Option<CopyPlace>,
    /// Where to: a directory, a table or a bucket
    #[arg(
        long,
        value_name = "TARGET",
        help = "files:DIR, jsonl:DIR, json:FILE, dynamodb:TABLE or s3://BUCKET/PREFIX"
    )]
    to: String,
    /// Only this stream; may be given several times
    #[arg(long = "stream", value_name = "STREAM")]
    streams: Vec<String>,
    /// Only the record of this key; may be given several times
    #[arg(long = "key", value_name = "KEY")]
    keys: Vec<String>,
    /// Only paths that match: * and ? within a directory, ** across; may be given several times
    #[arg(long = "path", value_name = "GLOB")]
    paths: Vec<String>,
    /// What to do where the target holds something else
    #[arg(long, value_name = "WHAT", default_value = "fail")]
    on_conflict: Conflict,
    /// Checks the target and shows what would be written, and writes nothing
    #[arg(long)]
    dry_run: bool,
    /// The target's endpoint, where it is not AWS's own; `embedded` is the DynamoDB inside the home
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// The target's region, where it is not the environment's
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
}

/// [`OnConflict`] as the command line takes it.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Conflict {
    /// End the restore, and ask for a target that is new or empty
    Fail,
    /// Keep what the target holds
    Skip,
    /// Write over it
    Overwrite,
}

impl From<Conflict> for OnConflict {
    fn from(asked: Conflict) -> Self {
        match asked {
            Conflict::Fail => Self::Fail,
            Conflict::Skip => Self::Skip,
            Conflict::Overwrite => Self::Overwrite,
        }
    }
}

/// Carries the command out.
pub(crate) async fn run(global: &Global, args: &Args) -> Result<Outcome> {
    let target = target(args)?;
    let place = match &args.from_copy {
        None => global.open().await?,
        Some(copy) => global.open_copy(copy).await?,
    };
    let selection =
        Selection { streams: args.streams.clone(), keys: args.keys.clone(), paths: args.paths.clone() };
    let (backup, resource, at) = match &args.at {
        None if args.from_copy.is_some() => (backup_in_copy(place.home()?, &args.id).await?, None, None),
        None => (backup_id(&place, &args.id).await?, None, None),
        Some(text) => {
            let resource = args.id.strip_prefix("latest:").unwrap_or(&args.id);
            place.capture_if_asked(resource).await?;
            (String::new(), Some(resource.to_owned()), Some(point(text)?))
        }
    };
    let on_conflict = args.on_conflict.into();
    let request = RestoreRequest { backup, resource, at, target, on_conflict, selection };
    let id = place.new_id();
    if args.dry_run {
        let would = place.dry_run(&id, &request).await?;
        return Outcome::new(&Planned::new(&request, would), global.json, Exit::Done);
    }
    let work = Box::pin(place.run_restore(&id, &request));
    let job = attend(global, &place, &id, &format!("restoring {}", args.id), work).await?;
    let restored = Restored::new(&job, &request, place.vault_reads())?;
    let missed = restored.warnings.iter().any(|warning| warning.code == "KeyNotFound");
    Outcome::new(&restored, global.json, Exit::differences(missed))
}

/// The time that `--at` names.
fn point(text: &str) -> Result<Timestamp> {
    text.parse().map_err(|e| {
        Error::new(Code::InvalidInput, format!("--at {text:?} is no time: {e}"))
            .object("--at")
            .hint("write it as 2026-11-21T14:01:00Z")
    })
}

/// The target, with its directory meant from here: the backup may be restored by another process, elsewhere.
fn target(args: &Args) -> Result<TargetSpec> {
    let mut target = TargetSpec::parse(&args.to, args.endpoint.clone(), args.region.clone())?;
    if let TargetSpec::Files { path } | TargetSpec::Jsonl { path } | TargetSpec::Json { path } = &mut target {
        for (option, given) in [("--endpoint", &args.endpoint), ("--region", &args.region)] {
            if given.is_some() {
                return Err(Error::new(
                    Code::InvalidInput,
                    format!("{option} does not go with --to {}", args.to),
                )
                .object(option)
                .hint(format!("leave {option} out: a path has none")));
            }
        }
        *path = std::path::absolute(&*path).map_err(|e| {
            Error::new(Code::InvalidInput, format!("--to {:?} names no path: {e}", args.to)).object("--to")
        })?;
    }
    Ok(target)
}

#[derive(Debug, Serialize)]
struct Restored {
    id: String,
    backup: String,
    target: String,
    status: Status,
    records: u64,
    files: u64,
    bytes: u64,
    conflicts: u64,
    warnings: Vec<Warning>,
    /// How often this process read from the vault: whole objects or ranges of them. On a stack it does not.
    vault_reads: Option<u64>,
    #[serde(skip)]
    took: String,
    #[serde(skip)]
    kept: bool,
}

impl Restored {
    fn new(job: &Job, request: &RestoreRequest, vault_reads: Option<u64>) -> Result<Self> {
        let (backup, target, _, written) = restore::asked(job)?;
        Ok(Self {
            id: job.id.clone(),
            backup,
            target: target.to_string(),
            status: job.status,
            records: job.totals.records,
            files: job.totals.files,
            bytes: job.totals.bytes,
            conflicts: written.conflicts,
            warnings: job.warnings.clone(),
            vault_reads,
            took: took(job, job.created_at)
                .map_or_else(String::new, |took| format!(" in {}", duration(took))),
            kept: request.on_conflict == OnConflict::Skip,
        })
    }
}

impl Report for Restored {
    fn text(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "restored backup {} into {}{}", self.backup, self.target, self.took)?;
        writeln!(out, "  id         {}", self.id)?;
        writeln!(out, "  written    {}", amount(self.records, self.files, self.bytes))?;
        if self.conflicts > 0 {
            let done = if self.kept { "kept as they were" } else { "overwritten" };
            writeln!(out, "  conflicts  {}, {done}", self.conflicts)?;
        }
        write_warnings(out, &self.warnings)
    }
}

#[derive(Debug, Serialize)]
struct Planned {
    dry_run: bool,
    backup: String,
    target: String,
    streams: Vec<StreamSummary>,
    /// Whether only some records or paths of the streams would be written; then the figures are upper limits.
    partial: bool,
    records: u64,
    files: u64,
    bytes: u64,
    warnings: Vec<Warning>,
    /// Streams that are not listed, where a stack has more than its answer holds.
    #[serde(skip_serializing_if = "is_none")]
    streams_left: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
const fn is_none(number: &u64) -> bool {
    *number == 0
}

impl Planned {
    fn new(request: &RestoreRequest, would: WouldRestore) -> Self {
        Self {
            dry_run: true,
            backup: would.backup,
            target: request.target.to_string(),
            partial: request.selection.is_partial(),
            records: would.totals.records,
            files: would.totals.files,
            bytes: would.totals.bytes,
            streams_left: would.streams_total.saturating_sub(would.streams.len() as u64),
            streams: would.streams,
            warnings: would.warnings,
        }
    }
}

impl Report for Planned {
    fn text(&self, out: &mut String) -> fmt::Result {
        let (backup, target) = (&self.backup, &self.target);
        let most = if self.partial { "at most " } else { "" };
        let streams = counted(self.streams.len() as u64 + self.streams_left, "stream");
        writeln!(out, "dry run: {streams} of backup {backup} would be written into {target}; nothing was")?;
        for stream in &self.streams {
            let amount = amount(stream.records, stream.files, stream.bytes);
            writeln!(out, "  {}: {most}{amount}", stream.name)?;
        }
        if self.streams_left > 0 {
            writeln!(out, "  and {} more", counted(self.streams_left, "stream"))?;
        }
        write_warnings(out, &self.warnings)
    }
}
