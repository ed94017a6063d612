//! `holdfast backup`

use super::jobs::{BackupReport, took, verification, write_warnings};
use crate::exit::{Exit, after_help};
use crate::options::Global;
use crate::output::{Outcome, Report, amount, duration, size};
use crate::progress::attend;
use clap::ValueEnum;
use holdfast_common::jobs::{BackupType, Job};
use holdfast_vault::error::Result;
use serde::{Serialize, Serializer};
use std::fmt::{self, Write as _};

/// Backs up a resource
///
/// The backup is verified as the resource's policy says. The first Ctrl-C cancels it and waits until nothing is left
/// half done; the second ends the process at once.
#[derive(Debug, clap::Args)]
#[command(after_help = after_help!("holdfast backup orders", "holdfast backup orders --type incremental --json"))]
pub(crate) struct Args {
    /// The resource's name
    #[arg(value_name = "NAME")]
    resource: String,
    /// The type of backup; what the policy says where it is not given
    #[arg(long = "type", value_name = "TYPE")]
    backup_type: Option<Type>,
}

/// [`BackupType`] as the command line takes it.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Type {
    /// Refers to nothing older
    Full,
    /// Stores what changed since the latest backup
    Incremental,
    /// Stores what changed since the latest full backup
    Differential,
}

impl From<Type> for BackupType {
    fn from(asked: Type) -> Self {
        match asked {
            Type::Full => Self::Full,
            Type::Incremental => Self::Incremental,
            Type::Differential => Self::Differential,
        }
    }
}

struct BackedUp(Job);

/// Carries the command out.
pub(crate) async fn run(global: &Global, args: &Args) -> Result<Outcome> {
    let place = global.open().await?;
    let id = place.new_id();
    let work = Box::pin(place.run_backup(&id, &args.resource, args.backup_type.map(BackupType::from)));
    let job = attend(global, &place, &id, &format!("backing up {}", args.resource), work).await?;
    let damaged = job.verified.as_ref().is_some_and(|verified| !verified.valid);
    Outcome::new(&BackedUp(job), global.json, Exit::differences(damaged))
}

impl Serialize for BackedUp {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        BackupReport::new(&self.0).serialize(to)
    }
}

impl Report for BackedUp {
    fn text(&self, out: &mut String) -> fmt::Result {
        let Job { id, resource, totals, .. } = &self.0;
        let took = took(&self.0, self.0.created_at)
            .map_or_else(String::new, |took| format!(" in {}", duration(took)));
        writeln!(out, "backed up {resource}{took}")?;
        writeln!(out, "  id        {id}")?;
        writeln!(out, "  read      {}", amount(totals.records, totals.files, totals.bytes))?;
        writeln!(out, "  stored    {}", size(totals.stored_bytes))?;
        for stream in &self.0.streams {
            let amount = amount(stream.records, stream.files, stream.bytes);
            writeln!(out, "  stream    {}: {amount}", stream.name)?;
        }
        if let Some(verified) = &self.0.verified {
            writeln!(out, "  verified  {}", verification(verified))?;
            if !verified.valid {
                writeln!(out, "  hint: `holdfast verify {id}` names what is damaged; back up again")?;
            }
        }
        write_warnings(out, &self.0.warnings)
    }
}
