//! The case `chain`: a shop's records, backed up in full and then every day, and what that costs.

use super::history::Day;
use super::shop::{self, BackedUp, Type};
use crate::Bench;
use crate::data::record::{self, Identity};
use crate::data::records::{self, Edition, End, SHELVES};
use crate::data::sink::Directory;
use crate::data::text::Words;
use crate::disk;
use crate::failure::{failed, internal, say};
use crate::holdfast::Holdfast;
use crate::report::{Limit, Report, Unit, figure, megabytes};
use holdfast_vault::error::Result;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The size of a file of the set that the goals are for, in MiB.
const WHOLE: u64 = 128;
/// The days of the chain that the goals are for.
const MONTH: u64 = 30;
/// The level of zstd that the ideal is compressed with.
const LEVEL: i32 = 3;
/// What one day of the whole set may add to the vault, in bytes.
const A_DAY: f64 = 4e6;
/// How many times the ideal a chain may be.
const TIMES: f64 = 1.6;
/// Fewer range reads than this find one record.
const READS: f64 = 50.0;
/// How many times the source a case needs in all: source and its next version, vault, staging, what is restored.
const ROOM: u64 = 5;

/// What the case can be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Days after the first backup; the first of them is version v2 of the set
    #[arg(long, value_name = "N", default_value_t = MONTH, value_parser = clap::value_parser!(u64).range(1..=365))]
    days: u64,
    /// The size of each of the eight files; the goals are for 128
    #[arg(long, value_name = "MIB", default_value_t = WHOLE, value_parser = clap::value_parser!(u64).range(1..=1 << 14))]
    mib: u64,
    /// The type of every backup after the first
    #[arg(long = "type", value_name = "TYPE", default_value = "incremental")]
    backup_type: Type,
}

/// A chain as it grows.
struct Chain<'a> {
    args: &'a Args,
    holdfast: Holdfast,
    source: PathBuf,
    words: Words,
    report: Report,
    day: Day,
    /// The first version of the set, from which every day follows.
    first: Day,
    /// The backups, by their days.
    backups: Vec<String>,
    /// The smallest vault that could be hoped for, in bytes.
    ideal: u64,
}

/// Runs the case.
///
/// # Errors
/// What kept it from being measured, or that something did not come back as it was.
pub(crate) fn run(bench: &Bench<'_>, args: &Args) -> Result<Report> {
    disk::need(bench.directory, (args.mib << 23) * ROOM)?;
    let mut chain = Chain::begin(bench, args)?;
    let first = chain.back_up(Type::Full)?;
    chain.ideal = chain.holdfast.vault_bytes()?;
    chain.report.fact("first backup", megabytes(figure(first.added)));
    chain.pass_day()?;
    let second = chain.back_up(args.backup_type)?;
    let whole = args.mib == WHOLE;
    let added = Some(figure(second.added));
    chain.report.goal("day 1 adds to the vault", Unit::Bytes, Limit::AtMost(A_DAY), added, whole);
    chain.prove(1)?;
    for _ in 1..args.days {
        chain.pass_day()?;
        chain.back_up(args.backup_type)?;
    }
    if args.days > 1 {
        chain.prove(args.days)?;
    }
    chain.weigh()?;
    chain.find_records(whole && args.days >= MONTH)?;
    Ok(chain.report)
}

impl<'a> Chain<'a> {
    fn begin(bench: &Bench<'_>, args: &'a Args) -> Result<Self> {
        let source = bench.directory.join("source");
        say("making the records");
        let end = End::Bytes(args.mib << 20);
        let written = records::write(Edition::V1, end, &mut Directory(source.clone()))
            .map_err(|e| failed("write records below", &source, &e))?;
        let holdfast = Holdfast::new(bench.program, &bench.directory.join("home"));
        shop::protect(&holdfast, &source)?;
        let mut report = Report::new("chain", bench.version.clone());
        report.setting("records", written.first.iter().sum::<u64>());
        report.setting("bytes", written.bytes);
        report.setting("days", args.days);
        let day = Day::first(written.first);
        let (first, backups) = (day.clone(), Vec::new());
        Ok(Self { args, holdfast, source, words: Words::new(), report, day, first, backups, ideal: 0 })
    }

    fn back_up(&mut self, backup_type: Type) -> Result<BackedUp> {
        let name = format!("backup of day {}", self.day.number());
        let made = shop::back_up(&self.holdfast, &mut self.report, &name, backup_type)?;
        self.backups.push(made.id.clone());
        Ok(made)
    }

    /// Turns the source into that of the day after, and adds to the ideal what is new.
    fn pass_day(&mut self) -> Result<()> {
        self.day = self.day.next();
        say(&format!("making the records of day {}", self.day.number()));
        let wrong = |e: &io::Error| failed("write records below", &self.source, e);
        let mut fresh = zstd::Encoder::new(Length(0), LEVEL).map_err(|e| wrong(&e))?;
        let mut files = Directory(self.source.clone());
        let changes = self.day.write(&self.words, &mut files, &mut fresh).map_err(|e| wrong(&e))?;
        let compressed = fresh.finish().map_err(|e| wrong(&e))?.0;
        self.ideal += compressed;
        if self.day.number() == 1 {
            let (count, bytes) = (changes.fresh, megabytes(figure(changes.fresh_bytes)));
            let alone = megabytes(figure(compressed));
            let said = format!("{count}, {bytes}; alone in one zstd -{LEVEL} stream {alone}");
            self.report.fact("records changed or inserted on day 1", said);
        }
        Ok(())
    }

