//! `holdfast diff`

use super::window::{Stdout, counts_text, exact_text, fields, fields_text, key, notes, ready, shown_value};
use crate::exit::{Exit, after_help};
use crate::options::Global;
use crate::output::{Outcome, count, exact};
use async_trait::async_trait;
use holdfast_connectors::{FieldChange, RecordFilter};
use holdfast_vault::error::Result;
use holdfast_vault::model::{StreamInfo, Warning};
use holdfast_workflow::history::{
    Asked, Choice, Counting, Counts, Difference, Differences, Op, Point, Window, window,
};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// So many differences are shown to people unless they ask for more.
const LIMIT: u64 = 50;

/// Shows what changed in a resource between two points in time
///
/// Records that were added, changed and deleted, the counts first. Where the resource's changes are captured, this is
/// exact; else the two backups before the two points are compared, and what they cannot tell is said. A window that
/// ends now makes a backup where nothing is captured.
#[derive(Debug, clap::Args)]
#[command(after_help = after_help!(
    "holdfast diff products --from 2026-11-21T14:00:00Z",
    "holdfast diff products --from 2026-11-21T14:00:00Z --to 2026-11-21T15:00:00Z --where currency=EUR",
    "holdfast diff products --from 01K8Z6T3W4Q5R6S7T8V9W0X1Y2 --key-prefix shoe- --json",
))]
pub(crate) struct Args {
    /// The resource's name
    #[arg(value_name = "NAME")]
    resource: String,
    /// Since when: a time, or a backup's id
    #[arg(long, value_name = "TIME|ID")]
    from: String,
    /// Until when: a time, a backup's id, or now
    #[arg(long, value_name = "TIME|ID|now", default_value = "now")]
    to: String,
    /// Only this stream
    #[arg(long, value_name = "STREAM")]
    stream: Option<String>,
    /// Only records with this value before or after; may be given several times, then all must hold
    #[arg(long = "where", value_name = "FIELD=VALUE")]
    conditions: Vec<String>,
    /// Only records whose keys begin so
    #[arg(long, value_name = "TEXT")]
    key_prefix: Option<String>,
    /// Shows so many differences at most; 50 where it is not given, and all of them with --json
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
}

#[derive(Serialize)]
struct Head<'a> {
    resource: &'a str,
    from: String,
    to: String,
    exact: bool,
    from_backup: Option<&'a str>,
    to_backup: Option<&'a str>,
    #[serde(flatten)]
    counts: Counts,
    streams: BTreeMap<&'a str, Counts>,
    notes: &'a [Warning],
}

/// Carries the command out.
pub(crate) async fn run(global: &Global, args: &Args) -> Result<Outcome> {
    let asked = Asked {
        resource: args.resource.clone(),
        from: Point::parse(&args.from, "--from")?,
        to: Point::parse(&args.to, "--to")?,
        stream: args.stream.clone(),
    };
    let choice =
        Choice { filter: RecordFilter::parse(&args.conditions, args.key_prefix.clone())?, keys: None };
    let place = global.open_home("diff").await?;
    Box::pin(ready(global, &place, &asked)).await?;
    let services = place.home()?.services();
    let mut window = window(services, &asked).await?;
    let mut counting = Counting::default();
    let said = window.read(services, &choice, &mut counting).await?;
    window.exactness.notes.extend(said);
    let mut total = Counts::default();
    counting.0.iter().for_each(|(_, counts)| total += *counts);
    let limit = args.limit.unwrap_or(if global.json { u64::MAX } else { LIMIT });
    let mut showing = Showing {
        out: Stdout::new(),
        json: global.json,
        left: limit,
        many: window.streams.len() > 1,
        last: None,
    };
    head(global, &window, &counting, total, &mut showing.out)?;
    if total.total() > 0 && limit > 0 {
        window.read(services, &choice, &mut showing).await?;
    }
    if !global.json && total.total() > limit {
        let more = count(total.total() - limit);
        showing.out.line(&format!("and {more} more: see them with --limit N, or all with --json"))?;
    }
    showing.out.end()?;
    Ok(Outcome::printed(Exit::differences(total.total() > 0)))
}

fn head(global: &Global, window: &Window, counted: &Counting, total: Counts, out: &mut Stdout) -> Result<()> {
    let exactness = &window.exactness;
    if global.json {
        out.json(&Head {
            resource: &window.resource,
            from: exact(window.from),
            to: exact(window.to),
            exact: exactness.exact,
            from_backup: exactness.from_backup.as_deref(),
            to_backup: exactness.to_backup.as_deref(),
            counts: total,
            streams: counted.0.iter().map(|(name, counts)| (name.as_str(), *counts)).collect(),
            notes: &exactness.notes,
        })?;
        return out.put("\n");
    }
    notes(global, &exactness.notes);
    let (said, sure) = (counts_text(total), exact_text(exactness));
    let (from, to) = (exact(window.from), exact(window.to));
    out.line(&format!("{}: {said} from {from} to {to} ({sure})", window.resource))?;
    if window.streams.len() > 1 {
        for (name, counts) in &counted.0 {
            out.line(&format!("  stream {name}: {}", counts_text(*counts)))?;
        }
    }
    Ok(())
}

#[derive(Serialize)]
struct Line<'a> {
    op: Op,
    stream: &'a str,
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    old: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    new: Option<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fields: Vec<FieldChange>,
}

/// Shows differences as they come.
struct Showing {
    out: Stdout,
    json: bool,
    left: u64,
    many: bool,
    last: Option<String>,
}

impl Showing {
    fn show(&mut self, stream: &StreamInfo, of: &Difference) -> Result<()> {
        let (old, new) = (of.before.as_deref(), of.after.as_deref());
        let fields = fields(stream, old, new)?;
        if self.json {
            self.out.json(&Line {
                op: of.op(),
                stream: &stream.name,
                key: key(stream, &of.key),
                old: shown_value(stream, old)?,
                new: shown_value(stream, new)?,
                fields,
            })?;
            return self.out.put("\n");
        }
        if self.many && self.last.as_deref() != Some(&stream.name) {
            self.out.line(&format!("stream {}", stream.name))?;
            self.last = Some(stream.name.clone());
        }
        let key = key(stream, &of.key);
        self.out.line(&match of.op() {
            Op::Add => format!("+ {key}"),
            Op::Delete => format!("- {key}"),
            Op::Change => format!("~ {key}  {}", fields_text(&fields)),
        })
    }
}

#[async_trait]
impl Differences for Showing {
    async fn take(&mut self, stream: &StreamInfo, differences: Vec<Difference>) -> Result<()> {
        for difference in &differences {
            if self.left == 0 {
                return Ok(());
            }
            self.left -= 1;
            self.show(stream, difference)?;
        }
        Ok(())
    }
}
