//! Puts items back into a table that others write to.

use super::item::{Item, read_item, read_key, write_item};
use super::number::{KeyValue, key_values, same_item};
use super::pace::Pace;
use super::present::BATCH_READS;
use super::swap::{Place, Swap};
use super::table::{Delays, Table};
use crate::aws::{Side, Subject};
use crate::live::{Live, Revert, Reverted, check_distinct};
use crate::spec::Limits;
use crate::target::OnConflict;
use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use futures::stream::{self, StreamExt, TryStreamExt};
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::model::{RecordEncoding, StreamInfo, StreamKind};
use std::collections::HashMap;

const WRITES_AT_ONCE: usize = 16;
/// How often an item is tried anew because somebody was faster.
const MOST_TRIES: usize = 8;

/// A table that an undo works in.
///
/// Every item is read, compared, and then written on the condition that it still is what was read. What holds:
///
/// - Of an item that is changed back, only the attributes that differ are written, each only while it is what the bad
///   writer left. What somebody writes between the reading and the writing is never lost: either the condition fails,
///   or an attribute that was added stays, and the item is told as a conflict.
/// - An item comes back only while there is none.
/// - An item that is to go is deleted on the condition that its attributes are as they were left. An attribute that
///   somebody adds between the reading and the deletion cannot be part of the condition: it is found in the answer and
///   the item is put back at once. It is lost only if this process, or the answer, dies in that moment.
/// - Where more than about 120 attributes of an item differ, and in deletions of items with more, those beyond are
///   treated as added ones.
#[derive(Debug)]
pub struct DynamoDbLive {
    pub(super) table: Table,
    pub(super) reads: Pace,
    pub(super) writes: Pace,
}

/// A revert as items.
struct Wanted<'a> {
    place: Place<'a>,
    was: Option<Item>,
    left: Option<Item>,
}

impl DynamoDbLive {
    /// A table that is worked within a worker's share of the limits' read and write units.
    #[must_use]
    pub fn new(client: Client, table: impl Into<String>, limits: Limits) -> Self {
        let name = table.into();
        let subject = Subject::new("table", &name, Side::Target);
        let cores = || {
            std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(1))
        };
        let workers = limits.workers.unwrap_or_else(cores);
        Self {
            table: Table { client, name, subject, delays: Delays::default() },
            reads: Pace::new(limits.read_units_per_second, workers),
            writes: Pace::new(limits.write_units_per_second, workers),
        }
    }

    /// The same with other waiting times.
    #[must_use]
    pub fn with_delays(mut self, delays: Delays) -> Self {
        self.table.delays = delays;
        self
    }

    fn key<'s>(&self, stream: &'s StreamInfo) -> Result<&'s [String]> {
        match &stream.shape {
            StreamKind::Records { encoding: RecordEncoding::DynamodbJson, key } if !key.is_empty() => Ok(key),
            _ => Err(Error::new(
                Code::InvalidInput,
                format!("stream {} holds no items of table {}", stream.name, self.table.name),
            )
            .object(&stream.name)
            .hint("undo a stream that was backed up from this table")),
        }
    }

    /// What the table holds under up to a hundred keys.
    async fn present(&self, names: &[String], keys: &[&Item]) -> Result<HashMap<Vec<KeyValue>, Item>> {
        let distinct: HashMap<_, _> =
            keys.iter().filter_map(|key| Some((key_values(key, names)?, (*key).clone()))).collect();
        self.table.present(names, distinct.into_values().collect(), Some(&self.reads)).await
    }

    /// Puts one item back that was read as `now`.
    async fn put_back(
        &self,
        wanted: Wanted<'_>,
        mut now: Option<Item>,
        policy: OnConflict,
    ) -> Result<Reverted> {
        let Wanted { place, was, left } = wanted;
        let conflict = |now: Option<&Item>, overwritten| {
            Ok(Reverted::Conflict { now: now.map(bytes).transpose()?, overwritten })
        };
        // What was written over as the policy says, or by an update that met more than it knew of.
        let mut displaced: Option<Option<Item>> = None;
        let mut mixed = false;
        for _ in 0..MOST_TRIES {
            if same(now.as_ref(), was.as_ref()) {
                // A write whose answer was lost looks so too: what it may have displaced is told.
                return match displaced {
                    Some(item) => conflict(item.as_ref(), true),
                    None => Ok(Reverted::Already),
                };
            }
            let bad = same(now.as_ref(), left.as_ref());
            if !bad && policy != OnConflict::Overwrite {
                return conflict(now.as_ref(), false);
            }
            if !bad && !mixed {
                displaced = Some(now.clone());
            }
            match self.swap(&place, now.as_ref(), was.as_ref()).await? {
                Swap::Done => {
                    return match displaced {
                        Some(item) => conflict(item.as_ref(), true),
                        None => Ok(Reverted::Done),
                    };
                }
                Swap::Found(found) => {
                    if !same(found.as_ref(), was.as_ref()) {
                        (displaced, mixed) = (None, false);
                    }
                    now = found;
                }
                Swap::Mixed { before, after } => {
                    (displaced, mixed) = (Some(Some(before)), true);
                    now = Some(after);
                }
            }
        }
        conflict(now.as_ref(), false)
    }
}

