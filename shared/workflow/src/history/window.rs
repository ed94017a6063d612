//! Two points in time, and what can tell what changed between them.

use super::choice::Choice;
use super::{Differences, Point, backups, captured};
use crate::capture::log::{Uncovered, coverage};
use crate::services::{Services, Step};
use holdfast_common::jobs::{Job, JobKind};
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::format::changes::Gap;
use holdfast_vault::format::manifest::Manifest;
use holdfast_vault::model::{StreamInfo, StreamKind, Warning};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Between which points, and of what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// The resource's name.
    pub resource: String,
    /// The earlier point.
    pub from: Point,
    /// The later point.
    pub to: Point,
    /// Only this stream; every record stream where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
}

/// How sure a window is of what it tells.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Exactness {
    /// Whether it tells exactly what changed between the two points.
    pub exact: bool,
    /// The backup that stands for the earlier point, where backups are compared.
    pub from_backup: Option<String>,
    /// The backup that stands for the later point.
    pub to_backup: Option<String>,
    /// What an operator should know.
    pub notes: Vec<Warning>,
}

/// What tells the differences of a window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Evidence {
    /// Captured changes.
    Captured,
    /// Two backups, by their ids.
    Backups {
        /// The earlier one; where there is none, everything was added.
        from: Option<String>,
        /// The later one.
        to: String,
    },
}

/// A stream of a window.
pub type StreamWindow = StreamInfo;

/// A window whose points are known, and what tells its differences.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// The resource's name.
    pub resource: String,
    /// Its beginning; what was written later is in it.
    pub from: Timestamp,
    /// Its end; what was written by then is in it.
    pub to: Timestamp,
    /// The record streams that are looked at.
    pub streams: Vec<StreamWindow>,
    /// What tells the differences.
    pub evidence: Evidence,
    /// How sure that is.
    pub exactness: Exactness,
}

/// Finds what tells the differences between two points.
///
/// # Errors
/// `ResourceUnknown`, `JobUnknown`; `InvalidInput` if a point lies in the future or before all that is kept, the
/// earlier is not before the later, or the resource has no such stream of records; or what state and the vault give.
#[must_use]
pub fn window<'a>(services: &'a Services, asked: &'a Asked) -> Step<'a, Window> {
    Box::pin(async move {
        services.jobs.resource(&asked.resource).await?;
        let mut points = Points::new(services, asked).await?;
        let streams = points.streams(services, asked.stream.as_deref()).await?;
        let mut notes = Vec::new();
        let evidence = if points.captured(services, &mut notes).await? {
            Evidence::Captured
        } else {
            points.backups(&mut notes)?
        };
        let (from_backup, to_backup) = match &evidence {
            Evidence::Captured => (None, None),
            Evidence::Backups { from, to } => (from.clone(), Some(to.clone())),
        };
        let exact = evidence == Evidence::Captured || (points.from.is_backup() && points.to.is_backup());
        Ok(Window {
            resource: asked.resource.clone(),
            from: points.from.time,
            to: points.to.time,
            streams,
            evidence,
            exactness: Exactness { exact, from_backup, to_backup, notes },
        })
    })
}

impl Window {
    /// Two backups, as a window of one record stream after another.
    ///
    /// # Errors
    /// `InvalidInput` if neither has records, or what the vault gives.
    pub(super) fn of_backups(from: Option<&Manifest>, to: &Manifest) -> Result<Self> {
        let time = |text: &str| text.parse::<Timestamp>().unwrap_or_default();
        let mut streams: Vec<StreamInfo> = Vec::new();
        for stream in to.streams.iter().chain(from.map_or(&[][..], |from| &from.streams)) {
            let records = matches!(stream.info.shape, StreamKind::Records { .. });
            if records && streams.iter().all(|known| known.name != stream.info.name) {
                streams.push(stream.info.clone());
            }
        }
        if streams.is_empty() {
            return Err(no_records(&to.resource));
        }
        Ok(Self {
            resource: to.resource.clone(),
            from: from.map_or(Timestamp::UNIX_EPOCH, |from| time(&from.completed_at)),
            to: time(&to.completed_at),
            streams,
            evidence: Evidence::Backups { from: from.map(|from| from.id.clone()), to: to.id.clone() },
            exactness: Exactness {
                exact: true,
                from_backup: from.map(|from| from.id.clone()),
                to_backup: Some(to.id.clone()),
                notes: Vec::new(),
            },
        })
    }

