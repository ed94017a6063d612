//! What an undo would do, with nothing written.

use super::piece::{PieceSink, Pieces, encoding, same};
use super::{Conflict, UndoOf, UndoRequest, check, live, record};
use crate::history::{self, Choice, Counts, Difference, Exactness};
use crate::services::{Services, Step};
use async_trait::async_trait;
use holdfast_connectors::{Live, OnConflict};
use holdfast_vault::error::Result;
use holdfast_vault::model::StreamInfo;

/// What an undo would do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DryRun {
    /// The resource.
    pub resource: String,
    /// The window's records, by what had happened to them.
    pub window: Counts,
    /// How sure the window is.
    pub exactness: Exactness,
    /// Records that would be put back.
    pub would_undo: u64,
    /// Records that are back already.
    pub already: u64,
    /// Records that somebody wrote since the window.
    pub conflicts: u64,
    /// The first of those.
    pub listed: Vec<Conflict>,
}

/// Tells what an undo would do now, and lists so many conflicts at most. Writes nothing.
///
/// # Errors
/// As [`super::request`], and what reading gives.
#[must_use]
pub fn dry_run<'a>(
    services: &'a Services,
    request: &'a UndoRequest,
    keys: Option<Vec<String>>,
    most: usize,
) -> Step<'a, DryRun> {
    Box::pin(async move {
        let resource = check(services, request).await?;
        let looking = Looking {
            live: live(services, &resource).await?,
            overwrite: request.on_conflict == OnConflict::Overwrite,
            most,
            would_undo: 0,
            already: 0,
            conflicts: 0,
            listed: Vec::new(),
        };
        let mut pieces = Pieces::new(looking);
        let exactness = match &request.of {
            UndoOf::Window { asked, filter } => {
                let window = history::window(services, asked).await?;
                let choice = Choice { filter: filter.clone(), keys };
                let notes = window.read(services, &choice, &mut pieces).await?;
                let mut exactness = window.exactness;
                exactness.notes.extend(notes);
                exactness
            }
            UndoOf::Undo(of) => {
                record::written(services, of, &mut pieces).await?;
                Exactness { exact: true, ..Exactness::default() }
            }
        };
        let (window, looked) = pieces.end().await?;
        let Looking { would_undo, already, conflicts, listed, .. } = looked;
        Ok(DryRun { resource, window, exactness, would_undo, already, conflicts, listed })
    })
}

struct Looking {
    live: Box<dyn Live>,
    overwrite: bool,
    most: usize,
    would_undo: u64,
    already: u64,
    conflicts: u64,
    listed: Vec<Conflict>,
}

#[async_trait]
impl PieceSink for Looking {
    async fn piece(&mut self, stream: &StreamInfo, differences: Vec<Difference>) -> Result<()> {
        let keys: Vec<Vec<u8>> = differences.iter().map(|difference| difference.key.clone()).collect();
        let now = self.live.read(stream, &keys).await?;
        let encoding = encoding(stream);
        for (Difference { key, before, after }, now) in differences.into_iter().zip(now) {
            let is = |value: &Option<Vec<u8>>| same(encoding, now.as_deref(), value.as_deref());
            if is(&before) {
                self.already += 1;
            } else if is(&after) {
                self.would_undo += 1;
            } else {
                self.conflicts += 1;
                self.would_undo += u64::from(self.overwrite);
                if self.listed.len() < self.most {
                    self.listed.push(Conflict {
                        stream: stream.clone(),
                        key,
                        was: before,
                        left: after,
                        now,
                        overwritten: self.overwrite,
                    });
                }
            }
        }
        Ok(())
    }
}
