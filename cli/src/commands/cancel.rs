//! `holdfast cancel`

use crate::exit::{Exit, after_help};
use crate::options::Global;
use crate::output::{Outcome, Report};
use holdfast_common::jobs::Status;
use holdfast_local::Home;
use holdfast_vault::error::{Code, Result};
use serde::Serialize;
use std::fmt::{self, Write as _};

/// Cancels a backup or a restore, also one that another process runs
///
/// What the job has made so far is removed; a cancelled backup leaves nothing in the vault's list of backups. On a stack
/// its execution ends before its next step.
#[derive(Debug, clap::Args)]
#[command(after_help = after_help!("holdfast cancel 01K8Z6T3W4Q5R6S7T8V9W0X1Y2"))]
pub(crate) struct Args {
    /// The id of the backup or restore
    #[arg(value_name = "ID")]
    id: String,
}

#[derive(Debug, Serialize)]
struct Asked {
    id: String,
    /// The job's status, unless only the process that runs it knows.
    status: Option<Status>,
    /// Whether another process was asked to cancel it.
    requested: bool,
}

/// Carries the command out.
pub(crate) async fn run(global: &Global, args: &Args) -> Result<Outcome> {
    let id = args.id.clone();
    let asked = match global.open().await {
        Ok(place) => Asked { status: Some(place.cancel(&id).await?.status), id, requested: false },
        Err(error) if error.code == Code::HomeInUse => {
            Home::request_cancel(&global.home, &id)?;
            Asked { id, status: None, requested: true }
        }
        Err(error) => return Err(error),
    };
    Outcome::new(&asked, global.json, Exit::Done)
}

impl Report for Asked {
    fn text(&self, out: &mut String) -> fmt::Result {
        if self.requested {
            return writeln!(
                out,
                "{}: the process that runs it will cancel it before its next step",
                self.id
            );
        }
        writeln!(out, "{}: cancelled", self.id)
    }
}