    /// Hands on every difference that is chosen, stream by stream, and returns what an operator should know of it.
    /// Memory is bounded: the streams are gone through by shards of the key hash.
    ///
    /// # Errors
    /// What the vault or `out` gives.
    pub async fn read(
        &self,
        services: &Services,
        choice: &Choice,
        out: &mut dyn Differences,
    ) -> Result<Vec<Warning>> {
        let manifests = match &self.evidence {
            Evidence::Captured => None,
            Evidence::Backups { from, to } => {
                let to = services.vault.manifest(to).await?;
                let from = match from {
                    Some(from) => services.vault.manifest(from).await?,
                    // Nothing stands before the first backup.
                    None => Manifest { streams: Vec::new(), ..to.clone() },
                };
                Some((Arc::new(from), Arc::new(to)))
            }
        };
        let (mut notes, mut met) = (Vec::new(), std::collections::BTreeSet::new());
        for stream in &self.streams {
            let mut chosen = choice.of(stream)?;
            match &manifests {
                None => {
                    let times = (self.from, self.to);
                    captured::differences(services, &self.resource, stream, times, &mut chosen, out).await?;
                }
                Some((from, to)) => {
                    let sides = (from, to);
                    notes.extend(
                        backups::differences(&services.vault, sides, stream, &mut chosen, out).await?,
                    );
                }
            }
            met.append(&mut chosen.met);
        }
        let asked = choice.keys.as_ref().map_or(0, Vec::len);
        if met.len() < asked {
            let missing: Vec<String> =
                (0..asked).filter(|at| !met.contains(at)).take(5).map(|at| (at + 1).to_string()).collect();
            let message = format!(
                "{} of {asked} keys of the list name no record that changed in the window; the first are number {}",
                asked - met.len(),
                missing.join(", ")
            );
            notes.push(Warning::new("KeysNotChanged", message));
        }
        Ok(notes)
    }
}

/// A point with its time, and the backup that it names.
struct Fixed {
    time: Timestamp,
    backup: Option<Job>,
    /// Whether the newest there is, is meant.
    now: bool,
}

impl Fixed {
    fn is_backup(&self) -> bool {
        self.backup.is_some()
    }

    async fn new(services: &Services, asked: &Asked, point: &Point, option: &str) -> Result<Self> {
        let now = services.clock.now();
        match point {
            Point::Now => Ok(Self { time: now, backup: None, now: true }),
            Point::Time(time) if *time > now => {
                Err(Error::new(Code::InvalidInput, format!("{option} {time} is in the future"))
                    .object(option)
                    .hint(format!("it is {now:.0} now")))
            }
            Point::Time(time) => Ok(Self { time: *time, backup: None, now: false }),
            Point::Backup(id) => {
                let job = services.jobs.job(id).await?;
                if !job.is_restorable() || job.resource != asked.resource {
                    let message = format!("{option} {id} is no completed backup of {}", asked.resource);
                    return Err(Error::new(Code::InvalidInput, message)
                        .object(option)
                        .hint(format!("see `holdfast backups {}`", asked.resource)));
                }
                Ok(Self { time: job.completed_at.unwrap_or(job.created_at), backup: Some(job), now: false })
            }
        }
    }
}

