//! The second step, again and again: whether the table is there.

use super::{Kind, Progress};
use crate::aws::{Recovery, RestoreState, Side, State, describe, restore_job};
use holdfast_vault::error::{Code, Error, Result};
use jiff::SignedDuration;

/// A table shows up at once, as being made. One that does not for so long was given up.
const SHOWS_UP: SignedDuration = SignedDuration::from_mins(10);

pub(super) async fn check(recovery: &Recovery, progress: Progress) -> Result<Progress> {
    if let Some(job) = &progress.restore_job {
        match restore_job(recovery, job).await?.state {
            RestoreState::Running => return Ok(progress.again(recovery)),
            RestoreState::Completed => {}
            RestoreState::Failed(why) => {
                let message = format!("AWS Backup did not restore table {}: {why}", progress.table);
                return Err(Error::new(Code::TargetInvalid, message).object(job));
            }
        }
    }
    let Some(table) = describe(&recovery.dynamodb, &progress.table, Side::Target).await? else {
        let age = recovery.clock.now().duration_since(progress.started_at);
        if age < SHOWS_UP {
            return Ok(progress.again(recovery));
        }
        return Err(given_up(&progress, "there is no such table"));
    };
    match &table.state {
        State::Creating => return Ok(progress.again(recovery)),
        State::Active | State::Updating => {}
        State::Deleting => return Err(given_up(&progress, "it is being deleted")),
        State::Other(state) => return Err(given_up(&progress, &format!("it is {state}"))),
    }
    if table.restored.as_ref().is_some_and(|restored| restored.in_progress) {
        return Ok(progress.again(recovery));
    }
    let told = table.restored.as_ref().and_then(|restored| restored.at);
    let restored_to = match progress.kind {
        Kind::Pitr => told.or(progress.restored_to),
        Kind::Backup => progress.restored_to,
    };
    Ok(Progress { restored_to, ..progress }.done())
}

fn given_up(progress: &Progress, why: &str) -> Error {
    Error::new(Code::TargetInvalid, format!("table {} was not restored: {why}", progress.table))
        .object(&progress.table)
        .hint("restore again, under another name if that one is taken")
}
