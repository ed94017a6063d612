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
mod damage;
mod diff;
mod documents;
mod dynamodb;
mod figures;
mod generator;
mod golden;
mod handlers;
mod increments;
mod inventory;
mod kill;
mod peer_reader;
mod rebuild;
mod round_trips;
mod s3;
mod selection;
mod state_machines;
mod tree_increments;
mod undo;
mod walls;
