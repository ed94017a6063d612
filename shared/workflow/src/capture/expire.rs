//! Captured changes that are too old: told as a gap before they go.

use super::{batch, log, rows};
use crate::config::Policy;
use crate::margins::{CAPTURE_DAYS, CHANGES_BEFORE};
use crate::services::Services;
use holdfast_common::jobs::CaptureRow;
use holdfast_vault::error::{Code, Result};
use holdfast_vault::format::changes::Gap;
use holdfast_vault::read::changes::list;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

const DAY_MS: i64 = 86_400_000;
const REASON: &str = "changes of that time have expired";

/// Asks the capture function to tell that changes before a time are no longer kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpireEvent {
    /// The resource.
    pub expire: String,
    /// Before then. No later than its policy allows.
    pub before: Timestamp,
}

/// What telling so answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpireAnswer {
    /// The resource.
    pub resource: String,
    /// Whether that was new.
    pub told: bool,
}

/// Records that the changes of a resource before a time are missing, so that nobody relies on them: `prune` deletes them
/// only after this. May be repeated.
///
/// # Errors
/// What state and storage give.
pub async fn expire(services: &Services, event: &ExpireEvent) -> Result<ExpireAnswer> {
    let resource = event.expire.as_str();
    let answer = |told| ExpireAnswer { resource: resource.to_owned(), told };
    let Some(row) = rows::known(services, resource).await? else { return Ok(answer(false)) };
    let Some(limit) = limit(services, resource).await? else { return Ok(answer(false)) };
    let before = event.before.as_millisecond().min(limit);
    if before <= told(&row) {
        return Ok(answer(false));
    }
    batch::gap(services, resource, Gap { from: row.since, to: before, reason: REASON.to_owned() }).await?;
    Ok(answer(true))
}

/// What there is to expire of a resource; `None` where nothing is.
///
/// # Errors
/// What state and storage give.
pub(crate) async fn to_expire(services: &Services, resource: &str) -> Result<Option<ExpireEvent>> {
    let Some(row) = services.jobs.capture(resource).await? else { return Ok(None) };
    let Some(limit) = limit(services, resource).await? else { return Ok(None) };
    let told = told(&row);
    if limit <= told {
        return Ok(None);
    }
    let old = list(&services.vault, resource, told, limit - 1).await?;
    if old.iter().all(|(name, _)| name.to >= limit) {
        return Ok(None);
    }
    let before = Timestamp::from_millisecond(limit).unwrap_or(Timestamp::MIN);
    Ok(Some(ExpireEvent { expire: resource.to_owned(), before }))
}

/// The time up to which the changes of a resource are told as missing from their beginning on, in milliseconds since 1970.
///
/// # Errors
/// What state gives.
pub(crate) async fn expired_before(services: &Services, resource: &str) -> Result<i64> {
    Ok(services.jobs.capture(resource).await?.map_or(i64::MIN, |row| told(&row)))
}

/// Up to when the changes of a row are told as missing from their beginning on. Before the beginning nothing is relied on:
/// the first record of a stream may stand there, and a gap where its object is gone.
pub(super) fn told(row: &CaptureRow) -> i64 {
    let from_the_beginning = row.gaps.iter().filter(|gap| gap.from <= row.since);
    from_the_beginning.map(|gap| gap.to).fold(row.since, i64::max)
}

/// Before when changes may go: older than the policy keeps them, and than the newest backup. Whole days, so that this moves
/// once a day.
async fn limit(services: &Services, resource: &str) -> Result<Option<i64>> {
    let Some(backup) = log::newest_start(&services.jobs, resource).await? else { return Ok(None) };
    let days = match services.jobs.resource(resource).await {
        Ok(document) => {
            let policy = document.get("policy").cloned().unwrap_or_default();
            serde_json::from_value::<Policy>(policy).unwrap_or_default().capture_days
        }
        Err(error) if error.code == Code::ResourceUnknown => None,
        Err(error) => return Err(error),
    };
    let age = i64::from(days.unwrap_or(CAPTURE_DAYS)) * DAY_MS;
    let old = services.clock.now().as_millisecond().saturating_sub(age);
    let needed = backup.checked_sub(CHANGES_BEFORE).unwrap_or(Timestamp::MIN);
    let limit = old.min(needed.as_millisecond());
    Ok(Some(limit - limit.rem_euclid(DAY_MS)))
}

#[cfg(test)]
mod tests {
    use super::{Gap, told};
    use holdfast_common::jobs::CaptureRow;

    #[test]
    fn what_is_told_as_missing_ends_no_earlier_than_the_capture_began() {
        let gap = |from, to| Gap { from, to, reason: String::new() };
        for (gaps, until) in [
            (vec![], 2000),
            (vec![gap(999, 1000)], 2000),
            (vec![gap(999, 1000), gap(2000, 5000)], 5000),
            (vec![gap(2001, 5000)], 2000),
        ] {
            let row = CaptureRow { since: 2000, gaps: gaps.clone(), ..CaptureRow::default() };
            assert_eq!(told(&row), until, "{gaps:?}");
        }
    }
}
