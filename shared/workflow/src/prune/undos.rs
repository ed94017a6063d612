//! The records of undos, which are kept for a time.

use super::judge::{Judge, Rows, Seen};
use super::sweep::Part;
use crate::margins::UNDO_RECORDS;
use crate::services::Services;
use holdfast_common::jobs::Condemned;
use holdfast_vault::error::Result;
use jiff::Timestamp;
use ulid::Ulid;

const PREFIX: &str = "undos/";

/// Sweeps the records of undos that were asked for long ago. They are few.
///
/// # Errors
/// What storage and state give.
pub(super) async fn sweep(services: &Services, dry_run: bool) -> Result<Part> {
    let now = services.clock.now();
    let mut judge = Judge::new(services, dry_run, now);
    let mut rows = Rows::new(services, PREFIX, None)?;
    let mut after: Option<String> = None;
    loop {
        let listing = services.vault.storage().list(PREFIX, after.as_deref()).await?;
        let last = listing.objects.last().map(|object| object.key.clone());
        let more = listing.more && last.is_some();
        let rows: Vec<Condemned> = rows.up_to(last.as_deref().filter(|_| more)).await?;
        let seen = listing.objects.into_iter().filter_map(|object| {
            let needed = now < asked_at(&object.key)?.checked_add(UNDO_RECORDS).ok()?;
            Some(Seen { object, needed })
        });
        judge.page(seen.collect(), rows).await?;
        if !more {
            return Ok(Part { after: None, done: true, figures: judge.figures });
        }
        after = last;
    }
}

/// When an undo was asked for: its id says so.
fn asked_at(key: &str) -> Option<Timestamp> {
    let (id, _) = key.strip_prefix(PREFIX)?.split_once('/')?;
    let millis = Ulid::from_string(id).ok()?.timestamp_ms();
    Timestamp::from_millisecond(i64::try_from(millis).ok()?).ok()
}
