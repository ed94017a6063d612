//! How rows are written as items and read back.

use super::table::{BY_KIND, BY_OPEN, BY_RESOURCE, EXPIRES_AT, PARTITION_KEY, SORT_KEY};
use super::{Job, PackRow, Status, Task, Totals, time};
use aws_sdk_dynamodb::types::AttributeValue;
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::model::Warning;
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::HashMap;

pub(super) type Item = HashMap<String, AttributeValue>;

pub(super) const JOB_SORT: &str = "JOB";
pub(super) const TASK_PREFIX: &str = "TASK#";
pub(super) const PACK_PREFIX: &str = "PACK#";
pub(super) const RESOURCE_PARTITION: &str = "RESOURCE";
/// Where [`BY_OPEN`] keeps its jobs.
pub(super) const OPEN_PARTITION: &str = "open";

pub(super) fn job_partition(job: &str) -> String {
    format!("JOB#{job}")
}

pub(super) fn task_sort(task: u32) -> String {
    format!("{TASK_PREFIX}{task:010}")
}

fn pack_sort(row: &PackRow) -> String {
    format!("{PACK_PREFIX}{:010}#{:010}#{:010}", row.task, row.step, row.index)
}

pub(super) fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

pub(super) fn number(value: impl Into<u64>) -> AttributeValue {
    AttributeValue::N(value.into().to_string())
}

pub(super) fn json<T: Serialize + ?Sized>(value: &T) -> Result<AttributeValue> {
    serde_json::to_string(value).map(AttributeValue::S).map_err(|error| {
        Error::new(Code::Internal, format!("a row of job state could not be encoded: {error}"))
    })
}

pub(super) fn key(partition: impl Into<String>, sort: impl Into<String>) -> Item {
    HashMap::from([(PARTITION_KEY.to_owned(), text(partition)), (SORT_KEY.to_owned(), text(sort))])
}

/// The text of an attribute; its absence is an unreadable row.
pub(super) fn read_text<'a>(item: &'a Item, name: &str) -> Result<&'a str> {
    match item.get(name) {
        Some(AttributeValue::S(text)) => Ok(text),
        _ => Err(unreadable(item, name)),
    }
}

pub(super) fn read_number(item: &Item, name: &str) -> Result<u64> {
    match item.get(name) {
        Some(AttributeValue::N(digits)) => digits.parse().map_err(|_| unreadable(item, name)),
        _ => Err(unreadable(item, name)),
    }
}

fn read_u32(item: &Item, name: &str) -> Result<u32> {
    u32::try_from(read_number(item, name)?).map_err(|_| unreadable(item, name))
}

pub(super) fn read_json<T: DeserializeOwned>(item: &Item, name: &str) -> Result<T> {
    serde_json::from_str(read_text(item, name)?).map_err(|_| unreadable(item, name))
}

fn read_optional_json<T: DeserializeOwned>(item: &Item, name: &str) -> Result<Option<T>> {
    item.contains_key(name).then(|| read_json(item, name)).transpose()
}

pub(super) fn read_time(item: &Item, name: &str) -> Result<Option<Timestamp>> {
    let parse = || read_text(item, name)?.parse().map_err(|_| unreadable(item, name));
    item.contains_key(name).then(parse).transpose()
}

fn unreadable(item: &Item, name: &str) -> Error {
    let part = |name| item.get(name).and_then(|value| value.as_s().ok()).map_or("?", String::as_str);
    let row = format!("{} {}", part(PARTITION_KEY), part(SORT_KEY));
    Error::new(Code::Internal, format!("row {row} of the job table has no readable {name}"))
        .object(row)
        .hint("use the version of Holdfast that wrote it, or `holdfast rebuild` to write it anew")
}

pub(super) fn job_item(job: &Job, revision: u64) -> Result<Item> {
    let mut item = key(job_partition(&job.id), JOB_SORT);
    let kind = job.kind.as_str();
    item.extend([
        (BY_KIND.partition_key.to_owned(), text(kind)),
        (BY_KIND.sort_key.to_owned(), text(&job.id)),
        (BY_RESOURCE.partition_key.to_owned(), text(resource_partition(kind, &job.resource))),
        ("status".to_owned(), text(job.status.as_str())),
        ("revision".to_owned(), number(revision)),
        ("body".to_owned(), json(job)?),
    ]);
    if !job.status.is_terminal() {
        item.insert(BY_OPEN.partition_key.to_owned(), text(OPEN_PARTITION));
    }
    item.extend(job.rows_expire_at().map(|at| (EXPIRES_AT.to_owned(), seconds(at))));
    Ok(item)
}

