//! A stage on which everything happens one step at a time: who acts next, what the time is and what goes wrong follow
//! from one seed.
//!
//! Actors are futures: calls of handlers, executions of state machines, operators. An actor acts from one call of a port
//! to the next; then the stage chooses who goes on. So two actors meet at every call of storage and job state, a call can
//! be held for minutes while others go on, and an actor can end at any call as a process does that is killed.

use super::tally::{Happened, Tally};
use crate::increments::chance::Chance;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

/// The number of an actor.
pub(super) type Number = u64;
type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Why an actor stopped for now. Of several reasons in one poll the first of this list counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stop {
    /// Its process is killed.
    Crash,
    /// It is another's turn.
    Turn,
    /// It waits for a time.
    Until(Timestamp),
    /// It waits for the answer of another actor.
    Waiting,
}

/// What goes wrong in the calls of one actor.
#[derive(Debug, Clone)]
pub(super) struct Weather {
    /// So many of a thousand calls fail, before or after their effect, or are made twice.
    pub(super) rough: u64,
    /// So many of a hundred listings and queries tell what was minutes ago.
    pub(super) stale: u64,
    /// Listings of captured changes are new all the same.
    pub(super) reads_changes: bool,
    /// The process ends at this call.
    pub(super) crash_at: Option<u64>,
    /// This call is held for so long.
    pub(super) hold: Option<(u64, SignedDuration)>,
}

impl Weather {
    /// Nothing goes wrong.
    pub(super) const FAIR: Self =
        Self { rough: 0, stale: 0, reads_changes: false, crash_at: None, hold: None };
}

/// What becomes of one call of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Fine,
    /// It fails and has no effect.
    Before,
    /// It has its effect, and its answer is lost.
    After,
    /// It is made twice.
    Twice,
    /// It has its effect, and then the process ends.
    CrashAfter,
}

/// One who acts.
struct Actor {
    number: Number,
    work: Work,
    role: Role,
    calls: u64,
    stop: Stop,
}

/// As what one acts.
#[derive(Debug, Clone)]
pub(super) struct Role {
    pub(super) weather: Weather,
    /// How far the actor's clock is ahead.
    pub(super) skew: SignedDuration,
    /// When its process is ended at the latest.
    pub(super) ends_at: Option<Timestamp>,
}

impl Role {
    /// One for whom everything works and whose clock is right.
    pub(super) const OPERATOR: Self =
        Self { weather: Weather::FAIR, skew: SignedDuration::ZERO, ends_at: None };
}

/// What is known of the actor that acts now.
struct Acting {
    number: Number,
    role: Role,
    calls: u64,
    stop: Option<Stop>,
}

struct Inner {
    now: Timestamp,
    chance: Chance,
    acting: Option<Acting>,
    entered: Vec<Actor>,
    killed: BTreeSet<Number>,
    woken: BTreeSet<Number>,
    actors: Number,
}

/// The stage, as all who act on it see it.
#[derive(Clone)]
pub(super) struct Stage(Arc<Mutex<Inner>>, Arc<Tally>);

impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stage")
    }
}

