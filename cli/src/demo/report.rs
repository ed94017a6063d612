//! What the demo tells when it is done.

use crate::output::{Side, Table, amount, count, counted, duration, size};
use holdfast_connectors::TargetSpec;
use jiff::SignedDuration;
use serde::{Serialize, Serializer};
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

/// The whole story.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(super) seed: u64,
    /// Records that were backed up.
    pub(super) records: u64,
    /// Files that were backed up.
    pub(super) files: u64,
    pub(super) source_bytes: u64,
    /// What they take in the vault.
    pub(super) stored_bytes: u64,
    pub(super) seconds: f64,
    pub(super) steps: Vec<Step>,
    pub(super) resources: Vec<Protected>,
    pub(super) incident: Incident,
    pub(super) damage: Vec<String>,
    /// Whether all of it came back as it was, and all damage was noticed.
    pub(super) equal: bool,
    pub(super) differences: Vec<String>,
    /// What backups and restores warned of.
    pub(super) warnings: Vec<String>,
    /// Where all of it was kept.
    pub(super) kept: Option<PathBuf>,
}

/// A part of the story.
#[derive(Debug, Serialize)]
pub(super) struct Step {
    pub(super) name: Name,
    pub(super) seconds: f64,
    pub(super) detail: String,
}

/// The parts of the story.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Name {
    Make,
    Backup,
    Verify,
    Incident,
    Damage,
    Restore,
    Compare,
}

/// A bad deployment, and what became of it.
#[derive(Debug, Serialize)]
pub(super) struct Incident {
    /// Products that it spoiled.
    pub(super) spoiled: u64,
    /// Good writes made meanwhile and since.
    pub(super) good: u64,
    /// Products that changed in the window, well or badly.
    pub(super) window: u64,
    /// Products put back.
    pub(super) undone: u64,
    /// Products that somebody had corrected since, and that were left alone.
    pub(super) kept: u64,
    /// Products that the undo read again and found as they should be.
    pub(super) proved: u64,
    /// Records that are not what they should be in the end.
    pub(super) lost: u64,
}

/// A resource and what became of it.
#[derive(Debug, Serialize)]
pub(super) struct Protected {
    pub(super) name: String,
    pub(super) backup: String,
    pub(super) records: u64,
    pub(super) files: u64,
    pub(super) source_bytes: u64,
    pub(super) stored_bytes: u64,
    pub(super) backup_seconds: f64,
    #[serde(serialize_with = "shown")]
    pub(super) target: TargetSpec,
    pub(super) restore_seconds: f64,
}

/// Seconds to the millisecond.
pub(super) fn seconds(took: Duration) -> f64 {
    (took.as_secs_f64() * 1000.0).round() / 1000.0
}

impl Report {
    /// Whether all of it came back as it was, and all damage was noticed.
    pub(crate) fn equal(&self) -> bool {
        self.equal
    }

