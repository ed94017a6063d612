//! Holdfast as one of the programs that are compared.

use super::{Engine, both};
use crate::failure::internal;
use crate::holdfast::Holdfast;
use crate::measure::Usage;
use holdfast_vault::error::Result;
use serde_json::json;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The resource's name.
const NAME: &str = "source";

/// Holdfast on a home of its own.
pub(crate) struct Own {
    name: String,
    holdfast: Holdfast,
    source: PathBuf,
    /// `jsonl` or `files`.
    kind: &'static str,
    backups: Vec<String>,
}

impl Own {
    /// The program on a home below a directory; `kind` is that of the connector.
    pub(crate) fn new(
        program: &Path,
        version: &str,
        below: &Path,
        source: &Path,
        kind: &'static str,
    ) -> Self {
        let holdfast = Holdfast::new(program, &below.join("holdfast"));
        let (name, source) = (version.to_owned(), source.to_path_buf());
        Self { name, holdfast, source, kind, backups: Vec::new() }
    }

    fn newest(&self) -> Result<&str> {
        self.backups.last().map(String::as_str).ok_or_else(|| internal("there is no backup yet"))
    }
}

impl Engine for Own {
    fn name(&self) -> &str {
        &self.name
    }

    fn repository(&self) -> PathBuf {
        self.holdfast.home().join("vault")
    }

    fn begin(&mut self) -> Result<()> {
        let mut source = json!({ "kind": self.kind, "path": self.source });
        if self.kind == "jsonl" {
            source["key"] = json!(["/id"]);
        }
        // Backups are not verified by themselves: that is measured apart.
        self.holdfast.apply(&json!({ "name": NAME, "source": source, "policy": { "verify": "none" } }))
    }

    fn back_up(&mut self) -> Result<Usage> {
        let kind = if self.backups.is_empty() { "full" } else { "incremental" };
        let done = self.holdfast.run(&["backup", NAME, "--type", kind])?;
        let made = done.text("type")?;
        if made != kind {
            return Err(internal(format!("the backup became {made}")));
        }
        self.backups.push(done.text("id")?.to_owned());
        Ok(done.usage)
    }

    fn verify(&mut self) -> Result<Usage> {
        self.holdfast.verify(self.newest()?)
    }

    fn restore(&mut self, target: &Path) -> Result<(Usage, PathBuf)> {
        let mut to = OsString::from(format!("{}:", self.kind));
        to.push(target);
        let args = ["restore".into(), self.newest()?.into(), "--to".into(), to];
        Ok((self.holdfast.run(&args)?.usage, target.to_path_buf()))
    }

    fn prune(&mut self) -> Result<Usage> {
        let first = self.backups.first().ok_or_else(|| internal("there is no backup yet"))?;
        let deleted = self.holdfast.run(&["delete", first, "--now"])?;
        Ok(both(deleted.usage, self.holdfast.run(&["prune"])?.usage))
    }
}
