//! `campana loadtest soak`: a long, even load, and whether the memory of each process is flat.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::common::{self, CommonArgs};
use super::sweep::rate;
use crate::engine::{Campaign, growth};
use crate::failure::{EXIT_THRESHOLD_MISSED, Failure};
use crate::model::Kind;
use crate::scenario::Scenario;
use crate::target;

/// Options of `soak`.
#[derive(Args, Debug)]
pub struct SoakArgs {
    /// A scenario whose open steps are run; the built-in soak is half an hour at 500/s
    #[arg(value_name = "NAME|FILE", default_value = "soak")]
    pub scenario: String,
    /// Another rate than the scenario's
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub rate: Option<f64>,
    /// Other measured minutes than the scenario's
    #[arg(long, value_name = "MIN", value_parser = minutes)]
    pub minutes: Option<f64>,
    #[command(flatten)]
    pub common: CommonArgs,
}

fn minutes(text: &str) -> Result<f64, String> {
    let minutes: f64 = text.parse().map_err(|_| format!("{text:?} is not a number"))?;
    if (0.1..=2_880.0).contains(&minutes) {
        Ok(minutes)
    } else {
        Err("allowed is 0.1 to 2880".to_owned())
    }
}

/// Soaks; exit code 10 if the memory of a process of the platform grew; nats-server's is told and not judged.
pub async fn soak(arguments: SoakArgs, stop: CancellationToken) -> Result<ExitCode, Failure> {
    let mut scenario = Scenario::load(&arguments.scenario)?;
    scenario.steps.retain(|step| step.kind == Kind::Open);
    if scenario.steps.is_empty() {
        let why = format!("{}: a soak needs an open step", arguments.scenario);
        return Err(Failure::Usage(why));
    }
    for step in &mut scenario.steps {
        if let Some(rate) = arguments.rate {
            step.rate_per_s = rate;
            step.name = format!("open {rate}/s");
        }
        step.hold = arguments.minutes.map_or(step.hold, |it| Duration::from_secs_f64(it * 60.0));
    }
    let target = target::find(&arguments.common.target)?;
    let options = arguments.common.options();
    let mut campaign = Box::pin(Campaign::open(&scenario, target, &options, stop)).await?;
    for spec in &scenario.steps {
        let going = campaign.step(spec).await;
        if let Some(step) = campaign.run.steps.last_mut() {
            step.memory = growth::of(step);
        }
        if !going {
            break;
        }
    }
    let finished = campaign.finish().await?;
    arguments.common.print(&finished)?;
    let steps = &finished.run.steps;
    if !arguments.common.json {
        let text: String = steps.iter().map(growth::text).collect();
        write!(std::io::stdout(), "{text}").map_err(|error| Failure::failed("stdout", error))?;
    }
    if steps.iter().any(|step| growth::grew(&step.memory)) && !finished.invalid() {
        return Ok(ExitCode::from(EXIT_THRESHOLD_MISSED));
    }
    Ok(common::exit_code(&finished))
}
