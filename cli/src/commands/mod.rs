//! The commands, a module each.

pub(crate) mod apply;
pub(crate) mod backup;
pub(crate) mod backups;
pub(crate) mod cancel;
pub(crate) mod capture;
pub(crate) mod copy;
pub(crate) mod cost;
pub(crate) mod delete;
mod delta;
pub(crate) mod diff;
pub(crate) mod drill;
pub(crate) mod expire;
pub(crate) mod hold;
mod jobs;
pub(crate) mod key;
pub(crate) mod prune;
pub(crate) mod rebuild;
pub(crate) mod repair;
pub(crate) mod resources;
pub(crate) mod restore;
pub(crate) mod retention;
pub(crate) mod show;
pub(crate) mod status;
pub(crate) mod undo;
pub(crate) mod verify;
mod window;

use crate::demo;
use crate::exit::Exit;
use crate::options::{Command, Options};
use crate::output::{Outcome, Report};
use holdfast_vault::error::Result;
use std::fmt;

/// Runs the command that was asked for.
pub(crate) async fn run(options: &Options) -> Result<Outcome> {
    let global = &options.global;
    match &options.command {
        Command::Apply(args) => apply::run(global, args).await,
        Command::Resources(_) => resources::run(global).await,
        Command::Backup(args) => backup::run(global, args).await,
        Command::Backups(args) => backups::run(global, args).await,
        Command::Show(args) => show::run(global, args).await,
        Command::Capture(args) => capture::run(global, args).await,
        Command::Cancel(args) => cancel::run(global, args).await,
        Command::Verify(args) => verify::run(global, args).await,
        Command::Restore(args) => restore::run(global, args).await,
        Command::Diff(args) => Box::pin(diff::run(global, args)).await,
        Command::Drill(args) => Box::pin(drill::run(global, args)).await,
        Command::Status(args) => status::run(global, args).await,
        Command::Undo(args) => Box::pin(undo::run(global, args)).await,
        Command::Prune(args) => prune::run(global, args).await,
        Command::Retention(args) => retention::run(global, args).await,
        Command::Hold(args) => hold::run(global, args).await,
        Command::Release(args) => hold::release(global, args).await,
        Command::Delete(args) => delete::run(global, args).await,
        Command::Undelete(args) => delete::undelete(global, args).await,
        Command::Expire(args) => expire::run(global, args).await,
        Command::Rebuild(_) => rebuild::run(global).await,
        Command::Copy(args) => Box::pin(copy::run(global, args)).await,
        Command::Cost(args) => cost::run(global, args).await,
        Command::Key(args) => Box::pin(key::run(global, args)).await,
        Command::Repair(args) => Box::pin(repair::run(global, args)).await,
        Command::Demo(args) => {
            let report = Box::pin(demo::run(args)).await?;
            let exit = Exit::differences(!report.equal());
            Outcome::new(&report, global.json, exit)
        }
    }
}

impl Report for demo::Report {
    fn text(&self, out: &mut String) -> fmt::Result {
        let mut text = Vec::new();
        self.print(&mut text).map_err(|_| fmt::Error)?;
        out.push_str(&String::from_utf8_lossy(&text));
        Ok(())
    }
}
