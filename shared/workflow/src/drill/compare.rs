//! Compares what was restored with what the manifest says of it, as much as one call does.

use super::digest::{RecordDigests, TreeDigests};
use super::events::DrillAnswer;
use super::model::{Chosen, Compared, DrillDetail, Progress, Tally};
use super::running;
use crate::plan::{detail, not_running, value};
use crate::services::Services;
use async_trait::async_trait;
use holdfast_common::jobs::Status;
use holdfast_connectors::source::{RangeSink, Sizing, Source};
use holdfast_connectors::{Cursor, Limits, SourceRange, open_source};
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::format::manifest::{Manifest, StreamManifest};
use holdfast_vault::model::StreamKind;
use holdfast_vault::read::{MergedTree, PathSpan, PathStart};
use holdfast_vault::write::records::KeyStorage;
use std::sync::Arc;

/// A call reads so many times the bytes that one of an export does: a target is only hashed. Few calls, since an
/// execution's history ends at 25,000 events.
const STEPS_AT_ONCE: u64 = 4;

/// A target is read as a whole: one range a stream, so that a file meets all its parts in one call, as in its restore.
const WHOLE: Sizing = Sizing { bytes: u64::MAX, entries: u64::MAX, workers: 1 };

pub(super) async fn compare(services: &Services, id: &str) -> Result<DrillAnswer> {
    let (_, before, chosen) = running(services, id).await?;
    let restore = services.jobs.job(&chosen.restore).await?;
    if restore.status != Status::Completed {
        return Err(Error::new(Code::JobState, format!("restore {} is {}", restore.id, restore.status))
            .object(restore.id));
    }
    let manifest = Arc::new(services.vault.manifest(&chosen.backup).await?);
    let streams = chosen_streams(&manifest, &before)?;
    let source = open_source(&chosen.place.back, Limits::default(), 1, services.clients.as_ref()).await?;
    let left = services.limits.step_bytes.saturating_mul(STEPS_AT_ONCE).max(1);
    let mut comparing = Comparing { services, manifest: &manifest, source: source.as_ref(), left };
    let after = comparing.some(&chosen, &streams, before.clone()).await?;
    let (job, _) = services
        .jobs
        .change_job(id, |job| {
            if job.status != Status::Running {
                return Err(not_running(job));
            }
            // Another call that was at the same place may have been faster: its word stands, which says the same.
            if detail::<DrillDetail>(job)?.step != before.step {
                return Ok(false);
            }
            job.detail = value(&after)?;
            Ok(true)
        })
        .await?;
    let more = detail::<DrillDetail>(&job)?.compared.len() < streams.len();
    Ok(DrillAnswer { job: id.to_owned(), more })
}

/// The streams of a backup that a drill restores, in the order of the manifest.
pub(super) fn chosen_streams<'a>(
    manifest: &'a Manifest,
    detail: &DrillDetail,
) -> Result<Vec<&'a StreamManifest>> {
    let asked = &detail.request.streams;
    asked.iter().try_for_each(|name| manifest.stream(name).map(|_| ()))?;
    let is_asked = |stream: &&StreamManifest| asked.is_empty() || asked.contains(&stream.info.name);
    Ok(manifest.streams.iter().filter(is_asked).collect())
}

struct Comparing<'a> {
    services: &'a Services,
    manifest: &'a Arc<Manifest>,
    source: &'a dyn Source,
    /// Bytes that this call may still read.
    left: u64,
}

