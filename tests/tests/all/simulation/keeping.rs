//! How long backups stay: what operators say of it, and what the model says of what the policy lets go.

use super::model::SKEW;
use super::operators::some_backup;
use super::tally::Happened;
use super::world::World;
use crate::increments::chance::Chance;
use holdfast_common::jobs::{Deletion, Job, Status};
use holdfast_workflow::config::Policy;
use holdfast_workflow::retention::{self, Due, Retention};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;

/// So many prunes, more than a day apart, after the last backup: one asks for what is to go, one ends it when the grace
/// has passed and condemns what it needed, one deletes that; one more, since clocks differ.
pub(super) const QUIET_PRUNES: usize = 4;

/// A policy that lets backups go within the days of a history.
pub(super) fn policy(chance: &mut Chance) -> Policy {
    let number = |count| NonZeroU32::new(count);
    let retention = match chance.below(4) {
        0 => Retention { keep_last: number(2), ..Retention::default() },
        1 => Retention { keep_last: number(1), daily: number(3), ..Retention::default() },
        2 => Retention { days: number(2), minimum: number(2), ..Retention::default() },
        _ => Retention { daily: number(2), days: number(1), ..Retention::default() },
    };
    Policy { retention: Some(retention), ..Policy::default() }
}

/// What a policy asked to be deleted is let go by each of its rules, by a count of the model's own.
pub(super) fn may_let_go(policy: &Policy, job: &Job, deletion: &Deletion, others: &[Job]) {
    let rules = policy.retention.unwrap();
    let completed = |job: &Job| job.completed_at.filter(|_| job.status == Status::Completed);
    let at = completed(job).unwrap();
    let newer: Vec<Timestamp> = others.iter().filter_map(completed).filter(|other| *other > at).collect();
    let count = |number: Option<NonZeroU32>| number.map_or(0, |number| number.get() as usize);
    let told = || format!("{rules:?} let {} go, completed at {at}: {deletion:?}; newer: {newer:?}", job.id);
    let least = count(rules.minimum).max(1).max(count(rules.keep_last));
    assert!(newer.len() >= least, "{}", told());
    let day = |time: &Timestamp| -> Date { time.to_zoned(TimeZone::UTC).date() };
    let days: BTreeSet<Date> = newer.iter().map(day).collect();
    assert!(days.contains(&day(&at)) || days.len() >= count(rules.daily), "{}", told());
    let age = SignedDuration::from_hours(24 * i64::try_from(count(rules.days)).unwrap());
    assert!(deletion.asked_at + SKEW >= at + age, "{}", told());
}

/// Holds some backup.
pub(super) async fn hold(world: &Arc<World>) {
    let Some(backup) = some_backup(world) else { return };
    if retention::hold(&world.rough.jobs, world.stage.now(), &backup, "a case at court").await.is_ok() {
        world.model.held(&backup);
        world.tally.count(Happened::Hold);
    }
}

/// Releases a backup that is held.
pub(super) async fn release(world: &Arc<World>) {
    let held = world.model.wished(true);
    if held.is_empty() {
        return;
    }
    let backup = world.chance(|chance| chance.of(&held));
    world.model.released(&backup);
    retention::release(&world.rough.jobs, &backup).await.unwrap();
    world.tally.count(Happened::Release);
}

/// Asks for some backup to be deleted, after the day of grace.
pub(super) async fn delete(world: &Arc<World>) {
    let Some(backup) = some_backup(world) else { return };
    let held = world.model.is_held(&backup);
    if !held {
        world.model.deletion_asked(&backup);
    }
    let now = world.stage.now();
    // Where it fails it may be done all the same.
    if retention::delete(&world.rough.jobs, now, &backup, Due::AfterGrace).await.is_ok() {
        assert!(!held || !world.model.is_held(&backup), "held backup {backup} is to be deleted");
        world.tally.count(Happened::DeletedByHand);
    }
}

/// Takes a deletion back that was asked for by hand.
pub(super) async fn take_back(world: &Arc<World>) {
    let asked = world.model.wished(false);
    if asked.is_empty() {
        return;
    }
    let backup = world.chance(|chance| chance.of(&asked));
    if retention::undelete(&world.rough.jobs, &backup).await.is_ok() {
        world.model.deletion_taken_back(&backup);
        world.tally.count(Happened::TakenBack);
    }
}
