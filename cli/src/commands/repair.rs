//! `holdfast repair`

use crate::exit::{Exit, after_help};
use crate::options::Global;
use crate::output::{Outcome, Report, count, counted, size, time};
use crate::place::{Place, home_only};
use crate::progress::attend;
use holdfast_common::jobs::{BackupType, DamagedRow, StreamShape};
use holdfast_common::storage::DirectoryStorage;
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::format::root::VAULT_KEY;
use holdfast_vault::read::Vault;
use holdfast_vault::read::vault::describe;
use holdfast_workflow::Services;
use holdfast_workflow::repair::{self, Affected, Healed, Lost, Outcome as Became, Survey};
use jiff::Timestamp;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Says what is damaged and what depends on it, and heals what can be healed
///
/// Verifications put damaged objects into quarantine. With --from, what a copy of the vault still has is compared with
/// the manifests byte for byte and put back. Of a resource whose newest backup is damaged after that, a full backup is
/// made: the source has what is lost here. On a stack, where only its prune may delete, nothing is put back.
#[derive(Debug, clap::Args)]
#[command(after_help = after_help!(
    "holdfast repair --dry-run                     what is damaged, and what would be done",
    "holdfast repair --from /mnt/copy              put back what the copy has",
    "holdfast repair orders",
))]
pub(crate) struct Args {
    /// The resource's name; all resources where it is not given
    #[arg(value_name = "RESOURCE")]
    resource: Option<String>,
    /// A copy of this vault: its directory, or a home that holds it
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    /// Changes nothing, and says what would be done
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Serialize)]
struct Repaired {
    dry_run: bool,
    /// What was in quarantine.
    damaged: Vec<Damaged>,
    /// Whether more is in quarantine than is listed.
    more: bool,
    /// What could not be restored before anything was healed.
    affected: Vec<Affected>,
    /// What became of the objects; nothing where no copy was named.
    healed: Vec<Healed>,
    /// Backups that were verified again after their objects had been put back.
    verified: Vec<Again>,
    /// Full backups that were made, or would be.
    backups: Vec<Taken>,
    /// Objects in quarantine that no backup needs.
    unneeded: u64,
    /// Backups that still cannot be restored whole.
    remaining: u64,
}

#[derive(Debug, Serialize)]
struct Damaged {
    object: String,
    code: String,
    message: String,
    found_at: Timestamp,
    backup: String,
    resource: String,
    size: u64,
}

#[derive(Debug, Serialize)]
struct Again {
    backup: String,
    valid: bool,
}

#[derive(Debug, Serialize)]
struct Taken {
    resource: String,
    /// The backup's id; none of one that would be made.
    id: Option<String>,
}

impl From<&DamagedRow> for Damaged {
    fn from(row: &DamagedRow) -> Self {
        let row = row.clone();
        Self {
            object: row.key,
            code: row.code,
            message: row.message,
            found_at: row.found_at,
            backup: row.backup,
            resource: row.resource,
            size: row.size,
        }
    }
}

/// Carries the command out.
pub(crate) async fn run(global: &Global, args: &Args) -> Result<Outcome> {
    let place = global.open().await?;
    let resource = args.resource.as_deref();
    let survey = match &place {
        Place::Home(cloud) => repair::survey(cloud.services(), resource).await?,
        Place::Stack(_) if args.from.is_some() => return Err(home_only("repair --from")),
        Place::Stack(stack) => repair::survey_noted(stack.jobs(), resource).await?,
    };
    let mut repaired = Repaired {
        dry_run: args.dry_run,
        damaged: survey.objects.iter().map(Damaged::from).collect(),
        more: survey.more,
        affected: survey.affected.clone(),
        healed: Vec::new(),
        verified: Vec::new(),
        backups: Vec::new(),
        unneeded: survey.unneeded.len() as u64,
        remaining: survey.affected.len() as u64,
    };
    let mut wanting = survey.to_back_up();
    if let Place::Home(cloud) = &place {
        wanting = heal(cloud.services(), args, &survey, &mut repaired).await?;
    }
    for resource in wanting {
        let id = if args.dry_run { None } else { Some(back_up(global, &place, &resource).await?) };
        repaired.backups.push(Taken { resource, id });
    }
    let exit = Exit::differences(repaired.remaining > 0);
    Outcome::new(&repaired, global.json, exit)
}

