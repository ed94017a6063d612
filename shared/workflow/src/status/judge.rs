//! What is promised of a resource against what is known of it. Asks nobody, and knows no clock.

use crate::config::{DrillEvery, Tier};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

/// A drill is overdue when so many of its periods have gone by without one that completed.
const DRILL_PERIODS: i32 = 2;

/// What is known of a resource.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// Its name.
    pub name: String,
    /// How much it matters.
    pub tier: Tier,
    /// How often it is to be drilled.
    pub drill_every: DrillEvery,
    /// Whether there is a place to which a drill could restore it.
    pub drillable: bool,
    /// When it came under protection.
    pub added_at: Option<Timestamp>,
    /// The newest time that can be restored.
    pub restorable_until: Option<Timestamp>,
    /// Since when it has had a backup that can be restored, as far as that is known.
    pub protected_since: Option<Timestamp>,
    /// The newest backup that can be restored.
    pub last_good: Option<Good>,
    /// The newest backup that completed or failed.
    pub last_ended: Option<Ended>,
    /// The newest verification of any of its backups.
    pub verified: Option<SeenVerified>,
    /// Backups whose last verification found damage.
    pub damaged_backups: u64,
    /// Objects in quarantine that its backups need.
    pub damaged_objects: u64,
    /// The newest drill that completed or failed.
    pub last_drill: Option<Drilled>,
    /// When the newest drill that completed did.
    pub drilled_at: Option<Timestamp>,
    /// When the next backup is due.
    pub next_run: Option<Timestamp>,
}

impl Seen {
    /// A resource of which nothing is known but its name.
    #[must_use]
    pub fn of(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            tier: Tier::default(),
            drill_every: Tier::default().drill(),
            drillable: true,
            added_at: None,
            restorable_until: None,
            protected_since: None,
            last_good: None,
            last_ended: None,
            verified: None,
            damaged_backups: 0,
            damaged_objects: 0,
            last_drill: None,
            drilled_at: None,
            next_run: None,
        }
    }
}

/// A backup that can be restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Good {
    /// Its id.
    pub id: String,
    /// When it completed.
    #[serde(serialize_with = "exact")]
    pub completed_at: Timestamp,
    /// How many warnings stand in its record.
    pub warnings: u64,
}

/// A backup that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Its id.
    pub id: String,
    /// Whether it failed.
    pub failed: bool,
    /// Whether its schedule began it, and not somebody by hand.
    pub scheduled: bool,
}

/// A verification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SeenVerified {
    /// The backup that was verified.
    pub backup: String,
    /// How deep.
    pub level: String,
    /// When.
    #[serde(serialize_with = "exact")]
    pub at: Timestamp,
    /// Whether all that was looked at is as it was written.
    pub valid: bool,
}

/// A drill that ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Drilled {
    /// Its id.
    pub id: String,
    /// When it ended.
    #[serde(serialize_with = "exact")]
    pub at: Timestamp,
    /// Whether it came to its end.
    pub completed: bool,
    /// Whether what it restored is what was backed up.
    pub equal: bool,
    /// How long the restore took, in milliseconds.
    pub rto_ms: Option<u64>,
}

/// What a tier promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Promise {
    /// No more is lost than the RPO says.
    Rpo,
    /// The scheduled backup is made.
    Backup,
    /// What is stored is as it was written.
    Undamaged,
    /// That is looked at often enough.
    Verified,
    /// What is restored for trial is what was backed up.
    Drill,
    /// That is tried often enough.
    DrillDue,
    /// A restore takes no longer than the RTO says.
    Rto,
}

/// A promise that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// Which.
    pub promise: Promise,
    /// One sentence with figures.
    pub message: String,
}

/// How a resource stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ResourceStatus {
    /// Its name.
    pub name: String,
    /// How much it matters.
    pub tier: Tier,
    /// The newest backup that can be restored.
    pub last_backup: Option<Good>,
    /// How long ago that completed, in seconds.
    pub age_seconds: Option<i64>,
    /// How much would be lost now, in seconds; none where nothing can be restored.
    pub rpo_seconds: Option<i64>,
    /// How much may be.
    pub rpo_limit_seconds: i64,
    /// The newest verification.
    pub verified: Option<SeenVerified>,
    /// The newest drill that ended.
    pub last_drill: Option<Drilled>,
    /// How often it is to be drilled.
    pub drill_every: DrillEvery,
    /// How long a restore may take, in seconds.
    pub rto_limit_seconds: i64,
    /// When the next backup is due.
    pub next_run: Option<String>,
    /// Warnings of the newest backup.
    pub warnings: u64,
    /// Objects in quarantine that its backups need.
    pub damaged_objects: u64,
    /// What was promised and does not hold.
    pub broken: Vec<Broken>,
}

