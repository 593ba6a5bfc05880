//! What `run`, `sweep`, `saturate` and `soak` have in common: options and the end of a run.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::agent::fleet::Crew;
use crate::args::TargetArgs;
use crate::engine::{Finished, Options, output};
use crate::failure::{EXIT_FAILED, EXIT_THRESHOLD_MISSED, Failure};
use crate::load::goose::Driver;
use crate::load::post::Stamping;
use crate::report;
use crate::table;
use crate::thresholds::Threshold;

/// Options of every command that measures.
#[derive(Args, Clone, Debug)]
pub struct CommonArgs {
    /// Folder for run.json, report.html and interval logs [default: ./loadtest-results/<utc time>-<name>]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print run.json on stdout instead of the table
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub target: TargetArgs,
    /// Fail with exit code 10 unless this holds, for example 'p99<=100@wave 500' (repeatable)
    #[arg(long, value_name = "EXPR")]
    pub threshold: Vec<Threshold>,
    /// Ask the platform for the time of each stage: on, off, or a number n for every n-th request
    #[arg(long, value_name = "on|off|N", default_value = "on")]
    pub stamps: Stamping,
    /// API key of another tenant, for scenarios with a noisy_tenant
    #[arg(long, value_name = "KEY", env = "CAMPANA_NEIGHBOUR_KEY", hide_env_values = true)]
    pub neighbour_key: Option<String>,
    /// Do not measure first what the harness alone needs (two seconds)
    #[arg(long)]
    pub no_floor: bool,
    /// This machine's lateness makes a step at most SUSPECT: for shared CI machines
    #[arg(long)]
    pub lenient_timing: bool,
    /// Serve Prometheus metrics while running, for example on 127.0.0.1:9109 (port 0: any free one,
    /// told on stderr)
    #[arg(long, value_name = "ADDR")]
    pub metrics: Option<SocketAddr>,
    /// No progress and no live view, also on a terminal
    #[arg(long, short)]
    pub quiet: bool,
    /// Make the load with this many processes of this machine instead of this one
    #[arg(long, value_name = "N", default_value = "0", hide_default_value = true, value_parser = clap::value_parser!(u32).range(0..=64))]
    pub processes: u32,
    /// Make the load with an agent elsewhere (`campana loadtest agent`), repeatable; needs
    /// --token-file. Not encrypted: the platform's API key goes to it as it is
    #[arg(long, value_name = "HOST:PORT")]
    pub agent: Vec<String>,
    /// File whose first line is the agents' token
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// What drives the users of waves and closed load: goose, or bare tasks as a control that
    /// shows goose's own share
    #[arg(long, value_enum, default_value = "goose", hide_short_help = true)]
    pub senders: Driver,
}

impl CommonArgs {
    /// For the engine.
    pub fn options(&self) -> Options {
        Options {
            driver: self.senders,
            stamping: self.stamps,
            out: self.out.clone(),
            thresholds: self.threshold.clone(),
            neighbour_key: self.neighbour_key.clone(),
            null_target: !self.no_floor,
            judge_timing: !self.lenient_timing,
            crew: Crew {
                processes: self.processes,
                agents: self.agent.clone(),
                token_file: self.token_file.clone(),
            },
            metrics: self.metrics,
            quiet: self.quiet,
            command: output::command_line(std::env::args().skip(1)),
        }
    }

    /// Prints a finished run.
    pub fn print(&self, finished: &Finished) -> Result<(), Failure> {
        let failed = |error: &dyn std::fmt::Display| Failure::failed("stdout", error);
        let mut stdout = std::io::stdout().lock();
        if self.json {
            let text = serde_json::to_string_pretty(&finished.run)
                .map_err(|error| Failure::failed("cannot write JSON", error))?;
            return writeln!(stdout, "{text}").map_err(|error| failed(&error));
        }
        let path = finished.dir.join(report::FILE);
        write!(stdout, "{}", table::render(&finished.run))
            .and_then(|()| writeln!(stdout, "  {}", path.display()))
            .map_err(|error| failed(&error))
    }
}

/// INVALID figures come before missed thresholds: what must not be used has passed nothing.
pub fn exit_code(finished: &Finished) -> ExitCode {
    ExitCode::from(exit_status(finished))
}

/// The same as a number.
pub fn exit_status(finished: &Finished) -> u8 {
    if finished.invalid() {
        EXIT_FAILED
    } else if finished.missed() {
        EXIT_THRESHOLD_MISSED
    } else {
        0
    }
}
