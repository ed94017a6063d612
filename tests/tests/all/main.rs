//! All integration tests of the crate, in one program: each takes a minute to link.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::large_futures,
    reason = "what a helper of a test cannot do ends the test"
)]

mod bad_input;
mod capture;
mod corruption;
mod cost;
mod crashes;
mod damage;
mod diff;
mod documents;
mod drill;
mod dynamodb;
mod endurance;
mod figures;
mod generator;
mod golden;
mod handlers;
mod increments;
mod inventory;
mod kill;
mod load;
mod peer_reader;
mod prune;
mod rebuild;
mod retention;
mod rotation;
mod round_trips;
mod s3;
mod selection;
mod simulation;
mod state_machines;
mod tree_increments;
mod undo;
mod verification;
mod walls;
