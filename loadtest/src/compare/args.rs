//! What `compare` takes.

use std::path::PathBuf;

use clap::Args;

use super::{Gate, Options, Primary, RatioGate};
use crate::load::post::Stamping;

/// Options of `compare`.
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub struct CompareArgs {
    /// The side that others are measured against: run.json or its folder, or the data directory of a
    /// running platform
    #[arg(
        value_name = "A",
        required_unless_present_any = ["a", "a_command", "b_command"],
        conflicts_with = "a"
    )]
    pub first: Option<PathBuf>,
    /// The side that is judged
    #[arg(value_name = "B", required_unless_present_any = ["b", "a_command", "b_command"])]
    pub second: Option<PathBuf>,
    /// Runs of side A, at least five
    #[arg(long, value_name = "RUN", num_args = 1.., requires = "b")]
    pub a: Vec<PathBuf>,
    /// Runs of side B
    #[arg(long, value_name = "RUN", num_args = 1.., requires = "a")]
    pub b: Vec<PathBuf>,
    /// Differences of at most so many percent count as the same
    #[arg(long, value_name = "PERCENT", default_value_t = 5.0, value_parser = percent)]
    pub margin: f64,
    /// Declare the one figure that decides, for example p99 or 'p99@wave 500'
    #[arg(long, value_name = "FIGURE[@STEP]", value_parser = primary)]
    pub primary: Option<Primary>,
    /// Look at this step only (repeatable)
    #[arg(long, value_name = "NAME")]
    pub step: Vec<String>,
    /// A bound of B ÷ A, for example 'p99<=1.05@wave 500' (repeatable); replaces the margin as the gate,
    /// and these figures decide
    #[arg(long, value_name = "FIGURE<=RATIO[@STEP]")]
    pub gate: Vec<RatioGate>,
    /// When to end with exit code 10
    #[arg(long, value_enum, default_value = "worse")]
    pub fail_if: Gate,
    /// Compare runs of different scenarios, loads, durabilities or machines
    #[arg(long)]
    pub force: bool,
    /// Also write comparison.json and compare.html into this folder; of platforms, the rounds as well
    /// [default for platforms: ./loadtest-results/<utc time>-compare]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print JSON instead of the table
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub live: LiveArgs,
}

/// What measuring platforms takes.
#[derive(Args, Debug)]
#[command(next_help_heading = "Platforms, measured in interleaved rounds (A B B A)")]
pub struct LiveArgs {
    /// Command that starts side A afresh for every round, in the shell's words. It gets an empty data
    /// directory in CAMPANA__DATA_DIR and CAMPANA_DATA_DIR, is ready when up.json lies there, and is
    /// ended with everything that it started
    #[arg(long, value_name = "COMMAND")]
    pub a_command: Option<String>,
    /// The same for side B
    #[arg(long, value_name = "COMMAND")]
    pub b_command: Option<String>,
    /// Rounds; each measures both sides once
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: Option<u32>,
    /// A built-in scenario or a TOML file [default: waves of 100 and open load at 300/s, half a minute]
    #[arg(long, value_name = "SCENARIO")]
    pub scenario: Option<String>,
    /// Ask the platforms for the time of each stage: on, off, or a number n for every n-th request
    #[arg(long, value_name = "on|off|N", default_value = "off")]
    pub stamps: Stamping,
    /// This machine's lateness makes a step at most SUSPECT: for shared CI machines
    #[arg(long)]
    pub lenient_timing: bool,
    /// No progress
    #[arg(long, short)]
    pub quiet: bool,
}

impl CompareArgs {
    /// Whether it shall measure, and not only read.
    pub fn is_live(&self) -> bool {
        let live = &self.live;
        let asked = live.rounds.is_some() || live.scenario.is_some();
        let commands = live.a_command.is_some() || live.b_command.is_some();
        let platform = |path: &PathBuf| {
            path.ends_with(UP_FILE) || path.join(UP_FILE).is_file() && !path.join(RUN_FILE).exists()
        };
        asked || commands || self.first.iter().chain(&self.second).any(platform)
    }

    /// How to decide.
    pub fn options(&self) -> Options {
        Options {
            margin: self.margin / 100.0,
            primary: self.primary.clone(),
            steps: self.step.clone(),
            force: self.force,
            gate: self.fail_if,
            gates: self.gate.clone(),
        }
    }
}

/// What a running platform leaves in its data directory, and a finished run in its folder.
pub const UP_FILE: &str = "up.json";
const RUN_FILE: &str = "run.json";

const HELP: &str = "\
Figures: p50 p99 throughput cpu, each the median over runs. Without --primary and --gate every figure
of every step decides, and Holm's correction asks for more runs. Exit codes: 0 ok, 1 stopped or no
usable round, 2 usage or not comparable, 10 the gate (--gate, --fail-if) does not hold.

  campana loadtest compare --a main/* --b branch/* --primary 'p99@wave 500'
  campana loadtest compare --rounds 8 --gate 'p99<=1.05@wave 100' \\
    --a-command 'target/old/campana up --free-ports' --b-command 'target/release/campana up --free-ports'";

const MARGIN_MAX: f64 = 1_000.0;

fn percent(text: &str) -> Result<f64, String> {
    let value: f64 = text.trim_end_matches('%').parse().map_err(|_| "not a number".to_owned())?;
    if value > 0.0 && value <= MARGIN_MAX {
        Ok(value)
    } else {
        Err(format!("above 0, at most {MARGIN_MAX}"))
    }
}

fn primary(text: &str) -> Result<Primary, String> {
    let (metric, step) = match text.split_once('@') {
        Some((metric, step)) => (metric, Some(step.trim().to_owned())),
        None => (text, None),
    };
    Ok(Primary { metric: metric.trim().parse()?, step })
}
