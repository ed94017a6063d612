//! The case `functions`: how soon each Lambda function asks for its first event, what it then holds of memory, and how
//! large it is. Started as Lambda starts it, on this machine, with nothing of AWS to reach.

use crate::Bench;
use crate::chart::{Bars, Panel};
use crate::failure::{failed, internal, say};
use crate::lambda::{Asked, RuntimeApi};
use crate::measure::{self, Usage};
use crate::report::{Limit, Report, Unit, figure, megabytes};
use holdfast_vault::error::{Code, Error, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// The functions, as their directories are called.
const FUNCTIONS: [&str; 18] = [
    "api",
    "capture",
    "commit",
    "dispatch",
    "drill",
    "export-chunk",
    "fail",
    "native-restore",
    "plan",
    "prune",
    "restore",
    "restore-test",
    "setup",
    "undo",
    "upload-part",
    "validate-recovery-points",
    "validate-restore",
    "verify",
];
/// Less time than this from being started to asking, in milliseconds.
const START: f64 = 30.0;
/// Less than this as it is deployed, in bytes.
const SIZE: f64 = 15e6;
/// Less memory than this when it waits for its first event, in bytes.
const MEMORY: f64 = 32.0 * 1_048_576.0;
/// How long a function may take before it is given up.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a function waits before its memory is looked at: threads that start with it have started then.
const SETTLE: Duration = Duration::from_millis(30);
/// What kind of segment of a program is loaded: see elf(5).
const LOADED: u32 = 1;

/// What the case can be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the functions are, each as `holdfast-NAME`; else where bench/run builds them, or beside this program
    #[arg(long, value_name = "DIR")]
    functions: Option<PathBuf>,
    /// How often each is started, after once to warm up; the figures are medians
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
}

impl Default for Args {
    fn default() -> Self {
        Self { functions: None, rounds: 5 }
    }
}

/// What a panel shows: its title, the unit, what its bars are, and how long they are.
type Shown = (&'static str, &'static str, &'static str, fn(&Known) -> f64);

/// What is known of one function.
struct Known {
    name: &'static str,
    start_ms: f64,
    resident: f64,
    /// The file as it lies there, and without what a deployed one is stripped of, in bytes.
    size: f64,
    stripped: f64,
}

/// Runs the case.
///
/// # Errors
/// `InvalidInput` if a function was not built, or what kept it from starting.
pub(crate) fn run(bench: &Bench<'_>, args: &Args) -> Result<Report> {
    let directory = args.functions.clone().or_else(built).unwrap_or_default();
    let mut report = Report::new("functions", bench.version.clone());
    report.setting("functions", FUNCTIONS.len());
    report.setting("rounds", args.rounds);
    let api = RuntimeApi::open()?;
    let mut all = Vec::with_capacity(FUNCTIONS.len());
    for name in FUNCTIONS {
        let program = program(&directory, name)?;
        say(&format!("starting {name}"));
        let usage = median(&api, name, &program, args.rounds)?;
        report.step(name, usage);
        let (size, stripped) = sizes(&program)?;
        let known = Known {
            name,
            start_ms: usage.wall_s * 1e3,
            resident: figure(usage.peak_bytes),
            size: figure(size),
            stripped: figure(stripped),
        };
        let said = format!(
            "{:.1} ms, {:.1} MiB resident, {}, {} without symbols",
            known.start_ms,
            known.resident / 1_048_576.0,
            megabytes(known.size),
            megabytes(known.stripped)
        );
        report.fact(name, said);
        all.push(known);
    }
    judge(&mut report, &all);
    Ok(report)
}

/// Where the functions are built as they are deployed, or else with this program.
fn built() -> Option<PathBuf> {
    let beside = std::env::current_exe().ok()?.parent()?.to_path_buf();
    let deployed = beside.parent()?.join("deployed/release");
    Some(if deployed.is_dir() { deployed } else { beside })
}

fn judge(report: &mut Report, all: &[Known]) {
    let most = |of: fn(&Known) -> f64| all.iter().map(of).max_by(f64::total_cmp);
    let start = most(|known| known.start_ms);
    report.goal("cold start of the slowest", Unit::Milliseconds, Limit::Under(START), start, true);
    let size = most(|known| known.stripped);
    report.goal("size of the largest, without symbols", Unit::Bytes, Limit::Under(SIZE), size, true);
    let memory = most(|known| known.resident);
    report.goal("memory of the largest, waiting", Unit::Memory, Limit::Under(MEMORY), memory, true);
    let panels: [Shown; 3] = [
        ("from start to asking", "ms", "cold start", |known| known.start_ms),
        ("size without symbols", "MB", "size", |known| known.stripped / 1e6),
        ("memory while waiting", "MiB", "resident", |known| known.resident / 1_048_576.0),
    ];
    for (title, unit, series, value) in panels {
        let (title, series) = (format!("functions: {title}"), vec![series.to_owned()]);
        let mut bars = Bars { title, unit: unit.to_owned(), series, groups: Vec::new() };
        for known in all {
            bars.row(known.name, vec![value(known)]);
        }
        report.panel(Panel::Bars(bars));
    }
}

fn program(directory: &Path, name: &str) -> Result<PathBuf> {
    let program = directory.join(format!("holdfast-{name}"));
    if program.is_file() {
        return Ok(program);
    }
    Err(Error::new(Code::InvalidInput, format!("there is no function at {}", program.display()))
        .object("--functions")
        .hint("build them as they are deployed with `bench/run DIR functions`, or name their directory"))
}

/// The middle of several starts, by time.
fn median(api: &RuntimeApi, name: &str, program: &Path, rounds: u32) -> Result<Usage> {
    start(api, name, program)?;
    let mut all = (0..rounds).map(|_| start(api, name, program)).collect::<Result<Vec<_>>>()?;
    all.sort_by(|one, other| one.wall_s.total_cmp(&other.wall_s));
    Ok(all.swap_remove(all.len() / 2))
}

/// A function that is running, and is ended when this goes.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a function once: the time until it asks for its first event, and its memory then.
fn start(api: &RuntimeApi, name: &str, program: &Path) -> Result<Usage> {
    api.forget();
    let mut command = Command::new(program);
    let address = api.address.to_string();
    command.env_clear().envs(environment(name, &address).iter().map(|(name, value)| (*name, value)));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let begun = Instant::now();
    let running = Running(command.spawn().map_err(|e| failed("start", program, &e))?);
    let wall_s = match api.wait(PATIENCE) {
        Some(Asked::Next(at)) => at.saturating_duration_since(begun).as_secs_f64(),
        Some(Asked::Failed(why)) => return Err(internal(format!("function {name} would not start: {why}"))),
        None => return Err(internal(format!("function {name} did not ask for an event in {PATIENCE:?}"))),
    };
    thread::sleep(SETTLE);
    let (peak_bytes, cpu_s) = measure::now(running.0.id())?;
    Ok(Usage { wall_s, cpu_s, peak_bytes })
}

/// What Lambda and the template set, with names of nothing that is there: whatever were asked, this machine would answer.
fn environment(name: &str, address: &str) -> Vec<(&'static str, String)> {
    let machine = |name: &str| format!("arn:aws:states:eu-central-1:123456789012:stateMachine:bench-{name}");
    let mut all = vec![
        ("AWS_LAMBDA_RUNTIME_API", address.to_owned()),
        ("AWS_LAMBDA_FUNCTION_NAME", format!("bench-{name}")),
        ("AWS_ENDPOINT_URL", format!("http://{address}")),
        ("HOLDFAST_KEY_ARN", "arn:aws:kms:eu-central-1:123456789012:key/bench".to_owned()),
        ("HOLDFAST_BACKUP_MACHINE", machine("backup")),
        ("HOLDFAST_RESTORE_MACHINE", machine("restore")),
        ("HOLDFAST_UNDO_MACHINE", machine("undo")),
        ("HOLDFAST_VERIFY_MACHINE", machine("verify")),
        ("HOLDFAST_RESTORE_TEST_MACHINE", machine("restore-test")),
        ("HOLDFAST_DRILL_MACHINE", machine("drill")),
        ("HOLDFAST_FAIL_MACHINE", machine("fail")),
    ];
    let fixed = [
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1769"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/bench"),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "bench"),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ACCESS_KEY_ID", "benchmark"),
        ("AWS_SECRET_ACCESS_KEY", "benchmark"),
        ("HOLDFAST_LOG", "info"),
        ("HOLDFAST_JOB_TABLE", "bench-jobs"),
        ("HOLDFAST_VAULT_BUCKET", "bench-vault"),
        ("HOLDFAST_STAGING_BUCKET", "bench-staging"),
        ("HOLDFAST_WORKERS", "40"),
        ("HOLDFAST_VERIFY_LEVEL", "sample"),
    ];
    all.extend(fixed.map(|(name, value)| (name, value.to_owned())));
    all
}

