//! The case `growth`: what more records, more small files and more days make of time, memory and the vault.

use super::history::Day;
use super::shop::{self, Type};
use crate::Bench;
use crate::chart::{Line, Lines, Panel};
use crate::data::records::{self, Edition, End};
use crate::data::sink::Directory;
use crate::data::small;
use crate::data::text::Words;
use crate::disk;
use crate::failure::{failed, say, wrong};
use crate::fit;
use crate::holdfast::Holdfast;
use crate::measure::Usage;
use crate::report::{Limit, Report, Unit, figure};
use holdfast_vault::error::Result;
use serde_json::json;
use std::io;
use std::path::PathBuf;

/// The largest sets that the goals are for.
const MOST_RECORDS: u64 = 1_000_000;
const MOST_FILES: u64 = 100_000;
const MONTH: u64 = 30;
/// The smallest sets, where the largest are much larger.
const LEAST_RECORDS: u64 = 100_000;
const LEAST_FILES: u64 = 1_000;
/// The days of a chain at which it is measured.
const DAYS: [u64; 3] = [1, 7, 30];
/// The greatest power of a growth that still counts as linear: measuring has its noise.
const LINEAR: f64 = 1.05;
/// The most times that memory may grow for every time that the data does.
const MEMORY: f64 = 1.0;
/// The disk that one record takes, and one file with the blocks of the file system, in bytes.
const ROOM_RECORD: u64 = 4_000;
const ROOM_FILE: u64 = 14_000;

/// What the case can be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The largest number of records; the goals are for 1,000,000 and more
    #[arg(long, value_name = "N", default_value_t = MOST_RECORDS, value_parser = clap::value_parser!(u64).range(800..=100_000_000))]
    most: u64,
    /// The largest number of small files; the goals are for 100,000 and more
    #[arg(long, value_name = "N", default_value_t = MOST_FILES, value_parser = clap::value_parser!(u64).range(100..=10_000_000))]
    most_files: u64,
    /// Days of the longest chain; the goals are for 30 and more
    #[arg(long, value_name = "N", default_value_t = MONTH, value_parser = clap::value_parser!(u64).range(1..=365))]
    days: u64,
}

/// What something took at one size.
struct Point {
    count: u64,
    usage: Usage,
    /// The vault afterwards, in bytes, where the step wrote to it.
    vault: Option<u64>,
}

/// What a panel shows: its title, the unit, and how high a point stands.
type Shown = (&'static str, &'static str, fn(&Point) -> Option<f64>);

/// What something took at every size.
struct Curve {
    name: &'static str,
    points: Vec<Point>,
}

/// Curves over the same sizes, and what is counted.
struct Family {
    of: &'static str,
    backup: Curve,
    restore: Curve,
}

/// Runs the case.
///
/// # Errors
/// What kept it from being measured, or that something did not come back as it was.
pub(crate) fn run(bench: &Bench<'_>, args: &Args) -> Result<Report> {
    disk::need(bench.directory, (args.most * ROOM_RECORD).max(args.most_files * ROOM_FILE))?;
    let mut report = Report::new("growth", bench.version.clone());
    report.setting("most records", args.most);
    report.setting("most files", args.most_files);
    report.setting("days", args.days);
    let mut records = Family::new("records", "first backup of records", "restore of records");
    for count in sizes(LEAST_RECORDS, args.most) {
        measure_records(bench, &mut report, count, &mut records)?;
    }
    let mut files = Family::new("files", "first backup of files", "restore of files");
    for count in sizes(LEAST_FILES, args.most_files) {
        measure_files(bench, &mut report, count, &mut files)?;
    }
    let mut days = Family::new("days", "backup of a chain's last day", "restore of a chain's last day");
    measure_days(bench, &mut report, args, &mut days)?;
    let judged = [args.most >= MOST_RECORDS, args.most_files >= MOST_FILES, args.days >= MONTH];
    for (family, judged) in [records, files, days].iter().zip(judged) {
        for curve in [&family.backup, &family.restore] {
            curve.judge(&mut report, judged);
        }
        family.show(&mut report);
    }
    Ok(report)
}

/// Sizes up to the largest, about half a power of ten from one to the next.
fn sizes(least: u64, most: u64) -> Vec<u64> {
    let least = least.min(most / 10);
    let mut sizes = vec![most];
    let mut part = 10;
    loop {
        // A third of what is a whole power of ten below the one before.
        for size in [most * 3 / part, most / part] {
            if size < least {
                sizes.reverse();
                return sizes;
            }
            sizes.push(size);
        }
        part *= 10;
    }
}

fn measure_records(bench: &Bench<'_>, report: &mut Report, count: u64, family: &mut Family) -> Result<()> {
    let place = Workplace::new(bench, "records", count);
    say(&format!("making {count} records"));
    records::write(Edition::V1, End::Records(count.div_ceil(8)), &mut Directory(place.source.clone()))
        .map_err(|e| failed("write records below", &place.source, &e))?;
    shop::protect(&place.holdfast, &place.source)?;
    let name = format!("{count} records, backup");
    let made = shop::back_up(&place.holdfast, report, &name, Type::Full)?;
    family.backup.note(count, made.usage, Some(place.holdfast.vault_bytes()?));
    let name = format!("{count} records, restore");
    let usage = shop::prove(&place.holdfast, report, &name, &made.id, &place.source)?;
    family.restore.note(count, usage, None);
    place.remove()
}