/// A time as the service reads it in [`EXPIRES_AT`].
pub(super) fn seconds(at: Timestamp) -> AttributeValue {
    number(u64::try_from(at.as_second()).unwrap_or(0))
}

/// Where [`BY_RESOURCE`] keeps a resource's jobs of a kind.
pub(super) fn resource_partition(kind: &str, resource: &str) -> String {
    format!("{kind}#{resource}")
}

pub(super) fn read_job(item: &Item) -> Result<Job> {
    read_json(item, "body")
}

pub(super) fn task_item(task: &Task) -> Result<Item> {
    let mut item = key(job_partition(&task.job), task_sort(task.task));
    item.extend([
        ("job".to_owned(), text(&task.job)),
        ("task".to_owned(), number(task.task)),
        ("status".to_owned(), text(task.status.as_str())),
        ("attempts".to_owned(), number(task.attempts)),
        ("step".to_owned(), number(task.step)),
        ("stream".to_owned(), text(&task.stream)),
        ("order".to_owned(), json(&task.order)?),
        ("warnings".to_owned(), warnings(&task.warnings)?),
    ]);
    item.extend(totals(&task.totals).map(|(name, value)| (name.to_owned(), value)));
    let mut optional = |name: &str, value: Option<AttributeValue>| {
        item.extend(value.map(|value| (name.to_owned(), value)));
    };
    optional("cursor", task.cursor.as_ref().map(json).transpose()?);
    optional("staged", task.staged.as_ref().map(json).transpose()?);
    optional("started_at", task.started_at.map(|at| text(time::text(at))));
    optional("completed_at", task.completed_at.map(|at| text(time::text(at))));
    optional("error", task.error.as_ref().map(json).transpose()?);
    Ok(item)
}

pub(super) fn warnings(warnings: &[Warning]) -> Result<AttributeValue> {
    Ok(AttributeValue::L(warnings.iter().map(json).collect::<Result<_>>()?))
}

pub(super) fn totals(totals: &Totals) -> [(&'static str, AttributeValue); 4] {
    [
        ("records", number(totals.records)),
        ("files", number(totals.files)),
        ("bytes", number(totals.bytes)),
        ("stored_bytes", number(totals.stored_bytes)),
    ]
}

pub(super) fn read_totals(item: &Item) -> Result<Totals> {
    Ok(Totals {
        records: read_number(item, "records")?,
        files: read_number(item, "files")?,
        bytes: read_number(item, "bytes")?,
        stored_bytes: read_number(item, "stored_bytes")?,
    })
}

pub(super) fn read_status(item: &Item) -> Result<Status> {
    Status::parse(read_text(item, "status")?).ok_or_else(|| unreadable(item, "status"))
}

pub(super) fn read_task(item: &Item) -> Result<Task> {
    let mut warnings = Vec::new();
    if let Some(AttributeValue::L(list)) = item.get("warnings") {
        for value in list {
            let warning = value.as_s().ok().and_then(|text| serde_json::from_str::<Warning>(text).ok());
            warnings.push(warning.ok_or_else(|| unreadable(item, "warnings"))?);
        }
    }
    Ok(Task {
        job: read_text(item, "job")?.to_owned(),
        task: read_u32(item, "task")?,
        status: read_status(item)?,
        attempts: read_u32(item, "attempts")?,
        step: read_u32(item, "step")?,
        stream: read_text(item, "stream")?.to_owned(),
        order: read_optional_json(item, "order")?.unwrap_or(Value::Null),
        cursor: read_optional_json(item, "cursor")?,
        staged: read_optional_json(item, "staged")?,
        totals: read_totals(item)?,
        warnings,
        started_at: read_time(item, "started_at")?,
        completed_at: read_time(item, "completed_at")?,
        error: read_optional_json(item, "error")?,
    })
}

pub(super) fn pack_item(row: &PackRow) -> Result<Item> {
    let mut item = key(job_partition(&row.job), pack_sort(row));
    item.extend([
        ("job".to_owned(), text(&row.job)),
        ("task".to_owned(), number(row.task)),
        ("step".to_owned(), number(row.step)),
        ("index".to_owned(), number(row.index)),
        ("body".to_owned(), json(&row.value)?),
    ]);
    Ok(item)
}

pub(super) fn read_pack(item: &Item) -> Result<PackRow> {
    Ok(PackRow {
        job: read_text(item, "job")?.to_owned(),
        task: read_u32(item, "task")?,
        step: read_u32(item, "step")?,
        index: read_u32(item, "index")?,
        value: read_json(item, "body")?,
    })
}
