//! Writes trees of several layers, merged, by spans of paths.

use super::PartOrder;
use super::part::{OpenFile, Writing};
use super::select;
use crate::plan::value;
use globset::GlobSet;
use holdfast_common::jobs::Task;
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::format::manifest::{SegmentRef, StreamManifest};
use holdfast_vault::model::StreamKind;
use holdfast_vault::read::{LiveEntry, MergedTree, PathSpan, PathStart};
use serde::{Deserialize, Serialize};

/// The paths that a task writes, in hex.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Paths {
    /// Only those behind this one.
    after: Option<String>,
    /// Only those up to and with this one.
    until: Option<String>,
}

/// Behind which path a task goes on, in hex.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PathCursor {
    after: String,
}

impl Paths {
    /// What is left of the paths behind a cursor.
    pub(super) fn span(&self, cursor: Option<PathCursor>) -> Result<PathSpan> {
        let decode = |path: &String| {
            hex::decode(path).map_err(|_| Error::new(Code::Internal, "a task of a restore names no paths"))
        };
        let after = cursor.map(|cursor| cursor.after).or_else(|| self.after.clone());
        let start = match &after {
            Some(after) => PathStart::After(decode(after)?),
            None => PathStart::Beginning,
        };
        Ok(PathSpan { start, until: self.until.as_ref().map(decode).transpose()? })
    }
}

/// Whether a stream is a tree that has to be merged while it is written.
pub(super) fn is_layered(stream: &StreamManifest) -> bool {
    stream.layers.len() > 1 && stream.info.shape == StreamKind::Tree
}

/// Cuts a layered tree into tasks, where segments of any layer end; into one if it is to be `whole`.
pub(super) fn tasks(
    job: &str,
    plan: &str,
    range_bytes: u64,
    whole: bool,
    stream: &StreamManifest,
    tasks: &mut Vec<Task>,
) -> Result<()> {
    let mut segments: Vec<&SegmentRef> = stream.layers.iter().flat_map(|layer| &layer.segments).collect();
    segments.sort_by(|a, b| a.last.cmp(&b.last));
    let mut push = |after: Option<String>, until: Option<String>| {
        let order = PartOrder { paths: Some(Paths { after, until }), ..PartOrder::of(plan, stream) };
        let number = u32::try_from(tasks.len()).unwrap_or(u32::MAX);
        tasks.push(Task::new(job, number, &stream.info.name, value(&order)?));
        Ok::<_, Error>(())
    };
    let (mut after, mut bytes): (Option<String>, u64) = (None, 0);
    for (at, segment) in segments.iter().enumerate() {
        bytes += segment.bytes;
        let border = segments.get(at + 1).is_some_and(|next| next.last != segment.last);
        if border && bytes >= range_bytes && !whole {
            push(after.replace(segment.last.clone()), Some(segment.last.clone()))?;
            bytes = 0;
        }
    }
    push(after, None)
}

impl Writing<'_> {
    /// Writes the entries of a tree that are asked for, until they end or the call has done enough.
    pub(super) async fn merged(&mut self, mut tree: MergedTree, globs: Option<&GlobSet>) -> Result<()> {
        let mut file = OpenFile::default();
        let mut last: Option<Vec<u8>> = None;
        while let Some(LiveEntry { entry, object, segment, .. }) = tree.next().await? {
            if let Some(done) = last.filter(|_| self.outcome.totals.bytes >= self.budget && !file.is_open()) {
                self.outcome.path = Some(PathCursor { after: hex::encode(done) });
                return Ok(());
            }
            last = Some(entry.meta.path.clone());
            if globs.is_none_or(|globs| select::matches(globs, &entry.meta.path)) {
                self.entry(&mut file, object, &segment, entry).await?;
            }
        }
        if file.is_open() {
            let why = format!("the last file of a part of stream {} is not whole", self.stream.info.name);
            return Err(Error::new(Code::ObjectDamaged, why));
        }
        Ok(())
    }
}
