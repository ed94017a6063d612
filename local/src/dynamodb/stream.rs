//! The streams of the embedded DynamoDB's tables: reading them, switching them on, cutting off what was captured.

use super::EmbeddedDynamoDb;
use dynoxide::DynoxideError;
use dynoxide::actions::describe_stream::DescribeStreamRequest;
use dynoxide::actions::get_records::GetRecordsRequest;
use dynoxide::actions::get_shard_iterator::GetShardIteratorRequest;
use dynoxide::storage::Storage;
use dynoxide::streams::{shard_id, stream_arn};
use holdfast_vault::error::{Code, Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// The view of a stream that holds what was and what is.
pub const BOTH_IMAGES: &str = "NEW_AND_OLD_IMAGES";
/// What sequences are above the numbers that the database keeps: those are microseconds since 1970, unless several
/// records share one, or the clock goes back.
const SEQUENCE_OFFSET: u128 = 100_000_000_000_000_000_000;
/// Records cut off in one transaction, so that no writer waits long.
const CUT: usize = 2_000;

/// A table's stream that is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamState {
    /// Its ARN.
    pub arn: String,
    /// Its label.
    pub label: String,
    /// What its records hold.
    pub view: String,
    /// The sequence of the oldest record that it still has.
    pub first: Option<String>,
}

impl EmbeddedDynamoDb {
    /// A table's stream; `None` if it is off.
    ///
    /// # Errors
    /// `SourceMissing` if there is no such table, `SourceUnavailable`.
    pub fn stream(&self, table: &str) -> Result<Option<StreamState>> {
        let known = self.database.get_table_metadata(table).map_err(|error| fault(table, &error))?;
        let known = known.ok_or_else(|| {
            Error::new(Code::SourceMissing, format!("there is no table {table}"))
                .object(table)
                .hint("check its name")
        })?;
        if !known.stream_enabled {
            return Ok(None);
        }
        let label = known.stream_label.unwrap_or_default();
        let arn = stream_arn(table, &label);
        let asked = DescribeStreamRequest { stream_arn: arn.clone(), ..DescribeStreamRequest::default() };
        let told = self.database.describe_stream(asked).map_err(|error| fault(table, &error))?;
        let told = told.stream_description;
        let shard = told.shards.into_iter().next();
        let first = shard.and_then(|shard| shard.sequence_number_range.starting_sequence_number);
        Ok(Some(StreamState { arn, label, view: told.stream_view_type, first }))
    }

    /// Switches a table's stream on, with both images.
    ///
    /// # Errors
    /// `SourceUnavailable`.
    pub fn switch_stream_on(&self, table: &str) -> Result<()> {
        let specification = json!({ "StreamEnabled": true, "StreamViewType": BOTH_IMAGES });
        let request = decoded(json!({ "TableName": table, "StreamSpecification": specification }))?;
        self.database.update_table(request).map_err(|error| fault(table, &error))?;
        Ok(())
    }

    /// Up to so many records of a table's stream after a sequence, or from its beginning, as the service would hand them to
    /// a function. Their times are exact to the millisecond.
    ///
    /// # Errors
    /// `SourceUnavailable`, also if the stream is off.
    pub fn stream_records(
        &self,
        table: &str,
        stream: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Value>> {
        let shard = GetShardIteratorRequest {
            stream_arn: stream.to_owned(),
            shard_id: shard_id(table),
            shard_iterator_type: after.map_or("TRIM_HORIZON", |_| "AFTER_SEQUENCE_NUMBER").to_owned(),
            sequence_number: after.map(str::to_owned),
        };
        let iterator = self.database.get_shard_iterator(shard).map_err(|error| fault(table, &error))?;
        let request = GetRecordsRequest {
            shard_iterator: iterator.shard_iterator.unwrap_or_default(),
            limit: Some(limit),
        };
        let page = self.database.get_records(request).map_err(|error| fault(table, &error))?;
        page.records.iter().map(|record| told(record, stream)).collect()
    }

    /// Removes the records of a table's stream before a sequence. The record of that sequence stays: the next ones count on
    /// from it, and whoever reads on from it sees that nothing is missing. A database in memory keeps all.
    ///
    /// # Errors
    /// `SourceUnavailable`.
    pub fn trim_stream(&self, table: &str, before: &str) -> Result<()> {
        let Some(limit) = before.parse::<u128>().ok().and_then(|n| n.checked_sub(SEQUENCE_OFFSET)) else {
            return Ok(());
        };
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.on_file(table, |storage| {
            let delete = "DELETE FROM _stream_records WHERE id IN (SELECT id FROM _stream_records \
                          WHERE table_name = ?1 AND CAST(sequence_number AS INTEGER) < ?2 LIMIT ?3)";
            while storage.conn().execute(delete, (table, limit, CUT))? == CUT {}
            Ok(())
        })
    }

    /// Has the database find a stream's last record, which it looks for at every write, by an index and not by going
    /// through all of them: writing would get slower with every record.
    ///
    /// # Errors
    /// `SourceUnavailable`.
    pub fn index_streams(&self, table: &str) -> Result<()> {
        self.on_file(table, |storage| {
            let create = "CREATE INDEX IF NOT EXISTS holdfast_stream_order \
                          ON _stream_records (table_name, CAST(sequence_number AS INTEGER))";
            storage.conn().execute(create, ())?;
            Ok(())
        })
    }

    /// Works on the database's file, where it has one, with a connection of its own.
    fn on_file(&self, table: &str, work: impl FnOnce(&Storage) -> dynoxide::Result<()>) -> Result<()> {
        let path = self.database.db_path().map_err(|error| fault(table, &error))?;
        let Some(path) = path.filter(|path| !path.is_empty()) else { return Ok(()) };
        Storage::new(&path).and_then(|storage| work(&storage)).map_err(|error| fault(table, &error))
    }
}

/// A record as a function gets it.
fn told(record: &impl Serialize, stream: &str) -> Result<Value> {
    let mut told = serde_json::to_value(record)
        .map_err(|e| Error::new(Code::Internal, format!("a record of a stream is no JSON: {e}")))?;
    let exact = exact_time(&told["dynamodb"]);
    if let Some(time) = exact {
        told["dynamodb"]["ApproximateCreationDateTime"] = time.into();
    }
    told["eventSourceARN"] = stream.into();
    Ok(told)
}

/// The database tells whole seconds; its sequences tell the rest.
#[allow(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit the 53 bits")]
fn exact_time(body: &Value) -> Option<f64> {
    let seconds = body["ApproximateCreationDateTime"].as_f64()?;
    let sequence = body["SequenceNumber"].as_str()?.parse::<u128>().ok()?;
    let micros = i64::try_from(sequence.checked_sub(SEQUENCE_OFFSET)?).ok()?;
    let exact = (micros / 1000) as f64 / 1000.0;
    ((exact - seconds).abs() < 2.0).then_some(exact)
}

fn decoded<T: DeserializeOwned>(request: Value) -> Result<T> {
    serde_json::from_value(request)
        .map_err(|e| Error::new(Code::Internal, format!("a request to the embedded DynamoDB: {e}")))
}

fn fault(table: &str, error: &DynoxideError) -> Error {
    Error::new(Code::SourceUnavailable, format!("the stream of table {table} did not answer: {error}"))
        .object(table)
        .hint("try again a little later")
}
