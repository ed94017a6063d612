//! Work that takes its time: a bar on a terminal, and an end when the operator asks for one.

use crate::options::Global;
use crate::output::{age, size};
use crate::place::Place;
use holdfast_common::jobs::{Job, Progress};
use holdfast_vault::error::{Code, Error, Result};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::SignedDuration;
use std::collections::VecDeque;
use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

/// How often a bar is drawn.
const TICK: Duration = Duration::from_millis(200);
/// Over how long a rate is taken.
const WINDOW: Duration = Duration::from_secs(5);

/// Waits for the end of a job. It shows how far the job is, and cancels it on the first Ctrl-C; on the second the
/// process ends; on a home the next one ends the job.
pub(crate) async fn attend(
    global: &Global,
    place: &Place,
    id: &str,
    what: &str,
    mut work: impl Future<Output = Result<Job>> + Unpin,
) -> Result<Job> {
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    let mut bar = Bar::new(global, what);
    let mut ticks = interval(place.tick());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut stopping, mut cancelled) = (false, false);
    loop {
        tokio::select! {
            biased;
            ended = &mut work => return ended,
            _ = interrupt.recv() => stop(&mut stopping, &bar, global),
            _ = terminate.recv() => stop(&mut stopping, &bar, global),
            _ = ticks.tick() => {
                // A job that is not there yet, or cannot be reached, is asked again on the next tick.
                if stopping && !cancelled {
                    cancelled = place.cancel(id).await.is_ok();
                }
                if bar.shown()
                    && let Ok(progress) = place.jobs().task_totals(id).await
                {
                    bar.update(&progress);
                }
            }
        }
    }
}

fn listen(kind: SignalKind) -> Result<Signal> {
    signal(kind).map_err(|e| Error::new(Code::Internal, format!("signals cannot be received: {e}")))
}

fn stop(stopping: &mut bool, bar: &Bar, global: &Global) {
    if *stopping {
        bar.clear();
        std::process::exit(1);
    }
    *stopping = true;
    if !global.quiet && !global.json {
        bar.say("cancelling; once more ends the process at once");
    }
}

/// A bar on stderr, where there is somebody to look at it.
pub(crate) struct Bar {
    drawn: Option<ProgressBar>,
    /// When the first task was seen: what was spent on planning says nothing of what is left.
    planned: Option<Instant>,
    seen: VecDeque<(Instant, u64)>,
}

impl Bar {
    /// A bar without a length yet.
    pub(crate) fn new(global: &Global, what: &str) -> Self {
        let quiet = global.quiet || global.json || global.verbose > 0 || !io::stderr().is_terminal();
        let drawn = (!quiet).then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.set_style(style("{spinner} {prefix}  {elapsed}"));
            bar.set_prefix(what.to_owned());
            bar.enable_steady_tick(TICK);
            bar
        });
        Self { drawn, planned: None, seen: VecDeque::new() }
    }

    /// Whether anybody sees it.
    fn shown(&self) -> bool {
        self.drawn.is_some()
    }

    /// Shows how far a job is.
    fn update(&mut self, progress: &Progress) {
        let Some(bar) = &self.drawn else { return };
        if progress.tasks_total == 0 {
            return;
        }
        let now = Instant::now();
        let planned = *self.planned.get_or_insert_with(|| {
            bar.set_style(style("{spinner} {prefix} [{bar:24}] {pos}/{len} tasks  {msg}"));
            self.seen.push_back((now, progress.totals.bytes));
            now
        });
        bar.set_length(progress.tasks_total);
        bar.set_position(progress.tasks_done);
        let rate = rate(&mut self.seen, now, progress.totals.bytes);
        let left = left(progress, now.duration_since(planned));
        if progress.totals.bytes > 0 {
            bar.set_message(format!("{}  {}/s  {left}", size(progress.totals.bytes), size(rate)));
        }
    }

    /// Shows how far work is that is no job.
    pub(crate) fn tell(&self, how_far: &str) {
        if let Some(bar) = &self.drawn {
            bar.set_style(style("{spinner} {prefix}  {msg}  {elapsed}"));
            bar.set_message(how_far.to_owned());
        }
    }

    /// Says something above the bar.
    fn say(&self, what: &str) {
        match &self.drawn {
            Some(bar) => bar.println(what),
            None => drop(writeln!(io::stderr(), "{what}")),
        }
    }

    /// Removes the bar.
    fn clear(&self) {
        if let Some(bar) = &self.drawn {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.clear();
    }
}

/// How much longer a job takes if its tasks go on as they did.
fn left(progress: &Progress, spent: Duration) -> String {
    let (done, total) = (progress.tasks_done, progress.tasks_total);
    if done == 0 {
        return String::new();
    }
    if done == total {
        return "finishing".to_owned();
    }
    let millis = spent.as_millis() * u128::from(total.saturating_sub(done)) / u128::from(done);
    let left = SignedDuration::from_secs(i64::try_from(millis / 1000).unwrap_or(i64::MAX));
    format!("{} left", age(left))
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

/// Bytes a second over the last few seconds.
fn rate(seen: &mut VecDeque<(Instant, u64)>, now: Instant, bytes: u64) -> u64 {
    seen.push_back((now, bytes));
    while seen.len() > 2 && seen.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= WINDOW) {
        seen.pop_front();
    }
    let Some((since, before)) = seen.front() else { return 0 };
    let millis = now.duration_since(*since).as_millis().max(1);
    u64::try_from(u128::from(bytes.saturating_sub(*before)) * 1000 / millis).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_the_last_seconds() {
        let (mut seen, start) = (VecDeque::new(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(rate(&mut seen, at(0), 0), 0);
        assert_eq!(rate(&mut seen, at(4), 4_000), 1_000);
        assert_eq!(rate(&mut seen, at(10), 64_000), 10_000);
        assert_eq!(rate(&mut seen, at(20), 64_000), 0);
    }

    #[test]
    fn what_is_left_is_told_once_a_task_is_done() {
        let progress = |tasks_done| Progress { tasks_done, tasks_total: 8, ..Progress::default() };
        let told = |done| left(&progress(done), Duration::from_mins(1));
        assert_eq!([0, 1, 6, 8].map(told), ["", "7 min left", "20 s left", "finishing"]);
    }
}