struct Points {
    resource: String,
    from: Fixed,
    to: Fixed,
    /// The newest completed backup at or before the end.
    newest: Option<Job>,
    /// The newest at or before the beginning.
    before: Option<Job>,
    /// Any completed backup, and the oldest.
    any: Option<Job>,
    oldest: Option<Job>,
}

impl Points {
    async fn new(services: &Services, asked: &Asked) -> Result<Self> {
        let from = Fixed::new(services, asked, &asked.from, "--from").await?;
        let to = Fixed::new(services, asked, &asked.to, "--to").await?;
        if from.time >= to.time {
            return Err(Error::new(
                Code::InvalidInput,
                format!("--from {} is not before --to {}", asked.from, asked.to),
            )
            .object("--from")
            .hint("the window begins at --from and ends at --to"));
        }
        let resource = asked.resource.clone();
        let mut points = Self { resource, from, to, newest: None, before: None, any: None, oldest: None };
        let mut pages = services.jobs.jobs(JobKind::Backup, Some(&asked.resource));
        while let Some(page) = pages.next().await? {
            for job in page {
                if let (true, Some(at)) = (job.is_restorable(), job.completed_at) {
                    points.note(job, at);
                }
            }
        }
        Ok(points)
    }

    /// Jobs come newest first by when they were asked for; when they ended may be in another order.
    fn note(&mut self, job: Job, at: Timestamp) {
        let later = |known: &Option<Job>| known.as_ref().is_none_or(|known| known.completed_at < Some(at));
        if at <= self.to.time && later(&self.newest) {
            self.newest = Some(job.clone());
        }
        if at <= self.from.time && later(&self.before) {
            self.before = Some(job.clone());
        }
        if later(&self.any) {
            self.any = Some(job.clone());
        }
        if self.oldest.as_ref().is_none_or(|known| known.completed_at > Some(at)) {
            self.oldest = Some(job);
        }
    }

    /// The record streams: as the newest backup at the end of the window has them, and those gone since its beginning.
    async fn streams(&self, services: &Services, only: Option<&str>) -> Result<Vec<StreamInfo>> {
        let named = |fixed: &Fixed, else_by: &Option<Job>| fixed.backup.clone().or_else(|| else_by.clone());
        let known = [named(&self.to, &self.newest), named(&self.from, &self.before)];
        let mut known: Vec<Job> = known.into_iter().flatten().collect();
        if known.is_empty() {
            known.extend(self.any.clone());
        }
        if known.is_empty() {
            return Err(Error::new(Code::InvalidInput, format!("{} has no completed backup", self.resource))
                .object(&self.resource)
                .hint(format!("make one with `holdfast backup {}`", self.resource)));
        }
        let (mut records, mut trees) = (Vec::<StreamInfo>::new(), Vec::new());
        for job in known {
            for stream in services.vault.manifest(&job.id).await?.streams {
                let new = records.iter().all(|known| known.name != stream.info.name);
                match stream.info.shape {
                    StreamKind::Records { .. } if new => records.push(stream.info),
                    StreamKind::Records { .. } => {}
                    StreamKind::Tree => trees.push(stream.info.name),
                }
            }
        }
        let Some(only) = only else {
            return if records.is_empty() { Err(no_records(&self.resource)) } else { Ok(records) };
        };
        let known: Vec<String> = records.iter().map(|stream| stream.name.clone()).collect();
        records.retain(|stream| stream.name == only);
        if records.is_empty() {
            if known.is_empty() || trees.iter().any(|tree| tree == only) {
                return Err(no_records(&self.resource));
            }
            let message = format!("{} has no stream {only:?} of records", self.resource);
            return Err(Error::new(Code::InvalidInput, message)
                .object("--stream")
                .hint(format!("its streams are {}", known.join(", "))));
        }
        Ok(records)
    }

