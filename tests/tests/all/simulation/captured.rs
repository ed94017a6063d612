//! What must hold of captured changes: what is told to be captured is, each change once and as it was.

use super::tally::Happened;
use super::till::TILL;
use super::world::World;
use holdfast_vault::read::changes::{ALL_KEYS, ChangeObject, list};
use holdfast_workflow::Services;
use holdfast_workflow::capture::log::{changes_in, coverage};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::collections::BTreeSet;

/// All changes that are told to be captured are there, and no others than were made.
pub(super) async fn hold(world: &World, services: &Services) {
    let Some(coverage) = coverage(services, TILL).await.unwrap() else { return };
    let (from, to) = (coverage.since, coverage.watermark);
    let changes = changes_in(services, TILL, TILL, from, to, ALL_KEYS).await.unwrap();
    let (writes, mut seen) = (world.till.writes(), BTreeSet::new());
    for change in changes {
        let sequence = change.sequence.parse().unwrap();
        assert!(seen.insert(sequence), "change {sequence} counts twice");
        let write = writes[&sequence];
        let image = |number: Option<u64>| number.map(|number| write.image(number));
        let value =
            |bytes: Option<Vec<u8>>| -> Option<Value> { Some(serde_json::from_slice(&bytes?).unwrap()) };
        let told = (change.time, value(change.before), value(change.after));
        assert_eq!(told, (write.time, image(write.before), image(write.after)), "change {sequence}");
    }
    for (sequence, write) in writes {
        let at = Timestamp::from_millisecond(write.time).unwrap();
        if coverage.covers(at - SignedDuration::from_millis(1), at).is_ok() {
            assert!(
                seen.contains(&sequence),
                "{write:?}, change {sequence}, is told to be captured: {coverage:?}"
            );
            world.tally.count(Happened::Covered);
        }
    }
}

/// Objects whose changes stand in others, or have expired, are gone.
pub(super) async fn nothing_leaks(world: &World) {
    let Some(coverage) = coverage(&world.fair, TILL).await.unwrap() else { return };
    let from_the_beginning = coverage.gaps.iter().filter(|gap| gap.from <= coverage.since.as_millisecond());
    let expired = from_the_beginning.map(|gap| gap.to).max().unwrap_or(i64::MIN);
    let (mut replaced, mut there) = (BTreeSet::new(), BTreeSet::new());
    for (name, size) in list(&world.fair.vault, TILL, i64::MIN, i64::MAX).await.unwrap() {
        let object = ChangeObject::open(&world.fair.vault, &name, size).await.unwrap();
        replaced.extend(object.descriptions().flat_map(|said| said.replaces.clone()));
        let tells = object.descriptions().any(|said| !said.gaps.is_empty());
        assert!(tells || name.to >= expired, "{} has expired: {coverage:?}", name.key());
        world.tally.add(Happened::Gathered, u64::from(name.level > 0));
        there.insert(name.key());
    }
    let leaked: Vec<_> = replaced.intersection(&there).collect();
    assert!(leaked.is_empty(), "others hold the changes of these: {leaked:?}");
    let of = |reason: &str| coverage.gaps.iter().filter(|gap| gap.reason.contains(reason)).count() as u64;
    world.tally.add(Happened::Expired, of("expired"));
    world.tally.add(Happened::Missed, of("found"));
}
