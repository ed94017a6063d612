//! The tailer: reads the stream of an embedded table and hands it to the capture function, as the service would.

use crate::clients::EMBEDDED;
use crate::cloud::Cloud;
use crate::dynamodb::stream::{BOTH_IMAGES, StreamState};
use holdfast_common::jobs::CaptureRow;
use holdfast_connectors::SourceSpec;
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::format::changes::compare_sequences;
use holdfast_workflow::capture::{self, CaptureAnswer, CaptureEvent, Tail};
use holdfast_workflow::config::Resource;
use holdfast_workflow::handler;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use std::time::Duration;

/// Records in one call of the capture function, at most.
const BATCH: usize = 1_000;
/// Records asked for at a time: they may have 400 KB before and after.
const PAGE: usize = 50;
/// Bytes of records in one call, about.
const BATCH_BYTES: usize = 6 << 20;

/// What one pass over a table's stream captured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CaptureReport {
    /// The resource.
    pub resource: String,
    /// Changes captured by this pass.
    pub changes: u64,
    /// Calls of the capture function.
    pub batches: u64,
    /// From then on every change is captured, but for the gaps.
    pub since: Timestamp,
    /// Up to then.
    pub watermark: Timestamp,
    /// Gaps in all of that time.
    pub gaps: usize,
    /// Gaps that this pass found.
    pub new_gaps: usize,
    /// Whether this pass switched the table's stream on.
    pub switched_on: bool,
}

impl Cloud {
    /// Captures all changes of an embedded table that its stream holds, and no other is waited for.
    ///
    /// # Errors
    /// `ResourceUnknown`, `InvalidInput` if it is no embedded table or not to be captured, `Source*` if its stream has no
    /// records that can be taken, or what storage and state give. What was captured until then stays captured.
    pub async fn capture(&self, resource: &str) -> Result<CaptureReport> {
        let resource: Resource = handler::decode(self.services().jobs.resource(resource).await?)?;
        let table = table(&resource)?;
        let (stream, switched_on) = self.stream(&resource, table)?;
        let row = capture::known(self.services(), &resource.name).await?;
        let gaps = row.as_ref().map_or(0, |row| row.gaps.len());
        let row = row.filter(|row| row.stream == table);
        let mut pass = Pass::new(self, &resource.name, table, &stream, row).await?;
        pass.shared = self.is_shared(&resource.name, table).await?;
        pass.run().await?;
        let coverage = capture::log::coverage(self.services(), &resource.name).await?;
        let coverage = coverage.ok_or_else(|| {
            Error::new(Code::Internal, format!("the capture of {} left no row", resource.name))
        })?;
        passed().await;
        Ok(CaptureReport {
            resource: resource.name.clone(),
            changes: pass.changes,
            batches: pass.batches,
            since: coverage.since,
            watermark: coverage.watermark,
            gaps: coverage.gaps.len(),
            new_gaps: coverage.gaps.len().saturating_sub(gaps),
            switched_on,
        })
    }

    /// Whether the table is another resource too, which may not have captured yet what this one has.
    async fn is_shared(&self, resource: &str, of: &str) -> Result<bool> {
        let all = self.services().jobs.resources().all().await?;
        let mut others = all.into_iter().filter(|(name, _)| name != resource);
        Ok(others.any(|(_, document)| {
            serde_json::from_value::<Resource>(document)
                .is_ok_and(|other| table(&other).is_ok_and(|it| it == of))
        }))
    }

    /// The table's stream, on and with both images, and whether it was switched on for this.
    fn stream(&self, resource: &Resource, table: &str) -> Result<(StreamState, bool)> {
        let mut switched_on = false;
        let stream = match self.tables.stream(table)? {
            Some(stream) => stream,
            None if resource.policy.capture => {
                self.tables.switch_stream_on(table)?;
                switched_on = true;
                let off = || Error::new(Code::SourceUnavailable, format!("table {table} has no stream"));
                self.tables.stream(table)?.ok_or_else(off)?
            }
            None => {
                let message =
                    format!("the stream of table {table} is off, and {} is not captured", resource.name);
                return Err(Error::new(Code::InvalidInput, message)
                    .object("policy.capture")
                    .hint("set `capture: true` in the resource's policy and apply it"));
            }
        };
        if stream.view != BOTH_IMAGES {
            let message = format!("the stream of table {table} holds {} only", stream.view);
            return Err(Error::new(Code::SourceInvalid, message)
                .object(table)
                .hint(format!("switch it off and on again with {BOTH_IMAGES}")));
        }
        self.tables.index_streams(table)?;
        Ok((stream, switched_on))
    }
}

