//! `holdfast key rotate`

use crate::exit::{Exit, after_help};
use crate::options::Global;
use crate::output::{Outcome, Report};
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::format::root::{Wrapping, wrapped_key_name};
use serde::Serialize;
use std::fmt::{self, Write as _};

/// Makes a new version of the vault key, which all new data is written under
///
/// What is stored stays as it is and is read with the older versions, which stay too. The new version is wrapped as the
/// newest one is: by the home's key file, or by KMS. A recovery key that was exported before does not hold it: export
/// again. On a stack the key is rotated with its parameter `VaultKeyVersion`.
#[derive(Debug, clap::Args)]
#[command(after_help = after_help!(
    "holdfast key rotate",
    "holdfast key rotate --dry-run",
    "holdfast key export --recipient age1... --out recovery.age    the new version too",
))]
pub(crate) struct Args {
    /// Says what would be made, and makes nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Serialize)]
struct Rotated {
    from: u32,
    to: u32,
    object: String,
    wrapped_by: Wrapping,
    dry_run: bool,
}

/// Carries the command out.
pub(crate) async fn run(global: &Global, args: &Args) -> Result<Outcome> {
    if global.stack.is_some() {
        let message = "on a stack the vault key is rotated by its own function, not from here";
        return Err(Error::new(Code::InvalidInput, message).object("--stack").hint(
            "deploy with the parameter VaultKeyVersion raised by one; KMS rotates what wraps it by itself",
        ));
    }
    let place = global.open_home("key rotate").await?;
    let rotation = place.home()?.rotate_keys(args.dry_run).await?;
    let rotated = Rotated {
        from: rotation.from,
        to: rotation.to,
        object: wrapped_key_name(rotation.to),
        wrapped_by: rotation.wrapped_by,
        dry_run: args.dry_run,
    };
    Outcome::new(&rotated, global.json, Exit::Done)
}

impl Report for Rotated {
    fn text(&self, out: &mut String) -> fmt::Result {
        let by = match &self.wrapped_by {
            Wrapping::Local { key } => format!("the key file {key}"),
            Wrapping::Kms { key } => format!("KMS key {key}"),
        };
        if self.dry_run {
            let to = self.to;
            return writeln!(
                out,
                "dry run: version {to} of the vault key would be made, wrapped by {by}; nothing was"
            );
        }
        writeln!(out, "new data is written under version {} of the vault key, wrapped by {by}", self.to)?;
        writeln!(out, "  version {} and older ones still open what was written under them", self.from)?;
        writeln!(out, "  hint: a recovery key that was exported before does not hold it: export again")
    }
}
