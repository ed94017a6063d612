//! The cases `records` and `site`: Holdfast and its peers in turn on the same data, and how they stand to each other.

use super::overhead;
use super::shop::remove;
use crate::Bench;
use crate::data::records::{self, End, SHELVES};
use crate::data::sink::Directory;
use crate::data::site;
use crate::disk;
use crate::engines::{self, Engine, Own};
use crate::failure::{failed, say, wrong};
use crate::lines;
use crate::measure::Usage;
use crate::report::{Limit, Report, Unit, figure, megabytes};
use holdfast_vault::error::Result;
use std::fs;
use std::path::Path;

/// The size of a file of records that the goals are for, in MiB.
const WHOLE_MIB: u64 = 128;
/// The scale of the site that the goals are for.
const WHOLE_SITE: site::Scale = site::Scale(1000);
/// Less memory than this, in bytes.
const MEMORY: f64 = 256.0 * 1_048_576.0;
/// How many times the data a case needs: two versions of it, a repository for each program, and what is restored.
const ROOM: u64 = 8;

/// What is backed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Data {
    /// A shop's records in files of JSON Lines; of each, so many MiB.
    Records(u64),
    /// A site of 20,000 files, in thousandths of its whole size.
    Site(site::Scale),
}

/// What both cases can be told.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Args {
    /// How often all is done anew; the figures are medians
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
}

impl Default for Args {
    fn default() -> Self {
        Self { rounds: 1 }
    }
}

/// The steps, in the order in which each program does them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    First,
    Verify,
    Restore,
    Second,
    Prune,
}

impl Step {
    const ALL: [Self; 5] = [Self::First, Self::Verify, Self::Restore, Self::Second, Self::Prune];

    const fn name(self) -> &'static str {
        match self {
            Self::First => "first backup",
            Self::Verify => "verify all data",
            Self::Restore => "restore",
            Self::Second => "second backup",
            Self::Prune => "prune",
        }
    }
}

/// One step of one program in one round.
#[derive(Debug, Clone, Copy)]
struct Taken {
    step: Step,
    usage: Usage,
    /// The repository's size before and after it, in bytes.
    before: u64,
    after: u64,
}

/// What one program took, over all rounds.
struct Column {
    name: String,
    taken: Vec<Taken>,
}

/// Runs a case.
///
/// # Errors
/// What kept it from being measured, or that something did not come back as it was.
pub(crate) fn run(bench: &Bench<'_>, data: Data, args: Args) -> Result<Report> {
    disk::need(bench.directory, data.bytes() * ROOM)?;
    let (one, two) = (bench.directory.join("v1"), bench.directory.join("v2"));
    data.write(false, &one)?;
    data.write(true, &two)?;
    let mut columns: Vec<Column> = Vec::new();
    for round in 0..args.rounds {
        let place = bench.directory.join(format!("round-{round}"));
        let source = place.join("source");
        say(&format!("round {} of {}", round + 1, args.rounds));
        copy_all(&one, &source)?;
        let mut engines: Vec<Box<dyn Engine>> =
            vec![Box::new(Own::new(bench.program, &bench.version, &place, &source, data.kind()))];
        engines.extend(engines::found(&place, &source)?);
        if columns.is_empty() {
            columns.extend(engines.iter().map(|of| Column { name: of.name().to_owned(), taken: Vec::new() }));
        }
        for step in Step::ALL {
            if step == Step::Second {
                // In place, as a site changes: what stays keeps its times.
                disk::make_like(&source, &two)?;
            }
            for (engine, column) in engines.iter_mut().zip(&mut columns) {
                column.taken.push(take(engine.as_mut(), step, &place, &source, data)?);
            }
        }
        remove(&place)?;
    }
    let beside = overhead::measure(bench, data)?;
    Ok(judge(bench, data, args, &columns, beside))
}

