//! What values must be, beyond their types.

use super::located::Document;
use super::{Policy, Resource};
use crate::schedule::Schedule;
use holdfast_connectors::SourceSpec;
use holdfast_vault::error::{Code, Error, Result};
use std::collections::BTreeMap;
use std::path::Path;

/// The largest inline document, in bytes of compact JSON: it stands in rows of job state, which hold 400 KB.
const LARGEST_INLINE: usize = 128 << 10;

pub(super) fn check(document: &Document, resources: &[Resource]) -> Result<()> {
    if resources.is_empty() {
        return Err(document.fault("resources", "the list is empty").hint("name at least one resource"));
    }
    let mut names = BTreeMap::new();
    for (at, resource) in resources.iter().enumerate() {
        let path = format!("resources[{at}]");
        let fault = |field: &str, fault: Fault| {
            document.fault(&format!("{path}.{field}"), fault.message).hint(fault.hint)
        };
        check_name(&resource.name).map_err(|why| fault("name", why))?;
        if let Some(first) = names.insert(resource.name.as_str(), at) {
            let message = format!("the name {:?} is that of resources[{first}] too", resource.name);
            return Err(fault("name", Fault::new(message, "give each resource a name of its own")));
        }
        check_source(&resource.source).map_err(|(field, why)| fault(&format!("source.{field}"), why))?;
        if matches!(&resource.source, SourceSpec::Json { document: Some(_), .. })
            && let Some(error) = document.inexact_number(&format!("{path}.source.document"))
        {
            return Err(error.hint("keep the document in a JSON file, and name it with path"));
        }
        check_capture(resource).map_err(|why| fault("policy.capture", why))?;
        check_policy(&resource.policy).map_err(|(field, why)| fault(&format!("policy.{field}"), why))?;
    }
    Ok(())
}

/// Checks the name of a resource wherever one is given.
///
/// # Errors
/// `InvalidInput`.
pub fn resource_name(name: &str) -> Result<()> {
    check_name(name)
        .map_err(|fault| Error::new(Code::InvalidInput, fault.message).object(name).hint(fault.hint))
}

struct Fault {
    message: String,
    hint: &'static str,
}

impl Fault {
    fn new(message: impl Into<String>, hint: &'static str) -> Self {
        Self { message: message.into(), hint }
    }
}

