//! `holdfast expire`

use super::hold::Said;
use super::jobs::backup_id;
use crate::exit::after_help;
use crate::options::Global;
use crate::output::{Outcome, time};
use holdfast_common::jobs::Job;
use holdfast_vault::error::Result;
use holdfast_workflow::retention::{self, Expiry, NEVER};
use jiff::Timestamp;
use std::num::NonZeroU32;

/// Says until when one backup is kept, in place of what its policy says of age
///
/// It replaces the rules of age, and that nothing expires where a policy has no rule. A backup that a rule keeps which counts
/// (last, hourly to yearly, minimum), or a hold, stays beyond that: use delete for one that must go.
#[derive(Debug, clap::Args)]
#[command(after_help = after_help!(
    "holdfast expire 01K8Z6T3W4Q5R6S7T8V9W0X1Y2 --days 400       from its completion on",
    "holdfast expire latest:orders --at 2027-12-31T23:00:00Z",
    "holdfast expire latest:orders --never",
    "holdfast expire latest:orders --policy                     as its policy says, again",
))]
pub(crate) struct Args {
    /// The backup's id, or latest:RESOURCE
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    when: When,
    /// Says what would be, and changes nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct When {
    /// So many days after its completion
    #[arg(long, value_name = "N")]
    days: Option<NonZeroU32>,
    /// At this time, as 2027-12-31T23:00:00Z
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    /// Never
    #[arg(long)]
    never: bool,
    /// As its policy says
    #[arg(long)]
    policy: bool,
}

impl When {
    fn expiry(&self) -> Expiry {
        match (self.days, self.at) {
            (Some(days), _) => Expiry::Days(days),
            (None, Some(at)) => Expiry::At(at),
            (None, None) if self.never => Expiry::Never,
            (None, None) => Expiry::Policy,
        }
    }
}

/// Carries the command out.
pub(crate) async fn run(global: &Global, args: &Args) -> Result<Outcome> {
    let place = global.open().await?;
    let id = backup_id(&place, &args.id).await?;
    let expiry = args.when.expiry();
    let job = if args.dry_run {
        retention::expiring(place.jobs().job(&id).await?, expiry)?
    } else {
        retention::set_expiry(place.jobs(), &id, expiry).await?
    };
    Said::new(&job, args.dry_run, line(&job)).outcome(global)
}

fn line(job: &Job) -> String {
    match job.expires_at {
        None => "expires as its policy says".to_owned(),
        Some(at) if at >= NEVER => "never expires".to_owned(),
        Some(at) => format!("expires at {}", time(Some(at))),
    }
}
