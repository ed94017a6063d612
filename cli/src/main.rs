//! `holdfast`: the operator's command line.

mod commands;
mod copies;
mod demo;
mod exit;
mod options;
mod output;
mod place;
mod progress;
mod stack;

use holdfast_common::telemetry;
use holdfast_vault::error::{Code, Error};
use options::Options;
use std::process::ExitCode;

/// Job state answers on the thread that asks, so there is always another one for what goes on beside it.
const LEAST_THREADS: usize = 4;

fn main() -> ExitCode {
    let options = match Options::read() {
        Ok(options) => options,
        Err(error) => return usage(&error),
    };
    telemetry::init_cli(options.global.verbose);
    let threads = std::thread::available_parallelism().map_or(LEAST_THREADS, |n| n.get().max(LEAST_THREADS));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    let ended = runtime
        .map_err(|e| Error::new(Code::Internal, format!("no threads could be started: {e}")))
        .and_then(|runtime| {
            let ended = runtime.block_on(commands::run(&options));
            runtime.shutdown_background();
            ended
        })
        .and_then(|outcome| outcome.print());
    match ended {
        Ok(exit) => exit.into(),
        Err(error) => {
            output::tell(&error, options.global.json);
            exit::Exit::from(&error).into()
        }
    }
}

/// Tells what is wrong with the command line, or shows the help that was asked for.
fn usage(error: &clap::Error) -> ExitCode {
    let asked = !error.use_stderr();
    let json = std::env::args_os().skip(1).take_while(|arg| arg != "--").any(|arg| arg == "--json");
    if asked || !json {
        // With its reader gone there is nobody left to tell.
        let _ = error.print();
    } else {
        let text = error.render().to_string();
        let said: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
        let message = said.join(" ");
        let message = message.strip_prefix("error: ").unwrap_or(&message);
        let told = Error::new(Code::InvalidInput, message)
            .hint("see `holdfast --help` and `holdfast COMMAND --help`");
        output::tell(&told, true);
    }
    if asked { exit::Exit::Done.into() } else { exit::Exit::BadInput.into() }
}
