//! `holdfast rebuild`

use crate::exit::{Exit, after_help};
use crate::options::Global;
use crate::output::{Outcome, Report, counted};
use holdfast_vault::error::Result;
use holdfast_workflow::catalogue::{self, Rebuilt};
use std::fmt::{self, Write as _};

/// Makes the catalogue anew from the vault alone
///
/// For a vault that was copied or moved: a directory with vault/ and key.json is all that it takes. Backups that are
/// in the vault are listed again, and resources that are not configured are taken from their newest backup.
#[derive(Debug, clap::Args)]
#[command(after_help = after_help!(
    "holdfast --home /mnt/copy rebuild",
    "holdfast --home /mnt/copy backups",
))]
pub(crate) struct Args {}

/// Carries the command out.
pub(crate) async fn run(global: &Global) -> Result<Outcome> {
    let place = global.open_home("rebuild").await?;
    let rebuilt = catalogue::rebuild(place.home()?.services()).await?;
    let exit = Exit::differences(!rebuilt.errors.is_empty());
    Outcome::new(&rebuilt, global.json, exit)
}

impl Report for Rebuilt {
    fn text(&self, out: &mut String) -> fmt::Result {
        let (backups, resources) = (counted(self.backups, "backup"), counted(self.resources, "resource"));
        writeln!(out, "the catalogue has {backups} of {resources}")?;
        for error in &self.errors {
            writeln!(out, "error[{}]: {}", error.code, error.message)?;
        }
        if !self.errors.is_empty() {
            writeln!(out, "  hint: these are lost here; take them from another copy of the vault")?;
        }
        Ok(())
    }
}
