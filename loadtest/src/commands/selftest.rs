//! `campana loadtest selftest`: does the harness see what it claims to see, here?

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::args::TargetArgs;
use crate::engine::output;
use crate::failure::{EXIT_FAILED, Failure};
use crate::selftest::{self, Plan, Trial};
use crate::target;

/// Options of `selftest`.
#[derive(Args, Debug)]
pub struct SelftestArgs {
    /// Test in front of the running platform of this data directory; without it and --target, in
    /// front of an echo in this process
    #[arg(long, value_name = "DIR", env = "CAMPANA_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Test in front of the gateway of a platform elsewhere
    #[arg(long, value_name = "URL", requires = "api_key")]
    pub target: Option<Url>,
    /// API key (role sender) for --target
    #[arg(long, value_name = "KEY", env = "CAMPANA_API_KEY", hide_env_values = true)]
    pub api_key: Option<String>,
    /// WebSocket address for --target; by default the gateway names it with each token
    #[arg(long, value_name = "URL")]
    pub ws_url: Option<Url>,
    /// Only these, after the control (repeatable)
    #[arg(long, value_name = "TRIAL", value_enum, value_delimiter = ',')]
    pub only: Vec<Trial>,
    /// Another choice of the notifications that are hit
    #[arg(long, value_name = "N", default_value = "1")]
    pub seed: u64,
    /// Keep run.json and the report of what was measured in this folder
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print JSON instead of the table
    #[arg(long)]
    pub json: bool,
    /// Print the JSON Schema of --json, and do nothing else
    #[arg(long)]
    pub schema: bool,
    /// No progress, also on a terminal
    #[arg(long, short)]
    pub quiet: bool,
}

/// Injects and judges; exit code 1 if anything was not seen at its size.
pub async fn selftest(
    arguments: SelftestArgs,
    stop: CancellationToken,
) -> Result<ExitCode, Failure> {
    if arguments.schema {
        print(&selftest::schema())?;
        return Ok(ExitCode::SUCCESS);
    }
    let kept = tempfile::tempdir().map_err(|error| Failure::failed("a folder", error))?;
    let plan = Plan {
        target: find(&arguments)?,
        only: arguments.only.clone(),
        seed: arguments.seed,
        out: arguments.out.clone().unwrap_or_else(|| kept.path().to_owned()),
        quiet: arguments.quiet,
        command: output::command_line(std::env::args().skip(1)),
    };
    let report = Box::pin(selftest::run(plan, stop)).await?;
    if arguments.json {
        print(&report)?;
    } else {
        write!(std::io::stdout(), "{}", report.render())
            .map_err(|error| Failure::failed("stdout", error))?;
    }
    Ok(if report.passed { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) })
}

/// The platform that was named, if one was.
fn find(arguments: &SelftestArgs) -> Result<Option<target::Target>, Failure> {
    if arguments.data_dir.is_none() && arguments.target.is_none() {
        return Ok(None);
    }
    let named = TargetArgs {
        data_dir: arguments.data_dir.clone().unwrap_or_default(),
        target: arguments.target.clone(),
        api_key: arguments.api_key.clone(),
        ws_url: arguments.ws_url.clone(),
        watch: Vec::new(),
    };
    target::find(&named).map(Some)
}

fn print(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::failed("cannot write JSON", error))?;
    writeln!(std::io::stdout(), "{text}").map_err(|error| Failure::failed("stdout", error))
}
