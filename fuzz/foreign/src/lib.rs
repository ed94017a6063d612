//! Targets for bytes that come from elsewhere. The modules beside this one are those of the crates, by links.

#![allow(dead_code, unused_imports, clippy::missing_panics_doc)]

// What the modules take from crates that are not built here stands in this one.
extern crate self as aws_sdk_dynamodb;
extern crate self as holdfast_common;
extern crate self as holdfast_connectors;

mod asl;
mod batch;
mod checks;
mod config;
mod document;
mod fields;
mod filter;
mod keys;
mod local_fs;
mod plain;
mod raw_json;
mod request;
mod schedule;
mod select;
mod source;
mod spec;
mod staged_dir;
mod stands_in;
mod target;

mod dynamodb {
    pub(crate) mod item;
    pub(crate) mod number;
    pub(crate) mod plain;
    pub(crate) mod stream_event;
}

mod jsonl {
    pub(crate) mod key;
    pub(crate) use key::{Found, KeyFault, KeyReader, array_index, parse_pointer};
}

mod events {
    pub use crate::stands_in::Selection;
}

pub use checks::TARGETS;
#[doc(hidden)]
pub use spec::{Limits, SourceSpec};
#[doc(hidden)]
pub use stands_in::{jobs, primitives, types};
