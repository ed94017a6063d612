//! Completes a backup: opens what its tasks left in the vault, proves it whole, seals and writes the manifest.

pub(crate) mod duplicates;
mod fence;
mod layers;
mod referred;

use crate::anomaly::{self, Written};
use crate::events::{Committed, JobEvent};
use crate::metrics;
use crate::plan::{BackupDetail, detail, value};
use crate::services::{Services, Step};
use crate::staging;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use holdfast_common::jobs::{Job, JobChange, Status, StreamShape, StreamSummary, Task, Totals};
use holdfast_connectors::SourceSpec;
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::format::FORMAT;
use holdfast_vault::format::footer::Segment;
use holdfast_vault::format::manifest::{Manifest, StoredObject, StreamManifest};
use holdfast_vault::model::{StreamKind, Warning};
use referred::Referred;
use std::sync::Arc;

/// How many warnings a manifest and a job keep; the rest is counted.
const WARNINGS_KEPT: usize = 100;

/// Completes a backup whose tasks are all done.
///
/// # Errors
/// `SourceInvalid` if two records have the same key, `ObjectMissing` or `ObjectDamaged` if the vault does not hold
/// what was admitted, `Overdue` if it took too long, `BaseGone` if the backup that it builds on was deleted meanwhile, `Cancelled`, or what state and storage give.
#[must_use]
pub fn commit<'a>(services: &'a Services, event: &'a JobEvent) -> Step<'a, Committed> {
    Box::pin(async move {
        let job = services.jobs.job(&event.job).await?;
        if job.status != Status::Completed {
            let written = match services.vault.manifest(&job.id).await {
                Err(error) if error.code == Code::ObjectMissing => write(services, &job).await,
                found => found,
            };
            match written {
                Ok(manifest) => complete(services, &job, &manifest).await?,
                // A twin of this call that came first has taken away what this one was reading.
                Err(_) if services.jobs.job(&job.id).await?.status == Status::Completed => {}
                Err(error) => return Err(error),
            }
        }
        staging::clear(services, &job.id).await?;
        services.jobs.forget_work(&job.id).await?;
        Ok(Committed { captured: is_captured(&job), job: job.id })
    })
}

async fn complete(services: &Services, job: &Job, manifest: &Manifest) -> Result<()> {
    let change = completed(manifest, job)?;
    let (job, done) = services.jobs.enter(&job.id, &[Status::Running], Status::Completed, change).await?;
    if done {
        metrics::backup_completed(services, &job);
    }
    Ok(())
}

/// Whether a stream of the service's captures the changes of what was backed up. An embedded table is captured in step
/// with its backups, by whoever runs them.
fn is_captured(job: &Job) -> bool {
    let Ok(BackupDetail { resource, .. }) = detail(job) else { return false };
    let served = matches!(
        &resource.source,
        SourceSpec::Dynamodb { endpoint, .. } if endpoint.as_deref() != Some("embedded")
    );
    resource.policy.capture && served
}

async fn write(services: &Services, job: &Job) -> Result<Manifest> {
    if job.status != Status::Running {
        return Err(
            Error::new(Code::Cancelled, format!("backup {} is {}", job.id, job.status)).object(&job.id)
        );
    }
    fence::in_time(services, job)?;
    let detail: BackupDetail = detail(job)?;
    let tasks = services.jobs.tasks(&job.id).all().await?;
    let planned: Vec<_> = tasks.into_iter().filter(|task| task.task < detail.tasks).collect();
    if planned.len() != detail.tasks as usize || planned.iter().any(|task| task.status != Status::Completed) {
        return Err(Error::new(Code::Internal, format!("backup {} has tasks that are not done", job.id))
            .object(&job.id)
            .hint("start it again"));
    }
    services.vault.need(detail.key_version).await?;
    let left = layers::left(services, &job.id, &planned).await?;
    let segments = segments(services, &left.objects).await?;
    let base = match &detail.base {
        Some(base) => Some(fence::base(services, base).await?),
        None => None,
    };
    let referred = match &base {
        Some(base) => referred::referred(services, &detail, base).await?,
        None => Referred::new(),
    };
    let of_base = base.as_ref().map(|base| (base, &referred));
    let joined = layers::layered(&job.id, &detail, &left, &segments, of_base)?;
    let mut totals = Totals::default();
    for task in &planned {
        totals += task.totals;
    }
    check_totals(&job.id, &joined.streams, totals)?;
    let mut manifest = Manifest {
        format: FORMAT,
        vault: services.vault.id(),
        id: job.id.clone(),
        resource: job.resource.clone(),
        backup_type: job.backup_type.unwrap_or_default().to_string(),
        base: detail.base.clone(),
        source: value(&detail.resource.source)?,
        policy: value(&detail.resource.policy)?,
        started_at: time(job.started_at.unwrap_or(job.created_at)),
        completed_at: time(services.clock.now()),
        name_key_version: base.as_ref().map_or(detail.key_version, |base| base.name_key_version),
        objects: joined.objects,
        own_objects: base.as_ref().map(|_| u32::try_from(left.objects.len()).unwrap_or(u32::MAX)),
        streams: joined.streams,
        warnings: warnings(&detail, &planned),
    };
    let odd = anomaly::of(services, &manifest, &detail.resource.policy, &manifest.warnings).await?;
    manifest.warnings = few(odd.into_iter().chain(manifest.warnings).collect());
    let manifest = Arc::new(manifest);
    duplicates::check(services, &detail, &manifest).await?;
    fence::pass(services, job, &manifest).await?;
    services.vault.put_manifest(&manifest).await?;
    // Of two commits at once the first one's manifest stands; both go on with what is stored.
    services.vault.manifest(&job.id).await
}

