//! The command line: global options and commands.

use crate::commands::{apply, backup, backups, cancel, capture, rebuild, resources, restore, show, verify};
use crate::demo;
use crate::exit::after_help;
use clap::{ArgAction, Args, Parser, Subcommand};
use holdfast_local::Cloud;
use holdfast_vault::error::Result;
use std::path::PathBuf;

/// Backs up tables, files and records into an encrypted vault, proves that they restore, and restores them.
///
/// Everything happens in a home: a directory with the vault, its key (key.json: keep a copy of it elsewhere, since
/// nothing can be restored without it) and the catalogue. It needs no account and nothing beside this program.
#[derive(Debug, Parser)]
#[command(name = "holdfast", version, propagate_version = true, max_term_width = 110, after_help = after_help!(
    "holdfast demo                                    see all of it at work, in under a minute",
    "holdfast apply -f resources.yaml                 say what is protected",
    "holdfast backup orders                           back it up",
    "holdfast verify latest:orders                    prove every byte of it",
    "holdfast restore latest:orders --to jsonl:out    restore it",
))]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The home to work on
    #[arg(long, value_name = "DIR", global = true, env = "HOLDFAST_HOME", default_value = ".holdfast")]
    pub(crate) home: PathBuf,
    /// Answers in one line of JSON on stdout, and errors in one on stderr
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Shows no progress and no notes, only the answer or the error
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Logs to stderr; more with -vv and -vvv
    #[arg(short, long, action = ArgAction::Count, global = true)]
    pub(crate) verbose: u8,
}

impl Global {
    /// Opens the home that is there.
    pub(crate) async fn open(&self) -> Result<Cloud> {
        Cloud::open(&self.home, holdfast_local::Options::default()).await
    }

    /// Opens the home, and makes it where there is none.
    pub(crate) async fn open_or_make(&self) -> Result<Cloud> {
        Cloud::open(&self.home, holdfast_local::Options { create: true, ..Default::default() }).await
    }

    /// Whether there is a home.
    pub(crate) fn has_home(&self) -> bool {
        self.home.join("vault").is_dir() || self.home.join("key.json").is_file()
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Apply(apply::Args),
    Resources(resources::Args),
    Backup(backup::Args),
    Backups(backups::Args),
    Show(show::Args),
    Capture(capture::Args),
    Cancel(cancel::Args),
    Verify(verify::Args),
    Restore(restore::Args),
    Rebuild(rebuild::Args),
    /// Shows all of it at work on a shop of its own: backed up, damaged, restored, compared
    ///
    /// Makes tables and a site, backs them up, verifies them, damages them, restores them into new places and compares
    /// every record and file. Needs no home and no account, and leaves nothing behind unless told to.
    #[command(after_help = after_help!(
        "holdfast demo",
        "holdfast demo --keep shop     keeps all that it makes in the directory shop, to look at",
    ))]
    Demo(demo::Args),
}

#[cfg(test)]
mod tests {
    use super::Options;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        Options::command().debug_assert();
    }
}
