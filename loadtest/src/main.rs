//! The load harness of Campana: a client like any other that imports nothing of the platform.
//! Results go to stdout, progress to stderr; run.json and report.html go to a folder. It changes
//! nothing on the machine and nothing in the platform but the notifications that it sends.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line program: results on stdout, complaints on stderr"
)]

mod agent;
mod args;
mod clock;
mod commands;
mod compare;
mod engine;
mod environment;
mod failure;
mod http1;
mod idle;
mod intake;
mod ledger;
mod limits;
mod load;
mod mark;
mod metrics;
mod model;
mod peers;
mod procs;
mod progress;
mod receivers;
mod reconcile;
mod recorder;
mod report;
mod sampler;
mod scenario;
mod schedule;
mod selftest;
mod sinks;
mod stamps;
mod stats;
mod table;
mod target;
mod thresholds;
mod tokens;
mod verdict;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use tokio_util::sync::CancellationToken;

use crate::args::{Cli, Command, IdleArgs};
use crate::commands::agent as agent_command;
use crate::commands::{run, saturate, soak, sweep};
use crate::failure::{EXIT_THRESHOLD_MISSED, Failure};

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
        for path in report::render_all(&arguments.runs, arguments.out.as_deref())? {
            println!("{}", path.display());
        }
        return Ok(ExitCode::SUCCESS);
    }
    if let Command::Schema = command {
        print_json(&model::schema())?;
        return Ok(ExitCode::SUCCESS);
    }
    let stop = stop_on_signal()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed("cannot start the runtime", error))?;
    runtime.block_on(async {
        match command {
            Command::Run(arguments) => Box::pin(run::run(arguments, stop)).await,
            Command::Sweep(arguments) => Box::pin(sweep::sweep(arguments, stop)).await,
            Command::Saturate(arguments) => Box::pin(saturate::saturate(arguments, stop)).await,
            Command::Soak(arguments) => Box::pin(soak::soak(arguments, stop)).await,
            Command::Agent(arguments) => Box::pin(agent_command::agent(arguments, stop)).await,
            Command::Idle(arguments) => Box::pin(run_idle(arguments, stop)).await,
            Command::Peers(arguments) => Box::pin(peers::command(arguments, stop)).await,
            Command::Compare(arguments) => Box::pin(compare::command(arguments, stop)).await,
            Command::Selftest(it) => Box::pin(commands::selftest::selftest(it, stop)).await,
            Command::Scenarios(arguments) => run::scenarios(&arguments),
            Command::Report(_) | Command::Schema => Ok(ExitCode::SUCCESS),
        }
    })
}

/// The first ctrl-C ends the run after the wave in flight; the second ends the process.
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