fn measure_files(bench: &Bench<'_>, report: &mut Report, count: u64, family: &mut Family) -> Result<()> {
    let place = Workplace::new(bench, "files", count);
    say(&format!("making {count} small files"));
    small::write(count, &mut Directory(place.source.clone()))
        .map_err(|e| failed("write files below", &place.source, &e))?;
    place.holdfast.apply(&json!({
        "name": shop::NAME,
        "source": { "kind": "files", "path": place.source },
        "policy": { "verify": "none" },
    }))?;
    let name = format!("{count} files, backup");
    let made = shop::back_up(&place.holdfast, report, &name, Type::Full)?;
    family.backup.note(count, made.usage, Some(place.holdfast.vault_bytes()?));
    let target = place.holdfast.home().with_extension("restored");
    let to = format!("files:{}", target.display());
    let done = place.holdfast.run(&["restore", &made.id, "--to", &to])?;
    report.step(format!("{count} files, restore"), done.usage);
    family.restore.note(count, done.usage, None);
    if let Some(path) = disk::first_difference(&place.source, &target)? {
        return Err(wrong(format!("{} did not come back as it was", path.display())));
    }
    place.remove()
}

/// One chain, measured at each of the days.
fn measure_days(bench: &Bench<'_>, report: &mut Report, args: &Args, family: &mut Family) -> Result<()> {
    let place = Workplace::new(bench, "days", args.days);
    let write = |e: &io::Error| failed("write records below", &place.source, e);
    let end = End::Records(args.most.min(LEAST_RECORDS).div_ceil(8));
    let first =
        records::write(Edition::V1, end, &mut Directory(place.source.clone())).map_err(|e| write(&e))?;
    let (words, mut day) = (Words::new(), Day::first(first.first));
    report.setting("records of the chain", first.first.iter().sum::<u64>());
    shop::protect(&place.holdfast, &place.source)?;
    shop::back_up(&place.holdfast, report, "chain, backup of day 0", Type::Full)?;
    while day.number() < args.days {
        day = day.next();
        let number = day.number();
        day.write(&words, &mut Directory(place.source.clone()), &mut io::sink()).map_err(|e| write(&e))?;
        let name = format!("chain, backup of day {number}");
        let made = shop::back_up(&place.holdfast, report, &name, Type::Incremental)?;
        if DAYS.contains(&number) || number == args.days {
            family.backup.note(number, made.usage, Some(place.holdfast.vault_bytes()?));
            let name = format!("chain, restore of day {number}");
            let usage = shop::prove(&place.holdfast, report, &name, &made.id, &place.source)?;
            family.restore.note(number, usage, None);
        }
    }
    place.remove()
}

/// Where one size is measured.
struct Workplace {
    directory: PathBuf,
    source: PathBuf,
    holdfast: Holdfast,
}

impl Workplace {
    fn new(bench: &Bench<'_>, kind: &str, count: u64) -> Self {
        let directory = bench.directory.join(format!("{kind}-{count}"));
        let holdfast = Holdfast::new(bench.program, &directory.join("home"));
        Self { source: directory.join("source"), directory, holdfast }
    }

    /// Makes room for the next size.
    fn remove(&self) -> Result<()> {
        shop::remove(&self.directory)
    }
}

impl Family {
    const fn new(of: &'static str, backup: &'static str, restore: &'static str) -> Self {
        let backup = Curve { name: backup, points: Vec::new() };
        Self { of, backup, restore: Curve { name: restore, points: Vec::new() } }
    }

    /// Has the chart show it: time, memory and the vault over the sizes.
    fn show(&self, report: &mut Report) {
        let curves = [&self.backup, &self.restore];
        let panels: [Shown; 3] = [
            ("time", "s", |point| Some(point.usage.wall_s)),
            ("peak memory", "MiB", |point| Some(figure(point.usage.peak_bytes) / 1_048_576.0)),
            ("vault", "MB", |point| point.vault.map(|bytes| figure(bytes) / 1e6)),
        ];
        for (title, unit, value) in panels {
            let lines = curves.into_iter().map(|curve| curve.line(value));
            let lines = Lines {
                title: format!("growth: {title} over {}", self.of),
                across: self.of.to_owned(),
                unit: unit.to_owned(),
                all: lines.filter(|line| !line.points.is_empty()).collect(),
            };
            report.panel(Panel::Lines(lines));
        }
    }
}

impl Curve {
    fn note(&mut self, count: u64, usage: Usage, vault: Option<u64>) {
        self.points.push(Point { count, usage, vault });
    }

    fn line(&self, value: impl Fn(&Point) -> Option<f64>) -> Line {
        let points = self.points.iter().filter_map(|point| Some((figure(point.count), value(point)?)));
        Line { name: self.name.to_owned(), points: points.collect() }
    }

    /// Judges time and the vault by the powers with which they grow, memory by how it grows beside the data.
    fn judge(&self, report: &mut Report, judged: bool) {
        let time = self.line(|point| Some(point.usage.wall_s));
        let name = format!("{}: time", self.name);
        report.goal(&name, Unit::Power, Limit::AtMost(LINEAR), fit::power(&time.points), judged);
        let vault = self.line(|point| point.vault.map(figure));
        if !vault.points.is_empty() {
            let name = format!("{}: vault", self.name);
            report.goal(&name, Unit::Power, Limit::AtMost(LINEAR), fit::power(&vault.points), judged);
        }
        let memory = self.line(|point| Some(figure(point.usage.peak_bytes)));
        let name = format!("{}: memory, growth beside that of the data", self.name);
        report.goal(&name, Unit::Times, Limit::AtMost(MEMORY), fit::ratio(&memory.points), judged);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_end_with_the_largest_and_begin_with_the_smallest() {
        assert_eq!(sizes(100_000, 1_000_000), [100_000, 300_000, 1_000_000]);
        let files = sizes(1_000, 100_000);
        assert_eq!(files, [1_000, 3_000, 10_000, 30_000, 100_000]);
        assert_eq!(sizes(100_000, 2_000), [200, 600, 2_000]);
    }
}
