//! Reading: opening a vault, its manifests and packs; walking trees and records; verifying all of it.

pub mod changes;
pub mod layers;
pub mod merged;
pub mod pack;
pub mod records;
pub mod shard;
pub mod state;
pub mod tree;
pub mod vault;
pub mod verify;

pub use layers::{Overlay, RecordKeys};
pub use pack::{Fetch, PackReader};
pub use shard::Shard;
pub use vault::{OpenObject, Vault};
