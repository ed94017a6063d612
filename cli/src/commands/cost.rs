//! `holdfast cost`

use crate::exit::{Exit, after_help};
use crate::options::Global;
use crate::output::Side::{Left, Right};
use crate::output::{Outcome, Report, Table, amount, count, size};
use holdfast_vault::error::{Code, Error, Result};
use holdfast_workflow::cost::{self, Asked, Cost, Facts, Load, Work};
use serde::Serialize;
use std::fmt::{self, Write as _};

/// Says what protecting a resource costs on AWS: requests, bytes and dollars a month
///
/// It is a calculation, and asks AWS nothing. Of a resource it takes the newest backups, the schedule and the retention; an
/// option counts before what is known. Beside it stands what AWS Backup and point-in-time recovery of DynamoDB cost for the
/// same. Prices are list prices: check them before a decision hangs on one.
#[derive(Debug, clap::Args)]
#[command(after_help = after_help!(
    "holdfast cost orders",
    "holdfast cost orders --kept 365 --backups-per-day 24",
    "holdfast cost --records 1000000 --bytes 1073741824 --daily-change 1",
    "holdfast cost --files 20000 --bytes 50000000000 --daily-change 0.5 --kept 90 --json",
))]
pub(crate) struct Args {
    /// The resource
    #[arg(value_name = "RESOURCE")]
    resource: Option<String>,
    /// Records of a DynamoDB table
    #[arg(long, value_name = "N")]
    records: Option<u64>,
    /// Files, as objects of a bucket
    #[arg(long, value_name = "N")]
    files: Option<u64>,
    /// Bytes of content that records and files have together
    #[arg(long, value_name = "B")]
    bytes: Option<u64>,
    /// Percent of the records or files that change in a day
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    daily_change: Option<f64>,
    /// Backups in a day: 24 for one an hour, 0.143 for one a week. 1 where neither this nor a schedule says
    #[arg(long, value_name = "K", allow_negative_numbers = true)]
    backups_per_day: Option<f64>,
    /// Backups that are kept. 30 where neither this nor a policy says
    #[arg(long, value_name = "N")]
    kept: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Told {
    #[serde(flatten)]
    facts: Option<Facts>,
    #[serde(flatten)]
    cost: Cost,
}

/// Carries the command out.
pub(crate) async fn run(global: &Global, args: &Args) -> Result<Outcome> {
    let asked = Asked {
        records: args.records,
        files: args.files,
        bytes: args.bytes,
        daily_change: args.daily_change,
        backups_per_day: args.backups_per_day,
        kept: args.kept,
    };
    let facts = match &args.resource {
        None if asked.records.is_none() && asked.files.is_none() => return Err(nothing_named()),
        None => None,
        Some(resource) => {
            let place = global.open().await?;
            Some(cost::of_resource(place.jobs(), resource, &asked).await?)
        }
    };
    let load = match &facts {
        Some(facts) => facts.load.clone(),
        None => Load::of_figures(&asked)?,
    };
    Outcome::new(&Told { facts, cost: cost::cost(load) }, global.json, Exit::Done)
}

fn nothing_named() -> Error {
    Error::new(Code::InvalidInput, "neither a resource nor figures are given")
        .object("RESOURCE")
        .hint("name a resource, or say --records N --bytes B --daily-change P")
}

/// Dollars, as exactly as is of use: cents, or what is left of them.
fn dollars(amount: f64) -> String {
    if amount == 0.0 || amount >= 0.995 { format!("{amount:.2}") } else { format!("{amount:.6}") }
}

/// A number without zeros that say nothing.
fn short(number: f64) -> String {
    let text = format!("{number:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A number of backups, which need be no whole one.
fn backups(number: f64) -> String {
    let number = short(number);
    let noun = if number == "1" { "backup" } else { "backups" };
    format!("{number} {noun}")
}

/// What is counted of some work, one line each.
fn counts(work: &Work) -> [(&'static str, String); 9] {
    [
        ("S3 PUT, COPY, LIST", count(work.s3_puts())),
        ("S3 GET, HEAD", count(work.s3_gets())),
        ("S3 DELETE", count(work.s3_deletes())),
        ("read units of the source's scan", count(work.scan_reads)),
        ("read units of job state", count(work.state_reads)),
        ("write units of job state", count(work.state_writes)),
        ("Lambda calls", count(work.calls)),
        ("Lambda GiB-seconds", format!("{:.1}", work.gib_seconds)),
        ("state transitions", count(work.transitions)),
    ]
}

impl Report for Told {
    fn text(&self, out: &mut String) -> fmt::Result {
        self.asked(out)?;
        self.work(out)?;
        self.beside(out)?;
        self.notes(out)
    }
}

impl Told {
    /// What was asked about.
    fn asked(&self, out: &mut String) -> fmt::Result {
        let load = &self.cost.load;
        let sum = |of: fn(&cost::StreamLoad) -> u64| load.streams.iter().map(of).sum::<u64>();
        let holds = amount(sum(|stream| stream.records), sum(|stream| stream.files), load.bytes());
        if let Some(facts) = &self.facts {
            write!(out, "{}: ", facts.resource)?;
        }
        writeln!(
            out,
            "{holds}; {} % change a day; {} a day ({}), {} kept",
            short(load.daily_change * 100.0),
            backups(load.backups_per_day),
            load.backup_type,
            count(load.kept),
        )
    }

    /// What is done, and what each kind of it costs in a month.
    fn work(&self, out: &mut String) -> fmt::Result {
        let Cost { first_backup, backup, month, prices, .. } = &self.cost;
        let mut table = Table::new(&[
            ("", Left),
            ("FIRST BACKUP", Right),
            ("A BACKUP", Right),
            ("A MONTH", Right),
            ("$ A MONTH", Right),
        ]);
        let bill = &month.dollars;
        let calls = to_dollars(month.work.calls, prices.lambda_call);
        let prices = [
            bill.s3_puts,
            bill.s3_gets,
            0.0,
            bill.scan,
            to_dollars(month.work.state_reads, prices.dynamodb_read_unit),
            to_dollars(month.work.state_writes, prices.dynamodb_write_unit),
            calls,
            bill.lambda - calls,
            bill.step_functions,
        ];
        let rows = counts(&first_backup.work).into_iter().zip(counts(&backup.work));
        for (((first, one), (_, all)), price) in rows.zip(counts(&month.work)).zip(prices) {
            table.row([first.0.to_owned(), first.1, one.1, all, dollars(price)]);
        }
        let none = String::new;
        table.row([
            "vault, GiB-months".to_owned(),
            none(),
            none(),
            format!("{:.3}", month.vault_gib_months),
            dollars(bill.vault),
        ]);
        let once = |of: f64| format!("${}", dollars(of));
        table.row([
            "in all".to_owned(),
            once(first_backup.dollars.total),
            once(backup.dollars.total),
            none(),
            dollars(bill.total),
        ]);
        write!(out, "{table}")
    }

    /// What AWS's own come to.
    fn beside(&self, out: &mut String) -> fmt::Result {
        let Cost { month, comparison, .. } = &self.cost;
        let mut table =
            Table::new(&[("", Left), ("HELD", Right), ("GIB-MONTHS", Right), ("$ A MONTH", Right)]);
        let mut line = |name: &str, bytes: u64, held: f64, price: f64| {
            table.row([name.to_owned(), size(bytes), format!("{held:.3}"), dollars(price)]);
        };
        line("Holdfast", month.vault_bytes, month.vault_gib_months, month.dollars.total);
        let of = &comparison.aws_backup;
        line("AWS Backup, warm", of.bytes, of.gib_months, of.dollars);
        if let Some(of) = &comparison.pitr {
            line("DynamoDB point-in-time recovery", of.bytes, of.gib_months, of.dollars);
        }
        write!(out, "\n{table}")
    }

    fn notes(&self, out: &mut String) -> fmt::Result {
        let prices = &self.cost.prices;
        if let Some(facts) = &self.facts {
            if facts.for_ever {
                writeln!(out, "note: its policy keeps every backup for ever: those of a year are counted")?;
            }
            if facts.change_is_assumed {
                writeln!(
                    out,
                    "note: no increment tells what changes, so 1 % a day is taken: see --daily-change"
                )?;
            }
        }
        writeln!(
            out,
            "note: list prices of {} in {}: check them against the provider's page",
            prices.as_of, prices.region
        )
    }
}

#[allow(clippy::cast_precision_loss, reason = "a price needs no more than 53 bits")]
fn to_dollars(number: u64, price: f64) -> f64 {
    number as f64 * price
}
