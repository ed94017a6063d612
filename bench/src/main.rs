//! `bench`: the benchmark of Holdfast. Makes its data, runs the program on it, and tells which figures were reached.

mod cases;
mod chart;
mod data;
mod disk;
mod engines;
mod failure;
mod fit;
mod holdfast;
mod lambda;
mod lines;
mod measure;
mod report;

use cases::all::One;
use cases::compare::Data;
use cases::{chain, compare, engine, functions, growth, items, memory, undo};
use clap::{Args, Parser, Subcommand};
use disk::Place;
use holdfast_vault::error::{Class, Result};
use report::Report;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Measures Holdfast, and tells which of the figures that it has to reach it reaches.
///
/// It runs the program that lies beside it: build both with `cargo build --release --bin holdfast --bin bench`. Without a
/// case it runs records, site, items, engine and functions.
#[derive(Debug, Parser)]
#[command(name = "bench", version, max_term_width = 110)]
#[command(after_help = "Exit codes: 0 done, 1 failed or a goal was not met, 2 bad input.")]
#[command(args_conflicts_with_subcommands = true)]
struct Options {
    #[command(subcommand)]
    case: Option<Case>,
    #[command(flatten)]
    all: All,
}

/// What running the usual cases takes.
#[derive(Debug, Args)]
struct All {
    #[command(flatten)]
    common: Common,
    /// How many times as much data, in steps of a thousandth; the goals are for 1
    #[arg(long, value_name = "TIMES", default_value = "1.0", value_parser = data::scale)]
    scale: data::site::Scale,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Case {
    /// Makes a set of data: the same arguments give the same bytes
    #[command(subcommand)]
    Gen(data::Set),
    /// Records, site, items, engine and functions in turn; each in a directory of its own below DIR
    All(All),
    /// A shop's records, by Holdfast and by every peer that is installed (restic, rustic, borg)
    Records {
        #[command(flatten)]
        common: Common,
        /// The size of each of the eight files; the goals are for 128
        #[arg(long, value_name = "MIB", default_value_t = 128, value_parser = clap::value_parser!(u64).range(1..=1 << 14))]
        mib: u64,
        #[command(flatten)]
        args: compare::Args,
    },
    /// A site of 20,000 files, by Holdfast and by every peer that is installed
    Site {
        #[command(flatten)]
        common: Common,
        /// How many times as large, in steps of a thousandth; the goals are for 1
        #[arg(long, value_name = "TIMES", default_value = "1.0", value_parser = data::scale)]
        scale: data::site::Scale,
        #[command(flatten)]
        args: compare::Args,
    },
    /// A table of the embedded DynamoDB: two backups, verified and restored into a new table
    Items {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        args: items::Args,
    },
    /// The pipelines of trees and of records on one thread in memory, beside zstd alone
    Engine {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        args: engine::Args,
    },
    /// What more records, more files and more days make of time, memory and the vault
    Growth {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        args: growth::Args,
    },
    /// Cold start, memory and size of the Lambda functions
    Functions {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        args: functions::Args,
    },
    /// A full backup of a shop's records and an incremental one of every day after it
    Chain {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        args: chain::Args,
    },
    /// Takes back what a bad writer did to a table
    Undo {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        args: undo::Args,
    },
    /// The memory of a full and an incremental backup of many records
    Memory {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        args: memory::Args,
    },
}

/// What every case that measures takes.
#[derive(Debug, Args)]
struct Common {
    /// Works in this directory, which must be new or empty, and leaves everything there; else in a temporary one
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The program to measure; else the one beside this one
    #[arg(long, value_name = "FILE", env = "HOLDFAST_BIN")]
    holdfast: Option<PathBuf>,
    /// Writes the report as JSON too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Writes a chart of it
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Ends with 0 though a goal was not met
    #[arg(long)]
    no_fail: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match options.case.map_or_else(|| run_all(&options.all), |case| run(&case)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            failure::say(&format!("error[{}]: {}", error.code, error.message));
            if let Some(hint) = &error.hint {
                failure::say(&format!("  hint: {hint}"));
            }
            ExitCode::from(if error.code.class() == Class::BadInput { 2 } else { 1 })
        }
    }
}

