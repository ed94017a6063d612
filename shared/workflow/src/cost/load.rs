//! What is asked about: how much a resource holds, how much of it changes, and how it is protected.

use crate::config::{Compaction, Resource, VerifyAfter};
use crate::join::EXPANDS;
use crate::services::WorkLimits;
use crate::verify::Level;
use holdfast_common::jobs::BackupType;
use holdfast_connectors::SourceSpec;
use holdfast_vault::error::{Code, Error, Result};
use serde::Serialize;

/// How many days of a month are counted.
pub(super) const DAYS: f64 = 30.0;
/// More backups in a day than the shortest schedule gives.
const MOST_A_DAY: f64 = 288.0;
/// More than anyone has, and far from where a sum ends: a pebibyte, or as many things.
const MOST: u64 = 1 << 50;
/// Backups that are kept where nobody says: those of a month, one a day.
const KEPT: u64 = 30;

/// Where what is backed up comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A `DynamoDB` table.
    Dynamodb,
    /// Objects of a bucket.
    S3,
    /// A directory.
    Files,
    /// A directory of JSON Lines.
    Jsonl,
    /// A JSON document.
    Json,
}

impl From<&SourceSpec> for Kind {
    fn from(source: &SourceSpec) -> Self {
        match source {
            SourceSpec::Files { .. } => Self::Files,
            SourceSpec::Jsonl { .. } => Self::Jsonl,
            SourceSpec::Json { .. } => Self::Json,
            SourceSpec::Dynamodb { .. } => Self::Dynamodb,
            SourceSpec::S3 { .. } => Self::S3,
        }
    }
}

/// How much one stream holds. One with files is a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct StreamLoad {
    /// Its records.
    pub records: u64,
    /// Its files.
    pub files: u64,
    /// Its bytes of content.
    pub bytes: u64,
}

impl StreamLoad {
    pub(super) const fn is_tree(self) -> bool {
        self.files > 0
    }

    /// Its records or files.
    pub(super) const fn things(self) -> u64 {
        self.records + self.files
    }
}

/// All that the model goes by.
#[derive(Debug, Clone, Serialize)]
pub struct Load {
    /// The source.
    pub kind: Kind,
    /// The streams.
    pub streams: Vec<StreamLoad>,
    /// The share, 0 to 1, of records or files that change in a day, and of their bytes.
    pub daily_change: f64,
    /// Backups in a day.
    pub backups_per_day: f64,
    /// Backups that are kept.
    pub kept: u64,
    /// Backups that are made from the oldest kept one to the newest, both counted: no less than are kept.
    pub span: u64,
    /// Bytes that the vault takes for a byte of content.
    pub stored_share: f64,
    /// What a backup builds on.
    pub backup_type: BackupType,
    /// When layers are merged.
    #[serde(skip)]
    pub compaction: Compaction,
    /// What is verified after each backup.
    #[serde(skip)]
    pub verify: VerifyAfter,
    /// How the newest backup is verified every day.
    #[serde(skip)]
    pub daily_verify: Level,
    /// How much one call does.
    #[serde(skip)]
    pub limits: WorkLimits,
}

/// What was asked on a command line; what is `None` follows from the resource, or has a default.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked {
    /// Records.
    pub records: Option<u64>,
    /// Files.
    pub files: Option<u64>,
    /// Bytes of content, of records and files together.
    pub bytes: Option<u64>,
    /// Percent that changes in a day.
    pub daily_change: Option<f64>,
    /// Backups in a day.
    pub backups_per_day: Option<f64>,
    /// Backups that are kept.
    pub kept: Option<u64>,
}

fn bad(field: &str, why: &str, hint: &str) -> Error {
    Error::new(Code::InvalidInput, format!("{field} {why}")).object(field).hint(hint)
}

impl Load {
    /// What a resource without figures is: protected as its policy says.
    #[must_use]
    pub fn of(resource: &Resource) -> Self {
        let policy = &resource.policy;
        let defaults = WorkLimits::default();
        let kind = Kind::from(&resource.source);
        Self {
            kind,
            streams: Vec::new(),
            daily_change: 0.0,
            backups_per_day: 1.0,
            kept: KEPT,
            span: KEPT,
            stored_share: usual_share(kind),
            backup_type: policy.backup_type,
            compaction: policy.compaction,
            verify: policy.verify,
            daily_verify: Level::Full,
            limits: WorkLimits { workers: policy.limits.workers.unwrap_or(defaults.workers), ..defaults },
        }
    }

