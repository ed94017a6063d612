//! Locks of objects that are needed for longer than they are locked.

use super::reach::OPEN;
use crate::margins::{LOCK_LONGEST, LOCK_LOOKS, LOCK_OPEN, LOCK_RENEWED};
use crate::services::Services;
use holdfast_vault::error::Result;
use holdfast_vault::format::header::Id;
use jiff::Timestamp;

/// Whether the lock of an object is looked at today: on one day of [`LOCK_LOOKS`], by its id.
pub(super) fn is_due(id: &Id, now: Timestamp) -> bool {
    let today = u8::try_from((now.as_second() / 86_400).rem_euclid(i64::from(LOCK_LOOKS))).unwrap_or(0);
    id.0[15] % LOCK_LOOKS == today
}

/// Until when an object that is kept until a day is to be locked, where its lock ends at `ends`; `None` where that does.
fn wanted(kept: u32, ends: i64, now: Timestamp) -> Option<i64> {
    let now = now.as_second();
    if ends > now + LOCK_RENEWED.as_secs() {
        return None;
    }
    let until = match kept {
        OPEN => now + LOCK_OPEN.as_secs(),
        day => (i64::from(day) * 86_400).min(now + LOCK_LONGEST.as_secs()),
    };
    (until > ends && until > now).then_some(until)
}

/// Extends the lock of an object that ends soon, if it is kept for longer. Says whether it did.
///
/// # Errors
/// `Storage*`.
pub(super) async fn extend(services: &Services, key: &str, kept: u32, now: Timestamp) -> Result<bool> {
    let storage = services.vault.storage();
    let Some(ends) = storage.locked_until(key).await? else { return Ok(false) };
    let Some(until) = wanted(kept, ends, now) else { return Ok(false) };
    storage.keep_until(key, until).await?;
    Ok(true)
}

/// Whether the store itself keeps an object from being deleted now.
///
/// # Errors
/// `Storage*`.
pub(super) async fn is_locked(services: &Services, key: &str) -> Result<bool> {
    let until = services.vault.storage().locked_until(key).await?;
    Ok(until.is_some_and(|until| until > services.clock.now().as_second()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    #[test]
    fn a_lock_is_extended_when_it_ends_soon_and_never_shortened() {
        let now = Timestamp::from_second(20_000 * DAY).unwrap();
        let day = |days: i64| (20_000 + days) * DAY;
        assert_eq!(wanted(20_100, day(31), now), None, "it ends late enough");
        assert_eq!(wanted(20_100, day(30), now), Some(day(100)));
        assert_eq!(wanted(20_010, day(20), now), None, "it lasts longer than the backup");
        assert_eq!(wanted(21_000, day(-5), now), Some(day(365)));
        assert_eq!(wanted(OPEN, day(3), now), Some(day(90)));
        assert_eq!(wanted(0, day(3), now), None, "nobody says how long it is kept");
        assert_eq!(wanted(20_000, day(-1), now), None, "its time is up");
        assert_eq!(wanted(20_010, day(10), now), None, "it lasts as long already");
    }

    #[test]
    fn every_lock_is_looked_at_once_a_week() {
        for last in 0..=255_u8 {
            let mut id = Id([7; 16]);
            id.0[15] = last;
            let due = |second| is_due(&id, Timestamp::from_second(second).unwrap());
            assert_eq!((0..7).filter(|day| due(day * DAY)).count(), 1);
            assert!((0..7).all(|day| due(day * DAY) == due((day + 1) * DAY - 1)), "a day is a day");
        }
    }
}
