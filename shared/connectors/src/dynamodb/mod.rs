//! DynamoDB tables: a table is one record stream of its name, encoding `dynamodb-json`.
//!
//! A record's bytes are the item in canonical DynamoDB JSON: attribute names in byte order at every level, members of
//! sets in byte order (of a text's UTF-8, a number's text, the bytes themselves), numbers as the service writes them,
//! binary in standard base64, no white space. A key's bytes are the compact array of the key attributes' typed values,
//! hash before range: `[{"S":"a"},{"N":"5"}]`. The stream's schema is [`TableSchema`]. Auto scaling, alarms, resource
//! policies, Kinesis destinations and replicas are not the table's own and are not kept.

mod condition;
mod describe;
mod direct;
pub(crate) mod item;
mod json;
mod live;
pub(crate) mod number;
mod pace;
pub(crate) mod plain;
mod present;
mod schema;
mod source;
mod stream_event;
mod swap;
mod table;
mod target;
mod throw_away;
mod write;

pub use direct::{record_key, same_record, table_schema};
pub use live::DynamoDbLive;
pub use schema::{
    AttributeDefinition, CreateTable, Index, KeyElement, OnDemandThroughput, PointInTimeRecovery, Projection,
    SseSpecification, StreamSpecification, TableSchema, Throughput,
};
pub use source::{DynamoDbSource, segments};
pub use stream_event::{StreamChange, StreamName, StreamRecord};
pub use table::Delays;
pub use target::DynamoDbTarget;
pub(crate) use throw_away::remove_table;
