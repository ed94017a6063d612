//! Stands in until the demo is there.

use holdfast_vault::error::{Code, Error, Result};
use serde::Serialize;
use std::io::{self, Write};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Keeps all that the demo makes in this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
}

#[derive(Serialize)]
pub(crate) struct Report {}

impl Report {
    pub(crate) fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out)
    }

    pub(crate) fn equal(&self) -> bool {
        false
    }
}

pub(crate) async fn run(_: &Args) -> Result<Report> {
    Err(Error::new(Code::Internal, "there is no demo yet"))
}
