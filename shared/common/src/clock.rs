//! Time and names come from the caller, so that a test decides both.

use jiff::{SignedDuration, Timestamp};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use ulid::Ulid;

/// Tells the time.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The time now, in whole milliseconds.
    fn now(&self) -> Timestamp;
}

/// A time cut down to whole milliseconds: what job state keeps.
#[must_use]
pub fn whole_millis(time: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time)
}

/// The machine's clock.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        whole_millis(Timestamp::now())
    }
}

/// A clock that stands still until it is set.
#[derive(Debug)]
pub struct ManualClock(Mutex<Timestamp>);

impl ManualClock {
    /// A clock that stands at this time.
    #[must_use]
    pub fn new(time: Timestamp) -> Self {
        Self(Mutex::new(whole_millis(time)))
    }

    /// Sets the clock.
    pub fn set(&self, time: Timestamp) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = whole_millis(time);
    }

    /// Moves the clock; where that leaves the range of time it stays.
    pub fn advance(&self, by: SignedDuration) {
        let mut time = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *time = whole_millis(time.checked_add(by).unwrap_or(*time));
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives out ids: ULIDs, which sort by the time they were given. Two of the same millisecond have no order.
pub trait Ids: Send + Sync + fmt::Debug {
    /// An id that nobody has.
    fn next(&self) -> String;
}

/// Ids of a clock's time and the operating system's randomness.
#[derive(Debug, Clone)]
pub struct RandomIds(Arc<dyn Clock>);

impl RandomIds {
    /// Ids of this clock's time.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self(clock)
    }
}

impl Ids for RandomIds {
    fn next(&self) -> String {
        let mut random = [0_u8; 16];
        match getrandom::fill(&mut random) {
            Ok(()) => ulid(&*self.0, u128::from_be_bytes(random)),
            // Without an entropy source the library's own generator, differently seeded, is still unique.
            Err(_) => Ulid::generate().to_string(),
        }
    }
}

/// Ids that a seed decides: the same in every run of a test.
#[derive(Debug)]
pub struct SeededIds {
    clock: Arc<dyn Clock>,
    state: Mutex<u64>,
}

impl SeededIds {
    /// Ids of this clock's time and this seed.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, seed: u64) -> Self {
        Self { clock, state: Mutex::new(seed) }
    }
}

impl Ids for SeededIds {
    fn next(&self) -> String {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let random = (u128::from(split_mix(&mut state)) << 64) | u128::from(split_mix(&mut state));
        ulid(&*self.clock, random)
    }
}

fn ulid(clock: &dyn Clock, random: u128) -> String {
    let millis = u64::try_from(clock.now().as_millisecond()).unwrap_or(0);
    Ulid::from_parts(millis, random).to_string()
}

/// One step of `SplitMix64`.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeded_ids_repeat_and_sort_by_time() {
        let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
        let ids = SeededIds::new(clock.clone(), 7);
        let again = SeededIds::new(clock.clone(), 7);
        let first = ids.next();
        assert_eq!(first, again.next());
        assert_eq!(first.len(), 26);
        clock.advance(SignedDuration::from_millis(1));
        assert!(ids.next() > first);
        assert_ne!(RandomIds::new(clock.clone()).next(), RandomIds::new(clock).next());
    }

    #[test]
    fn clocks_tell_whole_milliseconds() {
        let clock = ManualClock::new("2026-11-01T00:00:00.123456789Z".parse().unwrap());
        assert_eq!(clock.now().to_string(), "2026-11-01T00:00:00.123Z");
        assert_eq!(SystemClock.now().subsec_nanosecond() % 1_000_000, 0);
    }
}
