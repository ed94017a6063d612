//! Restores a record stream into a table.

use super::describe::{FILLED_BY, MADE_BY, definition};
use super::pace::Pace;
use super::schema::{KeyPart, TableSchema};
use super::table::{Delays, Table};
use crate::aws::{Side, Subject, Tell};
use crate::batch::RecordBatch;
use crate::spec::Limits;
use crate::target::{Content, OnConflict, Position, RestoreOrder, Target, Written};
use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{TableDescription, TableStatus};
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::model::{EntryMeta, RecordEncoding, StreamInfo, StreamKind, Warning};
use tokio::sync::OnceCell;

/// A table as a target: the items of one record stream.
///
/// A table that is missing is made from the stream's schema and carries the tag `holdfast:restore` until it is
/// finished; only a table with this restore's tag is ever deleted. A table that was there before, and empty, carries
/// `holdfast:restore-into`, so that a repeat of the same restore knows its own items; if the restore fails, the items
/// that it wrote there stay.
///
/// Streams of JSON records need pointers of one level (`/id`) as their key, at most two. A table that is made for them
/// has keys of text, unless the stream's schema says `{"key_types": {"id": "N"}}`.
#[derive(Debug)]
pub struct DynamoDbTarget {
    pub(super) table: Table,
    pub(super) on_conflict: OnConflict,
    pub(super) pace: Pace,
    state: OnceCell<State>,
}

/// What writing needs to know of the table.
#[derive(Debug)]
pub(super) struct State {
    /// A restore made the table, so nothing in it can be anything else than what is written.
    pub made: bool,
    pub key: Vec<KeyPart>,
}

enum Found {
    Absent(Box<TableSchema>),
    Present { table: Box<TableDescription>, claimed: bool },
}

impl DynamoDbTarget {
    /// A target that writes with the policy for conflicts, within its share of the limits' write units.
    #[must_use]
    pub fn new(client: Client, table: impl Into<String>, limits: Limits, on_conflict: OnConflict) -> Self {
        let name = table.into();
        let subject = Subject::new("table", &name, Side::Target);
        let cores = || {
            std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(1))
        };
        let pace = Pace::new(limits.write_units_per_second, limits.workers.unwrap_or_else(cores));
        let table = Table { client, name, subject, delays: Delays::default() };
        Self { table, on_conflict, pace, state: OnceCell::new() }
    }

    /// The same with other waiting times.
    #[must_use]
    pub fn with_delays(mut self, delays: Delays) -> Self {
        self.table.delays = delays;
        self
    }

    pub(super) fn invalid(&self, why: impl std::fmt::Display) -> Error {
        Error::new(Code::TargetInvalid, format!("table {} {why}", self.table.name))
            .object(self.table.subject.what.clone())
    }

    /// The one stream that is ordered.
    fn stream<'a>(&self, order: &'a RestoreOrder) -> Result<&'a StreamInfo> {
        match order.streams.as_slice() {
            [stream] if matches!(stream.shape, StreamKind::Records { .. }) => Ok(stream),
            [stream] => {
                Err(self.invalid(format_args!("cannot hold stream {}, which is a file tree", stream.name)))
            }
            streams => Err(self
                .invalid(format_args!("takes one record stream, not {}", streams.len()))
                .hint("choose one with --stream")),
        }
    }

    /// The table that the stream would have been made in; for JSON one with the stream's key.
    fn wanted(&self, stream: &StreamInfo) -> Result<TableSchema> {
        match &stream.shape {
            StreamKind::Records { encoding: RecordEncoding::DynamodbJson, .. } => {
                TableSchema::of_stream(stream)
            }
            StreamKind::Records { encoding: RecordEncoding::Json, key } => {
                Ok(TableSchema::plain(&self.json_key(stream, key)?))
            }
            StreamKind::Tree => Err(self.invalid(format_args!("cannot hold stream {}", stream.name))),
        }
    }

    fn json_key(&self, stream: &StreamInfo, pointers: &[String]) -> Result<Vec<KeyPart>> {
        let unusable = || {
            self.invalid(format_args!(
                "cannot have the key of stream {}: {}",
                stream.name,
                pointers.join(", ")
            ))
            .hint("a table's key is one or two attributes of the record itself, such as /id")
        };
        if pointers.is_empty() {
            return Err(self
                .invalid(format_args!("cannot hold stream {}, whose records carry no key", stream.name))
                .hint("restore it to json:FILE or jsonl:DIR"));
        }
        if pointers.len() > 2 {
            return Err(unusable());
        }
        let part = |pointer: &String| {
            let name = pointer.strip_prefix('/').filter(|name| !name.is_empty() && !name.contains('/'));
            let name = name.ok_or_else(unusable)?.replace("~1", "/").replace("~0", "~");
            let kind = match stream.schema.get("key_types").and_then(|types| types.get(&name)) {
                None => "S",
                Some(kind) => kind.as_str().filter(|kind| matches!(*kind, "S" | "N")).ok_or_else(unusable)?,
            };
            Ok(KeyPart { name, kind: kind.to_owned() })
        };
        pointers.iter().map(part).collect()
    }

    async fn look(&self, order: &RestoreOrder) -> Result<Found> {
        let stream = self.stream(order)?;
        let Some(table) = self.table.describe().await? else {
            return Ok(Found::Absent(Box::new(self.wanted(stream)?)));
        };
        match &table.table_status {
            None | Some(TableStatus::Active | TableStatus::Creating | TableStatus::Updating) => {}
            Some(status) => return Err(self.table.not_ready(status.as_str())),
        }
        self.check_key(stream, &table)?;
        let tags = self.table.tags(&table).await?;
        let of_this = |name: &str| tags.get(name).is_some_and(|id| *id == order.restore_id);
        if let Some(other) =
            [MADE_BY, FILLED_BY].into_iter().find(|tag| tags.contains_key(*tag) && !of_this(tag))
        {
            return Err(self
                .invalid(format_args!("is being written by restore {}", tags[other]))
                .hint("wait for that restore to end, or delete the table if it never will"));
        }
        let claimed = of_this(MADE_BY) || of_this(FILLED_BY);
        if order.on_conflict == OnConflict::Fail && !claimed && !self.is_empty().await? {
            return Err(Error::new(Code::TargetNotEmpty, format!("table {} is not empty", self.table.name))
                .object(self.table.subject.what.clone())
                .hint("restore into a new table, or say --on-conflict skip or overwrite"));
        }
        Ok(Found::Present { table: Box::new(table), claimed })
    }

    fn check_key(&self, stream: &StreamInfo, table: &TableDescription) -> Result<()> {
        let (wanted, typed) = match &stream.shape {
            // The type of a JSON key is what the table says.
            StreamKind::Records { encoding: RecordEncoding::Json, key } => {
                (self.json_key(stream, key)?, false)
            }
            StreamKind::Records { key, .. } => {
                if let Ok(schema) = TableSchema::of_stream(stream) {
                    (schema.create_table.key(), true)
                } else {
                    // The definition is needed only where there is no table.
                    let part = |name: &String| KeyPart { name: name.clone(), kind: "?".to_owned() };
                    (key.iter().map(part).collect(), false)
                }
            }
            StreamKind::Tree => return Err(self.invalid(format_args!("cannot hold stream {}", stream.name))),
        };
        let present = definition(table).key();
        let same = |(left, right): (&KeyPart, &KeyPart)| {
            left.name == right.name && (!typed || left.kind == right.kind)
        };
        if wanted.len() == present.len() && wanted.iter().zip(&present).all(same) {
            return Ok(());
        }
        let told = |key: &[KeyPart]| {
            key.iter().map(|part| format!("{} ({})", part.name, part.kind)).collect::<Vec<_>>().join(", ")
        };
        Err(self
            .invalid(format_args!(
                "has the key {}, and stream {} has {}",
                told(&present),
                stream.name,
                told(&wanted)
            ))
            .hint("restore into a new table"))
    }

    async fn is_empty(&self) -> Result<bool> {
        let scan =
            self.table.client.scan().table_name(&self.table.name).limit(1).consistent_read(true).send();
        let page = scan.await.map_err(|error| self.table.subject.fault("scan", Tell::NoValues, &error))?;
        Ok(page.items().is_empty() && page.last_evaluated_key.is_none())
    }

    pub(super) async fn state(&self) -> Result<&State> {
        self.state
            .get_or_try_init(|| async {
                let table = self.table.describe().await?.ok_or_else(|| self.table.gone())?;
                let made = self.table.tags(&table).await?.contains_key(MADE_BY);
                Ok(State { made, key: definition(&table).key() })
            })
            .await
    }
}