impl Comparing<'_> {
    /// Compares streams until the call has done enough; one of them at least goes on.
    async fn some(
        &mut self,
        chosen: &Chosen,
        streams: &[&StreamManifest],
        mut detail: DrillDetail,
    ) -> Result<DrillDetail> {
        detail.step += 1;
        while let Some(stream) = streams.get(detail.compared.len()) {
            if self.left == 0 {
                break;
            }
            let went = match detail.progress.take() {
                Some(progress) => self.stream(stream, progress, chosen.place.with_times).await,
                None => match self.begin(stream).await {
                    Ok(progress) => self.stream(stream, progress, chosen.place.with_times).await,
                    Err(error) => Err(error),
                },
            };
            match went {
                Ok((progress, false)) => detail.progress = Some(progress),
                Ok((progress, true)) => detail.compared.push(judge(stream, progress.found, None)),
                Err(error) if is_of_target(error.code) => {
                    detail.compared.push(judge(stream, Tally::default(), Some(error.code)));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(detail)
    }

    async fn begin(&self, stream: &StreamManifest) -> Result<Progress> {
        let mut ranges = Ranges(Vec::new());
        self.source.cut(&stream.info, &WHOLE, &mut ranges).await?;
        Ok(Progress { ranges: ranges.0, range: 0, cursor: None, found: Tally::default() })
    }

    /// Reads on in a stream. True once its end was reached.
    async fn stream(
        &mut self,
        stream: &StreamManifest,
        mut at: Progress,
        with_times: bool,
    ) -> Result<(Progress, bool)> {
        while let Some(range) = at.ranges.get(at.range).cloned() {
            if self.left == 0 {
                return Ok((at, false));
            }
            let (found, cursor) = match &stream.info.shape {
                StreamKind::Records { .. } => self.records(stream, &range, &at).await?,
                StreamKind::Tree => self.tree(stream, &range, &at, with_times).await?,
            };
            at.found = found;
            if cursor.is_none() {
                at.range += 1;
            }
            at.cursor = cursor;
        }
        Ok((at, true))
    }

    async fn records(
        &mut self,
        stream: &StreamManifest,
        range: &SourceRange,
        at: &Progress,
    ) -> Result<(Tally, Option<Cursor>)> {
        let storage = if stream.info.keys_are_stored() { KeyStorage::Stored } else { KeyStorage::Derived };
        let mut sink = RecordDigests { storage, found: at.found.clone(), left: self.left };
        let cursor = self.source.read_records(&stream.info, range, at.cursor.as_ref(), &mut sink).await?;
        self.left = sink.left;
        Ok((sink.found, cursor))
    }

    async fn tree(
        &mut self,
        stream: &StreamManifest,
        range: &SourceRange,
        at: &Progress,
        with_times: bool,
    ) -> Result<(Tally, Option<Cursor>)> {
        let bounds = self.source.bounds(&stream.info, range, at.cursor.as_ref())?.unwrap_or_default();
        let span = PathSpan {
            start: bounds.after.map_or(PathStart::Beginning, PathStart::After),
            until: bounds.until,
        };
        let manifest = MergedTree::new(&self.services.vault, self.manifest, stream, span);
        let mut sink = TreeDigests::new(manifest, with_times, at.found.clone(), self.left);
        let cursor = self.source.read_tree(&stream.info, range, at.cursor.as_ref(), &mut sink).await?;
        if cursor.is_none() {
            sink.drain().await?;
        }
        self.left = sink.left;
        Ok((sink.found, cursor))
    }
}

/// Whether an error says that the target is not what was restored, and not that it could not be asked.
const fn is_of_target(code: Code) -> bool {
    matches!(code, Code::SourceMissing | Code::SourceInvalid | Code::SourceChanged)
}

/// What was found against what the manifest says.
fn judge(stream: &StreamManifest, found: Tally, unreadable: Option<Code>) -> Compared {
    let whole = found.records == stream.records && found.files == stream.files;
    let whole = whole && found.bytes == stream.bytes && found.missing + found.unexpected + found.changed == 0;
    let equal = whole && unreadable.is_none() && hex::encode(found.digest.to_bytes()) == stream.digest;
    Compared {
        stream: stream.info.name.clone(),
        equal,
        digest: stream.digest.clone(),
        found,
        unreadable: unreadable.map(|code| code.as_str().to_owned()),
    }
}

struct Ranges(Vec<SourceRange>);

#[async_trait]
impl RangeSink for Ranges {
    async fn range(&mut self, range: SourceRange) -> Result<()> {
        self.0.push(range);
        Ok(())
    }
}
