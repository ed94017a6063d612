//! The case `undo`: a deployment writes wrong prices, and Holdfast takes back just those.

use super::table::{self, Products, TABLE, Writer};
use crate::Bench;
use crate::disk;
use crate::failure::{say, wrong};
use crate::holdfast::{Done, Holdfast};
use crate::report::{Limit, Report, Unit};
use holdfast_vault::error::{Code, Error, Result};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use std::thread;
use std::time::Duration;

/// The table that the goal is for.
const ITEMS: u64 = 200_000;
/// The bad writes that the goal is for.
const BAD: u64 = 5_000;
/// The time of it all, in seconds.
const TIME: f64 = 30.0;
/// Of so many products with a bad price, customers buy one after the window: a conflict.
const CONFLICT_EVERY: u64 = 250;
/// Of so many other products, customers buy one after the window.
const SOLD_EVERY: u64 = 200;
/// The disk that one item takes in the table, its index, its stream, the vault and staging, in bytes.
const ROOM: u64 = 4_000;
/// The commands that the case measures.
const COMMANDS: [&str; 3] = ["capture", "diff", "undo"];

/// What the case can be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Items of the table; the goal is for 200,000 and more
    #[arg(long, value_name = "N", default_value_t = ITEMS, value_parser = clap::value_parser!(u64).range(1_000..=10_000_000))]
    items: u64,
    /// Items that the bad writer changes, at most half of them; the goal is for 5,000 and more
    #[arg(long, value_name = "N", default_value_t = BAD, value_parser = clap::value_parser!(u64).range(1..=5_000_000))]
    bad: u64,
    /// Measures a quarter of the table and a quarter of the bad writes too
    #[arg(long)]
    growth: bool,
}

/// One table, one incident.
#[derive(Debug, Clone, Copy)]
struct Incident {
    items: u64,
    bad: u64,
}

/// The time from which the bad writer wrote, and to which.
struct Window {
    from: Timestamp,
    to: Timestamp,
}

/// Runs the case.
///
/// # Errors
/// `InvalidInput` if the program has no such commands, what kept the case from being measured, or that an item is not what it
/// should be afterwards.
pub(crate) fn run(bench: &Bench<'_>, args: &Args) -> Result<Report> {
    if args.bad > args.items / 2 {
        return Err(Error::new(Code::InvalidInput, "--bad is more than half of --items").object("--bad"));
    }
    let whole = Incident { items: args.items, bad: args.bad };
    let quarters =
        [Incident { items: args.items / 4, ..whole }, Incident { bad: args.bad.div_ceil(4), ..whole }];
    let quarters = quarters.into_iter().filter(|of| args.growth && of.bad <= of.items / 2);
    disk::need(bench.directory, args.items * ROOM * if args.growth { 3 } else { 1 })?;
    let runtime = table::runtime()?;
    let mut report = Report::new("undo", bench.version.clone());
    report.setting("items", args.items);
    report.setting("bad writes", args.bad);
    let took = runtime.block_on(whole.measure(bench, &mut report))?;
    for quarter in quarters {
        let took = runtime.block_on(quarter.measure(bench, &mut report))?;
        report.fact(format!("{} items, {} bad writes", quarter.items, quarter.bad), format!("{took:.2} s"));
    }
    let judged = args.items >= ITEMS && args.bad >= BAD;
    let goal = "capture of the rest, dry run and undo";
    report.goal(goal, Unit::Seconds, Limit::Under(TIME), Some(took), judged);
    Ok(report)
}

