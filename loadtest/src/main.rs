//! The load harness of Campana: a client like any other that imports nothing of the platform.
//! Results go to stdout, progress to stderr; run.json and report.html go to a folder. It changes
//! nothing on the machine and nothing in the platform but the notifications that it sends.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line program: results on stdout, complaints on stderr"
)]

mod args;
mod centrifuge;
mod clock;
mod conductor;
mod environment;
mod failure;
mod gate;
mod goose_run;
mod http1;
mod idle;
mod ledger;
mod limits;
mod procs;
mod progress;
mod receivers;
mod report;
mod run;
mod senders;
mod stats;
mod sweep;
mod table;
mod target;
mod thresholds;
mod tokens;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use tokio_util::sync::CancellationToken;

use crate::args::{Cli, Command, IdleArgs, SweepArgs};
use crate::failure::{EXIT_FAILED, EXIT_THRESHOLD_MISSED, Failure};

fn main() -> ExitCode {
    let cli = Cli::parse();
    // Also keeps goose from installing its own logger, which would write to stdout.
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("error"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match execute(cli.command) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("campana loadtest: {failure}");
            failure.code()
        }
    }
}

fn execute(command: Command) -> Result<ExitCode, Failure> {
    if let Command::Report(arguments) = command {
        let path = report::render_again(&arguments.dir)?;
        println!("{}", path.display());
        return Ok(ExitCode::SUCCESS);
    }
    let stop = stop_on_signal()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed("cannot start the runtime", error))?;
    runtime.block_on(async {
        match command {
            Command::Sweep(arguments) => Box::pin(run_sweep(arguments, stop)).await,
            Command::Idle(arguments) => Box::pin(run_idle(arguments, stop)).await,
            Command::Report(_) => Ok(ExitCode::SUCCESS),
        }
    })
}

/// The first ctrl-C ends the sweep after the wave in flight; the second ends the process.
/// Installed before goose, which would otherwise exit without writing what was measured.
fn stop_on_signal() -> Result<CancellationToken, Failure> {
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    ctrlc::set_handler(move || {
        if stopped.is_cancelled() {
            std::process::exit(130);
        }
        stopped.cancel();
    })
    .map_err(|error| Failure::failed("cannot watch for ctrl-C", error))?;
    Ok(stop)
}

async fn run_sweep(arguments: SweepArgs, stop: CancellationToken) -> Result<ExitCode, Failure> {
    let json = arguments.json;
    let outcome = sweep::sweep(arguments, stop).await?;
    if json {
        print_json(&outcome.run)?;
    } else {
        print!("{}", table::render(&outcome.run));
        println!("  {}", outcome.dir.join(report::FILE).display());
    }
    Ok(if outcome.invalid() {
        ExitCode::from(EXIT_FAILED)
    } else if outcome.missed() {
        ExitCode::from(EXIT_THRESHOLD_MISSED)
    } else {
        ExitCode::SUCCESS
    })
}

async fn run_idle(arguments: IdleArgs, stop: CancellationToken) -> Result<ExitCode, Failure> {
    let result = idle::idle(&arguments, stop).await?;
    if arguments.json {
        print_json(&result)?;
    } else {
        print!("{}", result.render());
    }
    Ok(if result.pass == Some(false) {
        ExitCode::from(EXIT_THRESHOLD_MISSED)
    } else {
        ExitCode::SUCCESS
    })
}

fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::failed("cannot write JSON", error))?;
    writeln!(std::io::stdout(), "{text}").map_err(|error| Failure::failed("stdout", error))
}
