//! Runs a history for each of many seeds, side by side, and says which failed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Some seeds in a row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seeds {
    pub(crate) first: u64,
    pub(crate) count: u64,
}

/// Says of which seed a failure is.
struct Told(u64);

impl Drop for Told {
    #[allow(clippy::print_stderr)]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the history of seed {} failed; HOLDFAST_SEED={} repeats it alone", self.0, self.0);
        }
    }
}

pub(crate) fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

impl Seeds {
    /// The one seed that `HOLDFAST_SEED` names; else as many as the variable says, from `HOLDFAST_FIRST_SEED` on.
    pub(crate) fn asked(variable: &str, by_default: u64) -> Self {
        match number("HOLDFAST_SEED") {
            Some(seed) => Self { first: seed, count: 1 },
            None => Self {
                first: number("HOLDFAST_FIRST_SEED").unwrap_or(0),
                count: number(variable).unwrap_or(by_default),
            },
        }
    }

    /// Runs a history for each seed, as many at a time as there are processors, and gives the seeds of those that failed.
    pub(crate) fn failed(self, history: impl AsyncFn(u64) + Sync) -> Vec<u64> {
        let (next, failed) = (AtomicU64::new(self.first), Mutex::new(Vec::new()));
        let work = || {
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= self.first + self.count {
                    break;
                }
                let run = AssertUnwindSafe(|| {
                    let _told = Told(seed);
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                    runtime.block_on(history(seed));
                });
                if catch_unwind(run).is_err() {
                    failed.lock().unwrap().push(seed);
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
                scope.spawn(work);
            }
        });
        let mut failed = failed.into_inner().unwrap();
        failed.sort_unstable();
        failed
    }

    /// Runs a history for each seed; all of them must hold.
    pub(crate) fn hold(self, history: impl AsyncFn(u64) + Sync) {
        let failed = self.failed(history);
        assert!(failed.is_empty(), "the histories of these seeds failed: {failed:?}");
    }
}