    /// What is asked about without a resource: a table's records, or a bucket's files, in increments.
    ///
    /// # Errors
    /// `InvalidInput` naming the option that is missing or cannot be.
    pub fn of_figures(asked: &Asked) -> Result<Self> {
        let (records, files) = (asked.records.unwrap_or(0), asked.files.unwrap_or(0));
        if records == 0 && files == 0 {
            return Err(bad("--records", "is missing", "say how many with --records N or --files N"));
        }
        let bytes = asked
            .bytes
            .ok_or_else(|| bad("--bytes", "is missing", "say how many bytes they have with --bytes B"))?;
        if asked.daily_change.is_none() {
            let hint = "say how many percent change in a day with --daily-change P";
            return Err(bad("--daily-change", "is missing", hint));
        }
        let kind = if records > 0 { Kind::Dynamodb } else { Kind::S3 };
        let mut load = Self {
            kind,
            streams: streams(records, files, bytes),
            daily_change: 0.0,
            backups_per_day: 1.0,
            kept: KEPT,
            span: KEPT,
            stored_share: usual_share(kind),
            backup_type: BackupType::Incremental,
            compaction: Compaction::default(),
            verify: VerifyAfter::default(),
            daily_verify: Level::Full,
            limits: WorkLimits::default(),
        };
        load.apply(asked)?;
        Ok(load)
    }

    /// Puts what was asked in place of what is known.
    ///
    /// # Errors
    /// `InvalidInput` naming the option that cannot be.
    pub fn apply(&mut self, asked: &Asked) -> Result<()> {
        let counts = [("--records", asked.records), ("--files", asked.files), ("--bytes", asked.bytes)];
        for (field, number) in counts {
            if number.is_some_and(|number| number > MOST) {
                return Err(bad(field, "is more than there can be", "give at most 1125899906842624"));
            }
        }
        if let Some(percent) = asked.daily_change {
            if !(0.0..=100.0).contains(&percent) {
                return Err(bad("--daily-change", "is no percentage", "give 0 to 100"));
            }
            self.daily_change = percent / 100.0;
        }
        if let Some(number) = asked.backups_per_day {
            if !(number > 0.0 && number <= MOST_A_DAY) {
                let hint =
                    "give more than 0 and at most 288, which is one every 5 minutes; one a week is 0.143";
                return Err(bad("--backups-per-day", "cannot be", hint));
            }
            self.backups_per_day = number;
        }
        if let Some(kept) = asked.kept {
            if kept == 0 || kept > MOST {
                return Err(bad("--kept", "cannot be", "give 1 or more: the newest backup always stays"));
            }
            (self.kept, self.span) = (kept, kept);
        }
        Ok(())
    }

    /// The share of records or files that changes between two backups.
    pub(super) fn change(&self) -> f64 {
        (self.daily_change / self.backups_per_day).clamp(0.0, 1.0)
    }

    /// All bytes of content.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.streams.iter().map(|stream| stream.bytes).sum()
    }

    /// How many backups there are from one that merges layers to the next, that one counted.
    pub(super) fn cycle(&self) -> f64 {
        let most = f64::from(self.compaction.layers.max(1));
        let change = self.change();
        if change <= 0.0 {
            return most;
        }
        most.min(f64::from(self.compaction.delta_percent) / 100.0 / change + 2.0)
    }

    /// How many bases and how many deltas the vault holds for the backups that are kept: those between the oldest and the
    /// newest, and below the oldest as many as there are on a base in the middle of a cycle.
    pub(super) fn layers_kept(&self) -> (f64, f64) {
        let (kept, cycle) = (super::real(self.kept), self.cycle());
        if self.backup_type == BackupType::Full {
            return (kept, 0.0);
        }
        let later = super::real(self.span.max(self.kept)) - 1.0;
        let merges = (later / cycle).min(kept);
        (1.0 + merges, (later - later / cycle).max(0.0) + (cycle - 1.0) / 2.0)
    }

    /// How many deltas lie on a base, half the time: half of what a policy lets lie there at most, whatever changes.
    pub(super) fn deltas(&self) -> u64 {
        u64::from(self.compaction.layers.saturating_sub(1)).div_ceil(2)
    }
}

/// What is stored for a byte, where no backup tells: records compress to about a quarter, of files half does not compress.
fn usual_share(kind: Kind) -> f64 {
    match kind {
        Kind::Files | Kind::S3 => 0.6,
        Kind::Dynamodb | Kind::Jsonl | Kind::Json => 1.0 / super::real(EXPANDS),
    }
}

/// A stream of records and one of files, the bytes shared out by their numbers.
fn streams(records: u64, files: u64, bytes: u64) -> Vec<StreamLoad> {
    let things = u128::from(records) + u128::from(files);
    let of_records = u128::from(bytes) * u128::from(records) / things.max(1);
    let of_records = u64::try_from(of_records).unwrap_or(bytes);
    let table = StreamLoad { records, files: 0, bytes: of_records };
    let tree = StreamLoad { records: 0, files, bytes: bytes - of_records };
    [table, tree].into_iter().filter(|stream| stream.things() > 0).collect()
}