/// Does what was asked for; returns whether no goal was missed.
fn run(case: &Case) -> Result<bool> {
    match case {
        Case::Gen(set) => data::run(set).map(|()| true),
        Case::All(all) => run_all(all),
        Case::Records { common, mib, args } => {
            judge(common, |bench| compare::run(bench, Data::Records(*mib), *args))
        }
        Case::Site { common, scale, args } => {
            judge(common, |bench| compare::run(bench, Data::Site(*scale), *args))
        }
        Case::Items { common, args } => judge(common, |bench| items::run(bench, args)),
        Case::Engine { common, args } => judge(common, |bench| engine::run(bench, args)),
        Case::Growth { common, args } => judge(common, |bench| growth::run(bench, args)),
        Case::Functions { common, args } => judge(common, |bench| functions::run(bench, args)),
        Case::Chain { common, args } => judge(common, |bench| chain::run(bench, args)),
        Case::Undo { common, args } => judge(common, |bench| undo::run(bench, args)),
        Case::Memory { common, args } => judge(common, |bench| memory::run(bench, args)),
    }
}

/// Where a case works, and on what.
#[derive(Clone)]
struct Bench<'a> {
    directory: &'a Path,
    program: &'a Path,
    version: String,
}

/// Runs a case, and tells its report; returns whether no goal was missed.
fn judge(common: &Common, case: impl FnOnce(&Bench<'_>) -> Result<Report>) -> Result<bool> {
    let program = holdfast::program(common.holdfast.as_deref())?;
    let version = holdfast::version(&program)?;
    let place = Place::new(common.dir.as_deref())?;
    let report = case(&Bench { directory: place.path(), program: &program, version })?;
    failure::told(&report.to_string())?;
    if let Some(path) = &common.json {
        report::save(&report, path)?;
    }
    save_chart(common, std::slice::from_ref(&report))?;
    Ok(common.no_fail || report.passed())
}

/// Runs the usual cases. One that cannot be measured keeps none of the others from being measured, nor their reports from
/// being written.
fn run_all(all: &All) -> Result<bool> {
    let common = &all.common;
    let program = holdfast::program(common.holdfast.as_deref())?;
    let version = holdfast::version(&program)?;
    let place = Place::new(common.dir.as_deref())?;
    let bench = Bench { directory: place.path(), program: &program, version };
    let (mut reports, mut first_failure) = (Vec::new(), None);
    for one in One::ALL {
        match one.run(&bench, all.scale, common.dir.is_some()) {
            Ok(report) => {
                failure::told(&report.to_string())?;
                reports.push(report);
            }
            Err(error) => {
                failure::say(&format!("case {} could not be measured: {}", one.name(), error.message));
                first_failure.get_or_insert(error);
            }
        }
    }
    if let Some(path) = &common.json {
        report::save(&reports, path)?;
    }
    save_chart(common, &reports)?;
    match first_failure {
        Some(error) => Err(error),
        None => Ok(common.no_fail || reports.iter().all(Report::passed)),
    }
}

/// Writes a chart of reports where one is wanted.
fn save_chart(common: &Common, reports: &[Report]) -> Result<()> {
    let Some(path) = &common.svg else { return Ok(()) };
    let panels: Vec<_> = reports.iter().flat_map(Report::panels).collect();
    let title = match reports {
        [one] => format!("{}: {}", one.program(), one.case()),
        several => several.first().map_or_else(String::new, |first| first.program().to_owned()),
    };
    fs::write(path, chart::draw(&title, &panels)).map_err(|e| failure::failed("write", path, &e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn a_case_may_be_named_or_not() {
        Options::command().debug_assert();
        let none = Options::parse_from(["bench", "--scale", "0.5", "--svg", "a.svg"]);
        assert_eq!((none.case.is_none(), none.all.scale.0), (true, 500));
        let one = Options::parse_from(["bench", "all", "--json", "a.json"]);
        assert!(matches!(one.case, Some(Case::All(All { common: Common { json: Some(_), .. }, .. }))));
        assert!(Options::try_parse_from(["bench", "--scale", "0.5", "functions"]).is_err());
    }
}
