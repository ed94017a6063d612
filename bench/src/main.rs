//! `bench`: the benchmark of Holdfast. Makes its data, runs the program on it, and tells which figures were reached.

mod cases;
mod data;
mod disk;
mod failure;
mod holdfast;
mod lines;
mod measure;
mod report;

use cases::{chain, memory, undo};
use clap::{Args, Parser, Subcommand};
use disk::Place;
use holdfast_vault::error::{Class, Result};
use report::Report;
use std::path::Path;
use std::path::PathBuf;
use std::process::ExitCode;

/// Measures Holdfast, and tells which of the figures that it has to reach it reaches.
///
/// It runs the program that lies beside it: build both with `cargo build --release --bin holdfast --bin bench`.
#[derive(Debug, Parser)]
#[command(name = "bench", version, max_term_width = 110)]
#[command(after_help = "Exit codes: 0 done, 1 failed or a goal was not met, 2 bad input.")]
struct Options {
    #[command(subcommand)]
    case: Case,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Case {
    /// Makes a set of data: the same arguments give the same bytes
    #[command(subcommand)]
    Gen(data::Set),
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
    /// Ends with 0 though a goal was not met
    #[arg(long)]
    no_fail: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options.case) {
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
        Case::Chain { common, args } => judge(common, |bench| chain::run(bench, args)),
        Case::Undo { common, args } => judge(common, |bench| undo::run(bench, args)),
        Case::Memory { common, args } => judge(common, |bench| memory::run(bench, args)),
    }
}

/// Where a case works, and on what.
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
        report.save(path)?;
    }
    Ok(common.no_fail || report.passed())
}
