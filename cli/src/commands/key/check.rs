//! `holdfast key check`

use crate::copies::CopyPlace;
use crate::exit::{Exit, after_help};
use crate::options::Global;
use crate::output::{Outcome, Report, Side, Table, count, counted, size};
use crate::progress::Bar;
use holdfast_local::keys::{look, look_elsewhere};
use holdfast_vault::error::{Error, Result};
use holdfast_vault::read::key_check::{KeyCheck, Unopened, check};
use holdfast_vault::read::verify::Finding;
use serde::Serialize;
use std::fmt::{self, Write as _};

/// Objects whose ends are read at a time.
const AT_ONCE: usize = 16;

/// Tells whether every backup can be opened with the keys at hand
///
/// Opens every manifest, and the end of every object that one names: the version of the vault key is named there, and
/// only the right key opens it. Contents are not read; that is what `verify` does.
#[derive(Debug, clap::Args)]
#[command(after_help = after_help!(
    "holdfast key check",
    "holdfast --home /mnt/copy key check --json",
    "holdfast key check --from-copy s3://shop-vault-copy/vault",
))]
pub(crate) struct Args {
    /// Looks at the copy at this place, with the keys of the home
    #[arg(long, value_name = "PLACE")]
    from_copy: Option<CopyPlace>,
}

#[derive(Debug, Serialize)]
struct Checked {
    valid: bool,
    backups: u64,
    newest_version: u32,
    versions: Vec<VersionLine>,
    unopened: Vec<Unopened>,
    others: Vec<Finding>,
    keys: Vec<Finding>,
}

#[derive(Debug, Serialize)]
struct VersionLine {
    version: u32,
    /// Whether it is at hand.
    held: bool,
    objects: u64,
    bytes: u64,
}

/// Carries the command out.
pub(crate) async fn run(global: &Global, args: &Args) -> Result<Outcome> {
    global.no_stack("key check")?;
    let looked = match &args.from_copy {
        None => look(&global.home).await?,
        Some(copy) => look_elsewhere(&global.home, copy.there().await?).await?,
    };
    let bar = Bar::new(global, "checking keys");
    let found = check(&looked.vault, AT_ONCE, &|backups| bar.tell(&counted(backups, "backup"))).await?;
    drop(bar);
    let checked = Checked::new(&looked.vault.keys().versions(), looked.unopened, found);
    let exit = Exit::differences(!checked.valid);
    Outcome::new(&checked, global.json, exit)
}

impl Checked {
    fn new(held: &[u32], keys: Vec<Error>, found: KeyCheck) -> Self {
        let mut versions: Vec<VersionLine> = Vec::new();
        for version in held {
            let of = found.versions.get(version).copied().unwrap_or_default();
            versions.push(VersionLine {
                version: *version,
                held: true,
                objects: of.objects,
                bytes: of.bytes,
            });
        }
        for (version, of) in &found.missing {
            versions.push(VersionLine {
                version: *version,
                held: false,
                objects: of.objects,
                bytes: of.bytes,
            });
        }
        versions.sort_by_key(|line| line.version);
        let keys: Vec<Finding> = keys
            .into_iter()
            .map(|error| Finding {
                object: error.object.unwrap_or_default(),
                code: error.code.to_string(),
                message: error.message,
            })
            .collect();
        Self {
            valid: found.unopened.is_empty() && found.others.is_empty() && keys.is_empty(),
            backups: found.backups,
            newest_version: held.last().copied().unwrap_or_default(),
            versions,
            unopened: found.unopened,
            others: found.others,
            keys,
        }
    }
}

impl Report for Checked {
    fn text(&self, out: &mut String) -> fmt::Result {
        let backups = counted(self.backups, "backup");
        if self.unopened.is_empty() {
            writeln!(out, "the keys at hand open all of {backups}")?;
        } else {
            let lost = count(self.unopened.len() as u64);
            writeln!(out, "{lost} of {backups} CANNOT BE OPENED with the keys at hand")?;
        }
        let mut table = Table::new(&[
            ("VERSION", Side::Right),
            ("KEY", Side::Left),
            ("OBJECTS", Side::Right),
            ("STORED", Side::Right),
        ]);
        for line in &self.versions {
            let held = if line.held { "at hand" } else { "MISSING" };
            table.row([line.version.to_string(), held.to_owned(), count(line.objects), size(line.bytes)]);
        }
        write!(out, "{table}")?;
        for of in &self.unopened {
            writeln!(out, "error[{}]: backup {}: {}", of.why.code, of.backup, of.why.message)?;
        }
        for of in self.keys.iter().chain(&self.others) {
            writeln!(out, "error[{}]: {}", of.code, of.message)?;
        }
        if !self.valid {
            writeln!(
                out,
                "  hint: put back the objects of keys/ and the key file, or recover with an exported key"
            )?;
        }
        Ok(())
    }
}
