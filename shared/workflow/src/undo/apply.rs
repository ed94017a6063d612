//! Puts a piece of the window back.

use super::piece::{About, Holds, WindowPiece, begun_key, open, outcome_key, same, stage};
use super::{live, record, running};
use crate::events::UndoAnswer;
use crate::history::sealed::{Recorder, Section, Unsealed};
use crate::plan::value;
use crate::services::Services;
use holdfast_common::jobs::JobChange;
use holdfast_connectors::{Live, OnConflict, Revert, Reverted};
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::format::changes::Change;
use std::collections::HashMap;

/// Puts the next piece back; before the first, where a conflict is to fail the undo, looks the pieces through.
pub(super) async fn apply(services: &Services, id: &str) -> Result<UndoAnswer> {
    let (job, mut detail, plan) = running(services, id).await?;
    let answer = |more| UndoAnswer { job: id.to_owned(), more };
    if detail.applied >= plan.pieces {
        return Ok(answer(false));
    }
    let live = live(services, &job.resource).await?;
    let policy = detail.request.on_conflict;
    if policy == OnConflict::Fail && detail.checked < plan.pieces {
        let piece = WindowPiece::read(services, id, &plan.name, detail.checked).await?;
        check(live.as_ref(), &piece, id).await?;
        detail.checked += 1;
    } else {
        let piece = WindowPiece::read(services, id, &plan.name, detail.applied).await?;
        let outcome = put_back(services, live.as_ref(), id, &piece, policy).await?;
        record::keep(services, id, piece.about.piece, &outcome).await?;
        let conflicts = section(&outcome, Holds::Found).len();
        if policy == OnConflict::Fail && conflicts > 0 {
            return Err(stopped(id, conflicts));
        }
        detail.applied += 1;
    }
    let change = JobChange { detail: Some(value(&detail)?), ..JobChange::default() };
    services.jobs.update_job(id, change).await?;
    Ok(answer(detail.applied < plan.pieces))
}

async fn check(live: &dyn Live, piece: &WindowPiece, id: &str) -> Result<()> {
    let now = live.read(&piece.about.stream, &piece.keys()).await?;
    let encoding = piece.encoding();
    let is =
        |now: &Option<Vec<u8>>, value: &Option<Vec<u8>>| same(encoding, now.as_deref(), value.as_deref());
    let conflicts = piece
        .changes
        .iter()
        .zip(&now)
        .filter(|(change, now)| !is(now, &change.before) && !is(now, &change.after))
        .count();
    if conflicts == 0 {
        return Ok(());
    }
    let message =
        format!("{conflicts} records of the window were written since, at least; undo {id} wrote nothing");
    Err(Error::new(Code::TargetConflict, message)
        .object(id)
        .hint("see them with --dry-run; keep them with --on-conflict skip"))
}

fn stopped(id: &str, conflicts: usize) -> Error {
    let message = format!("{conflicts} records were written while undo {id} was at work; it stopped there");
    Error::new(Code::TargetConflict, message)
        .object(id)
        .hint(format!("`holdfast show {id}` tells what it did; `holdfast undo --undo {id}` takes that back"))
}

/// The changes of a kind in an outcome.
pub(super) fn section(outcome: &Unsealed<About>, holds: Holds) -> &[Change] {
    let found = outcome.sections.iter().find(|section| section.description.holds == holds);
    found.map_or(&[], |section| &section.changes)
}

/// Puts a piece back and stages what became of it. A repeat finds that, or what stood before the piece was begun, and
/// so tells its own writes from those that were there.
async fn put_back(
    services: &Services,
    live: &dyn Live,
    id: &str,
    piece: &WindowPiece,
    policy: OnConflict,
) -> Result<Unsealed<About>> {
    let number = piece.about.piece;
    let key = outcome_key(id, number);
    if let Some(outcome) = open(services, &key, (id, number)).await? {
        return Ok(outcome);
    }
    let stood = begin(services, live, id, piece).await?;
    let revert = |change: &Change| Revert {
        key: change.key.clone(),
        was: change.before.clone(),
        left: change.after.clone(),
    };
    let reverts: Vec<Revert> = piece.changes.iter().map(revert).collect();
    let reverted = live.revert(&piece.about.stream, &reverts, policy).await?;
    let mut outcome = Outcome::new(services, piece)?;
    for (change, reverted) in piece.changes.iter().zip(reverted) {
        outcome.note(change, reverted, stood.get(&change.key));
    }
    stage(services, &key, (id, number), outcome.sections()).await
}

