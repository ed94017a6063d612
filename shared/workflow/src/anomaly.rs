//! What is odd about a backup beside the ones before it: what is missing, empty, far smaller or larger, or looks as if
//! somebody had encrypted it. Warnings with figures; none fails a backup, since the source may be right.
//!
//! Each is told once, by the backup in which it happened. Little data is left alone: there a few records are a large
//! share. Where fewer than [`ENOUGH`] backups came before, nothing is usual yet.

use crate::config::{AnomalyBounds, Policy};
use crate::plan::BackupDetail;
use crate::services::Services;
use holdfast_common::jobs::{Job, JobKind, Status, StreamShape, StreamSummary};
use holdfast_vault::error::Result;
use holdfast_vault::format::footer::DeltaCounts;
use holdfast_vault::format::header::ObjectKind;
use holdfast_vault::format::manifest::Manifest;
use holdfast_vault::model::Warning;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The codes of what this module tells.
pub const CODES: [&str; 8] = [
    "StreamMissing",
    "StreamEmpty",
    "CountFell",
    "CountRose",
    "SizeFell",
    "SizeRose",
    "ChangeRateHigh",
    "EntropyRose",
];

/// So many earlier backups are looked at: a week of daily ones.
const EARLIER: usize = 7;
/// So many of them make something usual.
const ENOUGH: usize = 3;
/// Jobs on a page, and pages that are asked for: between completed backups there may be failed ones.
const PAGE: u32 = 16;
const PAGES: usize = 8;
/// Fewer records or files than this make no share worth telling.
const THINGS: u64 = 100;
/// Fewer bytes than this make none.
const BYTES: u64 = 4 << 20;
/// So many times the usual share of changes is far above it.
const FAR: u64 = 4;
/// Bytes stored of a thousand that were new: so few as a rule, and so many now, is what encryption makes of data.
const COMPRESSED: u64 = 700;
const RANDOM: u64 = 900;
/// An increment that only adds is no attack: at least one of so many things must be changed or gone.
const TOUCHED: u64 = 20;

/// A backup in figures, as far as later ones are compared with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// `full`, `incremental` or `differential`.
    pub backup_type: String,
    /// What each stream holds.
    pub streams: Vec<StreamSummary>,
    /// What was written for it.
    pub written: Written,
}

/// What was written for a backup, as its job keeps it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// Bytes of content and of values in the layers that the backup wrote.
    pub fresh_bytes: u64,
    /// Bytes of the packs that it wrote for them.
    pub packed_bytes: u64,
    /// What its deltas did, by stream; nothing of a stream that was stored as a base.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub deltas: BTreeMap<String, DeltaCounts>,
}

impl Written {
    /// What was written for the backup of a manifest.
    #[must_use]
    pub fn of(manifest: &Manifest) -> Self {
        let own = manifest.own_objects.map_or(usize::MAX, |own| own as usize);
        let packs = manifest.objects.iter().take(own).filter(|object| object.kind == ObjectKind::Pack);
        let mut written = Self { packed_bytes: packs.map(|pack| pack.size).sum(), ..Self::default() };
        for stream in &manifest.streams {
            let mut own = stream.layers.iter().filter(|layer| layer.backup == manifest.id).peekable();
            // A stream that stands on a base and has no layer of this backup did not change.
            if own.peek().is_none() && !stream.layers.is_empty() {
                written.deltas.insert(stream.info.name.clone(), DeltaCounts::default());
            }
            for layer in own {
                written.fresh_bytes += layer.segments.iter().map(|segment| segment.bytes).sum::<u64>();
                if let Some(delta) = layer.delta {
                    written.deltas.insert(stream.info.name.clone(), delta);
                }
            }
        }
        written
    }

    /// Of a thousand new bytes so many were stored; `None` of too few to say.
    fn stored_share(&self) -> Option<u64> {
        (self.fresh_bytes >= BYTES).then(|| self.packed_bytes.saturating_mul(1_000) / self.fresh_bytes)
    }
}

impl Figures {
    /// Of a manifest that is about to be written.
    #[must_use]
    pub fn of(manifest: &Manifest) -> Self {
        Self {
            backup_type: manifest.backup_type.clone(),
            streams: crate::commit::summaries(manifest),
            written: Written::of(manifest),
        }
    }

    /// Of a job that completed.
    #[must_use]
    pub fn of_job(job: &Job) -> Self {
        let detail = BackupDetail::deserialize(&job.detail).ok();
        Self {
            backup_type: job.backup_type.unwrap_or_default().to_string(),
            streams: job.streams.clone(),
            written: detail.and_then(|detail| detail.written).unwrap_or_default(),
        }
    }

