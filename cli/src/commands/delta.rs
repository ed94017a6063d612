//! `holdfast show ID --delta`: what a backup changed, as one JSON object.

use super::window::{Stdout, key, shown_value};
use crate::exit::Exit;
use crate::output::Outcome;
use async_trait::async_trait;
use holdfast_local::Cloud;
use holdfast_vault::error::Result;
use holdfast_vault::model::StreamInfo;
use holdfast_workflow::history::{Choice, Difference, Differences, Op, Window, delta};
use serde::Serialize;
use serde_json::Value;

const PARTS: [(&str, Op); 3] = [("changes", Op::Change), ("additions", Op::Add), ("deletions", Op::Delete)];

/// Writes what a backup changed. Each part is read anew, so that nothing is held.
pub(super) async fn show(cloud: &Cloud, backup: &str) -> Result<Outcome> {
    let window = delta(cloud.services(), backup).await?;
    let mut out = Stdout::new();
    if let [_] = window.streams.as_slice() {
        out = stream(cloud, &window, out).await?;
    } else {
        out.put(r#"{"streams":{"#)?;
        for (number, info) in window.streams.iter().enumerate() {
            out.put(if number > 0 { "," } else { "" })?;
            out.json(&info.name)?;
            out.put(":")?;
            let one = Window { streams: vec![info.clone()], ..window.clone() };
            out = stream(cloud, &one, out).await?;
        }
        out.put("}}")?;
    }
    out.put("\n")?;
    out.end()?;
    Ok(Outcome::printed(Exit::Done))
}

async fn stream(cloud: &Cloud, window: &Window, mut out: Stdout) -> Result<Stdout> {
    for (number, (name, op)) in PARTS.into_iter().enumerate() {
        out.put(if number > 0 { "," } else { "{" })?;
        out.json(&name)?;
        out.put(":[")?;
        let mut part = Part { out, op, first: true };
        window.read(cloud.services(), &Choice::default(), &mut part).await?;
        out = part.out;
        out.put("]")?;
    }
    out.put("}")?;
    Ok(out)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase", untagged)]
enum Line {
    #[serde(rename_all = "camelCase")]
    Change {
        key: String,
        old_value: Option<Value>,
        new_value: Option<Value>,
    },
    One {
        key: String,
        value: Option<Value>,
    },
}

struct Part {
    out: Stdout,
    op: Op,
    first: bool,
}

#[async_trait]
impl Differences for Part {
    async fn take(&mut self, stream: &StreamInfo, differences: Vec<Difference>) -> Result<()> {
        for of in differences.iter().filter(|of| of.op() == self.op) {
            let key = key(stream, &of.key);
            let (old, new) =
                (shown_value(stream, of.before.as_deref())?, shown_value(stream, of.after.as_deref())?);
            let line = match self.op {
                Op::Change => Line::Change { key, old_value: old, new_value: new },
                Op::Add | Op::Delete => Line::One { key, value: new.or(old) },
            };
            self.out.put(if self.first { "" } else { "," })?;
            self.out.json(&line)?;
            self.first = false;
        }
        Ok(())
    }
}