type Checked = Result<(), (&'static str, Fault)>;

fn check_anomaly(policy: &Policy) -> Checked {
    const NAMES: &str = "list the names of the streams that every backup must have, each once";
    for (at, name) in policy.expect.iter().enumerate() {
        if name.trim().is_empty() {
            return Err(("expect", Fault::new("a name is empty", NAMES)));
        }
        if policy.expect[..at].contains(name) {
            return Err(("expect", Fault::new(format!("{name:?} stands there twice"), NAMES)));
        }
    }
    let bounds = policy.anomaly;
    let hint = "give 1 to 100, or leave the field out";
    for (field, percent) in
        [("anomaly.fall_percent", bounds.fall_percent), ("anomaly.change_percent", bounds.change_percent)]
    {
        if !(1..=100).contains(&percent) {
            return Err((field, Fault::new(format!("{percent} is no share that can go"), hint)));
        }
    }
    if bounds.rise_percent == 0 {
        let hint = "give 1 or more, or leave the field out";
        return Err(("anomaly.rise_percent", Fault::new("0 is too small", hint)));
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), Fault> {
    let fits =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'-');
    if (1..=64).contains(&name.len()) && name.bytes().all(fits) {
        return Ok(());
    }
    Err(Fault::new(
        format!("{name:?} is no name of a resource"),
        "use 1 to 64 lower-case letters, digits, dots, underscores and hyphens",
    ))
}

fn check_source(source: &SourceSpec) -> Checked {
    let endpoint_of = |endpoint: &Option<String>, embedded: bool| match endpoint.as_deref() {
        Some("embedded") if embedded => Ok(()),
        Some(text) if !(text.starts_with("http://") || text.starts_with("https://")) => Err((
            "endpoint",
            Fault::new(format!("{text:?} is no http(s) address"), "write it as http://127.0.0.1:8000"),
        )),
        _ => Ok(()),
    };
    match source {
        SourceSpec::Files { path } => given("path", path.as_os_str().is_empty(), "name a directory"),
        SourceSpec::Jsonl { path, key } => {
            given("path", path.as_os_str().is_empty(), "name a directory")?;
            check_key(key)
        }
        SourceSpec::Json { document, path } => check_document(document.as_ref(), path.as_deref()),
        SourceSpec::Dynamodb { table, endpoint, region } => {
            given("table", table.is_empty(), "name the table")?;
            given("region", region.as_deref() == Some(""), "name the region, or leave the field out")?;
            endpoint_of(endpoint, true)
        }
        SourceSpec::S3 { bucket, endpoint, region, .. } => {
            given("bucket", bucket.is_empty(), "name the bucket")?;
            given("region", region.as_deref() == Some(""), "name the region, or leave the field out")?;
            endpoint_of(endpoint, false)
        }
    }
}

fn check_document(document: Option<&serde_json::Value>, path: Option<&Path>) -> Checked {
    const HINT: &str =
        "give a document, an object of named collections, or the path of a JSON file that holds one";
    match (document, path) {
        (Some(document), None) => match document.as_object() {
            None => Err(("document", Fault::new("the document is no object", HINT))),
            Some(collections) if collections.is_empty() => {
                Err(("document", Fault::new("the document holds no collection", HINT)))
            }
            Some(_) if document.to_string().len() > LARGEST_INLINE => Err((
                "document",
                Fault::new(
                    "the document is larger than 128 KiB",
                    "keep it in a JSON file, and name it with path",
                ),
            )),
            Some(_) => Ok(()),
        },
        (None, Some(path)) => given("path", path.as_os_str().is_empty(), "name a JSON file"),
        (None, None) => Err(("document", Fault::new("there is neither a document nor a path", HINT))),
        (Some(_), Some(_)) => Err(("path", Fault::new("there are both a document and a path", HINT))),
    }
}

fn check_key(key: &[String]) -> Checked {
    const HINT: &str = "list JSON pointers to the parts of the key, as [/id]";
    given("key", key.is_empty(), HINT)?;
    for (at, pointer) in key.iter().enumerate() {
        // RFC 6901: `~` only as `~0` or `~1`.
        let escaped = pointer.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
        if !pointer.starts_with('/') || !escaped {
            return Err(("key", Fault::new(format!("{pointer:?} is no JSON pointer"), HINT)));
        }
        if key[..at].contains(pointer) {
            return Err(("key", Fault::new(format!("{pointer:?} stands there twice"), HINT)));
        }
    }
    Ok(())
}

fn given(field: &'static str, empty: bool, hint: &'static str) -> Checked {
    if empty { Err((field, Fault::new("the value is empty", hint))) } else { Ok(()) }
}

fn check_capture(resource: &Resource) -> Result<(), Fault> {
    if resource.policy.capture && !matches!(resource.source, SourceSpec::Dynamodb { .. }) {
        return Err(Fault::new(
            "only changes of a table can be captured",
            "leave the field out for other kinds of source than dynamodb",
        ));
    }
    Ok(())
}

fn check_schedule(policy: &Policy) -> Checked {
    let Some(expression) = &policy.schedule else {
        return match &policy.time_zone {
            Some(_) if policy.retention.is_none() => Err((
                "time_zone",
                Fault::new(
                    "there is no schedule or retention that it is meant for",
                    "add one of them, or leave the field out",
                ),
            )),
            Some(zone) => {
                let told =
                    |fault: crate::schedule::Fault| (fault.field, Fault::new(fault.message, fault.hint));
                crate::schedule::zone(zone).map(|_| ()).map_err(told)
            }
            None => Ok(()),
        };
    };
    let told = |fault: crate::schedule::Fault| (fault.field, Fault::new(fault.message, fault.hint));
    Schedule::parse(expression, policy.time_zone.as_deref()).map_err(told)?;
    Schedule::check_interval(expression).map_err(told)
}

fn check_policy(policy: &Policy) -> Checked {
    let blank = |text: &Option<String>| text.as_deref().is_some_and(|text| text.trim().is_empty());
    given("schedule", blank(&policy.schedule), "write a cron expression, or leave the field out")?;
    given(
        "time_zone",
        blank(&policy.time_zone),
        "write an IANA name as Europe/Berlin, or leave the field out",
    )?;
    check_schedule(policy)?;
    check_anomaly(policy)?;
    let above_zero = |field, value: Option<u32>, hint| match value {
        Some(0) => Err((field, Fault::new("0 is too small", hint))),
        _ => Ok(()),
    };
    above_zero(
        "retention_days",
        policy.retention_days,
        "give 1 day or more, or leave the field out to keep all",
    )?;
    if policy.retention_days.is_some() && policy.retention.is_some_and(|rules| rules.days.is_some()) {
        let fault = Fault::new("retention.days says that too", "leave one of the two out");
        return Err(("retention_days", fault));
    }
    above_zero("capture_days", policy.capture_days, "give 1 day or more, or leave the field out for 35")?;
    above_zero(
        "compaction.layers",
        Some(policy.compaction.layers),
        "give 1 or more, or leave the field out",
    )?;
    if policy.compaction.worn_percent > 100 {
        let fault =
            Fault::new("a pack has no more than 100 percent", "give 0 to 100, or leave the field out for 25");
        return Err(("compaction.worn_percent", fault));
    }
    let unlimited = "give 1 or more, or leave the field out for no limit";
    let limits = &policy.limits;
    above_zero("limits.read_units_per_second", limits.read_units_per_second, unlimited)?;
    above_zero("limits.write_units_per_second", limits.write_units_per_second, unlimited)?;
    above_zero("limits.workers", limits.workers, "give 1 or more, or leave the field out")
}
