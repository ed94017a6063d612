//! Proves an undo: reads its records again and compares them with what they should be.

use super::apply::section;
use super::piece::{About, Holds, WindowPiece, open, outcome_key, proof_key, same};
use super::{UndoCounts, live, running};
use crate::events::UndoAnswer;
use crate::history::sealed::Unsealed;
use crate::plan::value;
use crate::services::Services;
use crate::staging;
use holdfast_common::jobs::{JobChange, Status, Totals};
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::storage::{ByteRange, list_all};
use std::collections::{HashMap, HashSet};

/// Compares the next piece.
pub(super) async fn prove(services: &Services, id: &str) -> Result<UndoAnswer> {
    let (job, mut detail, plan) = running(services, id).await?;
    if detail.applied < plan.pieces {
        return Err(Error::new(Code::Internal, format!("undo {id} has pieces that are not done"))
            .object(id)
            .hint("start it again"));
    }
    if detail.compared < plan.pieces {
        let number = detail.compared;
        let piece = WindowPiece::read(services, id, &plan.name, number).await?;
        let key = outcome_key(id, number);
        let outcome = open(services, &key, (id, number)).await?.ok_or_else(|| {
            Error::new(Code::StagingDamaged, format!("staged object {key} is missing")).object(key)
        })?;
        let now = live(services, &job.resource).await?.read(&piece.about.stream, &piece.keys()).await?;
        let counts = compare(&piece, &outcome, &now);
        let bytes = serde_json::to_vec(&counts)
            .map_err(|e| Error::new(Code::Internal, format!("counts have no JSON form: {e}")))?;
        services.staging.put_if_absent(&proof_key(id, number), bytes.into()).await?;
        detail.compared += 1;
        let change = JobChange { detail: Some(value(&detail)?), ..JobChange::default() };
        services.jobs.update_job(id, change).await?;
    }
    Ok(UndoAnswer { job: id.to_owned(), more: detail.compared < plan.pieces })
}

/// What an outcome says of its piece, without a proof.
pub(super) fn tally(piece: &WindowPiece, outcome: &Unsealed<About>) -> UndoCounts {
    let keys = |holds| section(outcome, holds).iter().map(|change| change.key.as_slice()).collect();
    let (written, found): (HashSet<&[u8]>, HashSet<&[u8]>) = (keys(Holds::Written), keys(Holds::Found));
    let (in_window, undone) = (piece.changes.len() as u64, written.len() as u64);
    let overwritten = written.intersection(&found).count() as u64;
    let conflicts = found.len() as u64;
    let already = in_window.saturating_sub(undone + conflicts - overwritten);
    UndoCounts { in_window, undone, already, conflicts, overwritten, ..UndoCounts::default() }
}

fn compare(piece: &WindowPiece, outcome: &Unsealed<About>, now: &[Option<Vec<u8>>]) -> UndoCounts {
    let written: HashSet<&[u8]> =
        section(outcome, Holds::Written).iter().map(|change| change.key.as_slice()).collect();
    let kept: HashMap<&[u8], Option<&[u8]>> = section(outcome, Holds::Found)
        .iter()
        .filter(|change| !written.contains(change.key.as_slice()))
        .map(|change| (change.key.as_slice(), change.after.as_deref()))
        .collect();
    let (encoding, mut counts) = (piece.encoding(), tally(piece, outcome));
    for (change, now) in piece.changes.iter().zip(now) {
        let is = |value: Option<&[u8]>| same(encoding, now.as_deref(), value);
        let kept = kept.get(change.key.as_slice());
        let should_be = kept.copied().unwrap_or(change.before.as_deref());
        if is(should_be) {
            counts.proved += 1;
        } else if kept.is_none() && is(change.after.as_deref()) {
            counts.not_proved += 1;
        } else {
            counts.changed_since += 1;
        }
    }
    counts
}

/// Adds the proofs up and completes the undo.
pub(super) async fn finish(services: &Services, id: &str) -> Result<UndoAnswer> {
    let job = services.jobs.job(id).await?;
    if job.status != Status::Completed {
        complete(services, id).await?;
    }
    staging::clear(services, id).await?;
    services.jobs.forget_work(id).await?;
    Ok(UndoAnswer { job: id.to_owned(), more: false })
}

async fn complete(services: &Services, id: &str) -> Result<()> {
    let (_, mut detail, plan) = running(services, id).await?;
    let proofs = list_all(services.staging.as_ref(), &format!("{id}/proof/")).await?;
    if proofs.len() != plan.pieces as usize {
        return Err(Error::new(Code::Internal, format!("undo {id} is not proved whole")).object(id));
    }
    let mut counts = UndoCounts::default();
    for proof in proofs {
        let bytes = services.staging.get(&proof.key, ByteRange::All).await?;
        counts += serde_json::from_slice::<UndoCounts>(&bytes).map_err(|e| {
            Error::new(Code::StagingDamaged, format!("staged object {} is unreadable: {e}", proof.key))
        })?;
    }
    detail.counts = counts;
    let totals = Totals { records: counts.undone, ..Totals::default() };
    let change = JobChange { detail: Some(value(&detail)?), totals: Some(totals), ..JobChange::default() };
    if counts.not_proved > 0 {
        services.jobs.update_job(id, change).await?;
        let message =
            format!("{} records are again, or still, what undo {id} was to take back", counts.not_proved);
        return Err(Error::new(Code::TargetConflict, message)
            .object(id)
            .hint("stop who writes them, then undo the same window again"));
    }
    services.jobs.transition(id, &[Status::Running], Status::Completed, change).await?;
    Ok(())
}
