//! Marks what nothing keeps, and takes that back where something does again.

use super::rules::Rules;
use super::{as_backup, restorable};
use crate::margins::DELETE_GRACE;
use crate::services::Services;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use holdfast_common::jobs::{DeletedBy, Deletion, Job, JobStore};
use holdfast_retention::{Backup, Verdict, decide};
use holdfast_vault::error::Result;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Rows that are changed side by side.
const AT_ONCE: usize = 8;

/// What marking did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marked {
    /// Backups that were asked for to be deleted now.
    pub asked: Vec<String>,
    /// Backups that were to go, and stay after all.
    pub taken_back: Vec<String>,
    /// How many stay.
    pub kept: u64,
}

/// Asks for every backup of a resource to be deleted that nothing keeps, and takes that back where something keeps it
/// again. What was asked for by hand stays asked for. May be repeated, and run twice at the same time.
///
/// # Errors
/// As [`Rules::of_resource`]; some of the backups may be marked then.
pub async fn mark(services: &Services, resource: &str) -> Result<Marked> {
    mark_at(&services.jobs, services.clock.now(), resource).await
}

/// As [`mark`], at a time.
///
/// # Errors
/// As [`mark`].
pub async fn mark_at(jobs: &JobStore, now: Timestamp, resource: &str) -> Result<Marked> {
    let rules = Rules::of_resource(jobs, resource).await?;
    let found = restorable(jobs, resource).await?;
    let backups: Vec<Backup> = found.iter().map(as_backup).collect();
    let verdicts = decide(&rules.retention, &rules.zone, now, &backups);
    let mut marked =
        Marked { kept: verdicts.iter().filter(|verdict| verdict.keep).count() as u64, ..Marked::default() };
    let work: Vec<_> = found
        .iter()
        .zip(backups)
        .zip(verdicts)
        .filter(|((job, _), verdict)| is_news(job, verdict))
        .map(|((_, backup), verdict)| settle(jobs, now, backup, verdict).boxed())
        .collect();
    let settled: Vec<Option<(String, bool)>> = stream::iter(work).buffered(AT_ONCE).try_collect().await?;
    for (id, kept) in settled.into_iter().flatten() {
        if kept { marked.taken_back.push(id) } else { marked.asked.push(id) }
    }
    Ok(marked)
}

/// Whether a verdict is not what the backup's row says already.
fn is_news(job: &Job, verdict: &Verdict) -> bool {
    match &job.deletion {
        None => !verdict.keep,
        Some(deletion) => deletion.by == DeletedBy::Retention && verdict.keep,
    }
}

/// Writes a verdict into a backup's row, if that is still as it was when it was decided on. Gives whose row was changed,
/// and whether it stays.
async fn settle(
    jobs: &JobStore,
    now: Timestamp,
    decided: Backup,
    verdict: Verdict,
) -> Result<Option<(String, bool)>> {
    let why: Vec<String> = verdict.why.iter().map(ToString::to_string).collect();
    let deletion = Deletion {
        asked_at: now,
        due_at: now.checked_add(DELETE_GRACE).unwrap_or(Timestamp::MAX),
        by: DeletedBy::Retention,
        reason: why.join("; "),
        deleted_at: None,
    };
    let (_, changed) =
        jobs.change_job(&verdict.id, |job| Ok(note(job, &decided, &verdict, &deletion))).await?;
    if changed {
        tracing::info!(
            backup = verdict.id,
            keep = verdict.keep,
            why = deletion.reason,
            "settled by retention"
        );
    }
    Ok(changed.then_some((verdict.id, verdict.keep)))
}

/// Notes a verdict in a row. What came since it was decided wins: the next prune decides anew.
fn note(job: &mut Job, decided: &Backup, verdict: &Verdict, deletion: &Deletion) -> bool {
    let holds = job.is_restorable() && as_backup(job) == *decided && is_news(job, verdict);
    if holds {
        job.deletion = (!verdict.keep).then(|| deletion.clone());
    }
    holds
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_common::jobs::{Hold, JobKind, Status, Verified};
    use serde_json::Value;

    const THEN: Timestamp = Timestamp::constant(1_793_491_200, 0);

    fn backup() -> Job {
        let mut job = Job::new("B", JobKind::Backup, "orders", THEN, Value::Null);
        (job.status, job.completed_at) = (Status::Completed, Some(THEN));
        job
    }

    fn deletion(by: DeletedBy) -> Deletion {
        Deletion { asked_at: THEN, due_at: THEN, by, reason: "no rule keeps it".to_owned(), deleted_at: None }
    }

    fn verdict(keep: bool) -> Verdict {
        Verdict { id: "B".to_owned(), keep, why: Vec::new(), until: None }
    }

    /// What becomes of the deletion in a row that was decided on as `before` and is `now` by now; none where it is left.
    #[expect(clippy::option_option, reason = "left alone is something else than taken back")]
    fn noted(before: &Job, mut now: Job, keep: bool) -> Option<Option<Deletion>> {
        let changed = note(&mut now, &as_backup(before), &verdict(keep), &deletion(DeletedBy::Retention));
        changed.then_some(now.deletion)
    }

    #[test]
    fn what_goes_is_asked_for_once_and_what_stays_is_taken_back() {
        let going = Job { deletion: Some(deletion(DeletedBy::Retention)), ..backup() };
        assert_eq!(noted(&backup(), backup(), false), Some(Some(deletion(DeletedBy::Retention))));
        assert_eq!(noted(&going, going.clone(), false), None);
        assert_eq!(noted(&going, going.clone(), true), Some(None));
        assert_eq!(noted(&backup(), backup(), true), None);
    }

    #[test]
    fn what_was_asked_for_by_hand_or_is_gone_is_left() {
        let by_hand = Job { deletion: Some(deletion(DeletedBy::Operator)), ..backup() };
        let gone = Deletion { deleted_at: Some(THEN), ..deletion(DeletedBy::Retention) };
        let gone = Job { deletion: Some(gone), ..backup() };
        for keep in [false, true] {
            assert_eq!(noted(&by_hand, by_hand.clone(), keep), None);
            assert_eq!(noted(&backup(), by_hand.clone(), keep), None);
            assert_eq!(noted(&gone, gone.clone(), keep), None);
            assert_eq!(noted(&backup(), gone.clone(), keep), None);
        }
    }

    #[test]
    fn what_came_since_the_decision_wins() {
        let hold = Some(Hold { reason: "audit".to_owned(), at: THEN });
        let level = "full".to_owned();
        let verified = Some(Verified { level, at: THEN, valid: false, errors: 1, warnings: 0 });
        for now in [
            Job { hold, ..backup() },
            Job { expires_at: Some(THEN), ..backup() },
            Job { verified, ..backup() },
            Job { status: Status::Running, ..backup() },
        ] {
            assert_eq!(noted(&backup(), now.clone(), false), None, "{now:?}");
        }
    }
}
