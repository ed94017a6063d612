//! Ends an undo that did not come to its end: what it wrote is recorded all the same.

use super::apply::{Outcome, Stood, begun};
use super::piece::{About, WindowPiece, open, outcome_key, same, stage};
use super::plan::staged_plan;
use super::{UndoCounts, UndoDetail, UndoPlan, live, prove, record};
use crate::history::sealed::Section;
use crate::plan::{detail, value};
use crate::services::Services;
use holdfast_common::jobs::{Job, JobChange, Totals};
use holdfast_connectors::Reverted;
use holdfast_vault::error::Result;
use holdfast_vault::model::Warning;

/// Records what an undo wrote before it failed, was cancelled or was killed, and counts it. A piece that was begun and
/// not ended is read from the resource. What keeps it from that is a warning: failing must not fail.
///
/// # Errors
/// What job state gives.
pub(crate) async fn abandon(services: &Services, job: &Job) -> Result<()> {
    let mut warnings = Vec::new();
    let mut detail: UndoDetail = detail(job)?;
    match gather(services, job).await {
        // Nothing was begun, or it was cleared already.
        Ok(None) => return Ok(()),
        Ok(Some(counts)) => {
            // After a proof there is nothing to be added to it.
            if detail.counts.not_proved == 0 {
                detail.counts = counts;
            }
        }
        Err(error) => {
            let message = format!("what the undo wrote could not be recorded whole: {}", error.message);
            warnings.push(Warning::new("NotRecorded", message));
        }
    }
    let totals = Totals { records: detail.counts.undone, ..Totals::default() };
    let change =
        JobChange { detail: Some(value(&detail)?), totals: Some(totals), warnings, ..JobChange::default() };
    services.jobs.update_job(&job.id, change).await?;
    Ok(())
}

async fn gather(services: &Services, job: &Job) -> Result<Option<UndoCounts>> {
    let Some(plan) = staged_plan(services, &job.id).await? else { return Ok(None) };
    let mut counts = UndoCounts::default();
    for number in 0..plan.pieces {
        if let Some(piece) = end_piece(services, job, &plan, number).await? {
            counts += piece;
        }
    }
    counts.in_window = plan.window.total();
    Ok(Some(counts))
}

async fn end_piece(
    services: &Services,
    job: &Job,
    plan: &UndoPlan,
    number: u32,
) -> Result<Option<UndoCounts>> {
    let (id, key) = (&job.id, outcome_key(&job.id, number));
    let outcome = open(services, &key, (id, number)).await?;
    let stood = begun(services, id, number).await?;
    if outcome.is_none() && stood.is_none() {
        return Ok(None);
    }
    let piece = WindowPiece::read(services, id, &plan.name, number).await?;
    let (outcome, left) = match (outcome, stood) {
        (Some(outcome), _) => (outcome, 0),
        (None, stood) => {
            let (sections, left) = as_found(services, job, &piece, &stood.unwrap_or_default()).await?;
            (stage(services, &key, (id, number), sections).await?, left)
        }
    };
    record::keep(services, id, number, &outcome).await?;
    let counts = prove::tally(&piece, &outcome);
    Ok(Some(UndoCounts { already: counts.already.saturating_sub(left), ..counts }))
}

/// What became of a piece that was begun, as its records tell: what is back now and was not is taken to be written.
/// Also how many records nothing became of.
async fn as_found(
    services: &Services,
    job: &Job,
    piece: &WindowPiece,
    stood: &Stood,
) -> Result<(Vec<Section<About>>, u64)> {
    let now = live(services, &job.resource).await?.read(&piece.about.stream, &piece.keys()).await?;
    let (encoding, mut outcome, mut left) = (piece.encoding(), Outcome::new(services, piece)?, 0);
    for (change, now) in piece.changes.iter().zip(now) {
        let is = |value: Option<&[u8]>| same(encoding, now.as_deref(), value);
        if is(change.before.as_deref()) {
            outcome.note(change, Reverted::Already, stood.get(&change.key));
        } else if is(change.after.as_deref()) {
            left += 1;
        } else {
            outcome.note(change, Reverted::Conflict { now, overwritten: false }, None);
        }
    }
    Ok((outcome.sections(), left))
}
