//! What `compare` takes.

use std::path::PathBuf;

use clap::Args;

use super::{Gate, Primary};

/// Options of `compare`.
#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub struct CompareArgs {
    /// The side that others are measured against: run.json or its folder
    #[arg(
        value_name = "A",
        required_unless_present = "a",
        conflicts_with = "a",
        requires = "second"
    )]
    pub first: Option<PathBuf>,
    /// The side that is judged
    #[arg(value_name = "B", id = "second")]
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
    /// When to end with exit code 10
    #[arg(long, value_enum, default_value = "worse")]
    pub fail_if: Gate,
    /// Compare runs of different scenarios, loads, durabilities or machines
    #[arg(long)]
    pub force: bool,
    /// Also write comparison.json and compare.html into this folder
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print JSON instead of the table
    #[arg(long)]
    pub json: bool,
}

const HELP: &str = "\
Figures: p50 p99 throughput cpu, each the median over runs. Without --primary every figure of every
step decides, and Holm's correction asks for more runs. Exit codes: 0 ok, 2 usage or not comparable,
10 the gate (--fail-if) does not hold.

  campana loadtest compare --a main/* --b branch/* --primary 'p99@wave 500'";

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