fn warnings(detail: &BackupDetail, tasks: &[Task]) -> Vec<Warning> {
    detail.warnings.iter().chain(tasks.iter().flat_map(|task| &task.warnings)).cloned().collect()
}

fn time(at: jiff::Timestamp) -> String {
    format!("{at:.3}")
}

/// A segment with its place.
struct Placed {
    object: u32,
    segment: u32,
    what: Segment,
}

/// Opens every object's footer: what cannot be opened now could not be restored later.
async fn segments(services: &Services, objects: &[StoredObject]) -> Result<Vec<Placed>> {
    let open = |(at, object): (u32, StoredObject)| {
        let vault = services.vault.clone();
        let open = async move {
            let opened = vault.open_object(object.kind, object.id, object.size).await?;
            Ok::<_, Error>((at, opened.footer.segments))
        };
        open.boxed()
    };
    let opening: Vec<_> = (0_u32..).zip(objects.iter().cloned()).map(open).collect();
    let opened: Vec<_> =
        stream::iter(opening).buffered(services.limits.objects_at_once).try_collect().await?;
    let placed = |(object, segments): (u32, Vec<Segment>)| {
        (0_u32..).zip(segments).map(move |(segment, what)| Placed { object, segment, what })
    };
    let mut all: Vec<Placed> = opened.into_iter().flat_map(placed).collect();
    all.sort_by_key(|placed| placed.what.origin());
    Ok(all)
}

/// What the tasks counted while reading must be what the footers hold: two counts that do not know of each other.
fn check_totals(job: &str, streams: &[StreamManifest], counted: Totals) -> Result<()> {
    let sum = |of: fn(&StreamManifest) -> u64| streams.iter().map(of).sum::<u64>();
    let stored = (sum(|s| s.records), sum(|s| s.files), sum(|s| s.bytes));
    if stored == (counted.records, counted.files, counted.bytes) {
        return Ok(());
    }
    let message = format!(
        "backup {job} read {} records, {} files and {} bytes, and stored {}, {} and {}",
        counted.records, counted.files, counted.bytes, stored.0, stored.1, stored.2
    );
    Err(Error::new(Code::Internal, message)
        .object(job)
        .hint("start it again; report this if it happens twice"))
}

/// The first so many warnings, and one that counts the rest.
fn few(mut warnings: Vec<Warning>) -> Vec<Warning> {
    if warnings.len() > WARNINGS_KEPT {
        let more = warnings.len() - WARNINGS_KEPT;
        warnings.truncate(WARNINGS_KEPT);
        warnings.push(Warning::new("MoreWarnings", format!("{more} more warnings are not listed")));
    }
    warnings
}

/// What a job says of a completed backup; also how a catalogue is rebuilt.
///
/// # Errors
/// `Internal`, which does not happen.
pub fn completed(manifest: &Manifest, job: &Job) -> Result<JobChange> {
    let mut kept: BackupDetail = detail(job)?;
    (kept.plan, kept.plans, kept.joins_from) = (String::new(), Vec::new(), None);
    kept.written = Some(Written::of(manifest));
    Ok(JobChange {
        warnings: manifest.warnings.clone(),
        totals: Some(totals(manifest)),
        streams: Some(summaries(manifest)),
        detail: Some(value(&kept)?),
        ..JobChange::default()
    })
}

/// The totals of a backup.
#[must_use]
pub fn totals(manifest: &Manifest) -> Totals {
    Totals {
        records: manifest.streams.iter().map(|s| s.records).sum(),
        files: manifest.streams.iter().map(|s| s.files).sum(),
        bytes: manifest.streams.iter().map(|s| s.bytes).sum(),
        stored_bytes: manifest.stored_bytes(),
    }
}

/// The streams of a backup, in short.
#[must_use]
pub fn summaries(manifest: &Manifest) -> Vec<StreamSummary> {
    manifest.streams.iter().map(summary).collect()
}

/// A stream in short.
pub(crate) fn summary(stream: &StreamManifest) -> StreamSummary {
    StreamSummary {
        name: stream.info.name.clone(),
        kind: match stream.info.shape {
            StreamKind::Tree => StreamShape::Tree,
            StreamKind::Records { .. } => StreamShape::Records,
        },
        records: stream.records,
        files: stream.files,
        bytes: stream.bytes,
    }
}
