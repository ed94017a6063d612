//! The command line: global options and commands.

use crate::commands::{
    apply, backup, backups, cancel, capture, copy, cost, delete, diff, drill, expire, hold, key, prune,
    rebuild, repair, resources, restore, retention, show, status, undo, verify,
};
use crate::demo;
use crate::exit::after_help;
use crate::place::{Place, home_only};
use crate::stack::{Access, Stack};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use holdfast_local::Cloud;
use holdfast_vault::error::Result;
use std::path::PathBuf;

/// Backs up tables, files and records into an encrypted vault, proves that they restore, and restores them.
///
/// Everything happens in a home: a directory with the vault, its key (key.json: keep a copy of it elsewhere, since
/// nothing can be restored without it) and the catalogue. It needs no account and nothing beside this program. With
/// --stack everything happens on AWS, in the stack that template.yaml deploys: apply, resources, backup, backups, show,
/// cancel, verify, drill, status, restore and undo do there what they do in a home, with the credentials that the AWS CLI
/// would use.
#[derive(Debug, Parser)]
#[command(name = "holdfast", version, propagate_version = true, max_term_width = 110, after_help = after_help!(
    "holdfast demo                                    see all of it at work, in under a minute",
    "holdfast apply -f resources.yaml                 say what is protected",
    "holdfast backup orders                           back it up",
    "holdfast verify latest:orders                    prove every byte of it",
    "holdfast restore latest:orders --to jsonl:out    restore it",
    "holdfast --stack holdfast backup orders          do it on AWS",
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
    /// The stack to work on, by its name or its ARN, in place of a home
    #[arg(long, value_name = "NAME", global = true, env = "HOLDFAST_STACK")]
    pub(crate) stack: Option<String>,
    /// The stack's region, where it is not the environment's or the profile's; stands before the command
    #[arg(long, value_name = "REGION")]
    pub(crate) region: Option<String>,
    /// The profile whose credentials and region are used, where it is not the environment's
    #[arg(long, value_name = "NAME", global = true)]
    pub(crate) profile: Option<String>,
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

impl Options {
    /// Reads the command line.
    pub(crate) fn read() -> Result<Self, clap::Error> {
        let mut command = Self::command();
        let matches = command.try_get_matches_from_mut(std::env::args_os())?;
        let mut options = Self::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
        options.global.choose(&matches).map_err(|why| command.error(ErrorKind::ArgumentConflict, why))?;
        Ok(options)
    }
}

impl Global {
    /// One of home and stack: what the command line names counts before what the environment does.
    fn choose(&mut self, matches: &ArgMatches) -> Result<(), &'static str> {
        let source =
            |name: &str| matches.value_source(name).filter(|source| *source != ValueSource::DefaultValue);
        match (source("home"), source("stack")) {
            (Some(ValueSource::CommandLine), Some(ValueSource::CommandLine)) => {
                Err("--home cannot be used with --stack: name one place to work on")
            }
            (Some(ValueSource::EnvVariable), Some(ValueSource::EnvVariable)) => {
                Err("HOLDFAST_HOME and HOLDFAST_STACK are both set: name one with --home or --stack")
            }
            (Some(ValueSource::CommandLine), _) => {
                self.stack = None;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Opens the home that is there, or finds the stack.
    pub(crate) async fn open(&self) -> Result<Place> {
        self.open_as(false).await
    }

    /// As [`Global::open`], and makes a home where there is none.
    pub(crate) async fn open_or_make(&self) -> Result<Place> {
        self.open_as(true).await
    }

    /// Opens the home for a command that needs the vault itself.
    pub(crate) async fn open_home(&self, command: &str) -> Result<Place> {
        if self.stack.is_some() { Err(home_only(command)) } else { self.open().await }
    }

    async fn open_as(&self, create: bool) -> Result<Place> {
        if let Some(stack) = &self.stack {
            let access = Access { stack, region: self.region.as_deref(), profile: self.profile.as_deref() };
            return Ok(Place::Stack(Box::new(Stack::find(&access).await?)));
        }
        let options = holdfast_local::Options { create, ..Default::default() };
        Ok(Place::Home(Box::new(Cloud::open(&self.home, options).await?)))
    }

    /// Whether there is anything to open: a stack, or a home.
    pub(crate) fn is_there(&self) -> bool {
        self.stack.is_some() || self.home.join("vault").is_dir() || self.home.join("key.json").is_file()
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
    Drill(drill::Args),
    Status(status::Args),
    Cost(cost::Args),
    Restore(restore::Args),
    Diff(diff::Args),
    Undo(undo::Args),
    Retention(retention::Args),
    Hold(hold::Args),
    Release(hold::ReleaseArgs),
    Delete(delete::Args),
    Undelete(delete::UndeleteArgs),
    Expire(expire::Args),
    Prune(prune::Args),
    Rebuild(rebuild::Args),
    Copy(copy::Args),
    Key(key::Args),
    Repair(repair::Args),
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
