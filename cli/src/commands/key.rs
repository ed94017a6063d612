//! `holdfast key`

mod check;
mod export;
mod material;
mod recover;
mod rotate;

use crate::exit::after_help;
use crate::options::Global;
use crate::output::Outcome;
use clap::Subcommand;
use holdfast_vault::error::Result;

/// Rotates, checks, exports and recovers the keys of the vault
#[derive(Debug, clap::Args)]
#[command(after_help = after_help!(
    "holdfast key check",
    "holdfast key rotate",
    "holdfast key export --recipient age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p --out recovery.age",
    "holdfast --home /srv/new key recover recovery.age --identity age-key.txt --vault /mnt/copy",
))]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Rotate(rotate::Args),
    Check(check::Args),
    Export(export::Args),
    Recover(recover::Args),
}

/// Carries the command out.
pub(crate) async fn run(global: &Global, args: &Args) -> Result<Outcome> {
    match &args.what {
        What::Rotate(args) => rotate::run(global, args).await,
        What::Check(args) => check::run(global, args).await,
        What::Export(args) => export::run(global, args).await,
        What::Recover(args) => recover::run(global, args).await,
    }
}
