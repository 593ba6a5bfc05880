//! `campana loadtest sweep`: the same load at growing sizes. Waves by default, closed load with
//! `--users`, open load with `--rates`; results of different kinds never share an axis.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::common::{self, CommonArgs};
use crate::engine::campaign;
use crate::failure::Failure;
use crate::intake::Channel;
use crate::model::Kind;
use crate::scenario::{Arrivals, Scenario, StepSpec};
use crate::target;

/// Receivers of open load.
const OPEN_RECIPIENTS: u32 = 200;

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
    /// Open load at these rates instead of waves, arrivals per second
    #[arg(long, value_name = "N,N,…", value_delimiter = ',', value_parser = rate, conflicts_with = "users")]
    pub rates: Vec<f64>,
    /// Closed load with these numbers of users instead of waves
    #[arg(
        long,
        value_name = "N,N,…",
        value_delimiter = ',',
        value_parser = clap::value_parser!(u32).range(1..=50_000)
    )]
    pub users: Vec<u32>,
    /// How open load arrives
    #[arg(long, value_enum, default_value = "poisson")]
    pub arrivals: Arrivals,
    /// Measured waves of each size, after one warm-up wave (50 for the published figure)
    #[arg(long, value_name = "N", default_value = "5", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub repeat: u32,
    /// Measured seconds of each step of open or closed load
    #[arg(long, value_name = "S", default_value = "30", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub hold_s: u32,
    /// Seconds before them
    #[arg(long, value_name = "S", default_value = "3", value_parser = clap::value_parser!(u32).range(0..=3_600))]
    pub warm_up_s: u32,
    /// Connected receivers of open load
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=60_000))]
    pub recipients: Option<u32>,
    /// Bytes of title and body
    #[arg(long, value_name = "BYTES", default_value = "256", value_parser = clap::value_parser!(u32).range(64..=60_000))]
    pub payload_bytes: u32,
    /// Fixes who gets what and, for open load, when
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Quiet time after each wave
    #[arg(long, value_name = "MS", default_value = "200", value_parser = clap::value_parser!(u32).range(0..=60_000))]
    pub settle_ms: u32,
    /// How long to wait for the last receipts before calling them lost
    #[arg(long, value_name = "MS", default_value = "10000", value_parser = clap::value_parser!(u32).range(1..=600_000))]
    pub drain_ms: u32,
    /// Channels of every notification
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', default_value = "in_app", value_parser = channel)]
    pub channel: Vec<Channel>,
    /// How long one request may take
    #[arg(long, value_name = "MS", default_value = "30000", value_parser = clap::value_parser!(u32).range(1..=120_000))]
    pub timeout_ms: u32,
    #[command(flatten)]
    pub common: CommonArgs,
}

/// A rate that can be offered.
pub fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| format!("{text:?} is not a number"))?;
    if (0.1..=200_000.0).contains(&rate) {
        Ok(rate)
    } else {
        Err("allowed is 0.1 to 200000".to_owned())
    }
}

fn channel(text: &str) -> Result<Channel, String> {
    Channel::parse(text).ok_or_else(|| {
        format!(
            "there is no channel {text:?}; allowed are {}",
            Channel::ALL.map(Channel::name).join(", ")
        )
    })
}

/// Runs the sweep.
pub async fn sweep(arguments: SweepArgs, stop: CancellationToken) -> Result<ExitCode, Failure> {
    let scenario = scenario(&arguments);
    let target = target::find(&arguments.common.target)?;
    let options = arguments.common.options();
    let finished = Box::pin(campaign::run(&scenario, target, &options, stop)).await?;
    arguments.common.print(&finished)?;
    Ok(common::exit_code(&finished))
}

fn scenario(arguments: &SweepArgs) -> Scenario {
    let steps: Vec<StepSpec> = if !arguments.rates.is_empty() {
        arguments.rates.iter().map(|rate| step(arguments, Kind::Open, 0, *rate)).collect()
    } else if !arguments.users.is_empty() {
        arguments.users.iter().map(|users| step(arguments, Kind::Closed, *users, 0.0)).collect()
    } else {
        arguments.waves.iter().map(|size| step(arguments, Kind::Wave, *size, 0.0)).collect()
    };
    let needed = steps.iter().map(StepSpec::recipients_needed).max().unwrap_or(1);
    let usual = if arguments.rates.is_empty() { needed } else { OPEN_RECIPIENTS };
    let recipients = arguments.recipients.unwrap_or(usual).max(needed);
    let mut scenario = Scenario::of_steps("sweep", arguments.seed, recipients, steps);
    scenario.payload_bytes = arguments.payload_bytes;
    scenario.timeout = Duration::from_millis(u64::from(arguments.timeout_ms));
    scenario
}

fn step(arguments: &SweepArgs, kind: Kind, size: u32, rate_per_s: f64) -> StepSpec {
    let wave = kind == Kind::Wave;
    let seconds = |seconds: u32| Duration::from_secs(u64::from(seconds));
    let mut channels = arguments.channel.clone();
    channels.sort_unstable();
    channels.dedup();
    StepSpec {
        name: if kind == Kind::Open {
            format!("open {rate_per_s}/s")
        } else {
            format!("{} {size}", kind.text())
        },
        kind,
        size,
        rate_per_s,
        arrivals: arguments.arrivals,
        repeat: if wave { arguments.repeat } else { 0 },
        warm_up: if wave { Duration::ZERO } else { seconds(arguments.warm_up_s) },
        hold: if wave { Duration::ZERO } else { seconds(arguments.hold_s) },
        drain: Duration::from_millis(u64::from(arguments.drain_ms)),
        settle: Duration::from_millis(u64::from(arguments.settle_ms)),
        fan_out: 1,
        channels,
        faults: Vec::new(),
    }
}