impl Incident {
    /// Lets it happen and takes it back; returns the seconds that this took.
    async fn measure(self, bench: &Bench<'_>, report: &mut Report) -> Result<f64> {
        let Self { items, bad } = self;
        let name = format!("{items} items, {bad} bad");
        let holdfast = Holdfast::new(bench.program, &bench.directory.join(format!("home-{items}-{bad}")));
        for command in COMMANDS {
            holdfast.knows(command)?;
        }
        say(&format!("making a table of {items} items"));
        let products = Products::open(holdfast.home()).await?;
        products.create().await?;
        products.write(Writer::Shop, 0..items).await?;
        products.stream().await?;
        drop(products);
        holdfast.apply(&json!({
            "name": TABLE,
            "source": { "kind": "dynamodb", "table": TABLE, "endpoint": "embedded" },
            "policy": { "verify": "none", "capture": true },
        }))?;
        let done = holdfast.run(&["backup", TABLE, "--type", "full"])?;
        report.step(format!("{name}: backup"), done.usage);
        let done = holdfast.run(&["capture", TABLE])?;
        report.step(format!("{name}: capture so far"), done.usage);
        let window = self.happen(&holdfast).await?;
        let took = take_back(&holdfast, report, &name, &window)?;
        let products = Products::open(holdfast.home()).await?;
        let differences = products.differences(items, |number| self.last_writer(number)).await?;
        if differences > 0 {
            return Err(wrong(format!("{differences} items are not what they should be after the undo")));
        }
        report.fact(format!("{name}: items compared with what they should be"), "equal");
        Ok(took)
    }

    /// The bad writer writes, and customers buy afterwards.
    async fn happen(self, holdfast: &Holdfast) -> Result<Window> {
        say("the bad writer writes, then customers");
        let products = Products::open(holdfast.home()).await?;
        let from = boundary();
        products.write(Writer::Bad, (0..self.items).filter(|number| self.is_bad(*number))).await?;
        let to = boundary();
        products.write(Writer::Customer, (0..self.items).filter(|number| self.is_sold(*number))).await?;
        Ok(Window { from, to })
    }

    /// Whether the bad writer wrote it: they are spread over the table.
    const fn is_bad(self, number: u64) -> bool {
        (number + 1) * self.bad / self.items > number * self.bad / self.items
    }

    /// Whether a customer wrote it after the window.
    const fn is_sold(self, number: u64) -> bool {
        if self.is_bad(number) {
            return (number * self.bad / self.items).is_multiple_of(CONFLICT_EVERY);
        }
        number.is_multiple_of(SOLD_EVERY)
    }

    /// Who wrote an item last when the undo is done.
    const fn last_writer(self, number: u64) -> Writer {
        if self.is_sold(number) { Writer::Customer } else { Writer::Shop }
    }
}

/// Captures what is left, looks, and takes back; returns the seconds that the goal is about.
fn take_back(holdfast: &Holdfast, report: &mut Report, name: &str, window: &Window) -> Result<f64> {
    let (from, to) = (window.from.to_string(), window.to.to_string());
    let mut step = |what: &str, args: &[&str]| -> Result<Done> {
        let done = holdfast.run(args)?;
        report.step(format!("{name}: {what}"), done.usage);
        Ok(done)
    };
    let captured = step("capture of the rest", &["capture", TABLE])?;
    step("diff", &["diff", TABLE, "--from", &from, "--to", &to, "--limit", "0"])?;
    let undo = ["undo", TABLE, "--from", &from, "--to", &to, "--on-conflict", "skip"];
    let dry = step("undo, dry run", &[undo.as_slice(), &["--dry-run"]].concat())?;
    let undone = step("undo", &undo)?;
    if let Some(conflicts) = undone.number("conflicts") {
        report.fact(format!("{name}: conflicts"), conflicts);
    }
    Ok(captured.usage.wall_s + dry.usage.wall_s + undone.usage.wall_s)
}

/// A time with no write in the second before it nor in the one after: streams tell times in whole seconds.
fn boundary() -> Timestamp {
    let next = Timestamp::from_second(Timestamp::now().as_second() + 2).unwrap_or(Timestamp::MAX);
    wait_for(next + SignedDuration::from_secs(1));
    next
}

fn wait_for(time: Timestamp) {
    while let Ok(left) = Duration::try_from(time.duration_since(Timestamp::now())) {
        if left.is_zero() {
            return;
        }
        thread::sleep(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_writes_and_good_ones_are_as_many_as_said() {
        for of in [Incident { items: 200_000, bad: 5_000 }, Incident { items: 50_000, bad: 5_000 }] {
            let count = |what: &dyn Fn(u64) -> bool| (0..of.items).filter(|number| what(*number)).count();
            assert_eq!(count(&|number| of.is_bad(number)), 5_000);
            let both = count(&|number| of.is_sold(number) && of.is_bad(number));
            assert_eq!(both, 20);
            assert!(count(&|number| of.is_sold(number)) > 200);
        }
    }
}
