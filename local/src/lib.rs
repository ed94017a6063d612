//! The embedded cloud: storage, job state, the state machines and the handlers in one process and one directory.
//!
//! No account, nothing to install, no socket. It runs the same handlers and the same `*.asl.json` as AWS does, and its
//! data survives restarts.

pub mod asl;
pub mod clients;
pub mod cloud;
pub mod dynamodb;
pub mod functions;
pub mod home;
pub mod journal;
pub mod keys;
pub mod tail;

pub use cloud::{Cloud, Options};
pub use home::Home;
pub use tail::CaptureReport;
