//! `holdfast apply`

use super::jobs::write_warnings;
use crate::exit::{Exit, after_help};
use crate::options::Global;
use crate::output::{Outcome, Report};
use crate::place::Place;
use holdfast_common::jobs::JobStore;
use holdfast_vault::error::{Code, Result};
use holdfast_vault::model::Warning;
use holdfast_workflow::config;
use holdfast_workflow::plan::value;
use serde::Serialize;
use std::fmt::{self, Write as _};
use std::path::PathBuf;

/// Says what is protected: reads a file of resources and keeps them
///
/// Resources of the file are created or changed; those that it does not name stay as they are. The whole file is
/// checked before anything is kept. Makes the home where there is none. A stack must be granted what it is to read: what
/// it lacks is told, with the parameter that grants it.
#[derive(Debug, clap::Args)]
#[command(after_help = after_help!(
    "holdfast apply -f resources.yaml",
    "holdfast apply -f resources.yaml --dry-run",
    "",
    "resources.yaml:",
    "  resources:",
    "    - name: site",
    "      source: { kind: files, path: /srv/www }",
    "    - name: exports",
    "      source: { kind: jsonl, path: exports, key: [/id] }",
    "    - name: orders",
    "      source: { kind: dynamodb, table: shop-orders, region: eu-central-1 }",
    "      policy: { tier: critical, retention_days: 35 }",
    "    - name: media",
    "      source: { kind: s3, bucket: shop-media, prefix: img/ }",
))]
pub(crate) struct Args {
    /// The file of resources, YAML; relative paths in it are meant from where it is
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    file: PathBuf,
    /// Checks the file and shows what would change, and keeps nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
enum Change {
    Created,
    Changed,
    Unchanged,
}

#[derive(Debug, Serialize)]
struct Line {
    name: String,
    change: Change,
}

#[derive(Debug, Serialize)]
struct Applied {
    resources: Vec<Line>,
    dry_run: bool,
    /// What could not be told of a stack's grants.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<Warning>,
}

/// Carries the command out.
pub(crate) async fn run(global: &Global, args: &Args) -> Result<Outcome> {
    let resources = config::load(&args.file)?;
    // A dry run makes no home; where there is none, nothing is known.
    let place = match (args.dry_run, global.is_there()) {
        (false, _) => Some(global.open_or_make().await?),
        (true, true) => Some(global.open().await?),
        (true, false) => None,
    };
    let warnings = match &place {
        Some(place) => place.admit(&resources).await?,
        None => Vec::new(),
    };
    let store = place.as_ref().map(Place::jobs);
    let mut lines = Vec::with_capacity(resources.len());
    for resource in &resources {
        let document = value(resource)?;
        let change = match store {
            Some(store) => change(store, &resource.name, &document).await?,
            None => Change::Created,
        };
        if let Some(store) = store.filter(|_| !args.dry_run && !matches!(change, Change::Unchanged)) {
            store.put_resource(&resource.name, &document).await?;
        }
        lines.push(Line { name: resource.name.clone(), change });
    }
    Outcome::new(&Applied { resources: lines, dry_run: args.dry_run, warnings }, global.json, Exit::Done)
}

async fn change(store: &JobStore, name: &str, document: &serde_json::Value) -> Result<Change> {
    match store.resource(name).await {
        Ok(stored) if stored == *document => Ok(Change::Unchanged),
        Ok(_) => Ok(Change::Changed),
        Err(error) if error.code == Code::ResourceUnknown => Ok(Change::Created),
        Err(error) => Err(error),
    }
}

impl Report for Applied {
    fn text(&self, out: &mut String) -> fmt::Result {
        for line in &self.resources {
            let change = match (line.change, self.dry_run) {
                (Change::Created, false) => "created",
                (Change::Created, true) => "would be created",
                (Change::Changed, false) => "changed",
                (Change::Changed, true) => "would be changed",
                (Change::Unchanged, _) => "unchanged",
            };
            writeln!(out, "{}: {change}", line.name)?;
        }
        write_warnings(out, &self.warnings)
    }
}