impl Data {
    const fn case(self) -> &'static str {
        match self {
            Self::Records(_) => "records",
            Self::Site(_) => "site",
        }
    }

    pub(super) const fn kind(self) -> &'static str {
        match self {
            Self::Records(_) => "jsonl",
            Self::Site(_) => "files",
        }
    }

    const fn bytes(self) -> u64 {
        match self {
            Self::Records(mib) => mib << 23,
            Self::Site(scale) => (1 << 20) * scale.0,
        }
    }

    /// Whether the goals are for it.
    fn is_whole(self) -> bool {
        self == Self::Records(WHOLE_MIB) || self == Self::Site(WHOLE_SITE)
    }

    fn write(self, second: bool, out: &Path) -> Result<()> {
        say(&format!("making version {} of the {}", if second { 2 } else { 1 }, self.case()));
        let mut sink = Directory(out.to_path_buf());
        let written = match self {
            Self::Records(mib) => {
                let edition = if second { records::Edition::V2 } else { records::Edition::V1 };
                records::write(edition, End::Bytes(mib << 20), &mut sink).map(|_| ())
            }
            Self::Site(scale) => {
                let edition = if second { site::Edition::V2 } else { site::Edition::V1 };
                site::write(edition, scale, &mut sink).map(|_| ())
            }
        };
        written.map_err(|e| failed("write data below", out, &e))
    }

    /// Compares what was restored with the source: all files, or all lines of all files in any order.
    fn prove(self, name: &str, source: &Path, restored: &Path) -> Result<()> {
        let wrong = |what: String| Err(wrong(format!("{name} restored {what}")));
        match self {
            Self::Site(_) => match disk::first_difference(source, restored)? {
                None => Ok(()),
                Some(path) => wrong(format!("{} otherwise than it was", path.display())),
            },
            Self::Records(_) => {
                for shelf in SHELVES {
                    let file = shelf.file_name();
                    let count = lines::differences(&source.join(&file), &restored.join(&file))?;
                    if count > 0 {
                        return wrong(format!("{file} with {count} wrong lines"));
                    }
                }
                Ok(())
            }
        }
    }
}

/// Lets a program do a step.
fn take(engine: &mut dyn Engine, step: Step, place: &Path, source: &Path, data: Data) -> Result<Taken> {
    let size = |engine: &dyn Engine| {
        let repository = engine.repository();
        if repository.is_dir() { disk::bytes_below(&repository) } else { Ok(0) }
    };
    if step == Step::First {
        engine.begin()?;
    }
    let before = size(engine)?;
    let usage = match step {
        Step::First | Step::Second => engine.back_up()?,
        Step::Verify => engine.verify()?,
        Step::Prune => engine.prune()?,
        Step::Restore => {
            let target = place.join("restored");
            let (usage, restored) = engine.restore(&target)?;
            data.prove(engine.name(), source, &restored)?;
            remove(&target)?;
            usage
        }
    };
    Ok(Taken { step, usage, before, after: size(engine)? })
}

impl Column {
    /// The median of something over all rounds of a step.
    fn median(&self, step: Step, of: impl Fn(&Taken) -> f64) -> f64 {
        let mut all: Vec<f64> = self.taken.iter().filter(|taken| taken.step == step).map(of).collect();
        all.sort_by(f64::total_cmp);
        let middle = all.len() / 2;
        match (all.len() % 2, all.get(middle), middle.checked_sub(1).and_then(|at| all.get(at))) {
            (0, Some(high), Some(low)) => f64::midpoint(*low, *high),
            (_, Some(middle), _) => *middle,
            _ => 0.0,
        }
    }

    fn wall(&self, step: Step) -> f64 {
        self.median(step, |taken| taken.usage.wall_s)
    }

    fn cpu(&self, step: Step) -> f64 {
        self.median(step, |taken| taken.usage.cpu_s)
    }

    fn added(&self, step: Step) -> f64 {
        self.median(step, |taken| figure(taken.after.saturating_sub(taken.before)))
    }