/// Holds what is known of a resource against what its tier and its policy promise.
#[must_use]
pub fn judge(seen: &Seen, now: Timestamp) -> ResourceStatus {
    let ago = |at: Timestamp| now.duration_since(at).as_secs().max(0);
    let mut broken: Vec<Broken> = [
        rpo(seen, now),
        last_backup(seen),
        damage(seen),
        unverified(seen, now),
        last_drill(seen),
        overdue(seen, now),
        rto(seen),
    ]
    .into_iter()
    .flatten()
    .collect();
    broken.sort_by_key(|of| of.promise);
    ResourceStatus {
        name: seen.name.clone(),
        tier: seen.tier,
        age_seconds: seen.last_good.as_ref().map(|good| ago(good.completed_at)),
        warnings: seen.last_good.as_ref().map_or(0, |good| good.warnings),
        last_backup: seen.last_good.clone(),
        rpo_seconds: seen.restorable_until.map(ago),
        rpo_limit_seconds: seen.tier.rpo().as_secs(),
        verified: seen.verified.clone(),
        last_drill: seen.last_drill.clone(),
        drill_every: seen.drill_every,
        rto_limit_seconds: seen.tier.rto().as_secs(),
        next_run: seen.next_run.map(|at| format!("{at:.3}")),
        damaged_objects: seen.damaged_objects,
        broken,
    }
}

fn broken(promise: Promise, message: String) -> Broken {
    Broken { promise, message }
}

fn rpo(seen: &Seen, now: Timestamp) -> Option<Broken> {
    let limit = span(seen.tier.rpo());
    match (seen.restorable_until, seen.added_at) {
        (Some(until), _) => {
            let lost = now.duration_since(until);
            let missed = seen.tier.rpo_missed(lost);
            missed.then(|| broken(Promise::Rpo, format!("{} would be lost, and may be {limit}", span(lost))))
        }
        // What was never backed up is as old as its protection; where nobody knows when that began, too old.
        (None, Some(added)) if !seen.tier.rpo_missed(now.duration_since(added)) => None,
        (None, _) => Some(broken(Promise::Rpo, format!("nothing can be restored, and {limit} may be lost"))),
    }
}

fn last_backup(seen: &Seen) -> Option<Broken> {
    let last = seen.last_ended.as_ref().filter(|last| last.failed && last.scheduled)?;
    Some(broken(Promise::Backup, format!("the last scheduled backup, {}, failed", last.id)))
}

fn damage(seen: &Seen) -> Option<Broken> {
    if let Some(found) = seen.verified.as_ref().filter(|found| !found.valid) {
        return Some(broken(
            Promise::Undamaged,
            format!("the last verification found damage in {}", found.backup),
        ));
    }
    match (seen.damaged_backups, seen.damaged_objects) {
        (0, 0) => None,
        (backups, objects) => Some(broken(
            Promise::Undamaged,
            format!("{backups} backups were found damaged, and {objects} objects are in quarantine"),
        )),
    }
}

fn unverified(seen: &Seen, now: Timestamp) -> Option<Broken> {
    let within = seen.tier.verified_within();
    let since = match (&seen.verified, seen.protected_since) {
        (Some(found), _) => found.at,
        (None, since) => since?,
    };
    let passed = now.duration_since(since);
    let late = passed > within;
    late.then(|| {
        let (passed, within) = (span(passed), span(within));
        broken(Promise::Verified, format!("nothing was verified for {passed}, and is to be every {within}"))
    })
}

fn last_drill(seen: &Seen) -> Option<Broken> {
    let last = seen.last_drill.as_ref().filter(|last| !last.equal)?;
    let what = if last.completed { "restored something else than was backed up" } else { "failed" };
    Some(broken(Promise::Drill, format!("the last drill, {}, {what}", last.id)))
}

fn overdue(seen: &Seen, now: Timestamp) -> Option<Broken> {
    let period = seen.drill_every.period().filter(|_| seen.drillable)?;
    // What nothing can be restored of is told by its RPO.
    let passed = now.duration_since(seen.drilled_at.or(seen.protected_since)?);
    let late = passed > period * DRILL_PERIODS;
    late.then(|| {
        let (passed, period) = (span(passed), span(period));
        broken(Promise::DrillDue, format!("no drill completed for {passed}, and one is due every {period}"))
    })
}

fn rto(seen: &Seen) -> Option<Broken> {
    let took = seen.last_drill.as_ref()?.rto_ms?;
    let took = SignedDuration::from_millis(i64::try_from(took).unwrap_or(i64::MAX));
    let limit = seen.tier.rto();
    (took > limit).then(|| {
        let (took, limit) = (span(took), span(limit));
        broken(Promise::Rto, format!("the last drill's restore took {took}, and may take {limit}"))
    })
}

/// A span of time in a word.
fn span(of: SignedDuration) -> String {
    let seconds = of.as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

fn exact<S: serde::Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format!("{time:.3}"))
}
