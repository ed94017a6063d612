//! Executions of state machines, as what starts and watches them sees them.

use async_trait::async_trait;
use holdfast_vault::error::Result;
use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Characters that a name of an execution has at most.
const NAME_MAX: usize = 80;

/// What came of starting an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Started {
    /// It runs.
    Now,
    /// One of that name was started before, and may have ended.
    Before,
}

/// Where an execution stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExecutionStatus {
    /// At work.
    Running,
    /// Ended as it should.
    Succeeded,
    /// Ended by an error.
    Failed,
    /// Ended by its time limit.
    TimedOut,
    /// Ended by an operator.
    Aborted,
}

/// An execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Described {
    /// Where it stands.
    pub status: ExecutionStatus,
    /// When it began.
    pub started_at: Timestamp,
}

/// Starts executions and tells of them. Machines are named by their ARNs.
#[async_trait]
pub trait Executions: Send + Sync {
    /// Starts an execution. A name is taken once: a repeat starts nothing.
    ///
    /// # Errors
    /// `StateUnavailable` where a repeat may help, `HomeInvalid` if there is no such machine or it may not be started.
    async fn start(&self, machine: &str, name: &str, input: &Value) -> Result<Started>;

    /// An execution; `None` if there is none of that name.
    ///
    /// # Errors
    /// As [`Executions::start`].
    async fn describe(&self, machine: &str, name: &str) -> Result<Option<Described>>;
}

/// The name of the execution that backs a resource up at its due time: the same whoever starts it.
#[must_use]
pub fn backup_name(resource: &str, due: Timestamp) -> String {
    name(resource, &due.strftime("-%Y%m%dT%H%MZ").to_string())
}

/// The name of the execution that verifies a backup on a day.
#[must_use]
pub fn verify_name(backup: &str, day: Timestamp) -> String {
    name(&format!("verify-{backup}"), &day.strftime("-%Y%m%d").to_string())
}

/// The name of the execution that drills a resource on a day.
#[must_use]
pub fn drill_name(resource: &str, day: Timestamp) -> String {
    name(&format!("drill-{resource}"), &day.strftime("-%Y%m%d").to_string())
}

/// Two parts as one name; where that is too long, a hash stands for the rest of the first.
fn name(first: &str, last: &str) -> String {
    if first.len() + last.len() <= NAME_MAX {
        return format!("{first}{last}");
    }
    let hash = hex::encode(&Sha256::digest(first.as_bytes())[..8]);
    let room = NAME_MAX - last.len() - hash.len() - 1;
    let kept: String = first.chars().filter(char::is_ascii).take(room).collect();
    format!("{kept}-{hash}{last}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_of_resource_and_time_and_never_too_long() {
        let due: Timestamp = "2026-11-21T03:05:59Z".parse().unwrap();
        assert_eq!(backup_name("orders", due), "orders-20261121T0305Z");
        let longest = "a".repeat(64);
        assert_eq!(backup_name(&longest, due), format!("{longest}-20261121T0305Z"));
        let (one, other) = (format!("{}1", "b".repeat(90)), format!("{}2", "b".repeat(90)));
        let names = [backup_name(&one, due), backup_name(&other, due)];
        assert_ne!(names[0], names[1]);
        assert!(names.iter().all(|name| name.len() == NAME_MAX && name.ends_with("-20261121T0305Z")));
        assert_eq!(
            verify_name("01K8Z6T3W4Q5R6S7T8V9W0X1Y2", due),
            "verify-01K8Z6T3W4Q5R6S7T8V9W0X1Y2-20261121"
        );
        assert_eq!(drill_name("orders", due), "drill-orders-20261121");
    }
}
