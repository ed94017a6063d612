//! All integration tests of the crate, in one program: each takes a minute to link.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what a helper of a test cannot do ends the test"
)]

mod backups;
mod dead;
mod drills;
mod property;
mod support;
mod verifies;
