//! Task states: one call, with its time limit.

use super::context::Data;
use super::definition::{Resource, Setting, Task};
use super::failure::{Failure, Halt};
use super::flow::Flow;
use super::names;
use futures::FutureExt;
use serde_json::{Value, json};
use std::panic::AssertUnwindSafe;
use std::time::Duration;

/// The longest cause that the service keeps.
const CAUSE: usize = 32_768;

/// How long one attempt may take.
pub(super) fn time_limit(task: &Task, data: &Data<'_>) -> Result<Option<Duration>, Failure> {
    match &task.timeout {
        Setting::Absent => Ok(None),
        Setting::Fixed(limit) => Ok(Some(*limit)),
        Setting::Path(field, path) => {
            let seconds =
                path.get(field, data)?.as_u64().filter(|seconds| (1..=99_999_999).contains(seconds));
            let seconds =
                seconds.ok_or_else(|| Failure::runtime(format!("{field} names no number of seconds")))?;
            Ok(Some(Duration::from_secs(seconds)))
        }
    }
}

impl Flow {
    pub(super) async fn call(
        &self,
        task: &Task,
        parameters: Value,
        limit: Option<Duration>,
    ) -> Result<Value, Halt> {
        self.engine.check_size("the payload", &parameters)?;
        // Scheduled, started, and succeeded or failed.
        self.record(3)?;
        let (Resource::Function(resource) | Resource::Service(resource)) = &task.resource;
        let ports = &self.engine.ports;
        // A handler that panics fails its task, as it does where each call has a process of its own.
        let call = AssertUnwindSafe(ports.tasks.call(resource, parameters)).catch_unwind();
        let attempt = async {
            let Some(limit) = limit else { return call.await.unwrap_or_else(|_| Err(Failure::panicked())) };
            tokio::select! {
                biased;
                answer = call => answer.unwrap_or_else(|_| Err(Failure::panicked())),
                () = ports.time.sleep(limit) => {
                    let cause = format!("the call took longer than {} seconds", limit.as_secs());
                    Err(Failure::new(names::TIMEOUT, cause))
                }
            }
        };
        let answer = self.unless_stopped(attempt).await?.map_err(|mut failure| {
            failure.cause.truncate(failure.cause.floor_char_boundary(CAUSE));
            failure
        })?;
        let result = match &task.resource {
            Resource::Service(_) => answer,
            Resource::Function(_) => {
                json!({ "ExecutedVersion": "$LATEST", "Payload": answer, "StatusCode": 200 })
            }
        };
        self.engine.check_size("the result", &result)?;
        Ok(result)
    }
}
