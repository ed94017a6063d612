//! The Holdfast vault: format 1 and the engine that reads and writes it.
//!
//! Pure: no AWS, no clock, no network, no environment. Bytes come and go through the [`storage::Storage`] port;
//! times and names are given by the caller. The format is specified in `docs/vault-format.md`.

pub mod error;
pub mod model;
pub mod storage;

pub use error::{Code, Error, Result};
