//! Deletes what nothing needs any more, and nothing else.
//!
//! A prune has three steps. [`plan`] ends the backups whose time is up, makes sure that nothing is hidden or unreadable, and
//! lists shards. [`sweep`] looks at the objects of a shard: what nothing needs is condemned, and deleted when it has been
//! for long enough; [`crate::margins`] says why that is safe whatever runs at the same time. [`finish`] adds up.
//!
//! What makes an object go away for good is one comparison: its row says that it was condemned at T0, and manifests that
//! were listed at T0 + [`crate::margins::CONDEMNED_FOR`] or later name it in none. Every other write here (a row more, a
//! row less) only makes it wait longer. So repeats, crashes and a second prune at the same time do no harm.

mod abandon;
mod changes;
mod condemned;
mod end;
pub mod events;
mod finish;
mod judge;
mod keeping;
mod locks;
mod objects;
mod plan;
mod reach;
mod shards;
mod sweep;
mod undos;

pub use abandon::abandon;
pub(crate) use condemned::rescue;
pub use events::{
    AbandonPrune, FinishPrune, PlanPrune, PruneEvent, PruneInput, PrunePlanned, SweepAnswer, SweepEvent,
};
pub use finish::finish;
pub use plan::plan;
pub use sweep::sweep;

use crate::handler;
use crate::services::{Services, Step};
use serde_json::Value;

/// One step of a prune.
///
/// # Errors
/// What the step gives.
#[must_use]
pub fn prune<'a>(services: &'a Services, event: &'a PruneEvent) -> Step<'a, Value> {
    Box::pin(async move {
        match event {
            PruneEvent::Plan(event) => handler::encode(&plan(services, event).await?),
            PruneEvent::Sweep(event) => handler::encode(&sweep(services, event).await?),
            PruneEvent::Finish(event) => handler::encode(&finish(services, event).await?),
            PruneEvent::Abandon(event) => handler::encode(&abandon(services, event).await?),
        }
    })
}