    /// Verifies and restores the backup of a day, while the source is that of the same day.
    fn prove(&mut self, day: u64) -> Result<()> {
        let Some(id) = self.backups.last() else { return Err(internal("there is no backup yet")) };
        shop::verify(&self.holdfast, &mut self.report, &format!("verify day {day}"), id)?;
        shop::prove(&self.holdfast, &mut self.report, &format!("restore day {day}"), id, &self.source)?;
        self.report.fact(format!("day {day} restored, lines compared with the source"), "equal");
        Ok(())
    }

    /// Judges the size of the vault.
    fn weigh(&mut self) -> Result<()> {
        let total = self.holdfast.vault_bytes()?;
        for (name, bytes) in self.holdfast.vault_parts()? {
            self.report.fact(format!("vault, {name}"), megabytes(figure(bytes)));
        }
        let said = format!(
            "{}: the vault after the first backup, and for each day its changed and inserted records in one zstd -{LEVEL} \
             stream (deletions free)",
            megabytes(figure(self.ideal))
        );
        self.report.fact("ideal", said);
        self.report.fact("vault", megabytes(figure(total)));
        let times = Some(figure(total) / figure(self.ideal));
        let judged = self.args.mib == WHOLE && self.args.days >= MONTH;
        self.report.goal(
            "vault of the chain, of the ideal",
            Unit::Times,
            Limit::AtMost(TIMES),
            times,
            judged,
        );
        Ok(())
    }

    /// Restores single records as of several days, and judges the most reads that one took.
    fn find_records(&mut self, judged: bool) -> Result<()> {
        let wanted = self.wanted();
        let (mut most, mut most_without, mut missing) = (0, 0, false);
        for (day, identity) in wanted {
            let stream = self.find_record(day, identity, true)?;
            missing |= stream.is_none();
            most = most.max(stream.unwrap_or_default());
            most_without = most_without.max(self.find_record(day, identity, false)?.unwrap_or_default());
        }
        let most = (!missing).then_some(figure(most));
        let goal = "one record of a stream, at any day";
        self.report.goal(goal, Unit::Reads, Limit::Under(READS), most, judged);
        if !missing {
            self.report.fact("most reads for one record where its stream is not named", most_without);
        }
        Ok(())
    }

    /// The first, the middle and the last day; at each a record that changed last on its way there, and one that never did.
    fn wanted(&self) -> Vec<(u64, Identity)> {
        let (last, mut day, mut wanted) = (self.day.number(), self.first.clone(), Vec::new());
        let steady = self.steady();
        loop {
            if [0, last / 2, last].contains(&day.number()) {
                let file = day.number() % SHELVES.len() as u64;
                let changed = day.file(file).iter().max_by_key(|present| (present.revision, present.ordinal));
                let changed =
                    changed.map(|found| Identity { file, ordinal: found.ordinal, revision: found.revision });
                let steady = steady.and_then(|of| day.find(of.file, of.ordinal));
                wanted.extend([changed, steady].into_iter().flatten().map(|of| (day.number(), of)));
            }
            if day.number() == last {
                return wanted;
            }
            day = day.next();
        }
    }

    /// A record of the first day that nothing ever touched.
    fn steady(&self) -> Option<Identity> {
        let file = SHELVES.len() as u64 - 1;
        let records = self.day.file(file);
        let rest = &records[records.len() / 2..];
        let untouched = |ordinal| ordinal < record::INSERTED;
        let found = rest.iter().find(|present| present.revision == 0 && untouched(present.ordinal))?;
        Some(Identity { file, ordinal: found.ordinal, revision: 0 })
    }

    /// Restores a record as of a day, and returns the reads that it took, where the program says them.
    fn find_record(&mut self, day: u64, of: Identity, stream: bool) -> Result<Option<u64>> {
        let Some(id) = self.backups.get(crate::data::draw::index(day)) else {
            return Err(internal(format!("there is no backup of day {day}")));
        };
        let place = SHELVES[crate::data::draw::index(of.file)];
        let key = serde_json::json!([record::id(of, place.kind)]).to_string();
        let mut chosen = vec!["--key", &key];
        if stream {
            chosen.extend(["--stream", place.name]);
        }
        let target = self.holdfast.home().with_extension("record");
        let done = shop::restore(&self.holdfast, id, &target, &chosen)?;
        self.check_record(day, of, &target)?;
        let with = if stream { "" } else { ", stream not named" };
        let state = if of.revision > 0 { "changed" } else { "unchanged" };
        self.report.step(format!("one record of day {day}, {state}{with}"), done.usage);
        Ok(done.number("vault_reads"))
    }

    /// Compares a restored record with what it was, and removes it.
    fn check_record(&self, day: u64, of: Identity, target: &Path) -> Result<()> {
        let place = SHELVES[crate::data::draw::index(of.file)];
        let mut wanted = String::new();
        record::write(place.kind, of, &self.words, &mut wanted)
            .map_err(|e| internal(format!("a record cannot be made: {e}")))?;
        let path = target.join(place.file_name());
        let found = fs::read_to_string(&path).map_err(|e| failed("read", &path, &e))?;
        if found != wanted {
            return Err(crate::failure::wrong(format!(
                "a record of {} as of day {day} is not what it was",
                place.name
            )));
        }
        shop::remove(target)
    }
}

/// Keeps only the number of bytes.
struct Length(u64);

impl Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
