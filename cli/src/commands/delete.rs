//! `holdfast delete`, `holdfast undelete`

use super::hold::Said;
use super::window::note;
use crate::exit::after_help;
use crate::options::Global;
use crate::output::{Outcome, time};
use crate::place::Place;
use holdfast_common::jobs::{DeletedBy, Deletion, Job, JobKind};
use holdfast_vault::error::{Code, Result};
use holdfast_workflow::retention::{self, Due, Fate};

/// Asks for a backup to be deleted; for a day that can be taken back
///
/// Nothing builds on it from now on, and the prune that comes when it is due deletes it. Backups that were built on it
/// keep all that they need. A held backup is refused.
#[derive(Debug, clap::Args)]
#[command(after_help = after_help!(
    "holdfast delete 01K8Z6T3W4Q5R6S7T8V9W0X1Y2 --dry-run",
    "holdfast delete 01K8Z6T3W4Q5R6S7T8V9W0X1Y2",
    "holdfast undelete 01K8Z6T3W4Q5R6S7T8V9W0X1Y2      takes it back",
    "holdfast delete 01K8Z6T3W4Q5R6S7T8V9W0X1Y2 --now",
))]
pub(crate) struct Args {
    /// The backup's id
    #[arg(value_name = "ID")]
    id: String,
    /// Without the day of grace: the next prune deletes it
    #[arg(long)]
    now: bool,
    /// Says what would happen, and asks for nothing
    #[arg(long)]
    dry_run: bool,
}

/// Takes it back that a backup is to be deleted, as long as it is there
#[derive(Debug, clap::Args)]
#[command(after_help = after_help!("holdfast undelete 01K8Z6T3W4Q5R6S7T8V9W0X1Y2"))]
pub(crate) struct UndeleteArgs {
    /// The backup's id
    #[arg(value_name = "ID")]
    id: String,
    /// Says what would happen, and takes nothing back
    #[arg(long)]
    dry_run: bool,
}

/// Carries `delete` out.
pub(crate) async fn run(global: &Global, args: &Args) -> Result<Outcome> {
    let place = global.open().await?;
    let (jobs, now) = (place.jobs(), place.now());
    let due = if args.now { Due::Now } else { Due::AfterGrace };
    let job = if args.dry_run {
        retention::deleted(jobs.job(&args.id).await?, now, due)?
    } else {
        retention::delete(jobs, now, &args.id, due).await?
    };
    let line = match &job.deletion {
        Some(Deletion { deleted_at: Some(at), .. }) => format!("was deleted at {}", time(Some(*at))),
        Some(Deletion { due_at, .. }) => format!("goes with the first prune from {} on", time(Some(*due_at))),
        None => "stays".to_owned(),
    };
    warn_of_the_last(global, &place, &job).await?;
    Said::new(&job, args.dry_run, line).outcome(global)
}

/// Tells people that nothing else of a resource can be restored.
async fn warn_of_the_last(global: &Global, place: &Place, job: &Job) -> Result<()> {
    let mut pages = place.jobs().jobs(JobKind::Backup, Some(&job.resource));
    while let Some(page) = pages.next().await? {
        if page.iter().any(|other| other.id != job.id && other.can_be_built_on()) {
            return Ok(());
        }
    }
    note(global, &format!("no other backup of {} would be left", job.resource));
    Ok(())
}

/// Tells people that a backup's policy will ask for it again.
async fn warn_of_the_policy(global: &Global, place: &Place, id: &str, resource: &str) -> Result<()> {
    let explained = match retention::explain(place.jobs(), place.now(), resource).await {
        Ok(explained) => explained,
        // A resource that is not configured has no policy.
        Err(error) if error.code == Code::ResourceUnknown => return Ok(()),
        Err(error) => return Err(error),
    };
    let by_policy =
        |fate: &&Fate| fate.deletion.as_ref().is_none_or(|known| known.by == DeletedBy::Retention);
    if explained.backups.iter().filter(by_policy).any(|fate| fate.id == id && !fate.keep) {
        let keeps = format!("`holdfast hold {id}` or `holdfast expire {id}` keeps it");
        note(global, &format!("its policy lets it go, and the next prune asks for that: {keeps}"));
    }
    Ok(())
}

/// Carries `undelete` out.
pub(crate) async fn undelete(global: &Global, args: &UndeleteArgs) -> Result<Outcome> {
    let place = global.open().await?;
    let job = if args.dry_run {
        retention::undeleted(place.jobs().job(&args.id).await?)?
    } else {
        retention::undelete(place.jobs(), &args.id).await?
    };
    warn_of_the_policy(global, &place, &job.id, &job.resource).await?;
    Said::new(&job, args.dry_run, "stays as long as its policy says").outcome(global)
}