/// The size of a program as it lies there, and up to the end of what is loaded: what symbols leave when they are stripped.
fn sizes(program: &Path) -> Result<(u64, u64)> {
    let bytes = fs::read(program).map_err(|e| failed("read", program, &e))?;
    let whole = bytes.len() as u64;
    // What is no ELF of 64 bits is deployed as it is.
    Ok((whole, loaded(&bytes).unwrap_or(whole)))
}

/// The end of the last segment that is loaded, in an ELF of 64 bits in the order of bytes of this machine.
fn loaded(elf: &[u8]) -> Option<u64> {
    if !elf.starts_with(b"\x7fELF\x02") {
        return None;
    }
    let two = |at: usize| Some(u16::from_ne_bytes(elf.get(at..at + 2)?.try_into().ok()?));
    let four = |at: usize| Some(u32::from_ne_bytes(elf.get(at..at + 4)?.try_into().ok()?));
    let eight = |at: usize| Some(u64::from_ne_bytes(elf.get(at..at + 8)?.try_into().ok()?));
    let (table, length, count) = (usize::try_from(eight(32)?).ok()?, two(54)?, two(56)?);
    let mut end = None;
    for number in 0..usize::from(count) {
        let at = table.checked_add(number * usize::from(length))?;
        if four(at)? == LOADED {
            end = end.max(Some(eight(at + 8)?.checked_add(eight(at + 32)?)?));
        }
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_functions_are_measured() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../functions");
        let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
        let mut names: Vec<String> = entries
            .filter(|entry| entry.path().join("Cargo.toml").is_file())
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, FUNCTIONS);
    }

    #[test]
    fn a_program_is_no_larger_without_symbols() {
        let (whole, stripped) = sizes(&std::env::current_exe().unwrap()).unwrap();
        assert!(stripped > 0 && stripped < whole, "{stripped} of {whole}");
        assert_eq!(loaded(b"#!/bin/sh\n"), None);
        assert_eq!(loaded(b"\x7fELF\x02 cut short"), None);
    }
}
