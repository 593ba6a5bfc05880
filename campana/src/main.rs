//! The one binary. Reads: the command line. Writes: results on standard output, logs and progress on
//! standard error. Never: does work of its own; every subcommand is a `run` in its own file.

mod apps;
mod cli;
mod compose;
mod config;
mod discovery;
mod errors;
mod landing;
mod logging;
mod nats;
mod ops;
mod supervise;
mod telemetry;

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match cli.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => errors::report(&error),
    }
}