fn table(resource: &Resource) -> Result<&str> {
    let refused = |why: &str, hint: &str| {
        Err(Error::new(Code::InvalidInput, format!("{} {why}", resource.name))
            .object(&resource.name)
            .hint(hint))
    };
    match &resource.source {
        SourceSpec::Dynamodb { table, endpoint: Some(endpoint), .. } if endpoint == EMBEDDED => Ok(table),
        SourceSpec::Dynamodb { .. } => refused(
            "is no table of this home",
            "the capture function on the table's stream captures it, where Holdfast is deployed",
        ),
        _ => refused("is no table", "only changes of tables can be captured"),
    }
}

/// Waits until this millisecond is over, and gives it: what is written from now on has a later time.
async fn passed() -> i64 {
    let now = Timestamp::now().as_millisecond();
    while Timestamp::now().as_millisecond() == now {
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    now
}

/// One pass over a stream.
struct Pass<'a> {
    cloud: &'a Cloud,
    table: &'a str,
    tail: Tail,
    last: Option<String>,
    shared: bool,
    changes: u64,
    batches: u64,
}

impl<'a> Pass<'a> {
    async fn new(
        cloud: &'a Cloud,
        resource: &str,
        table: &'a str,
        stream: &StreamState,
        row: Option<CaptureRow>,
    ) -> Result<Self> {
        let known = row.is_some();
        let last = row.and_then(|row| row.last_sequence);
        let now = passed().await + 1;
        // The record that was captured last is kept in the stream: where it is gone, others may be gone too.
        let trimmed = last.as_ref().is_some_and(|last| {
            stream.first.as_ref().is_none_or(|first| compare_sequences(last, first).is_lt())
        });
        let first = cloud.tables.stream_records(table, &stream.arn, None, 1)?;
        let begins = first.first().and_then(|record| record.pointer("/dynamodb/ApproximateCreationDateTime"));
        #[allow(clippy::cast_possible_truncation, reason = "milliseconds since 1970 fit")]
        let begins = begins.and_then(Value::as_f64).map(|seconds| (seconds * 1000.0).round() as i64);
        let made = capture::label_time(&stream.label).map(|made| made + 1);
        // What is cut off is always the oldest, so from the first record on nothing is missing. The database keeps the
        // records of earlier streams of the table, so of a new one only its age counts.
        let complete_from = if known && !trimmed { made } else { begins };
        let tail = Tail {
            resource: resource.to_owned(),
            stream: stream.arn.clone(),
            complete_from: complete_from.unwrap_or(now),
            trimmed,
            up_to: None,
        };
        Ok(Self { cloud, table, tail, last, shared: false, changes: 0, batches: 0 })
    }

    /// Reads until nothing is left. Then all is captured that was written up to the moment before the last reading.
    async fn run(&mut self) -> Result<()> {
        loop {
            let before = passed().await;
            let (records, ended) = self.batch()?;
            self.tail.up_to = ended.then_some(before);
            let count = records.len() as u64;
            let last = records.last().and_then(|record| record.pointer("/dynamodb/SequenceNumber"));
            let last = last.and_then(Value::as_str).map(str::to_owned);
            let event = CaptureEvent { records, tail: Some(self.tail.clone()) };
            let answer = self.cloud.functions().invoke("capture", handler::encode(&event)?).await?;
            let answer: CaptureAnswer = handler::decode(answer)?;
            if let Some(failure) = answer.failures.first() {
                let unsaid = || Error::new(Code::SourceInvalid, "a record of the stream cannot be taken");
                return Err(answer.why.map_or_else(unsaid, |why| why.error()).object(&failure.sequence));
            }
            (self.changes, self.batches) = (self.changes + count, self.batches + 1);
            self.tail.trimmed = false;
            if let Some(last) = last {
                if !self.shared {
                    self.cloud.tables.trim_stream(self.table, &last)?;
                }
                self.last = Some(last);
            }
            if ended {
                return Ok(());
            }
        }
    }

    /// The next records, and whether they are all that there are.
    fn batch(&self) -> Result<(Vec<Value>, bool)> {
        let (mut records, mut bytes): (Vec<Value>, usize) = (Vec::new(), 0);
        let mut last = self.last.clone();
        while records.len() < BATCH && bytes < BATCH_BYTES {
            let limit = PAGE.min(BATCH - records.len());
            let page =
                self.cloud.tables.stream_records(self.table, &self.tail.stream, last.as_deref(), limit)?;
            let Some(end) = page.last() else { return Ok((records, true)) };
            last = end.pointer("/dynamodb/SequenceNumber").and_then(Value::as_str).map(str::to_owned);
            bytes += page.iter().map(weight).sum::<usize>();
            records.extend(page);
        }
        Ok((records, false))
    }
}

fn weight(record: &Value) -> usize {
    let size = record.pointer("/dynamodb/SizeBytes").and_then(Value::as_u64).unwrap_or(0);
    usize::try_from(size).unwrap_or(usize::MAX)
}
