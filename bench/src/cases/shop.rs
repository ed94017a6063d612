//! What the cases with records share: the resource, its backups, and the proof that they restore.

use crate::data::records::SHELVES;
use crate::failure::{failed, say, wrong};
use crate::holdfast::{Done, Holdfast};
use crate::lines;
use crate::measure::Usage;
use crate::report::Report;
use clap::ValueEnum;
use holdfast_vault::error::Result;
use serde_json::json;
use std::fs;
use std::path::Path;

/// The resource's name.
pub(super) const NAME: &str = "a";

/// The type of a backup that builds on others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Type {
    /// On the latest backup
    Incremental,
    /// On the latest full backup
    Differential,
    /// On nothing
    Full,
}

impl Type {
    const fn name(self) -> &'static str {
        match self {
            Self::Incremental => "incremental",
            Self::Differential => "differential",
            Self::Full => "full",
        }
    }
}

/// Puts a directory of records under protection. Backups are not verified by themselves: that is measured apart.
pub(super) fn protect(holdfast: &Holdfast, source: &Path) -> Result<()> {
    holdfast.apply(&json!({
        "name": NAME,
        "source": { "kind": "jsonl", "path": source, "key": ["/id"] },
        "policy": { "verify": "none" },
    }))
}

/// A backup and what it put into the vault.
pub(super) struct BackedUp {
    pub(super) id: String,
    /// By how much the vault grew, in bytes.
    pub(super) added: u64,
    /// What the program took.
    pub(super) usage: Usage,
}

/// Makes a backup, as a step of the report.
pub(super) fn back_up(
    holdfast: &Holdfast,
    report: &mut Report,
    name: &str,
    backup_type: Type,
) -> Result<BackedUp> {
    let before = holdfast.vault_bytes()?;
    let done = holdfast.run(&["backup", NAME, "--type", backup_type.name()])?;
    let after = holdfast.vault_bytes()?;
    // What was made may be another type than was asked for: a backup that cannot build on the last one is full.
    let made = done.text("type")?;
    report.writing_step(format!("{name}, {made}"), done.usage, before, after);
    let id = done.text("id")?.to_owned();
    Ok(BackedUp { id, added: after.saturating_sub(before), usage: done.usage })
}

/// Verifies every byte of a backup, as a step of the report.
pub(super) fn verify(holdfast: &Holdfast, report: &mut Report, name: &str, id: &str) -> Result<()> {
    report.step(name, holdfast.verify(id)?);
    Ok(())
}

/// Restores a backup, as a step of the report, and compares it with the source: every line of every file, in any order.
/// Returns what restoring took.
pub(super) fn prove(
    holdfast: &Holdfast,
    report: &mut Report,
    name: &str,
    id: &str,
    source: &Path,
) -> Result<Usage> {
    let target = holdfast.home().with_extension("restored");
    let done = restore(holdfast, id, &target, &[])?;
    report.step(name, done.usage);
    say("comparing what was restored with the source");
    for shelf in SHELVES {
        let file = shelf.file_name();
        let differences = lines::differences(&source.join(&file), &target.join(&file))?;
        if differences > 0 {
            return Err(wrong(format!("{file} of backup {id} came back with {differences} wrong lines")));
        }
    }
    remove(&target)?;
    Ok(done.usage)
}

/// Restores a backup, or what is chosen of it, into a new directory.
pub(super) fn restore(holdfast: &Holdfast, id: &str, target: &Path, chosen: &[&str]) -> Result<Done> {
    let to = format!("jsonl:{}", target.display());
    let mut args = vec!["restore", id, "--to", &to];
    args.extend(chosen);
    holdfast.run(&args)
}

/// Removes what was restored.
pub(super) fn remove(target: &Path) -> Result<()> {
    fs::remove_dir_all(target).map_err(|e| failed("remove", target, &e))
}
