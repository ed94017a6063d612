//! `holdfast key export`

use super::material::{Material, recipients, write_new};
use crate::copies::CopyPlace;
use crate::exit::{Exit, after_help};
use crate::options::Global;
use crate::output::{Outcome, Report, counted, exact};
use holdfast_vault::error::Result;
use serde::Serialize;
use std::fmt::{self, Write as _};
use std::path::PathBuf;

/// Seals the keys of the vault to age recipients, for the day on which the key file or KMS is gone
///
/// The file holds every version of the vault key. Whoever has one of the identities, this file and a copy of the vault
/// has the data: keep them apart. Export again after each rotation.
#[derive(Debug, clap::Args)]
#[command(after_help = after_help!(
    "age-keygen -o identity.txt                                      once, kept in a safe",
    "holdfast key export --recipient age1ql3z... --out recovery.age",
    "holdfast key export --from-copy s3://shop-vault --recipient age1ql3z... --out recovery.age    of a stack's vault",
))]
pub(crate) struct Args {
    /// Whom it is sealed to: the public key of an age identity; may be given several times, and each opens it
    #[arg(long = "recipient", value_name = "age1...", required = true)]
    recipients: Vec<String>,
    /// The file to write, which must not exist
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The keys of the vault at this place, opened with the key of the home or by KMS
    #[arg(long, value_name = "PLACE")]
    from_copy: Option<CopyPlace>,
}

#[derive(Debug, Serialize)]
struct Exported {
    file: String,
    vault: String,
    versions: Vec<u32>,
    recipients: u64,
    created_at: String,
}

/// Carries the command out.
pub(crate) async fn run(global: &Global, args: &Args) -> Result<Outcome> {
    let to = recipients(&args.recipients)?;
    let place = match &args.from_copy {
        None => global.open_home("key export").await?,
        Some(copy) => global.open_copy(copy).await?,
    };
    let vault = &place.home()?.services().vault;
    vault.refresh().await?;
    let created_at = exact(place.now());
    let sealed = Material::new(vault.id(), created_at.clone(), &vault.keys().expose()).seal(&to)?;
    write_new(&args.out, &sealed)?;
    let exported = Exported {
        file: args.out.display().to_string(),
        vault: vault.id().to_string(),
        versions: vault.keys().versions(),
        recipients: to.len() as u64,
        created_at,
    };
    Outcome::new(&exported, global.json, Exit::Done)
}

impl Report for Exported {
    fn text(&self, out: &mut String) -> fmt::Result {
        let versions = counted(self.versions.len() as u64, "version");
        let recipients = counted(self.recipients, "recipient");
        writeln!(out, "{versions} of the key of vault {} sealed to {recipients}: {}", self.vault, self.file)?;
        writeln!(out, "  hint: keep it apart from the identity, and export again after each rotation")
    }
}
