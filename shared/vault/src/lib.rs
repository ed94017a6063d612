//! The Holdfast vault: format 1 and the engine that reads and writes it.
//!
//! Pure: no AWS, no clock, no network, no environment. Bytes come and go through the [`storage::Storage`] port;
//! times and names are given by the caller. The format is specified in `docs/vault-format.md`.

pub mod compress;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod copy;
pub mod crypto;
pub mod error;
pub mod format;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod keys;
pub mod memory;
pub mod model;
pub mod read;
pub mod storage;
pub mod write;

pub use error::{Code, Error, Result};
