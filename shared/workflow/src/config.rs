//! The resources file: which resources there are, where they are, and how they are protected.
//!
//! ```yaml
//! resources:
//!   - name: orders
//!     source: { kind: dynamodb, table: shop-orders }
//!     policy: { tier: critical, retention_days: 35 }
//! ```
//!
//! A fault is told by its field and its place in the file, with the nearest known name where a name is unknown.

mod anomaly;
mod located;
mod promises;
mod rules;

pub use anomaly::AnomalyBounds;
pub use promises::DrillEvery;
pub use rules::resource_name;

use holdfast_common::jobs::BackupType;
use holdfast_connectors::{Limits, SourceSpec};
use holdfast_retention::Retention;
use holdfast_vault::error::{Code, Error, Result};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A thing under protection, as the resources file describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resource {
    /// Unique in a home or a stack: 1 to 64 of `a-z`, `0-9`, `.`, `_` and `-`.
    pub name: String,
    /// Where it is.
    pub source: SourceSpec,
    /// How it is protected.
    #[serde(default)]
    pub policy: Policy,
}

/// How a resource is protected.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// When backups run, as a cron expression; none where they are only asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// The time zone that the schedule is meant in, by its IANA name. UTC where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// The type of backup where none is asked for by name.
    #[serde(default)]
    pub backup_type: BackupType,
    /// How much it matters.
    #[serde(default)]
    pub tier: Tier,
    /// How many days a backup is kept: the shorter way to write `retention.days`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_days: Option<u32>,
    /// Which backups are kept. Where neither this nor `retention_days` has a rule, those on a schedule are kept 60 days,
    /// and others for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
    /// When the layers of a stream become one again.
    #[serde(default)]
    pub compaction: Compaction,
    /// How hard the source may be worked.
    #[serde(default)]
    pub limits: Limits,
    /// What is verified after each backup.
    #[serde(default)]
    pub verify: VerifyAfter,
    /// How often a backup is restored for trial; as its tier says where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drill: Option<DrillEvery>,
    /// Streams that every backup must have: one without is told, from the first on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expect: Vec<String>,
    /// How far a backup may differ from the ones before it before that is told.
    #[serde(default, skip_serializing_if = "AnomalyBounds::is_usual")]
    pub anomaly: AnomalyBounds,
    /// How blocks are compressed.
    #[serde(default)]
    pub codec: CodecName,
    /// Whether every change is captured as it happens (`dynamodb`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub capture: bool,
    /// How many days captured changes are kept, in which any second can be restored and a window undone. 35 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capture_days: Option<u32>,
}

/// When the layers of a stream are merged into a new base, as part of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compaction {
    /// So many layers a stream has at most.
    #[serde(default = "Compaction::default_layers")]
    pub layers: u32,
    /// So many bytes all deltas of a stream have at most, in percent of its base's; of a tree so many entries.
    #[serde(default = "Compaction::default_delta_percent")]
    pub delta_percent: u32,
    /// A pack of a tree of which less than so many percent is needed is written anew when layers are merged; 0 for none.
    #[serde(default = "Compaction::default_worn_percent")]
    pub worn_percent: u32,
}

impl Compaction {
    const fn default_layers() -> u32 {
        36
    }

    const fn default_delta_percent() -> u32 {
        50
    }

    const fn default_worn_percent() -> u32 {
        25
    }
}

impl Default for Compaction {
    fn default() -> Self {
        Self {
            layers: Self::default_layers(),
            delta_percent: Self::default_delta_percent(),
            worn_percent: Self::default_worn_percent(),
        }
    }
}

/// How much a resource matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// Sales stop without it.
    Critical,
    /// Work is hindered without it.
    #[default]
    Important,
    /// It can be had again at leisure.
    Reference,
}

impl Tier {
    /// The name as it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Important => "important",
            Self::Reference => "reference",
        }
    }

    /// How much work may be lost at most: what was written since the newest moment that can be restored. Sales of more
    /// than an hour cannot be made good by hand, a day's work on a catalogue can be, and reference data has its origin
    /// elsewhere.
    #[must_use]
    pub const fn rpo(self) -> SignedDuration {
        match self {
            Self::Critical => SignedDuration::from_hours(1),
            Self::Important => SignedDuration::from_hours(24),
            Self::Reference => SignedDuration::from_hours(7 * 24),
        }
    }

    /// Whether the RPO is missed where the newest moment that can be restored is so long ago. A quarter on top is left
    /// to the backup that is under way: one a day can be restored when it is complete, not when it begins.
    #[must_use]
    pub fn rpo_missed(self, achieved: SignedDuration) -> bool {
        achieved > self.rpo() + self.rpo() / 4
    }
}

/// What is verified after each backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VerifyAfter {
    /// That all objects are there, with their sizes and the checksums that the store keeps.
    #[default]
    Quick,
    /// The structure of every layer too.
    Chain,
    /// Every byte.
    Full,
    /// Nothing.
    None,
}

/// How blocks are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CodecName {
    /// Zstandard.
    #[default]
    Zstd,
    /// gzip.
    Gzip,
    /// Not at all.
    None,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ResourcesFile {
    resources: Vec<Resource>,
}

/// Reads a resources file. Relative paths in it are meant from the directory that it is in.
///
/// # Errors
/// `InvalidInput` naming the file, and the field and its place where one is wrong.
pub fn load(file: &Path) -> Result<Vec<Resource>> {
    let shown = file.display().to_string();
    let bytes = std::fs::read(file).map_err(|error| {
        Error::new(Code::InvalidInput, format!("{shown} cannot be read: {error}"))
            .object(&shown)
            .hint("name the resources file with -f FILE")
    })?;
    let text = String::from_utf8(bytes).map_err(|_| {
        Error::new(Code::InvalidInput, format!("{shown} is not UTF-8 text"))
            .object(&shown)
            .hint("save the resources file as UTF-8")
    })?;
    let absolute = std::path::absolute(file).unwrap_or_else(|_| file.to_path_buf());
    parse(&text, &shown, absolute.parent().unwrap_or(Path::new("/")))
}

/// Reads the text of a resources file. `file` names it in errors; relative paths in it are meant from `base`.
///
/// # Errors
/// `InvalidInput` naming the file, and the field and its place where one is wrong.
pub fn parse(text: &str, file: &str, base: &Path) -> Result<Vec<Resource>> {
    let document = located::Document::read(text, file)?;
    let mut resources = document.decode::<ResourcesFile>()?.resources;
    rules::check(&document, &resources)?;
    for resource in &mut resources {
        if let SourceSpec::Files { path }
        | SourceSpec::Jsonl { path, .. }
        | SourceSpec::Json { path: Some(path), .. } = &mut resource.source
        {
            *path = base.join(&*path);
        }
    }
    Ok(resources)
}

#[cfg(test)]
mod tests;