    /// Whether captured changes tell the window, whole; where they do not, why.
    async fn captured(&mut self, services: &Services, notes: &mut Vec<Warning>) -> Result<bool> {
        if self.from.is_backup() && self.to.is_backup() {
            return Ok(false);
        }
        let Some(coverage) = coverage(services, &self.resource).await? else { return Ok(false) };
        // A backup was read over some time: what was written in that time is taken to be in the window.
        let began = self.from.backup.as_ref().and_then(|job| job.started_at);
        let from = began.unwrap_or(self.from.time);
        let to = if self.to.now { self.to.time.min(coverage.watermark) } else { self.to.time };
        let why = match coverage.covers(from, to) {
            Ok(()) if from < to => {
                (self.from.time, self.to.time) = (from, to);
                return Ok(true);
            }
            Ok(()) => Uncovered::AfterWatermark(coverage.watermark),
            Err(why) => why,
        };
        let shown = |millis: i64| Timestamp::from_millisecond(millis).unwrap_or_default();
        let (code, message) = match why {
            Uncovered::Gaps(gaps) => {
                let gap = |gap: &Gap| format!("{} to {} ({})", shown(gap.from), shown(gap.to), gap.reason);
                let gaps: Vec<String> = gaps.iter().take(3).map(gap).collect();
                ("CaptureGap", format!("changes are missing from what was captured: {}", gaps.join(", ")))
            }
            Uncovered::BeforeSince(since) => {
                ("CaptureLater", format!("changes are captured since {since} only"))
            }
            Uncovered::AfterWatermark(until) => {
                ("CaptureBehind", format!("changes are captured up to {until} only"))
            }
        };
        notes.push(Warning::new(code, format!("{message}; two backups are compared instead")));
        Ok(false)
    }

    /// The two backups that stand for the points.
    fn backups(&self, notes: &mut Vec<Warning>) -> Result<Evidence> {
        let why = notes.first().map_or_else(String::new, |note| format!("; {}", note.message));
        let resource = &self.resource;
        let from = self.from.backup.as_ref().or(self.before.as_ref());
        let from = from.ok_or_else(|| {
            let first = self.oldest.as_ref().and_then(|job| job.completed_at);
            let first = first.map_or_else(String::new, |at| format!(", which is of {at:.0}"));
            Error::new(
                Code::InvalidInput,
                format!("--from {:.0} is before the first backup of {resource}{first}{why}", self.from.time),
            )
            .object("--from")
            .hint("choose a later --from")
        })?;
        let to = self.to.backup.as_ref().or(self.newest.as_ref()).filter(|to| to.id != from.id);
        let to = to.ok_or_else(|| {
            let message = format!(
                "no backup of {resource} was made after {} and by --to, so that nothing tells what changed{why}",
                from.id
            );
            Error::new(Code::InvalidInput, message).object("--to").hint(format!(
                "make one now with `holdfast backup {resource}` and use --to now, or use an earlier --from"
            ))
        })?;
        self.inexact(from, to, notes);
        Ok(Evidence::Backups { from: Some(from.id.clone()), to: to.id.clone() })
    }

    fn inexact(&self, from: &Job, to: &Job, notes: &mut Vec<Warning>) {
        let at = |time: Option<Timestamp>| time.map_or_else(String::new, |time| format!("{time:.0}"));
        if !self.from.is_backup() {
            let message = format!(
                "writes between {} (backup {}) and --from cannot be told from those of the window",
                at(from.started_at),
                from.id
            );
            notes.push(Warning::new("FromBackup", message));
        }
        if !self.to.is_backup() {
            let message = format!(
                "the window ends with backup {}, which was read from {} to {}: later writes are not seen",
                to.id,
                at(to.started_at),
                at(to.completed_at)
            );
            notes.push(Warning::new("ToBackup", message));
        }
    }
}

fn no_records(resource: &str) -> Error {
    Error::new(
        Code::InvalidInput,
        format!("{resource} has no stream of records, and diff and undo need records"),
    )
    .object(resource)
    .hint("restore files with `holdfast restore ID --to TARGET --path GLOB`")
}
