//! The case `engine`: the pipelines of trees and of records, in this process, on one thread and in memory, beside zstd
//! alone on the same bytes. What they do beyond compressing is what they lose against it.

use crate::Bench;
use crate::chart::{Bars, Panel};
use crate::data::records::{self, End};
use crate::data::sink::Memory;
use crate::data::site::{self, Scale};
use crate::failure::{internal, say};
use crate::measure::{self, Usage};
use crate::report::{Limit, Report, Unit, figure, megabytes};
use holdfast_vault::compress::Codec;
use holdfast_vault::crypto::SecretKey;
use holdfast_vault::error::Result;
use holdfast_vault::format::footer::Origin;
use holdfast_vault::format::header::Id;
use holdfast_vault::keys::KeyRing;
use holdfast_vault::model::{EntryKind, EntryMeta, Mtime, Part};
use holdfast_vault::write::records::KeyStorage;
use holdfast_vault::write::{FinishedObject, RecordsWriter, RunLimits, TreeLimits, TreeWriter};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

/// The data that the goals are for, in MiB.
const WHOLE: u64 = 256;
/// What is given to a writer at once, and to zstd: as sources give it and as blocks are cut.
const PIECE: usize = 1 << 20;
/// The level that the pipelines compress with.
const LEVEL: i32 = 3;
/// How often each is measured, after once to warm up.
const TIMES: usize = 3;
/// The least part of zstd's throughput that each pipeline reaches.
const TREE: f64 = 0.9;
const RECORDS: f64 = 0.75;

/// What the case can be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How much of each kind of data, held in memory; the goals are for 256 and more
    #[arg(long, value_name = "MIB", default_value_t = WHOLE, value_parser = clap::value_parser!(u64).range(1..=4096))]
    mib: u64,
}

impl Args {
    /// The data in thousandths of its usual amount.
    pub(super) fn scaled(thousandths: u64) -> Self {
        Self { mib: (WHOLE * thousandths / 1000).max(1) }
    }
}

/// One way through the data, as it was measured, with the bytes that came out.
struct Measured {
    usage: Usage,
    stored: u64,
}

/// Runs the case.
///
/// # Errors
/// What kept it from being measured.
pub(crate) fn run(bench: &Bench<'_>, args: &Args) -> Result<Report> {
    let mut report = Report::new("engine", bench.version.clone());
    report.setting("MiB of each", args.mib);
    report.setting("threads", 1);
    let series = ["of processor time", "of wall time"].map(str::to_owned).to_vec();
    let (title, unit) = ("engine: throughput of one thread".to_owned(), "MB a second".to_owned());
    let mut bars = Bars { title, unit, series, groups: Vec::new() };
    let judged = args.mib >= WHOLE;
    let site = Site::make(args.mib)?;
    let data = &site.0.bytes;
    let alone = note(&mut report, &mut bars, "site, zstd -3 alone", data, || zstd_alone(data))?;
    let ours = note(&mut report, &mut bars, "site, tree pipeline", data, || site.write(&keys()?))?;
    let share = Some(alone / ours);
    report.goal("trees, of zstd's throughput", Unit::Times, Limit::AtLeast(TREE), share, judged);
    drop(site);
    let shop = Shop::make(args.mib)?;
    let data = &shop.data.bytes;
    let alone = note(&mut report, &mut bars, "records, zstd -3 alone", data, || zstd_alone(data))?;
    let ours = note(&mut report, &mut bars, "records, record pipeline", data, || shop.write(&keys()?))?;
    let share = Some(alone / ours);
    report.goal("records, of zstd's throughput", Unit::Times, Limit::AtLeast(RECORDS), share, judged);
    report.panel(Panel::Bars(bars));
    Ok(report)
}

/// Measures something, and notes it; returns its processor time in seconds.
fn note(
    report: &mut Report,
    bars: &mut Bars,
    name: &str,
    data: &[u8],
    work: impl Fn() -> Result<u64>,
) -> Result<f64> {
    say(name);
    let Measured { usage, stored } = median(work)?;
    let speed = |seconds: f64| figure(data.len() as u64) / 1e6 / seconds;
    report.step(name, usage);
    let said = format!(
        "{:.1} MB/s of processor time, {} to {}",
        speed(usage.cpu_s),
        megabytes(figure(data.len() as u64)),
        megabytes(figure(stored))
    );
    report.fact(name, said);
    bars.row(name, vec![speed(usage.cpu_s), speed(usage.wall_s)]);
    Ok(usage.cpu_s)
}

/// The middle of several times, by processor time, after one that does not count.
fn median(work: impl Fn() -> Result<u64>) -> Result<Measured> {
    work()?;
    let mut all = Vec::with_capacity(TIMES);
    for _ in 0..TIMES {
        let (stored, usage) = measure::thread(&work)?;
        all.push(Measured { usage, stored });
    }
    all.sort_by(|one, other| one.usage.cpu_s.total_cmp(&other.usage.cpu_s));
    Ok(all.swap_remove(TIMES / 2))
}

