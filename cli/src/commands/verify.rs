//! `holdfast verify`

use super::jobs::backup_id;
use crate::exit::{Exit, after_help};
use crate::options::Global;
use crate::output::{Outcome, Report, counted, size};
use crate::progress::Bar;
use holdfast_vault::error::Result;
use holdfast_vault::model::Warning;
use holdfast_vault::read::verify::Finding;
use holdfast_workflow::events::VerifyAnswer;
use holdfast_workflow::verify::Level;
use serde::Serialize;
use std::fmt::{self, Write as _};

/// Proves that a backup can be restored, or names what is damaged
#[derive(Debug, clap::Args)]
#[command(after_help = after_help!(
    "holdfast verify latest:orders",
    "holdfast verify 01K8Z6T3W4Q5R6S7T8V9W0X1Y2 --level quick",
    "holdfast verify latest:site --level sample=5",
))]
pub(crate) struct Args {
    /// The backup's id, or latest:RESOURCE
    #[arg(value_name = "ID")]
    id: String,
    /// quick: every object is there and whole in size; full: every byte; sample=PERCENT: every byte of so many objects
    #[arg(long, value_name = "LEVEL", default_value = "full")]
    level: String,
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
            blocks_checked: findings.blocks_checked,
            bytes_checked: findings.bytes_checked,
        }
    }
}

/// Carries the command out.
pub(crate) async fn run(global: &Global, args: &Args) -> Result<Outcome> {
    let level: Level = args.level.parse()?;
    let place = global.open().await?;
    let id = backup_id(&place, &args.id).await?;
    let bar = Bar::new(global, &format!("verifying {id}"));
    let verified = Verified::from(place.run_verify(&id, &level.to_string()).await?);
    drop(bar);
    let exit = Exit::differences(!verified.valid);
    Outcome::new(&verified, global.json, exit)
}

impl Report for Verified {
    fn text(&self, out: &mut String) -> fmt::Result {
        let said = if self.valid { "valid" } else { "DAMAGED" };
        writeln!(out, "backup {} is {said} ({})", self.id, self.level)?;
        let yes = |valid| if valid { "valid" } else { "NOT VALID" };
        writeln!(out, "  checksums  {}", yes(self.checksum_valid))?;
        writeln!(out, "  structure  {}", yes(self.structure_valid))?;
        writeln!(out, "  data       {}", yes(self.data_integrity))?;
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
            writeln!(out, "  hint: restore from another copy of the vault, or from another backup")?;
        }
        Ok(())
    }
}
