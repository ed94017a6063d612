//! The peers, as far as they are installed: restic, rustic and borg, each as its manual has it, with encryption.

use super::{Engine, both};
use crate::failure::{failed, internal, say};
use crate::measure::{self, Usage};
use holdfast_vault::error::Result;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The passphrase of repositories that go with the case.
const PASSPHRASE: &str = "benchmark";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Restic,
    Rustic,
    Borg,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Restic, Self::Rustic, Self::Borg];

    const fn program(self) -> &'static str {
        match self {
            Self::Restic => "restic",
            Self::Rustic => "rustic",
            Self::Borg => "borg",
        }
    }
}

/// A peer on a repository of its own.
struct Peer {
    kind: Kind,
    name: String,
    /// Holds the repository and what the program keeps for itself.
    below: PathBuf,
    source: PathBuf,
    backups: u32,
}

/// The peers that are installed, on repositories below a directory.
///
/// # Errors
/// Where a directory cannot be made, or a program cannot be measured.
pub(crate) fn found(below: &Path, source: &Path) -> Result<Vec<Box<dyn Engine>>> {
    let mut all: Vec<Box<dyn Engine>> = Vec::new();
    for kind in Kind::ALL {
        let asked = if kind == Kind::Restic { "version" } else { "--version" };
        let Ok(ran) = measure::run(Command::new(kind.program()).arg(asked)) else {
            say(&format!("{} is not installed, and is left out", kind.program()));
            continue;
        };
        let name = ran.stdout.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
        let below = below.join(kind.program());
        fs::create_dir_all(&below).map_err(|e| failed("make", &below, &e))?;
        all.push(Box::new(Peer { kind, name, below, source: source.to_path_buf(), backups: 0 }));
    }
    Ok(all)
}

impl Peer {
    fn run(&self, args: &[&str], within: Option<&Path>) -> Result<Usage> {
        let mut command = Command::new(self.kind.program());
        let (home, repository) = (self.below.join("home"), self.repository());
        command.args(self.args(args)).env("HOME", &home).env("XDG_CACHE_HOME", home.join("cache"));
        match self.kind {
            Kind::Restic => {
                command.env("RESTIC_PASSWORD", PASSPHRASE).env("RESTIC_REPOSITORY", repository);
            }
            Kind::Rustic => {
                command.env("RUSTIC_PASSWORD", PASSPHRASE).env("RUSTIC_REPOSITORY", repository);
            }
            Kind::Borg => {
                command
                    .env("BORG_PASSPHRASE", PASSPHRASE)
                    .env("BORG_REPO", repository)
                    .env("BORG_BASE_DIR", home);
            }
        }
        if let Some(directory) = within {
            command.current_dir(directory);
        }
        let shown = format!("{} {}", self.kind.program(), args.join(" "));
        say(&shown);
        let ran = measure::run(&mut command)?;
        if ran.status.success() {
            return Ok(ran.usage);
        }
        Err(internal(format!("`{shown}` ended with {}: {}", ran.status, ran.stderr.trim())))
    }

    /// What is asked for, with the words for "say little" of each.
    fn args(&self, args: &[&str]) -> Vec<OsString> {
        let quiet: &[&str] = match self.kind {
            Kind::Restic => &["--quiet"],
            Kind::Rustic => &["--no-progress", "--log-level", "warn"],
            Kind::Borg => &[],
        };
        quiet.iter().chain(args).map(OsString::from).collect()
    }

    fn source(&self) -> Result<&str> {
        self.source.to_str().ok_or_else(|| internal("the source's path is not UTF-8"))
    }

    fn archive(&self) -> String {
        format!("::{}", self.backups)
    }
}

impl Engine for Peer {
    fn name(&self) -> &str {
        &self.name
    }

    fn repository(&self) -> PathBuf {
        self.below.join("repository")
    }

    fn begin(&mut self) -> Result<()> {
        fs::create_dir_all(self.below.join("home")).map_err(|e| failed("make", &self.below, &e))?;
        let args: &[&str] = match self.kind {
            Kind::Restic | Kind::Rustic => &["init"],
            Kind::Borg => &["init", "--encryption", "repokey-blake2"],
        };
        self.run(args, None).map(|_| ())
    }

    fn back_up(&mut self) -> Result<Usage> {
        self.backups += 1;
        let (source, archive) = (self.source()?, self.archive());
        let args: &[&str] = match self.kind {
            Kind::Restic | Kind::Rustic => &["backup", source],
            Kind::Borg => &["create", "--compression", "zstd,3", &archive, source],
        };
        self.run(args, None)
    }

    fn verify(&mut self) -> Result<Usage> {
        let args: &[&str] = match self.kind {
            Kind::Restic | Kind::Rustic => &["check", "--read-data"],
            Kind::Borg => &["check", "--verify-data"],
        };
        self.run(args, None)
    }

    fn restore(&mut self, target: &Path) -> Result<(Usage, PathBuf)> {
        fs::create_dir_all(target).map_err(|e| failed("make", target, &e))?;
        let (source, archive) = (self.source()?, self.archive());
        let shown = target.to_str().ok_or_else(|| internal("the target's path is not UTF-8"))?;
        let inner = target.join(source.trim_start_matches('/'));
        match self.kind {
            Kind::Restic => Ok((self.run(&["restore", "latest", "--target", shown], None)?, inner)),
            Kind::Rustic => {
                let usage = self.run(&["restore", &format!("latest:{source}"), shown], None)?;
                Ok((usage, target.to_path_buf()))
            }
            Kind::Borg => Ok((self.run(&["extract", &archive], Some(target))?, inner)),
        }
    }

    fn prune(&mut self) -> Result<Usage> {
        match self.kind {
            Kind::Restic | Kind::Rustic => self.run(&["forget", "--keep-last", "1", "--prune"], None),
            Kind::Borg => {
                let deleted = self.run(&["delete", "::1"], None)?;
                Ok(both(deleted, self.run(&["compact"], None)?))
            }
        }
    }
}
