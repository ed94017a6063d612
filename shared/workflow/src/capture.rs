//! Captures changes of a table as they happen: records of its stream become change objects of the vault.
//!
//! The service delivers at least once, in batches that it cuts as it likes, and of a table's shards in any order. Every
//! batch becomes an object of its own; a change that was delivered twice stands in two objects and counts once, by its
//! key and sequence, when it is read. The row of job state that says how far the capture is follows the object.

mod batch;
mod check;
mod events;
mod expire;
pub mod log;
mod progress;
mod rollup;
mod rows;

pub use batch::gap;
pub use check::{CheckAnswer, CheckEvent, check};
pub use events::{CaptureAnswer, CaptureEvent, ItemFailure, Refusal, Tail};
pub use expire::{ExpireAnswer, ExpireEvent, expire};
pub(crate) use expire::{expired_before, to_expire};
pub use progress::label_time;
pub use rollup::{GATHERED, rollup};
pub(crate) use rows::gone;
pub use rows::{known, rebuild};

use crate::config::Resource;
use crate::services::{Services, Step};
use batch::Batch;
use holdfast_connectors::SourceSpec;
use holdfast_connectors::dynamodb::{StreamName, StreamRecord};
use holdfast_vault::error::{Code, Error, Result};

/// Stores a batch of records of a table's stream. The answer names the first record that could not be taken: all before
/// it are stored, and the service delivers again from there.
///
/// # Errors
/// `InvalidInput` if the event is none of a table's stream, `ResourceUnknown` if no resource is that table, `Source*` if
/// its key cannot be asked for, or what storage and state give; the whole batch may be delivered again.
#[must_use]
pub fn capture<'a>(services: &'a Services, event: &'a CaptureEvent) -> Step<'a, CaptureAnswer> {
    Box::pin(async move {
        let records = event.records.iter().map(StreamRecord::new).collect::<Result<Vec<_>>>()?;
        let Some(stream) = stream(event, &records)? else { return Ok(CaptureAnswer::default()) };
        let mut refused: Option<(usize, Error)> = None;
        for resource in resources(services, &stream, event.tail.as_ref()).await? {
            let batch = Batch::new(services, &resource, &stream, &records, event.tail.as_ref()).await?;
            let failed = batch.store().await?;
            if let Some((at, error)) = failed
                && refused.as_ref().is_none_or(|(known, _)| at < *known)
            {
                refused = Some((at, error));
            }
        }
        let Some((at, error)) = refused else { return Ok(CaptureAnswer::default()) };
        tracing::error!(
            table = stream.table,
            code = error.code.as_str(),
            error.message,
            "a record of a stream cannot be taken"
        );
        let why = event.tail.as_ref().map(|_| Refusal::new(&error));
        let failures = vec![ItemFailure { sequence: records[at].sequence.clone() }];
        Ok(CaptureAnswer { failures, why })
    })
}

/// The stream that all records are of.
fn stream(event: &CaptureEvent, records: &[StreamRecord<'_>]) -> Result<Option<StreamName>> {
    let told = event.tail.as_ref().map(|tail| StreamName::parse(&tail.stream)).transpose()?;
    let Some(stream) = told.or_else(|| records.first().map(|record| record.stream.clone())) else {
        return Ok(None);
    };
    if records.iter().any(|record| record.stream != stream) {
        return Err(Error::new(Code::InvalidInput, "the event has records of several streams")
            .object("eventSourceARN")
            .hint("hand each stream's records on by themselves"));
    }
    Ok(Some(stream))
}

/// The resources whose source is the stream's table: the one that the tail names, or all.
async fn resources(services: &Services, stream: &StreamName, tail: Option<&Tail>) -> Result<Vec<Resource>> {
    let mut found = Vec::new();
    for (name, document) in services.jobs.resources().all().await? {
        // A resource that cannot be read is told by the commands that are asked for it.
        let Ok(resource) = serde_json::from_value::<Resource>(document) else { continue };
        let SourceSpec::Dynamodb { table, region, .. } = &resource.source else { continue };
        let meant = match tail {
            Some(tail) => tail.resource == name,
            None => region.as_ref().is_none_or(|region| *region == stream.region),
        };
        if meant && *table == stream.table {
            found.push(resource);
        }
    }
    if found.is_empty() {
        return Err(Error::new(Code::ResourceUnknown, format!("no resource is table {}", stream.table))
            .object(&stream.table)
            .hint("add it with `holdfast apply -f FILE`, or remove the function from the table's stream"));
    }
    Ok(found)
}
