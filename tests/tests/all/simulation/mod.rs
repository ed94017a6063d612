//! The whole workflow on a virtual clock: dispatch, backups, captured changes, restores, undos, verification, prunes, holds
//! and deletions, with ports that fail and listings that are old, handlers that crash and come late, and clocks that differ.
//! What must hold is watched at every write and deletion, and proved when quiet days have passed.
//!
//! `HOLDFAST_SEEDS` says how many histories, `HOLDFAST_FIRST_SEED` from which on; `HOLDFAST_SEED` repeats one alone.
//! `tests/soak` runs more.

mod calls;
mod captured;
mod keeping;
mod machines;
mod model;
mod operators;
mod ports;
mod rules;
mod stage;
mod tally;
mod till;
mod world;

use crate::increments::seeds::Seeds;
use stage::Cast;
use std::sync::Arc;
use tally::Tally;
use world::World;

async fn history(seed: u64, tally: &Arc<Tally>) {
    let world = World::new(seed, tally).await;
    operators::begin(&world).await;
    let mut cast = Cast::default();
    world.stage.play(&mut cast, None).await;
    operators::quiet(&world);
    world.stage.play(&mut cast, None).await;
    rules::hold(&world).await;
}

#[test]
#[allow(clippy::print_stdout)]
fn the_rules_hold_whatever_happens() {
    let (seeds, tally) = (Seeds::asked("HOLDFAST_SEEDS", 500), Arc::new(Tally::new()));
    let failed = seeds.failed(async |seed| history(seed, &tally).await);
    print!("{}", tally.told());
    println!("{} histories, {} violations", seeds.count, failed.len());
    assert!(failed.is_empty(), "the histories of these seeds broke a rule: {failed:?}");
    if seeds.count >= 200 {
        assert_eq!(tally.missing(), Vec::<&str>::new(), "these never happened");
    }
}
