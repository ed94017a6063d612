//! All integration tests of the crate, in one program: each takes a minute to link.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what a helper of a test cannot do ends the test"
)]

mod aws;
mod document;
mod dynamodb;
mod files;
mod files_target;
mod jsonl;
mod jsonl_target;
mod live_dynamodb;
mod live_jsonl;
mod s3;
mod tree_support;