impl Stage {
    pub(super) fn new(now: Timestamp, chance: Chance, tally: &Arc<Tally>) -> Self {
        let inner = Inner {
            now,
            chance,
            acting: None,
            entered: Vec::new(),
            killed: BTreeSet::new(),
            woken: BTreeSet::new(),
            actors: 0,
        };
        Self(Arc::new(Mutex::new(inner)), tally.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    /// The true time.
    pub(super) fn now(&self) -> Timestamp {
        self.lock().now
    }

    /// The time on the clock of who acts.
    pub(super) fn told_time(&self) -> Timestamp {
        let inner = self.lock();
        inner.acting.as_ref().map_or(inner.now, |acting| inner.now + acting.role.skew)
    }

    /// Asks chance, on which all that happens hangs.
    pub(super) fn chance<T>(&self, ask: impl FnOnce(&mut Chance) -> T) -> T {
        ask(&mut self.lock().chance)
    }

    /// Puts one more actor on the stage.
    pub(super) fn enter(&self, role: Role, work: impl Future<Output = ()> + Send + 'static) -> Number {
        let mut inner = self.lock();
        inner.actors += 1;
        let number = inner.actors;
        inner.entered.push(Actor { number, work: Box::pin(work), role, calls: 0, stop: Stop::Turn });
        number
    }

    /// Ends an actor wherever it is.
    pub(super) fn kill(&self, number: Number) {
        self.lock().killed.insert(number);
    }

    /// Waits until a time.
    pub(super) async fn until(&self, time: Timestamp) {
        poll_fn(|context| {
            let mut inner = self.lock();
            if inner.now >= time {
                return Poll::Ready(());
            }
            inner.stop(Stop::Until(time), context);
            Poll::Pending
        })
        .await;
    }

    /// Waits so long.
    pub(super) async fn after(&self, wait: SignedDuration) {
        let time = self.now() + wait;
        self.until(time).await;
    }

    /// Gives the turn to whoever is chosen.
    async fn turn(&self) {
        let mut given = false;
        poll_fn(|context| {
            if given {
                return Poll::Ready(());
            }
            given = true;
            self.lock().stop(Stop::Turn, context);
            Poll::Pending
        })
        .await;
    }

    /// The process ends here.
    pub(super) async fn crash(&self) {
        self.1.count(Happened::Crash);
        poll_fn(|context| {
            self.lock().stop(Stop::Crash, context);
            Poll::<()>::Pending
        })
        .await;
    }

    /// What every call of a port does first: gives the turn away, and learns what becomes of it. Outside of all actors, as
    /// in checks, everything is fine.
    pub(super) async fn call(&self) -> Fate {
        if self.lock().acting.is_none() {
            return Fate::Fine;
        }
        self.turn().await;
        let (fate, hold) = {
            let mut inner = self.lock();
            let Inner { chance, acting, .. } = &mut *inner;
            let Some(acting) = acting else { return Fate::Fine };
            acting.calls += 1;
            let weather = &acting.role.weather;
            let hold = weather.hold.filter(|(at, _)| *at == acting.calls).map(|(_, long)| long);
            let fate = if weather.crash_at == Some(acting.calls) {
                Fate::CrashAfter
            } else if chance.below(1000) < weather.rough {
                chance.of(&[Fate::Before, Fate::After, Fate::Twice])
            } else {
                Fate::Fine
            };
            (fate, hold)
        };
        if let Some(long) = hold {
            self.1.count(Happened::Held);
            self.after(long).await;
        }
        if fate == Fate::CrashAfter && self.chance(|chance| chance.percent(50)) {
            self.crash().await;
        }
        fate
    }

    /// Whether who acts relies on listings of captured changes.
    pub(super) fn reads_changes(&self) -> bool {
        self.lock().acting.as_ref().is_some_and(|acting| acting.role.weather.reads_changes)
    }

    /// How old what a listing or query tells is; zero where it is new.
    pub(super) fn staleness(&self) -> SignedDuration {
        let mut inner = self.lock();
        let Inner { chance, acting, .. } = &mut *inner;
        let Some(acting) = acting else { return SignedDuration::ZERO };
        if !chance.percent(acting.role.weather.stale) {
            return SignedDuration::ZERO;
        }
        SignedDuration::from_secs(i64::try_from(chance.below(1500)).unwrap())
    }

    /// Plays until nobody is left who can go on, or until a time.
    pub(super) async fn play(&self, cast: &mut Cast, end: Option<Timestamp>) {
        while self.step(&mut cast.0, end).await {}
    }

    /// One step of one actor. False once there is none before the end.
    async fn step(&self, cast: &mut Vec<Actor>, end: Option<Timestamp>) -> bool {
        self.admit(cast);
        let Some(at) = self.choose(cast, end) else { return false };
        let ended = poll_fn(|context| self.poll(&mut cast[at], context)).await;
        if ended {
            // Whoever waits for it hears of its end.
            drop(cast.swap_remove(at));
        }
        let mut inner = self.lock();
        let pause = SignedDuration::from_millis(i64::try_from(inner.chance.below(900)).unwrap());
        inner.now += pause;
        true
    }

    /// Takes in who entered, and takes out who was killed.
    fn admit(&self, cast: &mut Vec<Actor>) {
        let killed = {
            let mut inner = self.lock();
            cast.append(&mut inner.entered);
            std::mem::take(&mut inner.killed)
        };
        if !killed.is_empty() {
            // Dropped when the stage is free again: who hears of an end asks it.
            let (_ended, left): (Vec<Actor>, Vec<Actor>) =
                cast.drain(..).partition(|actor| killed.contains(&actor.number));
            *cast = left;
        }
    }

    /// Who goes on; the time passes until somebody can.
    fn choose(&self, cast: &mut [Actor], end: Option<Timestamp>) -> Option<usize> {
        let mut inner = self.lock();
        let woken = std::mem::take(&mut inner.woken);
        for actor in cast.iter_mut().filter(|actor| woken.contains(&actor.number)) {
            actor.stop = Stop::Turn;
        }
        loop {
            let now = inner.now;
            if end.is_some_and(|end| now >= end) {
                return None;
            }
            for actor in cast.iter_mut().filter(|actor| actor.role.ends_at.is_some_and(|at| at <= now)) {
                actor.stop = Stop::Crash;
            }
            let able = |actor: &Actor| match actor.stop {
                Stop::Turn | Stop::Crash => true,
                Stop::Until(time) => time <= now,
                Stop::Waiting => false,
            };
            let ready: Vec<usize> = (0..cast.len()).filter(|at| able(&cast[*at])).collect();
            if !ready.is_empty() {
                return Some(inner.chance.of(&ready));
            }
            let wakes = |actor: &Actor| match actor.stop {
                Stop::Until(time) => Some(actor.role.ends_at.map_or(time, |ends_at| ends_at.min(time))),
                _ => actor.role.ends_at,
            };
            let next = cast.iter().filter_map(wakes).min()?;
            inner.now = end.map_or(next, |end| end.min(next));
        }
    }

    /// Lets an actor act. True if it ended. Where it waits for something that is not of the stage, such as a disk, all
    /// wait.
    fn poll(&self, actor: &mut Actor, context: &mut Context<'_>) -> Poll<bool> {
        if actor.stop == Stop::Crash {
            return Poll::Ready(true);
        }
        let (number, role, calls) = (actor.number, actor.role.clone(), actor.calls);
        self.lock().acting = Some(Acting { number, role, calls, stop: None });
        let polled = actor.work.as_mut().poll(context);
        let acted = self.lock().acting.take();
        let acted = acted.unwrap();
        actor.calls = acted.calls;
        match (polled, acted.stop) {
            (Poll::Ready(()), _) | (Poll::Pending, Some(Stop::Crash)) => Poll::Ready(true),
            (Poll::Pending, Some(stop)) => {
                actor.stop = stop;
                Poll::Ready(false)
            }
            (Poll::Pending, None) => Poll::Pending,
        }
    }

    /// A way to be told what another actor came to.
    pub(super) fn line<T>(&self) -> (Teller<T>, Listener<T>) {
        let line = Arc::new(Mutex::new(Line { said: None, ended: false, listener: None, waker: None }));
        (Teller { stage: self.clone(), line: line.clone() }, Listener { stage: self.clone(), line })
    }
}

impl Inner {
    fn stop(&mut self, stop: Stop, context: &Context<'_>) {
        if let Some(acting) = &mut self.acting {
            acting.stop = Some(acting.stop.map_or(stop, |before| before.min(stop)));
        }
        // Within a handler others may wait beside it, which ask only for those who woke.
        if stop != Stop::Waiting {
            context.waker().wake_by_ref();
        }
    }
}

/// Those who are on the stage.
#[derive(Default)]
pub(super) struct Cast(Vec<Actor>);

struct Line<T> {
    said: Option<T>,
    ended: bool,
    listener: Option<Number>,
    waker: Option<Waker>,
}

/// Tells once. Dropped before, it tells that its process ended.
pub(super) struct Teller<T> {
    stage: Stage,
    line: Arc<Mutex<Line<T>>>,
}

impl<T> Teller<T> {
    pub(super) fn tell(self, what: T) {
        self.line.lock().unwrap().said = Some(what);
    }
}

impl<T> Drop for Teller<T> {
    fn drop(&mut self) {
        let (listener, waker) = {
            let mut line = self.line.lock().unwrap();
            line.ended = true;
            (line.listener, line.waker.take())
        };
        if let Some(listener) = listener {
            self.stage.lock().woken.insert(listener);
        }
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Hears once; nothing, if the process that was to tell has ended.
pub(super) struct Listener<T> {
    stage: Stage,
    line: Arc<Mutex<Line<T>>>,
}

impl<T> Future for Listener<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let mut line = self.line.lock().unwrap();
        if line.ended {
            return Poll::Ready(line.said.take());
        }
        let mut inner = self.stage.lock();
        line.listener = inner.acting.as_ref().map(|acting| acting.number);
        line.waker = Some(context.waker().clone());
        inner.stop(Stop::Waiting, context);
        Poll::Pending
    }
}

/// Awaits all of these, or the first whose end is the end of all; asks each whenever one of them goes on.
pub(super) async fn all<T>(
    mut these: Vec<Pin<Box<dyn Future<Output = T> + Send + '_>>>,
    is_last: fn(&T) -> bool,
) -> Vec<T> {
    let mut done: Vec<Option<T>> = these.iter().map(|_| None).collect();
    poll_fn(|context| {
        for (work, done) in these.iter_mut().zip(&mut done).filter(|(_, done)| done.is_none()) {
            if let Poll::Ready(value) = work.as_mut().poll(context) {
                let last = is_last(&value);
                *done = Some(value);
                if last {
                    return Poll::Ready(());
                }
            }
        }
        if done.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}
