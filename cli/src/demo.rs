//! `holdfast demo`: the main job, shown on a shop that the demo makes itself.
//!
//! Nothing is pretended: the resources, the state machines, the handlers and the vault are those of every other command.
//! Only the comparison is the demo's own, so that it does not trust what it shows.

mod compare;
mod copy;
mod incident;
mod item;
mod place;
mod random;
mod report;
mod shop;
mod site;
mod story;
mod tables;
mod tree;
mod words;

pub(crate) use report::Report;

use holdfast_vault::error::{Code, Error, Result};
use place::Place;
use std::io::{self, Write as _};
use std::path::PathBuf;
use tokio::signal::unix::{SignalKind, signal};

/// What the demo can be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Keeps all that the demo makes in this directory, which must be new or empty
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Records of the shop, over its three tables
    #[arg(long, value_name = "N", default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(10..=5_000_000))]
    records: u64,
    /// Files of the shop's site
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(10..=1_000_000))]
    files: u64,
    /// What the data follows from: the same number makes the same shop
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    #[arg(from_global)]
    json: bool,
    #[arg(from_global)]
    quiet: bool,
}

impl Args {
    /// Says on stderr what is being done.
    fn say(&self, what: &str) {
        if !self.json && !self.quiet {
            // With stderr gone there is nobody left to tell.
            let _ = writeln!(io::stderr().lock(), "{what}");
        }
    }
}

/// Runs the demo. What it makes is gone afterwards, unless it is to be kept.
///
/// # Errors
/// What keeps it from the end; that something did not come back is in the report.
pub(crate) async fn run(args: &Args) -> Result<Report> {
    let place = Place::new(args.keep.as_deref())?;
    let listen = |kind| {
        signal(kind).map_err(|e| Error::new(Code::Internal, format!("signals cannot be received: {e}")))
    };
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    let told = tokio::select! {
        told = Box::pin(story::tell(args, place.path())) => told,
        _ = interrupt.recv() => Err(cancelled()),
        _ = terminate.recv() => Err(cancelled()),
    };
    place.leave();
    told
}

fn cancelled() -> Error {
    Error::new(Code::Cancelled, "the demo was cancelled")
}