    fn stream(&self, name: &str) -> Option<&StreamSummary> {
        self.streams.iter().find(|stream| stream.name == name)
    }

    /// Of a thousand records or files that the base held of a stream, so many were changed or went.
    fn touched(&self, stream: &StreamSummary) -> Option<Touched> {
        let delta = self.written.deltas.get(&stream.name)?;
        let before = (things(stream) + delta.deleted).saturating_sub(delta.added);
        Some(Touched { things: delta.changed + delta.deleted, before })
    }
}

/// Things of a stream that were changed or went, of those that were there.
#[derive(Clone, Copy)]
struct Touched {
    things: u64,
    before: u64,
}

impl Touched {
    fn share(self) -> u64 {
        self.things.saturating_mul(1_000) / self.before.max(1)
    }
}

/// What is odd about a backup that is about to complete. `told` is what it warns of already.
///
/// # Errors
/// What state gives.
pub async fn of(
    services: &Services,
    manifest: &Manifest,
    policy: &Policy,
    told: &[Warning],
) -> Result<Vec<Warning>> {
    let jobs = &services.jobs;
    let mut pages = jobs.jobs_before(JobKind::Backup, Some(&manifest.resource), Some(&manifest.id));
    pages = pages.page_size(PAGE);
    let mut earlier = Vec::new();
    for _ in 0..PAGES {
        let Some(page) = pages.next().await? else { break };
        let completed = page.iter().filter(|job| job.status == Status::Completed);
        earlier.extend(completed.take(EARLIER - earlier.len()).map(Figures::of_job));
        if earlier.len() == EARLIER {
            break;
        }
    }
    Ok(find(&Figures::of(manifest), &earlier, policy.anomaly, &policy.expect, told))
}

/// What is odd about a backup beside earlier ones, the newest of them first.
#[must_use]
pub fn find(
    now: &Figures,
    earlier: &[Figures],
    bounds: AnomalyBounds,
    expect: &[String],
    told: &[Warning],
) -> Vec<Warning> {
    let mut warnings = missing(now, earlier, expect, told);
    for stream in &now.streams {
        let past: Vec<&StreamSummary> = earlier.iter().filter_map(|of| of.stream(&stream.name)).collect();
        if let Some(warning) = empty(stream, &past) {
            warnings.push(warning);
        } else {
            warnings.extend(amounts(stream, &past, bounds));
        }
        warnings.extend(changes(now, stream, earlier, bounds));
    }
    warnings.extend(entropy(now, earlier));
    warnings
}

fn missing(now: &Figures, earlier: &[Figures], expect: &[String], told: &[Warning]) -> Vec<Warning> {
    let expected = expect.iter().filter(|name| now.stream(name).is_none()).map(|name| {
        Warning::new("StreamMissing", format!("the source has no stream {name}, which the policy expects"))
    });
    let Some(latest) = earlier.first().filter(|_| earlier.len() >= ENOUGH) else {
        return expected.collect();
    };
    let is_gone = |stream: &&StreamSummary| {
        let name = stream.name.as_str();
        things(stream) >= THINGS
            && now.stream(name).is_none()
            && earlier.iter().all(|of| of.stream(name).is_some())
            && !expect.iter().any(|expected| expected == name)
            && !told.contains(&crate::plan::stream_gone(name))
    };
    let gone = latest.streams.iter().filter(is_gone).map(|stream| {
        let message = format!(
            "the source has no stream {}, which all of the {} backups before had, the last one with {}",
            stream.name,
            earlier.len(),
            amount(stream, things(stream))
        );
        Warning::new("StreamMissing", message)
    });
    expected.chain(gone).collect()
}

fn empty(stream: &StreamSummary, past: &[&StreamSummary]) -> Option<Warning> {
    let latest = past.first().filter(|latest| things(latest) >= THINGS && things(stream) == 0)?;
    let had = amount(latest, things(latest));
    Some(Warning::new("StreamEmpty", format!("stream {} is empty; the backup before had {had}", stream.name)))
}

/// What is usual, and what was last.
#[derive(Clone, Copy)]
struct Past {
    latest: u64,
    usual: u64,
}

impl Past {
    fn of(values: impl Iterator<Item = u64>) -> Option<Self> {
        let values: Vec<u64> = values.collect();
        let latest = *values.first()?;
        Some(Self { latest, usual: median(values)? })
    }

