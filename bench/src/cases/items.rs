//! The case `items`: a large table of the embedded DynamoDB, backed up twice, verified and restored into a new table.

use super::table::{self, Products, TABLE, Writer};
use crate::Bench;
use crate::disk;
use crate::failure::{say, wrong};
use crate::holdfast::{Done, Holdfast};
use crate::report::{Report, figure, megabytes};
use holdfast_vault::error::Result;
use serde_json::json;

/// The table that is measured unless told otherwise.
const ITEMS: u64 = 500_000;
/// Of so many items, one is changed before the second backup.
const CHANGED_EVERY: u64 = 100;
/// The disk that one item takes in the table, in its copy, the vault and staging, in bytes.
const ROOM: u64 = 4_000;
/// The table that the last backup is restored into.
const RESTORED: &str = "products-restored";

/// What the case can be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Items of the table
    #[arg(long, value_name = "N", default_value_t = ITEMS, value_parser = clap::value_parser!(u64).range(100..=10_000_000))]
    items: u64,
}

impl Args {
    /// The table in thousandths of its usual size.
    pub(super) fn scaled(thousandths: u64) -> Self {
        Self { items: (ITEMS * thousandths / 1000).max(CHANGED_EVERY) }
    }
}

/// Runs the case.
///
/// # Errors
/// What kept it from being measured, or that an item did not come back as it was.
pub(crate) fn run(bench: &Bench<'_>, args: &Args) -> Result<Report> {
    disk::need(bench.directory, args.items * ROOM)?;
    table::runtime()?.block_on(measure(bench, args.items))
}

async fn measure(bench: &Bench<'_>, items: u64) -> Result<Report> {
    let holdfast = Holdfast::new(bench.program, &bench.directory.join("home"));
    let mut report = Report::new("items", bench.version.clone());
    report.setting("items", items);
    report.setting("changed before the second backup", items.div_ceil(CHANGED_EVERY));
    say(&format!("making a table of {items} items"));
    let products = Products::open(holdfast.home()).await?;
    products.create().await?;
    products.write(Writer::Shop, 0..items).await?;
    // A home is one process's at a time.
    drop(products);
    holdfast.apply(&json!({
        "name": TABLE,
        "source": { "kind": "dynamodb", "table": TABLE, "endpoint": "embedded" },
        "policy": { "verify": "none" },
    }))?;
    back_up(&holdfast, &mut report, "first backup", "full")?;
    say("changing one item of a hundred");
    let products = Products::open(holdfast.home()).await?;
    products.write(Writer::Customer, (0..items).filter(|number| is_changed(*number))).await?;
    drop(products);
    let last = back_up(&holdfast, &mut report, "second backup", "incremental")?;
    let id = last.text("id")?;
    report.step("verify all data", holdfast.verify(id)?);
    let to = format!("dynamodb:{RESTORED}");
    let done = holdfast.run(&["restore", id, "--to", &to, "--endpoint", "embedded"])?;
    report.step("restore into a new table", done.usage);
    say("comparing the new table with what it should be");
    let last_writer = |number| if is_changed(number) { Writer::Customer } else { Writer::Shop };
    let products = Products::open(holdfast.home()).await?;
    let differences = products.differences_in(RESTORED, items, last_writer).await?;
    if differences > 0 {
        return Err(wrong(format!("{differences} items of backup {id} did not come back as they were")));
    }
    report.fact("items restored, compared with what they should be", "equal");
    Ok(report)
}

/// Makes a backup, as a step of the report.
fn back_up(holdfast: &Holdfast, report: &mut Report, name: &str, kind: &str) -> Result<Done> {
    let before = holdfast.vault_bytes()?;
    let done = holdfast.run(&["backup", TABLE, "--type", kind])?;
    let after = holdfast.vault_bytes()?;
    report.writing_step(format!("{name}, {}", done.text("type")?), done.usage, before, after);
    if let Some(bytes) = done.number("bytes") {
        report.fact(format!("{name}, bytes of items"), megabytes(figure(bytes)));
    }
    Ok(done)
}

const fn is_changed(number: u64) -> bool {
    number.is_multiple_of(CHANGED_EVERY)
}
