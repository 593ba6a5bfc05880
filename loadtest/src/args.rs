//! What can be typed. `campana loadtest …` starts this program with the same arguments, so the
//! help speaks of that name.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use url::Url;

use crate::commands::agent::AgentArgs;
use crate::commands::run::{RunArgs, ScenariosArgs};
use crate::commands::saturate::SaturateArgs;
use crate::commands::selftest::SelftestArgs;
use crate::commands::soak::SoakArgs;
use crate::commands::sweep::SweepArgs;

/// Measure the platform: latency from the intended send to the receipt, with a ledger that
/// accounts for every notification.
#[derive(Debug, Parser)]
#[command(name = "campana loadtest", bin_name = "campana loadtest", version)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a scenario: one that is built in, or a TOML file of your own
    #[command(after_help = RUN_HELP)]
    Run(RunArgs),
    /// The same load at growing sizes: waves, closed load with --users, open load with --rates
    #[command(after_help = SWEEP_HELP)]
    Sweep(SweepArgs),
    /// The highest rate of open load that meets an objective, confirmed
    Saturate(SaturateArgs),
    /// A long, even load: is the memory of each process flat?
    Soak(SoakArgs),
    /// Does the harness see what it claims to see? Injects faults of known size, in a minute
    Selftest(SelftestArgs),
    /// Make load for a coordinator elsewhere (`run --agent`); not encrypted, needs a shared token
    Agent(AgentArgs),
    /// List the built-in scenarios, or print the file of one
    Scenarios(ScenariosArgs),
    /// Print the JSON Schema of run.json
    Schema,
    /// Draw report.html and report.md again from a run.json, or one page of several runs
    Report(ReportArgs),
    /// Whether runs B are better or worse than runs A, or whether nobody can tell
    Compare(crate::compare::args::CompareArgs),
    /// The same load on the platform, a floor, and the stacks that people use instead; one table
    Peers(crate::peers::args::PeersArgs),
    /// Open idle connections and print what each costs a freshly started edge in resident memory
    Idle(IdleArgs),
}

const RUN_HELP: &str = "\
Exit codes: 0 ok, 1 failed or a figure is INVALID, 2 usage, 5 cannot connect, 10 a threshold was
missed. ctrl-C ends the run and writes what there is; a second one ends it at once.

  campana loadtest run ci
  campana loadtest run my.toml --threshold 'p99<=100@open 1000/s' --out results";

const SWEEP_HELP: &str = "\
Against a local `campana up` no argument is needed. Exit codes: 0 ok, 1 failed or a figure is
INVALID, 2 usage, 5 cannot connect, 10 a threshold was missed.

  campana loadtest sweep --repeat 50 --threshold 'p99<=100@500' --threshold 'success==100'
  campana loadtest sweep --rates 500,1000,2000

A threshold is [CHANNEL:]METRIC OPERATOR VALUE[@STEP]: latencies in ms (p50 p90 p99 p999 max mean
accept_p99 makespan), success in percent, counts (delivered late lost duplicate corrupt rejected
shed unknown phantom reordered dropped), goodput per second, cpu in seconds per 1,000, recovery in
seconds. STEP is a step's name, or its size or rate.";

/// Where the platform is.
#[derive(Args, Clone, Debug)]
pub struct TargetArgs {
    /// Data directory of a running `campana up`; its up.json tells addresses and key
    #[arg(long, value_name = "DIR", default_value = "./campana-data", env = "CAMPANA_DATA_DIR")]
    pub data_dir: PathBuf,
    /// Gateway of a platform elsewhere, instead of --data-dir
    #[arg(long, value_name = "URL", requires = "api_key")]
    pub target: Option<Url>,
    /// API key (role sender) for --target
    #[arg(long, value_name = "KEY", env = "CAMPANA_API_KEY", hide_env_values = true)]
    pub api_key: Option<String>,
    /// WebSocket address for --target; by default the gateway names it with each token
    #[arg(long, value_name = "URL")]
    pub ws_url: Option<Url>,
    /// Also watch processes of this name on this machine, for example postgres (repeatable)
    #[arg(long, value_name = "NAME")]
    pub watch: Vec<String>,
}

/// Options of `report`.
#[derive(Args, Debug)]
pub struct ReportArgs {
    /// A run.json or the folder that holds it; several are drawn one after the other, or with
    /// --out side by side on one page
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<PathBuf>,
    /// Folder for report.html and report.md instead of the run's own
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// Options of `idle`.
#[derive(Args, Debug)]
pub struct IdleArgs {
    /// Connections to open
    #[arg(long, short = 'n', value_name = "N", default_value = "5000", value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub connections: u32,
    /// Fail with exit code 10 above this many bytes per connection (the product's goal is 12288)
    #[arg(long, value_name = "BYTES")]
    pub max_bytes: Option<u64>,
    /// Print JSON instead of text
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub target: TargetArgs,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_speaks_of_campana() {
        Cli::command().debug_assert();
        let help = Cli::command().render_help().to_string();
        assert!(help.contains("Usage: campana loadtest"), "{help}");
    }

    #[test]
    fn waves_and_thresholds_are_parsed() {
        let cli = Cli::parse_from(["x", "sweep", "--waves", "1,20", "--threshold", "lost==0"]);
        let Command::Sweep(sweep) = cli.command else { panic!("not a sweep") };
        assert_eq!(sweep.waves, [1, 20]);
        assert_eq!(sweep.common.threshold[0].to_string(), "lost==0");
        let cli = Cli::parse_from(["x", "sweep", "--rates", "100,2500.5", "--stamps", "10"]);
        let Command::Sweep(sweep) = cli.command else { panic!("not a sweep") };
        assert_eq!(sweep.rates, [100.0, 2_500.5]);
        for bad in [
            ["--waves", "0"],
            ["--repeat", "0"],
            ["--threshold", "p98<1"],
            ["--rates", "nan"],
            ["--stamps", "0"],
        ] {
            assert!(Cli::try_parse_from(["x", "sweep", bad[0], bad[1]]).is_err(), "{bad:?}");
        }
    }
}
