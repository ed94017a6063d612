//! Logs and metrics. Neither holds a secret, a record or a path of a customer's.

use crate::clock::Clock;
use serde_json::{Map, Value, json};
use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

/// The variable that sets the level: `info`, `debug`, or a list of filters.
pub const LEVEL_VARIABLE: &str = "HOLDFAST_LOG";
/// Where `CloudWatch` keeps the metrics.
pub const NAMESPACE: &str = "Holdfast";

/// Logs JSON lines to standard error, at the level of [`LEVEL_VARIABLE`], else `info`: for functions.
/// Where logging is set up already, it stays as it is.
pub fn init_json() {
    let _ = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_span_events(FmtSpan::NONE)
        .with_target(false)
        .with_env_filter(filter("info"))
        .with_writer(io::stderr)
        .try_init();
}

/// Logs lines for people to standard error: for the command line. `verbosity` is how often `-v` was given; the level
/// of [`LEVEL_VARIABLE`] goes before it. Where logging is set up already, it stays as it is.
pub fn init_cli(verbosity: u8) {
    let level = match verbosity {
        0 => "error",
        1 => "warn,holdfast=info",
        2 => "info",
        3 => "debug",
        _ => "trace",
    };
    let _ = tracing_subscriber::fmt()
        .without_time()
        .with_target(verbosity > 1)
        .with_ansi(false)
        .with_env_filter(filter(level))
        .with_writer(io::stderr)
        .try_init();
}

fn filter(default: &str) -> EnvFilter {
    match std::env::var(LEVEL_VARIABLE) {
        Ok(text) if !text.trim().is_empty() => EnvFilter::new(text),
        _ => EnvFilter::new(default),
    }
}

/// What a metric is counted in, by `CloudWatch`'s names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    Count,
    /// Bytes.
    Bytes,
    /// Seconds.
    Seconds,
}

impl Unit {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Count => "Count",
            Self::Bytes => "Bytes",
            Self::Seconds => "Seconds",
        }
    }
}

/// A figure for `CloudWatch`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measure<'a> {
    /// Its name, `PascalCase`.
    pub name: &'a str,
    /// What it is counted in.
    pub unit: Unit,
    /// The figure.
    pub value: f64,
}

/// Takes figures. A port, so that what has figures does not know whether anybody wants them.
pub trait Metrics: Send + Sync + fmt::Debug {
    /// Takes figures of a resource of a tier. What cannot be taken is lost.
    fn put(&self, resource: &str, tier: &str, measures: &[Measure<'_>]);
}

/// Takes figures and keeps none: where nobody collects them.
#[derive(Debug, Default, Clone, Copy)]
pub struct NoMetrics;

impl Metrics for NoMetrics {
    fn put(&self, _: &str, _: &str, _: &[Measure<'_>]) {}
}

/// Writes figures to standard output, from where `CloudWatch` takes those of a function.
#[derive(Debug, Clone)]
pub struct StdoutMetrics(Arc<dyn Clock>);

impl StdoutMetrics {
    /// Figures of this clock's time.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self(clock)
    }
}

impl Metrics for StdoutMetrics {
    fn put(&self, resource: &str, tier: &str, measures: &[Measure<'_>]) {
        if let Err(error) = metric(&mut io::stdout().lock(), &*self.0, resource, tier, measures) {
            tracing::warn!(resource, %error, "figures were lost");
        }
    }
}

/// Writes figures of a resource as one line in `CloudWatch`'s embedded metric format: by resource and tier, and once
/// over all of them.
///
/// # Errors
/// What writing gives; a caller goes on without the metric.
pub fn metric(
    out: &mut dyn Write,
    clock: &dyn Clock,
    resource: &str,
    tier: &str,
    measures: &[Measure<'_>],
) -> io::Result<()> {
    let definitions: Vec<Value> =
        measures.iter().map(|m| json!({"Name": m.name, "Unit": m.unit.as_str()})).collect();
    let mut line = Map::new();
    line.insert(
        "_aws".to_owned(),
        json!({
            "Timestamp": clock.now().as_millisecond(),
            "CloudWatchMetrics": [{
                "Namespace": NAMESPACE,
                "Dimensions": [["resource", "tier"], []],
                "Metrics": definitions,
            }],
        }),
    );
    line.insert("resource".to_owned(), json!(resource));
    line.insert("tier".to_owned(), json!(tier));
    line.extend(measures.iter().map(|m| (m.name.to_owned(), json!(m.value))));
    let mut text = serde_json::to_vec(&Value::Object(line))?;
    text.push(b'\n');
    // One write, so that lines of several writers do not mix.
    out.write_all(&text)?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use jiff::Timestamp;

    #[test]
    fn a_metric_is_one_line_of_the_embedded_format() {
        let clock = ManualClock::new(Timestamp::from_millisecond(1_793_491_200_123).unwrap());
        let mut out = Vec::new();
        let measures = [
            Measure { name: "BackupBytes", unit: Unit::Bytes, value: 1024.0 },
            Measure { name: "BackupSeconds", unit: Unit::Seconds, value: 1.5 },
        ];
        metric(&mut out, &clock, "orders", "critical", &measures).unwrap();
        assert_eq!(out.iter().position(|byte| *byte == b'\n'), Some(out.len() - 1));
        let line: Value = serde_json::from_slice(&out).unwrap();
        let directive = &line["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(line["_aws"]["Timestamp"], 1_793_491_200_123_i64);
        assert_eq!(directive["Namespace"], "Holdfast");
        assert_eq!(directive["Dimensions"], json!([["resource", "tier"], []]));
        assert_eq!(directive["Metrics"][1], json!({"Name": "BackupSeconds", "Unit": "Seconds"}));
        assert_eq!((&line["resource"], &line["tier"]), (&json!("orders"), &json!("critical")));
        assert_eq!((&line["BackupBytes"], &line["BackupSeconds"]), (&json!(1024.0), &json!(1.5)));
    }

    #[test]
    fn setting_up_logs_twice_is_harmless() {
        init_cli(0);
        init_json();
    }
}
