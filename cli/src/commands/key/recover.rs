//! `holdfast key recover`

use super::material::Material;
use crate::exit::{Exit, after_help};
use crate::options::Global;
use crate::output::{Outcome, Report, counted};
use holdfast_local::keys::recover;
use holdfast_vault::error::Result;
use serde::Serialize;
use std::fmt::{self, Write as _};
use std::path::PathBuf;

/// Makes a home of a copy of a vault and an exported recovery key, without the key file and without KMS
///
/// The vault stays where it is. The home gets a new key file, and the recovered keys wrapped by that. Then `rebuild`
/// makes the catalogue, and everything restores; new backups can be made too.
#[derive(Debug, clap::Args)]
#[command(after_help = after_help!(
    "holdfast --home /srv/new key recover recovery.age --identity identity.txt --vault /mnt/copy",
    "holdfast --home /srv/new key check",
    "holdfast --home /srv/new rebuild",
    "holdfast --home /srv/new restore latest:orders --to jsonl:out",
))]
pub(crate) struct Args {
    /// The file that `key export` wrote
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The age identity that opens it: a file with AGE-SECRET-KEY-1...
    #[arg(long, value_name = "FILE")]
    identity: PathBuf,
    /// The copy of the vault: the directory that holds holdfast.json
    #[arg(long, value_name = "DIR")]
    vault: PathBuf,
}

#[derive(Debug, Serialize)]
struct Recovered {
    home: String,
    vault: String,
    exported_at: String,
    backups: u64,
    versions: Vec<u32>,
    missing_versions: Vec<u32>,
}

/// Carries the command out.
pub(crate) async fn run(global: &Global, args: &Args) -> Result<Outcome> {
    global.no_stack("key recover")?;
    let material = Material::open(&args.file, &args.identity)?;
    let recovery = recover(&global.home, &args.vault, material.vault, material.keys()?).await?;
    let recovered = Recovered {
        home: global.home.display().to_string(),
        vault: material.vault.to_string(),
        exported_at: material.created_at.clone(),
        backups: recovery.backups,
        versions: recovery.versions,
        missing_versions: recovery.missing,
    };
    let exit = Exit::differences(!recovered.missing_versions.is_empty());
    Outcome::new(&recovered, global.json, exit)
}

impl Report for Recovered {
    fn text(&self, out: &mut String) -> fmt::Result {
        let (versions, backups) =
            (counted(self.versions.len() as u64, "version"), counted(self.backups, "backup"));
        writeln!(
            out,
            "{} is a home of vault {}: {backups}, {versions} of the vault key",
            self.home, self.vault
        )?;
        for version in &self.missing_versions {
            writeln!(
                out,
                "warning[KeyMissing]: version {version} was made after the export of {}",
                self.exported_at
            )?;
        }
        let home = &self.home;
        writeln!(out, "  hint: `holdfast --home {home} key check`, then `holdfast --home {home} rebuild`")
    }
}
