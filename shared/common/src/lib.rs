//! What every handler of Holdfast needs: job state in DynamoDB, the vault's storage on S3 or in a directory, clocks
//! and ids, the key file, telemetry.
//!
//! AWS SDK types appear here only inside the adapters ([`jobs`] and [`storage::s3`]).

pub mod clock;
pub mod jobs;
pub mod key_file;
pub mod storage;
pub mod telemetry;
pub mod wait;

pub use clock::{Clock, Ids};
