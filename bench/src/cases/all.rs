//! The case `all`: the cases that need no more disk than a machine has, one after the other.

use super::compare::{self, Data};
use super::{engine, functions, items};
use crate::Bench;
use crate::data::site::Scale;
use crate::failure::{failed, say};
use crate::report::Report;
use holdfast_vault::error::Result;
use std::fs;

/// The size of a file of records at scale 1, in MiB.
const MIB: u64 = 128;

/// One of the cases.
#[derive(Debug, Clone, Copy)]
pub(crate) enum One {
    Records,
    Site,
    Items,
    Engine,
    Functions,
}

impl One {
    /// All of them, in the order in which they are run.
    pub(crate) const ALL: [Self; 5] = [Self::Records, Self::Site, Self::Items, Self::Engine, Self::Functions];

    /// The case's name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Records => "records",
            Self::Site => "site",
            Self::Items => "items",
            Self::Engine => "engine",
            Self::Functions => "functions",
        }
    }

    /// Runs the case in a directory of its own, which stays only where it is kept.
    ///
    /// # Errors
    /// What kept the case from being measured.
    pub(crate) fn run(self, bench: &Bench<'_>, scale: Scale, keep: bool) -> Result<Report> {
        say(&format!("case {}", self.name()));
        let directory = bench.directory.join(self.name());
        fs::create_dir_all(&directory).map_err(|e| failed("make", &directory, &e))?;
        let bench = Bench { directory: &directory, ..bench.clone() };
        let report = match self {
            Self::Records => {
                let mib = (MIB * scale.0 / 1000).max(1);
                compare::run(&bench, Data::Records(mib), compare::Args::default())
            }
            Self::Site => compare::run(&bench, Data::Site(scale), compare::Args::default()),
            Self::Items => items::run(&bench, &items::Args::scaled(scale.0)),
            Self::Engine => engine::run(&bench, &engine::Args::scaled(scale.0)),
            Self::Functions => functions::run(&bench, &functions::Args::default()),
        };
        if !keep {
            fs::remove_dir_all(&directory).map_err(|e| failed("remove", &directory, &e))?;
        }
        report
    }
}