fn zstd_alone(data: &[u8]) -> Result<u64> {
    let failed = |e: io::Error| internal(format!("zstd failed: {e}"));
    let mut compressor = zstd::bulk::Compressor::new(LEVEL).map_err(failed)?;
    let mut out = Vec::with_capacity(zstd::zstd_safe::compress_bound(PIECE));
    let mut stored = 0;
    for block in data.chunks(PIECE) {
        out.clear();
        stored += compressor.compress_to_buffer(block, &mut out).map_err(failed)? as u64;
    }
    Ok(stored)
}

/// A key that is no secret, for data that is none.
fn keys() -> Result<KeyRing> {
    KeyRing::new(Id([7; 16]), BTreeMap::from([(1, SecretKey::new([1; 32]))]))
}

/// A site, its files in the order of their paths.
struct Site(Memory);

impl Site {
    fn make(mib: u64) -> Result<Self> {
        say("making a site in memory");
        let mut data = Memory::default();
        site::write(site::Edition::V1, Scale((mib * 1000 / 1024).max(1)), &mut data)
            .map_err(|e| internal(format!("a site cannot be made: {e}")))?;
        data.files.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        Ok(Self(data))
    }

    fn write(&self, keys: &KeyRing) -> Result<u64> {
        let first = Origin { stream: 0, task: 0, sequence: 0 };
        let mut writer = TreeWriter::new(keys, Codec::Zstd, first, TreeLimits::default())?;
        let mut stored = 0;
        for (path, at) in &self.0.files {
            let size = at.len() as u64;
            writer.begin(meta(path, size), Part { offset: 0, length: size })?;
            for piece in self.0.bytes[at.clone()].chunks(PIECE) {
                writer.write(piece)?;
                stored += length(&writer.take_finished());
            }
            writer.end()?;
        }
        writer.finish()?;
        Ok(stored + length(&writer.take_finished()))
    }
}

fn meta(path: &str, size: u64) -> EntryMeta {
    EntryMeta {
        path: path.as_bytes().to_vec(),
        kind: EntryKind::File,
        size,
        mode: Some(0o644),
        mtime: Some(Mtime { seconds: 1_700_000_000, nanos: 0 }),
        attributes: BTreeMap::new(),
    }
}

/// A shop's records, with their keys: reading those is the source's work.
struct Shop {
    data: Memory,
    /// Of each file, the canonical key and the place of every record.
    records: Vec<Vec<(Vec<u8>, Range<usize>)>>,
}

#[derive(Deserialize)]
struct Keyed<'a> {
    id: &'a str,
}

impl Shop {
    fn make(mib: u64) -> Result<Self> {
        say("making records in memory");
        let mut data = Memory::default();
        records::write(records::Edition::V1, End::Bytes(mib << 17), &mut data)
            .map_err(|e| internal(format!("records cannot be made: {e}")))?;
        let mut records = Vec::with_capacity(data.files.len());
        for (_, at) in &data.files {
            let mut start = at.start;
            let mut of_file = Vec::new();
            for line in data.bytes[at.clone()].split_inclusive(|byte| *byte == b'\n') {
                let value = start..start + line.len() - 1;
                let keyed: Keyed<'_> = serde_json::from_slice(&data.bytes[value.clone()])
                    .map_err(|e| internal(format!("a record has no id: {e}")))?;
                of_file.push((format!("[\"{}\"]", keyed.id).into_bytes(), value));
                start += line.len();
            }
            records.push(of_file);
        }
        Ok(Self { data, records })
    }

    fn write(&self, keys: &KeyRing) -> Result<u64> {
        let mut stored = 0;
        for (stream, records) in (0..).zip(&self.records) {
            let first = Origin { stream, task: 0, sequence: 0 };
            let limits = RunLimits::default();
            let mut writer = RecordsWriter::new(keys, Codec::Zstd, KeyStorage::Derived, first, limits)?;
            for (place, (key, value)) in (0..).zip(records) {
                writer.push(key, &self.data.bytes[value.clone()], place)?;
                stored += length(&writer.take_finished());
            }
            writer.finish()?;
            stored += length(&writer.take_finished());
        }
        Ok(stored)
    }
}

fn length(objects: &[FinishedObject]) -> u64 {
    objects.iter().map(|object| object.bytes.len() as u64).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipelines_take_all_of_their_data() {
        let (site, shop) = (Site::make(2).unwrap(), Shop::make(1).unwrap());
        for (stored, bytes) in [
            (site.write(&keys().unwrap()).unwrap(), site.0.bytes.len()),
            (shop.write(&keys().unwrap()).unwrap(), shop.data.bytes.len()),
            (zstd_alone(&shop.data.bytes).unwrap(), shop.data.bytes.len()),
        ] {
            let bytes = bytes as u64;
            assert!((bytes / 10..bytes).contains(&stored), "{stored} of {bytes}");
        }
    }
}