/// Puts back what the copy has, and verifies what was damaged again. Gives the resources that a full backup is to heal.
async fn heal(
    services: &Services,
    args: &Args,
    survey: &Survey,
    repaired: &mut Repaired,
) -> Result<BTreeSet<String>> {
    if let Some(from) = &args.from {
        let copy = open_copy(services, from).await?;
        repaired.healed = repair::heal(services, &copy, survey, args.dry_run).await?;
    }
    if args.dry_run {
        let healed = |of: &Healed| of.outcome != Became::Kept;
        let all = !repaired.healed.is_empty() && repaired.healed.iter().all(healed);
        return Ok(if all { BTreeSet::new() } else { survey.to_back_up() });
    }
    repair::forget_unneeded(services, survey).await?;
    if !repaired.healed.iter().any(|of| of.outcome != Became::Kept) {
        return Ok(survey.to_back_up());
    }
    let left = repair::survey(services, args.resource.as_deref()).await?;
    let still: BTreeSet<&str> = left.affected.iter().map(|of| of.backup.as_str()).collect();
    let mut wanting = left.to_back_up();
    repaired.remaining = left.affected.len() as u64;
    for healed in survey.affected.iter().filter(|of| !still.contains(of.backup.as_str())) {
        let answer = repair::reverify(services, &healed.backup).await?;
        if !answer.valid {
            repaired.remaining += 1;
            wanting.extend(healed.newest.then(|| healed.resource.clone()));
        }
        repaired.verified.push(Again { backup: healed.backup.clone(), valid: answer.valid });
    }
    Ok(wanting)
}

/// Opens a copy of the vault with the keys of the vault that it is a copy of.
async fn open_copy(services: &Services, from: &Path) -> Result<Vault> {
    let shown = from.display().to_string();
    let inside =
        [from.to_path_buf(), from.join("vault")].into_iter().find(|path| path.join(VAULT_KEY).is_file());
    let wrong = |why: &str| {
        Error::new(Code::InvalidInput, format!("{shown} {why}"))
            .object("--from")
            .hint("name the directory of a copy of this vault, or a home that holds it")
    };
    let path = inside.ok_or_else(|| wrong("holds no vault"))?;
    let storage = Arc::new(DirectoryStorage::open(&path)?);
    if describe(storage.as_ref()).await?.vault != services.vault.id() {
        return Err(wrong("is the copy of another vault"));
    }
    Ok(Vault::with_keys(storage, services.vault.keys().clone()))
}

async fn back_up(global: &Global, place: &Place, resource: &str) -> Result<String> {
    let id = place.new_id();
    let work = Box::pin(place.run_backup(&id, resource, Some(BackupType::Full)));
    Ok(attend(global, place, &id, &format!("backing up {resource}"), work).await?.id)
}

impl Report for Repaired {
    fn text(&self, out: &mut String) -> fmt::Result {
        if self.damaged.is_empty() {
            return writeln!(out, "nothing is in quarantine");
        }
        let more = if self.more { ", and more" } else { "" };
        writeln!(out, "{} in quarantine{more}", counted(self.damaged.len() as u64, "object"))?;
        for row in &self.damaged {
            let (found, size) = (time(Some(row.found_at)), size(row.size));
            writeln!(out, "  {}  {}, {size}, found {found} in backup {}", row.object, row.code, row.backup)?;
        }
        for affected in &self.affected {
            write_affected(out, affected)?;
        }
        for healed in &self.healed {
            let said = match healed.outcome {
                Became::Whole => "is whole again",
                Became::PutBack => "was put back",
                Became::CanBePutBack => "can be put back",
                Became::Kept => "stays damaged",
            };
            let why = healed.why.as_ref().map_or_else(String::new, |why| format!(": {why}"));
            writeln!(out, "{} {said}{why}", healed.object)?;
        }
        for again in &self.verified {
            let said = if again.valid { "can be restored again" } else { "is still DAMAGED" };
            writeln!(out, "backup {} {said}", again.backup)?;
        }
        for taken in &self.backups {
            match &taken.id {
                Some(id) => writeln!(out, "backed up {} in full: {id}", taken.resource)?,
                None => writeln!(out, "a full backup of {} would be made", taken.resource)?,
            }
        }
        if self.unneeded > 0 {
            writeln!(out, "{} that no backup needs", counted(self.unneeded, "object"))?;
        }
        match self.remaining {
            0 => writeln!(out, "every backup can be restored"),
            left => writeln!(out, "{} cannot be restored whole", counted(left, "backup")),
        }
    }
}

fn write_affected(out: &mut String, of: &Affected) -> fmt::Result {
    let newest = if of.newest { ", the newest" } else { "" };
    let needs = if of.unreadable {
        "its manifest cannot be read".to_owned()
    } else {
        format!("needs {}", counted(of.objects, "damaged object"))
    };
    writeln!(out, "backup {} of {} ({}{newest}) {needs}", of.backup, of.resource, time(of.completed_at))?;
    for Lost { stream, kind, at_most, of, .. } in &of.streams {
        let noun = match kind {
            StreamShape::Records => "records",
            StreamShape::Tree => "paths",
        };
        writeln!(
            out,
            "  stream {stream}: at most {} of {} {noun} cannot be restored",
            count(*at_most),
            count(*of)
        )?;
    }
    Ok(())
}
