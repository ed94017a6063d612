//! All integration tests of the crate, in one program: each takes a minute to link.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what a helper of a test cannot do ends the test"
)]

mod change_windows;
mod changes;
mod copying;
mod copying_again;
mod copying_changes;
mod corruption;
mod engine;
mod formats;
mod hash_shards;
mod keys_and_sums;
mod keys_at_hand;
mod layered_records;
mod layering;
mod memory;
mod packs;
mod record_layers;
mod refusals;
mod rotation;
mod state_tables;
mod storage_contract;
mod structure_check;
mod tree_kit;
mod tree_layers;
mod tree_reading;
mod vault_opening;
mod verification;
mod watched_storage;
mod wear;
mod writing_objects;
mod writing_records;
mod writing_trees;