    fn peak(&self) -> f64 {
        self.taken.iter().map(|taken| figure(taken.usage.peak_bytes)).fold(0.0, f64::max)
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "medians of counts")]
fn judge(bench: &Bench<'_>, data: Data, args: Args, columns: &[Column], beside: Usage) -> Report {
    let mut report = Report::new(data.case(), bench.version.clone());
    report.setting("bytes", data.bytes());
    report.setting("rounds", args.rounds);
    report.setting("processors", std::thread::available_parallelism().map_or(1, usize::from));
    for step in Step::ALL {
        for column in columns {
            let usage = Usage {
                wall_s: column.wall(step),
                cpu_s: column.cpu(step),
                peak_bytes: column.median(step, |taken| figure(taken.usage.peak_bytes)) as u64,
            };
            let of = |value: f64| value as u64;
            let (before, after) = (
                of(column.median(step, |taken| figure(taken.before))),
                of(column.median(step, |taken| figure(taken.after))),
            );
            report.writing_step(format!("{}, {}", step.name(), column.name), usage, before, after);
        }
    }
    report.fact(
        "prune",
        "lets the first backup go; Holdfast marks what is dead and deletes it hours later, which is not in it",
    );
    report.step(format!("first backup of next to nothing, {}", bench.version), beside);
    goals(&mut report, data, columns, beside);
    report
}

/// How a figure of Holdfast stands to the best peer's.
struct Ratio {
    name: &'static str,
    limit: f64,
    of: fn(&Column) -> f64,
}

fn goals(report: &mut Report, data: Data, columns: &[Column], beside: Usage) {
    let Some((own, peers)) = columns.split_first() else { return };
    let judged = data.is_whole();
    let (cpu, stored) = if data.kind() == "jsonl" { (0.8, 1.01) } else { (0.5, 0.98) };
    let mut ratios = vec![
        Ratio { name: "first backup, processor time", limit: cpu, of: |column| column.cpu(Step::First) },
        Ratio { name: "first backup, wall", limit: 0.65, of: |column| column.wall(Step::First) },
        Ratio { name: "first backup, stored", limit: stored, of: |column| column.added(Step::First) },
        Ratio { name: "verify, wall", limit: 1.0, of: |column| column.wall(Step::Verify) },
        Ratio { name: "restore, wall", limit: 1.0, of: |column| column.wall(Step::Restore) },
    ];
    if data.kind() == "jsonl" {
        let of = |column: &Column| column.cpu(Step::Second);
        ratios.push(Ratio { name: "second backup, processor time", limit: 0.25, of });
        let added = Some(own.added(Step::Second));
        report.goal("second backup, added", Unit::Bytes, Limit::AtMost(4e6), added, judged);
    } else {
        let of = |column: &Column| column.added(Step::Second);
        ratios.push(Ratio { name: "second backup, added", limit: 0.6, of });
    }
    for Ratio { name, limit, of } in ratios {
        let best = peers.iter().map(of).min_by(f64::total_cmp);
        let ratio = best.map(|best| of(own) / best);
        let name = format!("{name}, of the best peer's");
        report.goal(&name, Unit::Times, Limit::AtMost(limit), ratio, judged && best.is_some());
    }
    let share = Some(beside.cpu_s / own.cpu(Step::First));
    let name = "spent beside the data, of the first backup's processor time";
    report.goal(name, Unit::Times, Limit::AtMost(overhead::SHARE), share, judged);
    report.goal("memory of every step", Unit::Memory, Limit::Under(MEMORY), Some(own.peak()), judged);
    if let Some(best) = peers.iter().map(|of| of.added(Step::First)).min_by(f64::total_cmp) {
        report.fact("least that a peer stored first", megabytes(best));
    }
}

fn copy_all(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).map_err(|e| failed("make", to, &e))?;
    disk::make_like(to, from)
}
