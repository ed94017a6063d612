//! Reads Map states.

use super::definition::{Items, Map, Mode, Setting};
use super::fields::Fields;
use super::load::{Loader, setting, work};
use super::paths::{Path, Reference};
use super::template::Template;
use holdfast_vault::Result;
use std::sync::Arc;

/// The fields of a Map, beside those of all states that do work.
pub(super) const MAP: &[&str] = &[
    "ItemProcessor",
    "ItemsPath",
    "ItemReader",
    "ItemSelector",
    "MaxConcurrency",
    "MaxConcurrencyPath",
    "ToleratedFailureCount",
    "ToleratedFailureCountPath",
    "ToleratedFailurePercentage",
    "ToleratedFailurePercentagePath",
    "Label",
];

const READER: &str = "arn:aws:states:::s3:getObject";

impl Loader {
    pub(super) fn map(&mut self, fields: &mut Fields) -> Result<Map> {
        let processor = fields.require("ItemProcessor")?;
        let known = ["Comment", "ProcessorConfig", "StartAt", "States"];
        let outside = fields.place("ItemProcessor");
        let mut inner = Fields::open(outside.clone(), processor, &[&known])?;
        inner.text("Comment")?;
        let distributed = distributed(&mut inner)?;
        // A child of a distributed Map is an execution of its own and does not know the item's number.
        let mut inner = inner.within(outside.with_map_item(!distributed));
        let graph = self.graph(&mut inner)?;
        inner.finish()?;

        let items = items(fields, distributed)?;
        let selector = match fields.take("ItemSelector") {
            None => None,
            Some(value) => Some(Template::load(&fields.place("ItemSelector").with_map_item(true), value)?),
        };
        let most = if distributed { 1..=10_000 } else { 0..=10_000 };
        let read = |fields: &mut Fields| fields.integer("MaxConcurrency", most);
        let concurrency = setting(fields, "MaxConcurrency", "MaxConcurrencyPath", read)?;
        if distributed && matches!(concurrency, Setting::Absent) {
            let hint = "a distributed Map without it starts up to 10,000 children: write a number";
            return Err(fields.place("MaxConcurrency").error("is missing", hint));
        }
        let mode = mode(fields, distributed)?;
        Ok(Map { items, selector, concurrency, mode, processor: Arc::new(graph), work: work(fields)? })
    }
}

fn distributed(processor: &mut Fields) -> Result<bool> {
    let place = processor.place("ProcessorConfig");
    let Some(config) = processor.take("ProcessorConfig") else { return Ok(false) };
    let mut config = Fields::open(place, config, &[&["Mode", "ExecutionType"]])?;
    let (mode, execution) = (config.text("Mode")?, config.text("ExecutionType")?);
    match (mode.as_deref(), execution.as_deref()) {
        (None | Some("INLINE"), None) => Ok(false),
        (Some("DISTRIBUTED"), Some("STANDARD")) => Ok(true),
        (Some("DISTRIBUTED"), _) => {
            Err(config.place("ExecutionType").error("is missing or not supported", "write \"STANDARD\""))
        }
        (None | Some("INLINE"), Some(_)) => {
            Err(config.place("ExecutionType").error("does not fit an inline Map", "remove it"))
        }
        (Some(other), _) => {
            Err(config.place("Mode").error(format!("is '{other}'"), "write INLINE or DISTRIBUTED"))
        }
    }
}

fn items(fields: &mut Fields, distributed: bool) -> Result<Items> {
    let place = fields.place("ItemReader");
    let path = fields.reference("ItemsPath")?;
    let Some(reader) = fields.take("ItemReader") else {
        return match path.or_else(|| Reference::new(Path::root())) {
            Some(path) => Ok(Items::Path(path)),
            None => Err(fields.place("ItemsPath").error("is missing", "name the array of items")),
        };
    };
    if !distributed {
        return Err(place.error("does not fit an inline Map", "write Mode DISTRIBUTED, or use ItemsPath"));
    }
    if path.is_some() {
        return Err(fields.place("ItemsPath").error("stands beside ItemReader", "keep one of the two"));
    }
    let mut reader = Fields::open(place, reader, &[&["Resource", "ReaderConfig", "Parameters"]])?;
    if reader.required_text("Resource")? != READER {
        return Err(reader.place("Resource").error("is not supported", format!("write \"{READER}\"")));
    }
    let config = reader.require("ReaderConfig")?;
    let mut config = Fields::open(reader.place("ReaderConfig"), config, &[&["InputType"]])?;
    if config.required_text("InputType")? != "JSONL" {
        return Err(config.place("InputType").error("is not supported", "write \"JSONL\""));
    }
    config.finish()?;
    let parameters = reader.place("Parameters");
    let template = Template::load(&parameters, reader.require("Parameters")?)?;
    let mut names = template.names().unwrap_or_default();
    names.sort_unstable();
    if names != ["Bucket", "Key"] {
        return Err(
            parameters.error("does not name one object", "write Bucket (or Bucket.$) and Key (or Key.$)")
        );
    }
    reader.finish()?;
    Ok(Items::Lines(template))
}

fn mode(fields: &mut Fields, distributed: bool) -> Result<Mode> {
    if !distributed {
        let outside = MAP.iter().filter(|name| name.starts_with("Tolerated") || **name == "Label");
        for name in outside {
            if fields.has(name) {
                return Err(fields
                    .place(name)
                    .error("does not fit an inline Map", "write Mode DISTRIBUTED, or remove it"));
            }
        }
        return Ok(Mode::Inline);
    }
    let label = fields.text("Label")?.unwrap_or_default();
    if label.chars().count() > 40
        || label.contains(|c: char| c.is_whitespace() || "?*<>{}[]:;,\\|^~$#%&`\"".contains(c))
    {
        return Err(fields
            .place("Label")
            .error("is too long or holds special characters", "use up to 40 letters and digits"));
    }
    let (count, percentage) = ("ToleratedFailureCount", "ToleratedFailurePercentage");
    let read_count = |fields: &mut Fields| fields.integer(count, 0..=u64::MAX);
    let read_percentage = |fields: &mut Fields| match fields.take(percentage) {
        None => Ok(None),
        Some(value) => match value.as_f64().filter(|value| (0.0..=100.0).contains(value)) {
            Some(value) => Ok(Some(value)),
            None => {
                Err(fields.place(percentage).error(format!("is {value}"), "write a number from 0 to 100"))
            }
        },
    };
    Ok(Mode::Distributed {
        tolerated_count: setting(fields, count, "ToleratedFailureCountPath", read_count)?,
        tolerated_percentage: setting(fields, percentage, "ToleratedFailurePercentagePath", read_percentage)?,
        label,
    })
}