#[async_trait]
impl Target for DynamoDbTarget {
    async fn check(&self, order: &RestoreOrder) -> Result<()> {
        self.look(order).await.map(|_| ())
    }

    async fn prepare(&self, order: &RestoreOrder) -> Result<()> {
        match self.look(order).await? {
            Found::Absent(schema) => self.table.create(&schema, &order.restore_id).await,
            Found::Present { table, claimed } => {
                self.table.wait_active().await?;
                if order.on_conflict == OnConflict::Fail && !claimed {
                    self.table.claim(&table, &order.restore_id).await?;
                }
                Ok(())
            }
        }
    }

    async fn write_records(
        &self,
        stream: &StreamInfo,
        _at: Position,
        batch: &RecordBatch,
    ) -> Result<Written> {
        self.write(stream, batch).await
    }

    async fn write_entry(&self, stream: &StreamInfo, _: &EntryMeta, _: &mut dyn Content) -> Result<Written> {
        Err(self.invalid(format_args!("cannot hold stream {}, which is a file tree", stream.name)))
    }

    async fn finish(&self, order: &RestoreOrder) -> Result<Vec<Warning>> {
        let stream = self.stream(order)?;
        let table = self.table.describe().await?.ok_or_else(|| self.table.gone())?;
        let tags = self.table.tags(&table).await?;
        let of_this = |name: &str| tags.get(name).is_some_and(|id| *id == order.restore_id);
        let mut warnings = Vec::new();
        if of_this(MADE_BY) {
            warnings = self.table.settle(&self.wanted(stream)?).await?;
            self.table.untag(&table, MADE_BY).await?;
        }
        if of_this(FILLED_BY) {
            self.table.untag(&table, FILLED_BY).await?;
        }
        Ok(warnings)
    }

    async fn abandon(&self, order: &RestoreOrder) -> Result<()> {
        let Some(table) = self.table.describe().await? else { return Ok(()) };
        if table.table_status == Some(TableStatus::Deleting) {
            return Ok(());
        }
        let tags = self.table.tags(&table).await?;
        let of_this = |name: &str| tags.get(name).is_some_and(|id| *id == order.restore_id);
        if of_this(MADE_BY) {
            return self.table.delete(&table).await;
        }
        if of_this(FILLED_BY) {
            self.table.untag(&table, FILLED_BY).await?;
        }
        Ok(())
    }
}