#[async_trait]
impl Live for DynamoDbLive {
    async fn read(&self, stream: &StreamInfo, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>> {
        let names = self.key(stream)?;
        let mut out = Vec::with_capacity(keys.len());
        for some in keys.chunks(BATCH_READS) {
            let keys: Vec<Item> = some.iter().map(|key| read_key(key, names)).collect::<Result<_>>()?;
            let present = self.present(names, &keys.iter().collect::<Vec<_>>()).await?;
            for key in &keys {
                let item = key_values(key, names).and_then(|key| present.get(&key));
                out.push(item.map(bytes).transpose()?);
            }
        }
        Ok(out)
    }

    async fn revert(
        &self,
        stream: &StreamInfo,
        reverts: &[Revert],
        on_conflict: OnConflict,
    ) -> Result<Vec<Reverted>> {
        let names = self.key(stream)?;
        check_distinct(reverts)?;
        let mut out = Vec::with_capacity(reverts.len());
        for some in reverts.chunks(BATCH_READS) {
            let wanted: Vec<Wanted> =
                some.iter().map(|revert| Wanted::of(revert, names)).collect::<Result<_>>()?;
            let keys: Vec<&Item> = wanted.iter().map(|wanted| &wanted.place.key).collect();
            let mut present = self.present(names, &keys).await?;
            let writes: Vec<_> = wanted
                .into_iter()
                .map(|wanted| {
                    let key = key_values(&wanted.place.key, names);
                    let now = key.and_then(|key| present.remove(&key));
                    self.put_back(wanted, now, on_conflict)
                })
                .collect();
            let done: Vec<Reverted> = stream::iter(writes).buffered(WRITES_AT_ONCE).try_collect().await?;
            out.extend(done);
        }
        Ok(out)
    }
}

impl<'a> Wanted<'a> {
    fn of(revert: &Revert, names: &'a [String]) -> Result<Self> {
        let key = read_key(&revert.key, names)?;
        let values = key_values(&key, names);
        let item = |bytes: &Option<Vec<u8>>| -> Result<Option<Item>> {
            let Some(bytes) = bytes else { return Ok(None) };
            let item = read_item(bytes)?;
            if values.is_none() || key_values(&item, names) != values {
                return Err(Error::new(Code::Internal, "a record to be put back has another key"));
            }
            Ok(Some(item))
        };
        Ok(Self { was: item(&revert.was)?, left: item(&revert.left)?, place: Place { names, key } })
    }
}

fn same(left: Option<&Item>, right: Option<&Item>) -> bool {
    match (left, right) {
        (Some(left), Some(right)) => same_item(left, right),
        (left, right) => left.is_none() && right.is_none(),
    }
}

fn bytes(item: &Item) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    write_item(&mut out, item)?;
    Ok(out)
}
