//! `holdfast copy`

use super::jobs::backup_id;
use crate::copies::{CopyPlace, backup_in_copy};
use crate::exit::{Exit, after_help};
use crate::options::Global;
use crate::output::{Outcome, Report, counted, size};
use crate::progress::Bar;
use holdfast_vault::copy::{Copied, How, What, copy};
use holdfast_vault::error::Result;
use serde::Serialize;
use std::fmt::{self, Write as _};

/// Objects on their way at a time: tens of MiB each, and each in memory as a whole.
const AT_ONCE: usize = 4;

/// Copies the vault, or some of it, to a second place: a directory or a bucket
///
/// Only what is not there is copied. Every object is checked on its way; a backup's manifest comes last, so that a copy
/// that is cut short holds whole backups. Nothing is deleted or written over there: what is pruned here stays in the
/// copy. The key file is not copied, and without it, KMS or an exported recovery key nobody reads the copy.
#[derive(Debug, clap::Args)]
#[command(after_help = after_help!(
    "holdfast copy --to /mnt/disk/vault",
    "holdfast copy --to 's3://shop-vault-copy/vault?region=eu-west-1'",
    "holdfast copy --to /mnt/disk/vault --resource orders",
    "holdfast copy --to /mnt/disk/vault latest:site --dry-run",
    "holdfast copy --from s3://shop-vault --to /mnt/disk/vault    a stack's vault, opened by KMS",
    "holdfast restore latest:orders --from-copy /mnt/disk/vault --to jsonl:out",
))]
pub(crate) struct Args {
    /// One backup, by its id or as latest:RESOURCE
    #[arg(value_name = "ID")]
    id: Option<String>,
    /// The place of the copy: a directory, or `s3://BUCKET/PREFIX?region=REGION`
    #[arg(long, value_name = "PLACE")]
    to: CopyPlace,
    /// Copies out of this place, with the keys of the home, in place of the home's own vault
    #[arg(long, value_name = "PLACE")]
    from: Option<CopyPlace>,
    /// Only the backups of this resource, and its captured changes
    #[arg(long, value_name = "NAME", conflicts_with = "id")]
    resource: Option<String>,
    /// Everything, as without it
    #[arg(long, conflicts_with_all = ["id", "resource"])]
    all: bool,
    /// Reads what is there already and compares it; otherwise only its size is
    #[arg(long)]
    verify: bool,
    /// Counts what would be copied, and copies nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Serialize)]
struct CopiedTo {
    place: String,
    dry_run: bool,
    verified: bool,
    #[serde(flatten)]
    copied: Copied,
}

/// Carries the command out.
pub(crate) async fn run(global: &Global, args: &Args) -> Result<Outcome> {
    let place = match &args.from {
        None => global.open_home("copy").await?,
        Some(from) => global.open_copy(from).await?,
    };
    let cloud = place.home()?;
    let what = match (&args.id, &args.resource, args.all) {
        (Some(id), ..) if args.from.is_some() => What::Backup(backup_in_copy(cloud, id).await?),
        (Some(id), ..) => What::Backup(backup_id(&place, id).await?),
        (None, Some(resource), _) => What::Resource(resource.clone()),
        (None, None, _) => What::All,
    };
    let to = if args.dry_run { args.to.look().await? } else { args.to.open().await? };
    let name = to.name().to_owned();
    let how = How { at_once: AT_ONCE, verify: args.verify, dry_run: args.dry_run };
    let bar = Bar::new(global, &format!("copying to {name}"));
    let watch = |copied: &Copied| {
        let there = counted(copied.objects_there, "object");
        let done = counted(copied.objects_copied, "object");
        bar.tell(&format!("{done}, {} copied; {there} already there", size(copied.bytes_copied)));
    };
    let copied = copy(&cloud.services().vault, to, &what, how, &watch).await?;
    drop(bar);
    let exit = Exit::differences(!copied.errors.is_empty());
    let told = CopiedTo { place: name, dry_run: args.dry_run, verified: args.verify, copied };
    Outcome::new(&told, global.json, exit)
}

impl Report for CopiedTo {
    fn text(&self, out: &mut String) -> fmt::Result {
        let Copied { backups_copied, objects_copied, bytes_copied, .. } = &self.copied;
        let amount = format!("{}, {}", counted(*objects_copied, "object"), size(*bytes_copied));
        let backups = counted(*backups_copied, "backup");
        if self.dry_run {
            writeln!(out, "dry run: {backups} would be copied to {}: {amount}; nothing was", self.place)?;
        } else {
            writeln!(out, "copied {backups} to {}: {amount}", self.place)?;
        }
        let there = counted(self.copied.objects_there, "object");
        let compared = if self.verified { "read and compared" } else { "of the right size" };
        writeln!(out, "  already there  {there}, {}, {compared}", size(self.copied.bytes_there))?;
        for error in &self.copied.errors {
            writeln!(out, "error[{}]: {}", error.code, error.message)?;
        }
        if !self.copied.errors.is_empty() {
            writeln!(
                out,
                "  hint: `holdfast verify` and `holdfast repair` here; copy to a new place if it is the copy"
            )?;
        }
        Ok(())
    }
}
