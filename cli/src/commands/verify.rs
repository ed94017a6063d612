//! `holdfast verify`

use super::jobs::backup_id;
use crate::copies::CopyPlace;
use crate::exit::{Exit, after_help};
use crate::options::Global;
use crate::output::{Outcome, Report, count, counted, size};
use crate::place::Place;
use crate::progress::Bar;
use holdfast_common::jobs::{Job, JobKind};
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::model::Warning;
use holdfast_vault::read::verify::Finding;
use holdfast_workflow::events::VerifyAnswer;
use holdfast_workflow::verify::Level;
use serde::Serialize;
use std::fmt::{self, Write as _};

/// Proves that a backup can be restored, or names what is damaged
///
/// quick: the manifest opens, and every object is there with its size and the checksum that the store keeps, where it
/// keeps one; chain: every layer too, by the footers of its objects; sample=PERCENT: every byte of so many of the
/// objects, other ones each time, so that all are read in turn; full: every byte, and the changes captured since.
#[derive(Debug, clap::Args)]
#[command(after_help = after_help!(
    "holdfast verify latest:orders",
    "holdfast verify 01K8Z6T3W4Q5R6S7T8V9W0X1Y2 --level quick",
    "holdfast verify latest:site --level sample=5",
    "holdfast verify --all --level chain             every backup of every resource",
    "holdfast verify --all --resource orders",
    "holdfast verify --all --from-copy /mnt/disk/vault",
))]
pub(crate) struct Args {
    /// The backup's id, or latest:RESOURCE
    #[arg(value_name = "ID", required_unless_present = "all")]
    id: Option<String>,
    /// How thorough it is: quick, chain, sample=PERCENT or full
    #[arg(long, value_name = "LEVEL", default_value = "full")]
    level: String,
    /// Verifies the copy of the vault at this place, with the keys of the home. What is found is not noted in the home
    #[arg(long, value_name = "PLACE")]
    from_copy: Option<CopyPlace>,
    /// Verifies every backup that can be restored, one after the other
    #[arg(long, conflicts_with = "id")]
    all: bool,
    /// With --all, only the backups of this resource
    #[arg(long, value_name = "NAME", requires = "all")]
    resource: Option<String>,
}

#[derive(Debug, Serialize)]
#[allow(clippy::struct_excessive_bools, reason = "the answer's documented fields")]
struct Verified {
    id: String,
    level: String,
    valid: bool,
    errors: Vec<Finding>,
    warnings: Vec<Warning>,
    checksum_valid: bool,
    structure_valid: bool,
    data_integrity: bool,
    objects_checked: u64,
    sums_compared: u64,
    objects_read: u64,
    blocks_checked: u64,
    bytes_checked: u64,
}

impl From<VerifyAnswer> for Verified {
    fn from(answer: VerifyAnswer) -> Self {
        let findings = answer.progress.findings;
        Self {
            id: answer.job,
            level: answer.level,
            valid: answer.valid,
            errors: findings.errors,
            warnings: Vec::new(),
            checksum_valid: findings.checksum_valid,
            structure_valid: findings.structure_valid,
            data_integrity: findings.data_integrity,
            objects_checked: findings.objects_checked,
            sums_compared: findings.sums_compared,
            objects_read: findings.objects_read,
            blocks_checked: findings.blocks_checked,
            bytes_checked: findings.bytes_checked,
        }
    }
}

/// What came of many verifications.
#[derive(Debug, Serialize)]
struct VerifiedAll {
    valid: bool,
    damaged: u64,
    backups: Vec<Verified>,
}

/// Carries the command out.
pub(crate) async fn run(global: &Global, args: &Args) -> Result<Outcome> {
    let level: Level = args.level.parse()?;
    let place = match &args.from_copy {
        None => global.open().await?,
        Some(copy) => global.look_at_copy(copy).await?,
    };
    let Some(id) = &args.id else { return all(global, args, &place, level).await };
    let id = backup_id(&place, id).await?;
    let bar = Bar::new(global, &format!("verifying {id}"));
    let verified = Verified::from(place.run_verify(&id, &level.to_string()).await?);
    drop(bar);
    let exit = Exit::differences(!verified.valid);
    Outcome::new(&verified, global.json, exit)
}

async fn all(global: &Global, args: &Args, place: &Place, level: Level) -> Result<Outcome> {
    let jobs = place.jobs();
    if let Some(resource) = &args.resource {
        jobs.resource(resource).await?;
    }
    let mut backups = Vec::new();
    let mut pages = jobs.jobs(JobKind::Backup, args.resource.as_deref());
    while let Some(page) = pages.next().await? {
        for job in page.into_iter().filter(Job::is_restorable) {
            let bar = Bar::new(global, &format!("verifying {} of {}", job.id, job.resource));
            backups.push(Verified::from(place.run_verify(&job.id, &level.to_string()).await?));
            drop(bar);
        }
    }
    if backups.is_empty() {
        return Err(Error::new(Code::JobUnknown, "there is no backup to verify")
            .hint("make one with `holdfast backup NAME`"));
    }
    let damaged = backups.iter().filter(|verified| !verified.valid).count() as u64;
    let verified = VerifiedAll { valid: damaged == 0, damaged, backups };
    Outcome::new(&verified, global.json, Exit::differences(damaged > 0))
}

impl Verified {
    /// What was compared, so that nobody takes a look for a reading.
    fn compared(&self) -> String {
        let kept = match (self.sums_compared, self.objects_checked) {
            (0, _) => "the store keeps no checksums to compare".to_owned(),
            (all, checked) if all == checked => "the store's checksums of all compared".to_owned(),
            (some, _) => format!("the store's checksums of {} compared", count(some)),
        };
        let objects = counted(self.objects_checked, "object");
        format!("{objects} in place, {kept}, {} read whole", count(self.objects_read))
    }
}

impl Report for Verified {
    fn text(&self, out: &mut String) -> fmt::Result {
        let said = if self.valid { "valid" } else { "DAMAGED" };
        writeln!(out, "backup {} is {said} ({})", self.id, self.level)?;
        let yes = |valid| if valid { "valid" } else { "NOT VALID" };
        writeln!(out, "  checksums  {}", yes(self.checksum_valid))?;
        writeln!(out, "  structure  {}", yes(self.structure_valid))?;
        writeln!(out, "  data       {}", yes(self.data_integrity))?;
        writeln!(out, "  compared   {}", self.compared())?;
        writeln!(
            out,
            "  checked    {}, {}",
            counted(self.blocks_checked, "block"),
            size(self.bytes_checked)
        )?;
        for error in &self.errors {
            writeln!(out, "error[{}]: {}", error.code, error.message)?;
            if !error.message.contains(&error.object) {
                writeln!(out, "  object: {}", error.object)?;
            }
        }
        if !self.valid {
            writeln!(
                out,
                "  hint: `holdfast repair` says what depends on it, and puts back what a copy still has"
            )?;
        }
        Ok(())
    }
}

impl Report for VerifiedAll {
    fn text(&self, out: &mut String) -> fmt::Result {
        for verified in &self.backups {
            verified.text(out)?;
        }
        let backups = counted(self.backups.len() as u64, "backup");
        if self.valid {
            return writeln!(out, "{backups} verified, all valid");
        }
        writeln!(out, "{backups} verified, {} DAMAGED", count(self.damaged))
    }
}
