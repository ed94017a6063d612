//! Keeps one worker to its share of a policy's capacity units.

use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use std::num::NonZeroU32;
use std::time::Duration;

/// What a call costs is known only after it, so units are paid late: a worker that spent too much waits before it
/// goes on. Without a limit nothing waits.
#[derive(Debug)]
pub(crate) struct Pace<C: Clock = DefaultClock> {
    limiter: Option<RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<C::Instant>>>,
    burst: u32,
    clock: C,
}

impl Pace {
    /// A share of `units_per_second` for one of `workers`.
    pub(crate) fn new(units_per_second: Option<u32>, workers: u32) -> Self {
        Self::with_clock(units_per_second, workers, DefaultClock::default())
    }

    /// Pays for a call that has been made, and waits until its units are free.
    pub(crate) async fn pay(&self, units: f64) {
        for wait in self.dues(units) {
            tokio::time::sleep(wait).await;
        }
    }
}

impl<C: Clock + Clone> Pace<C> {
    fn with_clock(units_per_second: Option<u32>, workers: u32, clock: C) -> Self {
        let workers = workers.max(1);
        let quota = units_per_second.filter(|units| *units > 0).and_then(|units| {
            // One cell is one unit; a worker's share may be less than one a second.
            let period = Duration::from_secs(1) * workers / units;
            let burst = NonZeroU32::new(units / workers).unwrap_or(NonZeroU32::MIN);
            Quota::with_period(period).map(|quota| quota.allow_burst(burst))
        });
        let burst = quota.map_or(1, |quota| quota.burst_size().get());
        let limiter = quota.map(|quota| RateLimiter::direct_with_clock(quota, clock.clone()));
        Self { limiter, burst, clock }
    }

    /// How long to wait, in bites that the limiter takes. Each bite is taken when its wait is over.
    fn dues(&self, units: f64) -> impl Iterator<Item = Duration> + '_ {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a call costs a few thousand units"
        )]
        let mut left = if self.limiter.is_some() { units.ceil().max(0.0) as u32 } else { 0 };
        std::iter::from_fn(move || {
            let limiter = self.limiter.as_ref()?;
            while let Some(bite) = NonZeroU32::new(left.min(self.burst)) {
                match limiter.check_n(bite) {
                    Ok(Ok(())) => left -= bite.get(),
                    Ok(Err(not_until)) => return Some(not_until.wait_time_from(self.clock.now())),
                    // A bite is never larger than the burst.
                    Err(_) => return None,
                }
            }
            None
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Pace;
    use governor::clock::FakeRelativeClock;
    use std::time::Duration;

    fn spent(units_per_second: Option<u32>, workers: u32, costs: &[f64]) -> Duration {
        let clock = FakeRelativeClock::default();
        let pace = Pace::with_clock(units_per_second, workers, clock.clone());
        let mut total = Duration::ZERO;
        for cost in costs {
            for wait in pace.dues(*cost) {
                clock.advance(wait);
                total += wait;
            }
        }
        total
    }

    #[test]
    fn a_worker_keeps_to_its_share() {
        let near = |spent: Duration, millis: u64| {
            let off = spent.abs_diff(Duration::from_millis(millis));
            assert!(off <= Duration::from_millis(10), "{spent:?}");
        };
        // The first second's units are there at once.
        near(spent(Some(100), 1, &[100.0; 11]), 10_000);
        near(spent(Some(100), 4, &[25.0; 11]), 10_000);
        near(spent(Some(1), 4, &[1.0, 1.0, 1.0]), 8_000);
        near(spent(Some(10), 1, &[128.0, 128.0]), 24_600);
        assert_eq!(spent(None, 1, &[1e6]), Duration::ZERO);
        assert_eq!(spent(Some(100), 1, &[0.5; 100]), Duration::ZERO);
    }
}
