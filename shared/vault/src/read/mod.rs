//! Reading: opening a vault, its manifests and packs; walking trees and records; verifying all of it.

pub mod changes;
pub mod key_check;
pub mod key_source;
pub mod layers;
pub mod merged;
pub mod pack;
pub mod records;
pub mod shard;
pub mod state;
pub mod tree;
mod tree_cursor;
pub mod tree_layers;
pub mod vault;
pub mod verify;
pub mod verify_structure;
mod verify_tree;
pub mod wear;

pub use key_source::Unwrap;
pub use layers::{Overlay, RecordKeys};
pub use pack::{Fetch, PackReader};
pub use shard::Shard;
pub use tree_layers::{LiveEntry, MergedTree, PathSpan, PathStart};
pub use vault::{OpenObject, Vault};
