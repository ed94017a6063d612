//! `holdfast retention`

use crate::exit::{Exit, after_help};
use crate::options::Global;
use crate::output::Side::Left;
use crate::output::{Outcome, Report, Table, counted, time};
use holdfast_common::jobs::{DeletedBy, Deletion};
use holdfast_vault::error::Result;
use holdfast_workflow::retention::{self, Explained, Fate, Origin, Reason};
use serde::Serialize;
use std::fmt::{self, Write as _};

/// Explains for every backup of a resource why it stays or goes, and when
///
/// It changes nothing: prune asks for what goes to be deleted, and it is deleted a day later at the earliest. What is said
/// here is what the policy says now.
#[derive(Debug, clap::Args)]
#[command(after_help = after_help!(
    "holdfast retention orders",
    "holdfast retention orders --json",
    "",
    "A policy in resources.yaml:",
    "  policy:",
    "    schedule: 0 * * * *",
    "    time_zone: Europe/Berlin",
    "    retention: { hourly: 24, daily: 14, weekly: 8, monthly: 12, yearly: 3, keep_within: 36h }",
))]
pub(crate) struct Args {
    /// The resource
    #[arg(value_name = "RESOURCE")]
    resource: String,
}

#[derive(Serialize)]
#[serde(transparent)]
struct Told(Explained);

/// Carries the command out.
pub(crate) async fn run(global: &Global, args: &Args) -> Result<Outcome> {
    let place = global.open().await?;
    let explained = retention::explain(place.jobs(), place.now(), &args.resource).await?;
    Outcome::new(&Told(explained), global.json, Exit::Done)
}

impl Report for Told {
    fn text(&self, out: &mut String) -> fmt::Result {
        let Explained { resource, backups, .. } = &self.0;
        writeln!(out, "{resource}: {}", self.rules())?;
        if backups.is_empty() {
            return writeln!(out, "there is no backup of it that can be restored");
        }
        let heads = ["ID", "COMPLETED", "TYPE", "", "UNTIL", "WHY"];
        let mut table = Table::new(&heads.map(|head| (head, Left)));
        for fate in backups {
            let why: Vec<String> = fate.why.iter().map(ToString::to_string).collect();
            table.row([
                fate.id.clone(),
                time(Some(fate.completed_at)),
                fate.backup_type.to_string(),
                if fate.keep { "stays" } else { "goes" }.to_owned(),
                until(fate),
                why.join("; "),
            ]);
        }
        write!(out, "{table}")?;
        let stay = backups.iter().filter(|fate| fate.keep).count() as u64;
        writeln!(out, "{} of {} stay", stay, counted(backups.len() as u64, "backup"))
    }
}

impl Told {
    /// The rules in a sentence: `daily 7, weekly 4, at least 1; days are those of Europe/Berlin`.
    fn rules(&self) -> String {
        let rules = &self.0.rules;
        let counts = [
            ("last", rules.keep_last),
            ("hourly", rules.hourly),
            ("daily", rules.daily),
            ("weekly", rules.weekly),
            ("monthly", rules.monthly),
            ("yearly", rules.yearly),
            ("days", rules.days),
        ];
        let mut said: Vec<String> =
            counts.iter().filter_map(|(name, count)| Some(format!("{name} {}", (*count)?))).collect();
        said.extend(rules.keep_within.map(|length| format!("within {length}")));
        if self.0.origin == Origin::ForEver {
            said.push("every backup for ever, since its policy has no rule".to_owned());
        }
        said.push(format!("at least {}", rules.at_least()));
        if self.0.origin == Origin::Scheduled {
            said.push("since its policy has a schedule and no rule".to_owned());
        }
        format!("{}; the calendar is that of {}", said.join(", "), self.0.time_zone)
    }
}

/// Whether a reason to stay ends by time, and by nothing else.
const fn is_of_age(why: &Reason) -> bool {
    matches!(why, Reason::Within { .. } | Reason::Days { .. } | Reason::Expires(_))
}

/// Until when a backup stays, or when it goes.
fn until(fate: &Fate) -> String {
    match (&fate.deletion, fate.until) {
        (Some(Deletion { due_at, by: DeletedBy::Operator, .. }), _) => time(Some(*due_at)),
        (Some(Deletion { due_at, .. }), _) if !fate.keep => time(Some(*due_at)),
        (None, _) if !fate.keep => "asked for by the next prune".to_owned(),
        (_, Some(until)) if fate.why.iter().all(is_of_age) => time(Some(until)),
        (_, Some(until)) => format!("{}, at least {}", fate.lasts, time(Some(until))),
        (_, None) => fate.lasts.to_owned(),
    }
}
