//! Holdfast's connectors: a **source** reads a resource, a **target** is written into.
//!
//! A source is asked for its streams, cuts each into ranges that workers read side by side, and reads a range into a
//! sink until the sink has enough; then it hands back a cursor from which a later call goes on. A paged API returns
//! after a page, a byte range after some bytes, a change feed after a batch: all fit. A target is prepared once,
//! written by many workers, and finished or abandoned once. Where an undo works, a resource is **live**: records are put
//! back in place, each only if it still is what it should be. Every call may be repeated.

mod aws;
pub mod batch;
pub mod clients;
pub mod document;
pub mod dynamodb;
pub mod fields;
pub mod files;
pub mod filter;
pub mod jsonl;
pub mod keys;
pub mod live;
mod local_fs;
pub mod open;
mod plain;
mod raw_json;
pub mod s3;
pub mod source;
pub mod spec;
mod staged_dir;
pub mod target;
pub mod throw_away;

pub use batch::{RecordBatch, RecordRef};
pub use clients::{Clients, EnvironmentClients, environment_config};
pub use fields::{FieldChange, changed_fields, plain};
pub use filter::{RecordFilter, key_text};
pub use keys::KeyFinder;
pub use live::{Live, Revert, Reverted, open_live};
pub use open::{open_source, open_target};
pub use source::{
    Cursor, Flow, PathBounds, RangeSink, RecordSink, Sizing, Source, SourceRange, TreeSink, Want,
};
pub use spec::{Limits, SourceSpec, TargetSpec};
pub use target::{Content, OnConflict, Position, RestoreOrder, Target, Written};
pub use throw_away::{Ground, ThrowAway};
