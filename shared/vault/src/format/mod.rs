//! Everything that is stored in a vault of format 1, and its bytes. Specified in `docs/vault-format.md`.
//!
//! Changing any encoding here is a new format: the golden vault in `tests/golden` must restore for ever.

pub mod changes;
pub mod entry;
pub mod footer;
pub mod header;
pub mod manifest;
pub mod root;
pub mod wire;

/// The format that this module describes.
pub const FORMAT: u8 = 1;