/// What stood before the piece was begun, of records that were not as the window left them.
pub(super) type Stood = HashMap<Vec<u8>, Option<Vec<u8>>>;

async fn begin(services: &Services, live: &dyn Live, id: &str, piece: &WindowPiece) -> Result<Stood> {
    let number = piece.about.piece;
    let key = begun_key(id, number);
    if let Some(stood) = begun(services, id, number).await? {
        return Ok(stood);
    }
    let now = live.read(&piece.about.stream, &piece.keys()).await?;
    let recorder = Recorder::new(services.vault.keys(), services.clock.now().as_millisecond())?;
    let (encoding, mut changes) = (piece.encoding(), Vec::new());
    for (change, now) in piece.changes.iter().zip(now) {
        if !same(encoding, now.as_deref(), change.after.as_deref()) {
            changes.push(recorder.change(&change.key, now, None));
        }
    }
    let description = About { holds: Holds::Begun, ..piece.about.clone() };
    let object = stage(services, &key, (id, number), vec![Section { description, changes }]).await?;
    Ok(stood(object))
}

/// What stood before a piece was begun; `None` if it was not.
pub(super) async fn begun(services: &Services, id: &str, piece: u32) -> Result<Option<Stood>> {
    Ok(open(services, &begun_key(id, piece), (id, piece)).await?.map(stood))
}

fn stood(object: Unsealed<About>) -> Stood {
    let changes = object.sections.into_iter().flat_map(|section| section.changes);
    changes.map(|change| (change.key, change.before)).collect()
}

/// What became of a piece, as it is kept.
pub(super) struct Outcome<'a> {
    about: &'a About,
    encoding: holdfast_vault::model::RecordEncoding,
    recorder: Recorder,
    written: Vec<Change>,
    wanted: Vec<Change>,
    found: Vec<Change>,
}

impl<'a> Outcome<'a> {
    pub(super) fn new(services: &Services, piece: &'a WindowPiece) -> Result<Self> {
        let recorder = Recorder::new(services.vault.keys(), services.clock.now().as_millisecond())?;
        Ok(Self {
            about: &piece.about,
            encoding: piece.encoding(),
            recorder,
            written: Vec::new(),
            wanted: Vec::new(),
            found: Vec::new(),
        })
    }

    /// Notes what became of a record. `stood` is what it was before the piece was begun, if that was not what the
    /// window left.
    pub(super) fn note(&mut self, change: &Change, reverted: Reverted, stood: Option<&Option<Vec<u8>>>) {
        let is_back =
            |value: &Option<Vec<u8>>| same(self.encoding, value.as_deref(), change.before.as_deref());
        match (reverted, stood) {
            (Reverted::Done, _) | (Reverted::Already, None) => self.wrote(change, change.after.clone()),
            (Reverted::Already, Some(stood)) if is_back(stood) => {}
            // It was another value when the piece was begun, and is back since: an earlier attempt wrote over it.
            (Reverted::Already, Some(stood)) => {
                self.wrote(change, stood.clone());
                self.conflict(change, stood.clone());
            }
            (Reverted::Conflict { now, overwritten }, _) => {
                if overwritten {
                    self.wrote(change, now.clone());
                }
                self.conflict(change, now);
            }
        }
    }

    fn wrote(&mut self, change: &Change, over: Option<Vec<u8>>) {
        self.written.push(self.recorder.change(&change.key, over, change.before.clone()));
    }

    fn conflict(&mut self, change: &Change, now: Option<Vec<u8>>) {
        let left = &change.after;
        self.wanted.push(self.recorder.change(&change.key, left.clone(), change.before.clone()));
        self.found.push(self.recorder.change(&change.key, left.clone(), now));
    }

    pub(super) fn sections(self) -> Vec<Section<About>> {
        let parts =
            [(Holds::Written, self.written), (Holds::Wanted, self.wanted), (Holds::Found, self.found)];
        let about = |holds| About { holds, plan: None, ..self.about.clone() };
        parts.into_iter().map(|(holds, changes)| Section { description: about(holds), changes }).collect()
    }
}
