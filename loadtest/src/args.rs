//! What can be typed. `campana loadtest …` starts this program with the same arguments, so the
//! help speaks of that name.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use url::Url;

use crate::thresholds::Threshold;

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
    /// Waves of growing size: n notifications released together to n connected clients
    #[command(after_help = SWEEP_HELP)]
    Sweep(SweepArgs),
    /// Draw report.html again from the run.json in a folder
    Report(ReportArgs),
    /// Open idle connections and print what each costs a freshly started edge in resident memory
    Idle(IdleArgs),
}

const SWEEP_HELP: &str = "\
Against a local `campana up` no argument is needed. Exit codes: 0 ok, 1 failed or a figure is
INVALID, 2 usage, 5 cannot connect, 10 a threshold was missed.

  campana loadtest sweep --repeat 50 --threshold 'p99<=100@500' --threshold 'success==100'

A threshold is METRIC OPERATOR VALUE[@N]: latencies in ms (p50 p90 p99 p999 max mean accept_p99
makespan), success in percent, counts (lost duplicate rejected shed unknown phantom reordered).";

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

/// Options of `sweep`.
#[derive(Args, Debug)]
pub struct SweepArgs {
    /// Sizes of the waves
    #[arg(
        long,
        value_name = "N,N,…",
        value_delimiter = ',',
        default_value = "1,10,50,100,250,500,1000,2000",
        value_parser = clap::value_parser!(u32).range(1..=50_000)
    )]
    pub waves: Vec<u32>,
    /// Measured waves of each size, after one warm-up wave (50 for the published figure)
    #[arg(long, value_name = "N", default_value = "5", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub repeat: u32,
    /// Folder for run.json and report.html [default: ./loadtest-results/<utc time>]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print run.json on stdout instead of the table
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub target: TargetArgs,
    /// Fail with exit code 10 unless this holds, for example 'p99<=100@500' (repeatable)
    #[arg(long, value_name = "EXPR")]
    pub threshold: Vec<Threshold>,
    /// Quiet time after each wave
    #[arg(long, value_name = "MS", default_value_t = 200)]
    pub settle_ms: u64,
    /// How long to wait for the last receipts before calling them lost
    #[arg(long, value_name = "MS", default_value_t = 10_000)]
    pub drain_ms: u64,
    /// Channel that is measured
    #[arg(long, value_enum, default_value = "in_app")]
    pub channel: Channel,
    /// How long one request may take
    #[arg(long, value_name = "MS", default_value_t = 30_000)]
    pub timeout_ms: u64,
    /// What drives the users: goose, or bare tasks as a control that shows goose's own share
    #[arg(long, value_enum, default_value = "goose", hide_short_help = true)]
    pub senders: Senders,
}

/// Channels that a receiver can be put behind.
#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Channel {
    InApp,
}

impl Channel {
    /// As the API writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::InApp => "in_app",
        }
    }
}

/// What runs the simulated users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Senders {
    Goose,
    Tasks,
}

/// Options of `report`.
#[derive(Args, Debug)]
pub struct ReportArgs {
    /// Folder with a run.json
    pub dir: PathBuf,
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
        assert_eq!(sweep.threshold[0].to_string(), "lost==0");
        for bad in [["--waves", "0"], ["--repeat", "0"], ["--threshold", "p98<1"]] {
            assert!(Cli::try_parse_from(["x", "sweep", bad[0], bad[1]]).is_err(), "{bad:?}");
        }
    }
}
