//! Retry and Catch: which errors they answer to, and how long to wait before the next attempt.

use super::fields::{Fields, Place};
use super::names;
use super::paths::Reference;
use holdfast_vault::Result;
use serde_json::Value;
use std::time::Duration;

/// The longest delay that the language knows: 366 days.
const LONGEST: Duration = Duration::from_hours(8784);

/// The error names that a retrier or a catcher answers to.
#[derive(Debug, Clone)]
pub(super) struct ErrorNames(Vec<String>);

/// Attempts after failures of some names.
#[derive(Debug, Clone)]
pub(super) struct Retrier {
    errors: ErrorNames,
    interval: Duration,
    attempts: u64,
    backoff: f64,
    max_delay: Option<Duration>,
    jitter: bool,
}

/// Where a state goes on after failures of some names.
#[derive(Debug, Clone)]
pub(super) struct Catcher {
    pub(super) errors: ErrorNames,
    /// Where the error is put in the state's input; nowhere if `None`.
    pub(super) result_path: Option<Reference>,
    pub(super) next: String,
}

impl ErrorNames {
    fn load(fields: &mut Fields, last: bool) -> Result<Self> {
        let place = fields.place("ErrorEquals");
        let listed = fields.array("ErrorEquals")?.unwrap_or_default();
        if listed.is_empty() {
            return Err(place.error("is missing or empty", "list the error names to answer to"));
        }
        let mut errors = Vec::with_capacity(listed.len());
        for (at, name) in listed.iter().enumerate() {
            let Some(name) = name.as_str() else {
                return Err(place.index(at).error(format!("is {name}"), "write an error name"));
            };
            if name.starts_with("States.") && !names::RESERVED.contains(&name) {
                let hint = format!("reserved names: {}", names::RESERVED.join(", "));
                return Err(place.index(at).error(format!("'{name}' is no reserved error name"), hint));
            }
            errors.push(name.to_owned());
        }
        if errors.iter().any(|name| name == names::ALL) && !(last && errors.len() == 1) {
            return Err(
                place.error("holds States.ALL", "States.ALL stands alone, in the last entry of the list")
            );
        }
        Ok(Self(errors))
    }

    /// Whether a failure of that name is meant. The wildcards do not reach the failures that must end an execution,
    /// and nothing reaches `States.Runtime`.
    pub(super) fn matches(&self, error: &str) -> bool {
        let terminal = [names::RUNTIME, names::DATA_LIMIT].contains(&error);
        error != names::RUNTIME
            && self.0.iter().any(|name| match name.as_str() {
                names::ALL => !terminal,
                names::TASK_FAILED => !terminal && error != names::TIMEOUT,
                name => name == error,
            })
    }
}

impl Retrier {
    /// Reads a `Retry` list.
    pub(super) fn load_list(fields: &mut Fields) -> Result<Vec<Self>> {
        let place = fields.place("Retry");
        let listed = fields.array("Retry")?.unwrap_or_default();
        let count = listed.len();
        listed
            .into_iter()
            .enumerate()
            .map(|(at, value)| Self::load(place.index(at), value, at + 1 == count))
            .collect()
    }

    fn load(place: Place, value: Value, last: bool) -> Result<Self> {
        const KNOWN: &[&str] = &[
            "Comment",
            "ErrorEquals",
            "IntervalSeconds",
            "MaxAttempts",
            "BackoffRate",
            "MaxDelaySeconds",
            "JitterStrategy",
        ];
        let mut fields = Fields::open(place, value, &[KNOWN])?;
        fields.text("Comment")?;
        let errors = ErrorNames::load(&mut fields, last)?;
        let interval = fields.seconds("IntervalSeconds")?.unwrap_or(Duration::from_secs(1));
        let attempts = fields.integer("MaxAttempts", 0..=99_999_999)?.unwrap_or(3);
        let backoff = match fields.take("BackoffRate") {
            None => 2.0,
            Some(rate) => rate.as_f64().filter(|rate| *rate >= 1.0).ok_or_else(|| {
                fields.place("BackoffRate").error(format!("is {rate}"), "write a number of at least 1.0")
            })?,
        };
        let max_delay = fields.integer("MaxDelaySeconds", 1..=LONGEST.as_secs())?.map(Duration::from_secs);
        if max_delay.is_some_and(|max| max <= interval) {
            let place = fields.place("MaxDelaySeconds");
            return Err(place.error("is not more than IntervalSeconds", "write a greater number"));
        }
        let jitter = match fields.text("JitterStrategy")?.as_deref() {
            None | Some("NONE") => false,
            Some("FULL") => true,
            Some(other) => {
                return Err(fields
                    .place("JitterStrategy")
                    .error(format!("is '{other}'"), "write FULL or NONE"));
            }
        };
        fields.finish()?;
        Ok(Self { errors, interval, attempts, backoff, max_delay, jitter })
    }

    pub(super) fn answers(&self, error: &str) -> bool {
        self.errors.matches(error)
    }

    /// How long to wait before the next attempt, after `done` retries; `None` when there is no further one.
    pub(super) fn delay(&self, done: u64, random: u64) -> Option<Duration> {
        if done >= self.attempts {
            return None;
        }
        let longest = self.max_delay.unwrap_or(LONGEST).as_secs_f64();
        let exponent = i32::try_from(done).unwrap_or(i32::MAX);
        let delay = (self.interval.as_secs_f64() * self.backoff.powi(exponent)).min(longest);
        Some(Duration::from_secs_f64(if self.jitter { delay * fraction(random) } else { delay }))
    }
}

/// A number from 0 to below 1, of 53 random bits.
fn fraction(random: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit exactly")]
    let value = (random >> 11) as f64 / (1_u64 << 53) as f64;
    value
}

impl Catcher {
    /// Reads a `Catch` list.
    pub(super) fn load_list(fields: &mut Fields) -> Result<Vec<Self>> {
        let place = fields.place("Catch");
        let listed = fields.array("Catch")?.unwrap_or_default();
        let count = listed.len();
        listed
            .into_iter()
            .enumerate()
            .map(|(at, value)| Self::load(place.index(at), value, at + 1 == count))
            .collect()
    }

    fn load(place: Place, value: Value, last: bool) -> Result<Self> {
        let mut fields = Fields::open(place, value, &[&["Comment", "ErrorEquals", "ResultPath", "Next"]])?;
        fields.text("Comment")?;
        let errors = ErrorNames::load(&mut fields, last)?;
        let result_path = fields.result_path()?;
        let next = fields.required_text("Next")?;
        fields.finish()?;
        Ok(Self { errors, result_path, next })
    }
}
