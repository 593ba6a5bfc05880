//! The one binary. Reads: the command line. Writes: results on standard output, logs and progress on
//! standard error. Never: does work of its own; every subcommand is a `run` in its own file.

mod cli;
mod compose;
mod config;
mod discovery;
mod errors;
mod logging;
mod nats;
mod ops;
mod telemetry;

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match cli.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => errors::report(&error),
    }
}
