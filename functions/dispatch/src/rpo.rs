//! How much would be lost now: the RPO that each resource achieves.

use crate::Dispatch;
use holdfast_vault::error::Result;
use holdfast_workflow::capture::log;
use holdfast_workflow::config::Resource;
use holdfast_workflow::metrics::{count, seconds};
use jiff::Timestamp;

/// Gives the figures of a resource. True if it misses its RPO.
pub(super) async fn tell(
    dispatch: &Dispatch,
    now: Timestamp,
    resource: &Resource,
    added_at: Option<Timestamp>,
) -> Result<bool> {
    let restorable = log::noted_until(&dispatch.jobs, &resource.name).await?;
    let tier = resource.policy.tier;
    // What was never backed up is as old as its protection; where nobody knows when that began, too old.
    let since = restorable.or(added_at);
    let missed = since.is_none_or(|since| tier.rpo_missed(now.duration_since(since)));
    let mut figures = vec![count("RpoMissed", u64::from(missed))];
    figures.extend(restorable.map(|until| seconds("RpoSeconds", now.duration_since(until))));
    dispatch.metrics.put(&resource.name, tier.as_str(), &figures);
    if missed {
        tracing::warn!(resource = resource.name, tier = tier.as_str(), "the RPO is missed");
    }
    Ok(missed)
}
