//! All integration tests of the crate, in one program: each takes a minute to link.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what a helper of a test cannot do ends the test"
)]

mod changes;
mod copying;
mod corruption;
mod engine;
mod layering;
mod refusals;
mod rotation;
mod tree_layers;