    /// Whether a value lies beyond a bound that the usual does not, and either the last one did not or it lies beyond the
    /// same bound of the last one: what stays as it became is told once.
    fn is_left_by(self, now: u64, beyond: impl Fn(u64, u64) -> bool) -> bool {
        beyond(now, self.usual) && (!beyond(self.latest, self.usual) || beyond(now, self.latest))
    }
}

/// The middle one of enough values.
fn median(mut values: Vec<u64>) -> Option<u64> {
    values.sort_unstable();
    (values.len() >= ENOUGH).then(|| values.get(values.len() / 2).copied())?
}

fn amounts(stream: &StreamSummary, past: &[&StreamSummary], bounds: AnomalyBounds) -> Option<Warning> {
    let percent = |of: u64, percent: u32| u128::from(of) * u128::from(percent);
    let fell = |now: u64, then: u64| percent(now, 100) < percent(then, 100 - bounds.fall_percent.min(100));
    let rose =
        |now: u64, then: u64| percent(now, 100) > percent(then, bounds.rise_percent.saturating_add(100));
    let name = &stream.name;
    // A stream whose number of records says it already need not say it by its size.
    for (now, past, least, codes, is_size) in [
        (
            things(stream),
            Past::of(past.iter().map(|of| things(of))),
            THINGS,
            ["CountFell", "CountRose"],
            false,
        ),
        (stream.bytes, Past::of(past.iter().map(|of| of.bytes)), BYTES, ["SizeFell", "SizeRose"], true),
    ] {
        let Some(past) = past.filter(|past| past.usual >= least && now.abs_diff(past.usual) >= least) else {
            continue;
        };
        let (code, word) = match (past.is_left_by(now, fell), past.is_left_by(now, rose)) {
            (true, _) => (codes[0], "fewer"),
            (_, true) => (codes[1], "more"),
            _ => continue,
        };
        let shown = |value| if is_size { format!("{value} bytes") } else { amount(stream, value) };
        let by = now.abs_diff(past.usual).saturating_mul(100) / past.usual.max(1);
        let (now, usual) = (shown(now), shown(past.usual));
        let message =
            format!("stream {name} has {now}, {by} % {word} than the {usual} that it had as a rule");
        return Some(Warning::new(code, message));
    }
    None
}

fn changes(
    now: &Figures,
    stream: &StreamSummary,
    earlier: &[Figures],
    bounds: AnomalyBounds,
) -> Option<Warning> {
    let touched = now.touched(stream).filter(|touched| touched.things >= THINGS)?;
    let same = earlier.iter().filter(|of| of.backup_type == now.backup_type);
    let shares = same.filter_map(|of| Some(of.touched(of.stream(&stream.name)?)?.share()));
    let usual = median(shares.collect())?;
    let share = touched.share();
    if share <= u64::from(bounds.change_percent) * 10 || share < usual.saturating_mul(FAR) {
        return None;
    }
    let message = format!(
        "{} of the {} of stream {} changed or went since the backup before: {} %, and as a rule {} %",
        touched.things,
        amount(stream, touched.before),
        stream.name,
        tenths(share),
        tenths(usual)
    );
    Some(Warning::new("ChangeRateHigh", message))
}

fn entropy(now: &Figures, earlier: &[Figures]) -> Option<Warning> {
    let share = now.written.stored_share().filter(|share| *share >= RANDOM)?;
    let same = earlier.iter().filter(|of| of.backup_type == now.backup_type);
    let usual = median(same.filter_map(|of| of.written.stored_share()).collect())?;
    let touched: Vec<Touched> = now.streams.iter().filter_map(|stream| now.touched(stream)).collect();
    let sum = |of: fn(&Touched) -> u64| touched.iter().map(of).sum::<u64>();
    let only_adds = !touched.is_empty() && sum(|of| of.things).saturating_mul(TOUCHED) < sum(|of| of.before);
    if usual > COMPRESSED || only_adds {
        return None;
    }
    let message = format!(
        "what is new compresses no more: {} bytes became {}, {} %, and as a rule {} %; encrypted data looks like this",
        now.written.fresh_bytes,
        now.written.packed_bytes,
        tenths(share),
        tenths(usual)
    );
    Some(Warning::new("EntropyRose", message))
}

fn things(stream: &StreamSummary) -> u64 {
    stream.records + stream.files
}

fn amount(stream: &StreamSummary, things: u64) -> String {
    let noun = match stream.kind {
        StreamShape::Records => "record",
        StreamShape::Tree => "file",
    };
    format!("{things} {noun}{}", if things == 1 { "" } else { "s" })
}

/// Thousandths as a percentage.
fn tenths(share: u64) -> String {
    format!("{}.{}", share / 10, share % 10)
}

#[cfg(test)]
mod tests;
