//! All integration tests of the crate, in one program: each takes a minute to link.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what a helper of a test cannot do ends the test"
)]

mod capture;
mod changes;
mod cli;
mod copies;
mod cost;
mod drill;
mod keys;
mod repair;
mod retention;
mod stack;
mod stopping;
mod support;
