//! Reads a table with parallel scans.

use super::describe::{describe, read_schema};
use super::item::{read_item, write_item, write_key};
use super::pace::Pace;
use crate::aws::{Side, Subject, Tell};
use crate::batch::RecordBatch;
use crate::source::{Cursor, Flow, RangeSink, RecordSink, Sizing, Source, SourceRange};
use crate::spec::Limits;
use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{ConsumedCapacity, ReturnConsumedCapacity, TableDescription, TableStatus};
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::model::{RecordEncoding, StreamInfo, StreamKind};
use serde::{Deserialize, Serialize};

/// Below this size a table is read by one worker unless its size says otherwise.
const SMALL_TABLE: u64 = 4 << 20;
/// How many segments a scan has at most: a range is a row of job state, and a segment's first page costs a call.
const MOST_SEGMENTS: u64 = 4096;
const BATCH: usize = 1 << 20;

/// A table as a source: one record stream of the table's name.
///
/// Reads are strongly consistent: twice the capacity units, and no item that was there before the backup is missed.
#[derive(Debug)]
pub struct DynamoDbSource {
    client: Client,
    table: String,
    subject: Subject,
    pace: Pace,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Segment {
    segment: i32,
    total: i32,
}

impl DynamoDbSource {
    /// A source that takes its share, as one of `workers`, of the read units that the limits allow.
    #[must_use]
    pub fn new(client: Client, table: impl Into<String>, limits: Limits, workers: u32) -> Self {
        let table = table.into();
        let subject = Subject::new("table", &table, Side::Source);
        Self { client, subject, pace: Pace::new(limits.read_units_per_second, workers), table }
    }

    /// The table's description, if its items can be read now.
    async fn describe(&self) -> Result<TableDescription> {
        let table = describe(&self.client, &self.table, &self.subject).await?.ok_or_else(|| {
            Error::new(Code::SourceMissing, format!("there is no table {}", self.table))
                .object(self.subject.what.clone())
                .hint("check its name, the region and the endpoint")
        })?;
        match &table.table_status {
            // A table whose settings change can be read.
            None | Some(TableStatus::Active | TableStatus::Updating) => Ok(table),
            Some(status) => {
                let what = format!("table {} cannot be read: it is {}", self.table, status.as_str());
                Err(Error::new(Code::SourceUnavailable, what)
                    .object(self.subject.what.clone())
                    .hint("try again when it is ACTIVE"))
            }
        }
    }

    async fn deliver(
        &self,
        items: &[super::item::Item],
        key: &[String],
        out: &mut dyn RecordSink,
    ) -> Result<Flow> {
        let mut flow = Flow::More;
        let mut batch = RecordBatch::with_capacity(BATCH);
        let (mut key_bytes, mut value) = (Vec::new(), Vec::new());
        for item in items {
            key_bytes.clear();
            value.clear();
            write_key(&mut key_bytes, item, key)?;
            write_item(&mut value, item)?;
            batch.push(&key_bytes, &value, 0);
            if batch.bytes() >= BATCH {
                flow = either(flow, out.records(&batch).await?);
                batch.clear();
            }
        }
        if !batch.is_empty() {
            flow = either(flow, out.records(&batch).await?);
        }
        Ok(flow)
    }
}

#[async_trait]
impl Source for DynamoDbSource {
    async fn streams(&self) -> Result<Vec<StreamInfo>> {
        let description = self.describe().await?;
        let schema = read_schema(&self.client, &self.table, &description, &self.subject).await?;
        let key = schema.create_table.key().into_iter().map(|part| part.name).collect();
        let schema = serde_json::to_value(schema)
            .map_err(|error| Error::new(Code::Internal, format!("a table's schema is no JSON: {error}")))?;
        Ok(vec![StreamInfo {
            name: self.table.clone(),
            shape: StreamKind::Records { encoding: RecordEncoding::DynamodbJson, key },
            schema,
        }])
    }

    async fn cut(&self, _stream: &StreamInfo, sizing: &Sizing, out: &mut dyn RangeSink) -> Result<()> {
        let description = self.describe().await?;
        let figure = |figure: Option<i64>| u64::try_from(figure.unwrap_or(0)).unwrap_or(0);
        let total = segments(figure(description.table_size_bytes), figure(description.item_count), sizing);
        for segment in 0..total {
            out.range(SourceRange(serde_json::json!({ "segment": segment, "total": total }))).await?;
        }
        Ok(())
    }

    async fn read_records(
        &self,
        stream: &StreamInfo,
        range: &SourceRange,
        from: Option<&Cursor>,
        out: &mut dyn RecordSink,
    ) -> Result<Option<Cursor>> {
        let unusable =
            |what: &str| Error::new(Code::Internal, format!("{what} of {} is unusable", self.subject.what));
        let StreamKind::Records { key, .. } = &stream.shape else { return Err(unusable("the stream")) };
        let segment: Segment = Deserialize::deserialize(&range.0).map_err(|_| unusable("a range"))?;
        let mut start = match from {
            Some(cursor) => {
                Some(read_item(cursor.0.to_string().as_bytes()).map_err(|_| unusable("a cursor"))?)
            }
            None => None,
        };
        loop {
            let page = self
                .client
                .scan()
                .table_name(&self.table)
                .segment(segment.segment)
                .total_segments(segment.total)
                .consistent_read(true)
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .set_exclusive_start_key(start.take())
                .send()
                .await
                .map_err(|error| self.subject.fault("scan", Tell::NoValues, &error))?;
            let flow = self.deliver(page.items(), key, out).await?;
            self.pace
                .pay(page.consumed_capacity().and_then(ConsumedCapacity::capacity_units).unwrap_or(0.0))
                .await;
            match page.last_evaluated_key {
                None => return Ok(None),
                Some(last) if flow == Flow::Enough => {
                    let mut cursor = Vec::new();
                    write_item(&mut cursor, &last)?;
                    let cursor = serde_json::from_slice(&cursor).map_err(|_| unusable("a cursor"))?;
                    return Ok(Some(Cursor(cursor)));
                }
                Some(last) => start = Some(last),
            }
        }
    }
}

fn either(left: Flow, right: Flow) -> Flow {
    if left == Flow::Enough { left } else { right }
}

/// How many segments a table is scanned in. The service counts a table's size a few times a day, so 0 means unknown.
#[must_use]
pub fn segments(bytes: u64, items: u64, sizing: &Sizing) -> u64 {
    let by_size = bytes.div_ceil(sizing.bytes.max(1)).max(items.div_ceil(sizing.entries.max(1)));
    let least = if bytes == 0 || bytes > SMALL_TABLE { u64::from(sizing.workers) } else { 1 };
    by_size.max(least).clamp(1, MOST_SEGMENTS)
}

#[cfg(test)]
mod tests {
    use super::segments;
    use crate::source::Sizing;

    #[test]
    fn segments_follow_the_size_of_the_table() {
        let sizing = Sizing { bytes: 64 << 20, entries: 1_000_000, workers: 4 };
        assert_eq!(segments(0, 0, &sizing), 4, "unknown");
        assert_eq!(segments(1000, 3, &sizing), 1);
        assert_eq!(segments(5 << 20, 3, &sizing), 4);
        assert_eq!(segments(1 << 30, 3, &sizing), 16);
        assert_eq!(segments(5 << 20, 9_500_000, &sizing), 10);
        assert_eq!(segments(u64::MAX, 3, &sizing), 4096);
    }
}
