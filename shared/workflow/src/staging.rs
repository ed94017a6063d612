//! The staging area: exports wait in it until they are admitted, and nothing stays.

use crate::services::Services;
use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use holdfast_vault::error::{Code, Error, Result};
use holdfast_vault::storage::list_all;
use serde::Serialize;

/// How many small requests go out side by side.
const AT_ONCE: usize = 16;

/// The key of the list of a job's tasks.
#[must_use]
pub fn task_list(job: &str) -> String {
    format!("{job}/tasks.jsonl")
}

/// The key of an exported object.
#[must_use]
pub fn exported(job: &str, task: u32, step: u32, object: &str) -> String {
    format!("{job}/{task:06}/{step:06}/{object}")
}

/// The key of the places of a run's records.
#[must_use]
pub fn places(job: &str, task: u32, sequence: u32) -> String {
    format!("{job}/places/{task:06}-{sequence:06}")
}

/// What the keys of objects begin with that stay in staging until the job ends, laid out as in a vault.
#[must_use]
pub fn kept(job: &str) -> String {
    format!("{job}/kept/")
}

/// A new key for the bitmap of a step: another attempt at the step has another.
///
/// # Errors
/// `Internal` if the system gives no random bytes.
pub fn bitmap(job: &str, task: u32, step: u32) -> Result<String> {
    let attempt = hex::encode(holdfast_vault::crypto::random::<8>()?);
    Ok(format!("{job}/seen/{task:06}-{step:06}-{attempt}"))
}

/// The key of the list of the base's packs whose content a stream stores again.
#[must_use]
pub fn worn(job: &str, base: &str, stream: u32) -> String {
    format!("{job}/worn/{base}-{stream}.json")
}

/// The key of the list of a job's joins.
#[must_use]
pub fn join_list(job: &str) -> String {
    format!("{job}/joins.jsonl")
}

/// Writes the list of a job's tasks unless it is there. Written last, it says that planning is done.
///
/// # Errors
/// `Storage*`.
pub async fn put_task_list<T: Serialize>(services: &Services, job: &str, tasks: &[T]) -> Result<()> {
    put_list(services, &task_list(job), tasks).await
}

/// Writes a list of tasks unless it is there.
///
/// # Errors
/// `Storage*`.
pub async fn put_list<T: Serialize>(services: &Services, key: &str, tasks: &[T]) -> Result<()> {
    let mut lines = Vec::new();
    for task in tasks {
        serde_json::to_writer(&mut lines, task)
            .map_err(|e| Error::new(Code::Internal, format!("a task has no JSON form: {e}")))?;
        lines.push(b'\n');
    }
    services.staging.put_if_absent(key, Bytes::from(lines)).await?;
    Ok(())
}

/// Whether a job's tasks are listed.
///
/// # Errors
/// `Storage*`.
pub async fn has_task_list(services: &Services, job: &str) -> Result<bool> {
    has(services, &task_list(job)).await
}

/// Whether something is in staging.
///
/// # Errors
/// `Storage*`.
pub async fn has(services: &Services, key: &str) -> Result<bool> {
    match services.staging.head(key).await {
        Ok(_) => Ok(true),
        Err(error) if error.code == Code::ObjectMissing => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes some objects.
///
/// # Errors
/// `Storage*`.
pub async fn remove(services: &Services, keys: impl IntoIterator<Item = String>) -> Result<()> {
    // Boxed before they are streamed: the compiler cannot see that a stream of borrowing futures may change threads.
    let deletes: Vec<_> =
        keys.into_iter().map(|key| async move { services.staging.delete(&key).await }.boxed()).collect();
    stream::iter(deletes).buffer_unordered(AT_ONCE).try_collect().await
}

/// Removes all that a job left.
///
/// # Errors
/// `Storage*`.
pub async fn clear(services: &Services, job: &str) -> Result<()> {
    let objects = list_all(services.staging.as_ref(), &format!("{job}/")).await?;
    remove(services, objects.into_iter().map(|object| object.key)).await
}
