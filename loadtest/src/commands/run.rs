//! `campana loadtest run SCENARIO` and `campana loadtest scenarios`.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::common::{self, CommonArgs};
use crate::engine::campaign;
use crate::failure::Failure;
use crate::scenario::{self, Scenario};
use crate::target;

/// Options of `run`.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// A built-in scenario (see `campana loadtest scenarios`) or the path of a TOML file
    pub scenario: String,
    /// Another seed than the file's
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    #[command(flatten)]
    pub common: CommonArgs,
}

/// Options of `scenarios`.
#[derive(Args, Debug)]
pub struct ScenariosArgs {
    /// Print JSON instead of text
    #[arg(long)]
    pub json: bool,
    /// Print the file of this scenario, to start one of your own from
    #[arg(value_name = "NAME")]
    pub show: Option<String>,
}

/// Runs a scenario.
pub async fn run(arguments: RunArgs, stop: CancellationToken) -> Result<ExitCode, Failure> {
    let mut scenario = Scenario::load(&arguments.scenario)?;
    scenario.seed = arguments.seed.unwrap_or(scenario.seed);
    let target = target::find(&arguments.common.target)?;
    let options = arguments.common.options();
    let finished = Box::pin(campaign::run(&scenario, target, &options, stop)).await?;
    arguments.common.print(&finished)?;
    Ok(common::exit_code(&finished))
}

/// Lists or shows built-in scenarios.
pub fn scenarios(arguments: &ScenariosArgs) -> Result<ExitCode, Failure> {
    let text = match &arguments.show {
        Some(name) => scenario::text_of(name)?.1,
        None if arguments.json => serde_json::to_string_pretty(&scenario::listed()?)
            .map_err(|error| Failure::failed("cannot write JSON", error))?,
        None => list()?,
    };
    let text = text.trim_end();
    writeln!(std::io::stdout(), "{text}").map_err(|error| Failure::failed("stdout", error))?;
    Ok(ExitCode::SUCCESS)
}

fn list() -> Result<String, Failure> {
    let lines = scenario::listed()?.into_iter().map(|one| format!("{:<17}{}", one.name, one.about));
    Ok(lines.collect::<Vec<_>>().join("\n"))
}
