//! The case `memory`: the most memory that a backup of many records takes.

use super::shop::{self, Type};
use crate::Bench;
use crate::data::records::{self, Edition, End};
use crate::data::sink::Directory;
use crate::disk;
use crate::failure::{failed, say};
use crate::holdfast::Holdfast;
use crate::report::{Limit, Report, Unit, figure};
use holdfast_vault::error::Result;

/// The number of records that the goal is for.
const MANY: u64 = 10_000_000;
/// Less memory than this, in bytes.
const MEMORY: f64 = 512.0 * 1_048_576.0;
/// The disk that one record takes, in bytes: about 1,080 in the source and in the file that takes its place, 400 in the
/// vault and as many in staging, and something to spare.
const ROOM: u64 = 2_500;

/// What the case can be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Records, over eight files; the goal is for 10,000,000 and more, which take about 25 GB of disk
    #[arg(long, value_name = "N", default_value_t = MANY, value_parser = clap::value_parser!(u64).range(8..=1_000_000_000))]
    records: u64,
    /// The type of the second backup
    #[arg(long = "type", value_name = "TYPE", default_value = "incremental")]
    backup_type: Type,
}

/// Runs the case.
///
/// # Errors
/// What kept it from being measured.
pub(crate) fn run(bench: &Bench<'_>, args: &Args) -> Result<Report> {
    disk::need(bench.directory, args.records * ROOM)?;
    let source = bench.directory.join("source");
    let write = |edition| {
        say("making the records");
        records::write(edition, End::Records(args.records.div_ceil(8)), &mut Directory(source.clone()))
            .map_err(|e| failed("write records below", &source, &e))
    };
    let mut report = Report::new("memory", bench.version.clone());
    let first = write(Edition::V1)?;
    report.setting("records", first.first.iter().sum::<u64>());
    report.setting("bytes", first.bytes);
    let holdfast = Holdfast::new(bench.program, &bench.directory.join("home"));
    shop::protect(&holdfast, &source)?;
    let full = shop::back_up(&holdfast, &mut report, "first backup", Type::Full)?;
    write(Edition::V2)?;
    let second = shop::back_up(&holdfast, &mut report, "second backup", args.backup_type)?;
    let judged = args.records >= MANY;
    for (name, backup) in [("memory of the first backup", full), ("memory of the second backup", second)] {
        let peak = Some(figure(backup.usage.peak_bytes));
        report.goal(name, Unit::Memory, Limit::Under(MEMORY), peak, judged);
    }
    Ok(report)
}
