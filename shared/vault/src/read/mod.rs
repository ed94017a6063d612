//! Reading: opening a vault, its manifests and packs; walking trees and records; verifying all of it.

pub mod changes;
pub mod pack;
pub mod records;
pub mod tree;
pub mod vault;
pub mod verify;

pub use pack::{Fetch, PackReader};
pub use vault::{OpenObject, Vault};