    /// Tells the story to people.
    ///
    /// # Errors
    /// What `out` gives.
    pub(crate) fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(
            out,
            "A shop is backed up, spoiled and put right in place, damaged, restored and compared.\n"
        )?;
        for (number, step) in (1..).zip(&self.steps) {
            let head = format!("{number}  {}", step.name.title());
            writeln!(out, "{head:<60}{:>10}", took(step.seconds))?;
            writeln!(out, "   {}", step.detail)?;
            match step.name {
                Name::Backup => self.print_backups(out)?,
                Name::Incident => {
                    self.incident.lines().iter().try_for_each(|line| writeln!(out, "   - {line}"))?;
                }
                Name::Damage => self.damage.iter().try_for_each(|line| writeln!(out, "   - {line}"))?,
                Name::Restore => self.print_restores(out)?,
                Name::Make | Name::Verify | Name::Compare => {}
            }
            writeln!(out)?;
        }
        self.print_end(out)
    }

    fn print_backups(&self, out: &mut dyn Write) -> io::Result<()> {
        let (left, right) = (Side::Left, Side::Right);
        let mut table = Table::new(&[
            ("RESOURCE", left),
            ("HOLDS", right),
            ("READ", right),
            ("STORED", right),
            ("RATIO", right),
            ("TOOK", right),
            ("RATE", right),
        ]);
        for one in &self.resources {
            table.row([
                one.name.clone(),
                one.holds(),
                size(one.source_bytes),
                size(one.stored_bytes),
                ratio(one.source_bytes, one.stored_bytes),
                took(one.backup_seconds),
                one.rate(one.backup_seconds),
            ]);
        }
        indented(out, &table)
    }

    fn print_restores(&self, out: &mut dyn Write) -> io::Result<()> {
        let (left, right) = (Side::Left, Side::Right);
        let mut table = Table::new(&[("TARGET", left), ("HOLDS", right), ("TOOK", right), ("RATE", right)]);
        for one in &self.resources {
            let rate = one.rate(one.restore_seconds);
            table.row([one.shown(), one.holds(), took(one.restore_seconds), rate]);
        }
        indented(out, &table)
    }

    fn print_end(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.equal {
            let (records, files) = (counted(self.records, "record"), counted(self.files, "file"));
            writeln!(out, "Everything came back: {records} and {files}, equal.")?;
        } else {
            writeln!(out, "NOT everything is as it should be:")?;
            self.differences.iter().try_for_each(|line| writeln!(out, "   - {line}"))?;
        }
        writeln!(
            out,
            "{} in {}; the vault holds them in {}, {} times smaller.\n",
            amount(self.records, self.files, self.source_bytes),
            took(self.seconds),
            size(self.stored_bytes),
            ratio(self.source_bytes, self.stored_bytes),
        )?;
        if !self.warnings.is_empty() {
            writeln!(out, "{}:", counted(self.warnings.len() as u64, "warning"))?;
            self.warnings.iter().try_for_each(|line| writeln!(out, "   - {line}"))?;
            writeln!(out)?;
        }
        self.print_next(out)
    }

    fn print_next(&self, out: &mut dyn Write) -> io::Result<()> {
        let program = std::env::args_os().next();
        let program =
            program.map_or_else(|| "holdfast".to_owned(), |name| name.to_string_lossy().into_owned());
        let lines = if let Some(kept) = &self.kept {
            writeln!(out, "All of it is in {}. Look at it:", kept.display())?;
            let home = kept.join("home");
            let home = home.display();
            vec![
                format!("{program} --home {home} backups"),
                format!("{program} --home {home} verify latest:shop-orders"),
                format!(
                    "{program} --home {home} restore latest:shop-orders --to jsonl:{}",
                    kept.join("orders").display()
                ),
            ]
        } else {
            writeln!(out, "Next:")?;
            vec![
                format!("{program} demo --keep shop      does it again and keeps the home, to look at"),
                format!("{program} apply --help          how to protect what is yours"),
            ]
        };
        lines.iter().try_for_each(|line| writeln!(out, "   {line}"))
    }
}

impl Name {
    fn title(self) -> &'static str {
        match self {
            Self::Make => "A shop is made",
            Self::Backup => "It is backed up",
            Self::Verify => "The backups are verified",
            Self::Incident => "A bad deployment is undone, in place",
            Self::Damage => "The shop is damaged",
            Self::Restore => "The backups are restored into new places",
            Self::Compare => "What came back is compared",
        }
    }
}

fn shown<S: Serializer>(target: &TargetSpec, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(target)
}

impl Protected {
    /// Where it was restored to; of a directory only its name, since its place is long and often gone.
    fn shown(&self) -> String {
        match &self.target {
            TargetSpec::Files { path } => {
                format!("files:{}", path.file_name().unwrap_or(path.as_os_str()).to_string_lossy())
            }
            target => target.to_string(),
        }
    }

    fn holds(&self) -> String {
        if self.files > 0 { counted(self.files, "file") } else { counted(self.records, "record") }
    }

    /// Records a second, or bytes a second of a tree.
    fn rate(&self, seconds: f64) -> String {
        if self.files > 0 {
            format!("{}/s", size(per_second(self.source_bytes, seconds)))
        } else {
            format!("{}/s", count(per_second(self.records, seconds)))
        }
    }
}

#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn per_second(number: u64, seconds: f64) -> u64 {
    (number as f64 / seconds.max(0.001)) as u64
}

#[allow(clippy::cast_precision_loss)]
fn ratio(source: u64, stored: u64) -> String {
    format!("{:.1}", source as f64 / stored.max(1) as f64)
}

fn took(seconds: f64) -> String {
    duration(SignedDuration::try_from_secs_f64(seconds).unwrap_or_default())
}

fn indented(out: &mut dyn Write, table: &Table) -> io::Result<()> {
    table.to_string().lines().try_for_each(|line| writeln!(out, "   {line}"))
}
