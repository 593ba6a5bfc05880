//! `campana up`, `campana run`, `campana migrate`: the processes.
//! Reads: the configuration. Writes: the banner on standard output. Never: decides what a role does.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;

use super::{Global, output};
use crate::compose::{self, Platform};
use crate::config::{Config, Role};
use crate::discovery::Discovery;
use crate::{errors, telemetry};

/// Options of `up`.
#[derive(Args)]
pub struct UpArgs {
    /// The nats-server program; found on PATH if absent
    #[arg(long, value_name = "FILE")]
    nats_server: Option<PathBuf>,
    /// Added to every port, so that a second platform can run beside the first
    #[arg(long, value_name = "N", conflicts_with = "free_ports")]
    port_offset: Option<u16>,
    /// Take any free ports; `up.json` in the data directory says which
    #[arg(long)]
    free_ports: bool,
    /// `power` (default: 202 means on disk) or `process` (survives kill -9, not loss of power)
    #[arg(long)]
    durability: Option<String>,
}

/// Options of `run`.
#[derive(Args)]
pub struct RunArgs {
    /// Which role (repeatable, or separated by commas)
    #[arg(long = "role", required = true, value_delimiter = ',', value_name = "ROLE")]
    roles: Vec<String>,
}

impl UpArgs {
    fn apply(&self, config: &mut Config) -> anyhow::Result<()> {
        if let Some(path) = &self.nats_server {
            config.nats.embedded.binary = Some(path.clone());
        }
        if let Some(offset) = self.port_offset {
            config.listen.port_offset = offset;
            config.nats.embedded.port = config.nats.embedded.port.saturating_add(offset);
            config.nats.embedded.monitor_port =
                config.nats.embedded.monitor_port.saturating_add(offset);
        }
        if self.free_ports {
            let listen = &mut config.listen;
            (listen.gateway, listen.edge, listen.ops, listen.sandbox_smtp, listen.sandbox_web) =
                (0, 0, 0, 0, 0);
            config.nats.embedded.port = 0;
            config.nats.embedded.monitor_port = 0;
        }
        if let Some(text) = &self.durability {
            config.nats.durability = text.parse().map_err(errors::usage)?;
        }
        Ok(())
    }
}

pub fn up(global: &Global, arguments: &UpArgs) -> anyhow::Result<()> {
    let mut config = global.load()?;
    arguments.apply(&mut config)?;
    let traces = telemetry::install(&config)?;
    runtime()?.block_on(telemetry::around(traces, async {
        let platform = Box::pin(Platform::up(config)).await?;
        if let Some(discovery) = platform.discovery() {
            output::text(&banner(discovery))?;
        }
        platform.run_until_stopped().await
    }))
}

pub fn run(global: &Global, arguments: &RunArgs) -> anyhow::Result<()> {
    let config = global.load()?;
    let roles = arguments
        .roles
        .iter()
        .map(|text| text.parse::<Role>())
        .collect::<Result<Vec<_>, _>>()
        .map_err(errors::usage)?;
    if config.nats.url.is_empty() {
        return Err(errors::bad_config(
            "nats.url is empty: `campana run` needs an existing NATS; `campana up` brings its own",
        ));
    }
    let traces = telemetry::install(&config)?;
    runtime()?.block_on(telemetry::around(traces, async {
        let platform = Box::pin(Platform::run(config, &roles)).await?;
        output::text(&format!("ready: {}", platform.addresses()))?;
        platform.run_until_stopped().await
    }))
}

pub fn migrate(global: &Global) -> anyhow::Result<()> {
    let config = global.load()?;
    runtime()?.block_on(async {
        compose::store(&config).await?.migrate().await?;
        output::text("the schema is up to date")
    })
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

/// What to click, a `curl` to paste, and where the data lies.
fn banner(up: &Discovery) -> String {
    let (bold, dim, plain) =
        if std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
            ("\u{1b}[1m", "\u{1b}[2m", "\u{1b}[0m")
        } else {
            ("", "", "")
        };
    format!(
        "\n{bold}Campana is ready.{plain}\n\n\
         \x20 Ring the bell    {gateway}/\n\
         \x20 Sandbox mailbox  {sandbox}/\n\
         \x20 API docs         {gateway}/docs\n\
         \x20 Metrics, health  {metrics}/metrics  {metrics}/readyz\n\
         \x20 WebSocket        {ws}\n\
         \x20 NATS             {nats}\n\n\
         {bold}Send one yourself:{plain}\n\n\
         curl -s {gateway}/v1/notifications \\\n\
         \x20 -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json' \\\n\
         \x20 -d '{{\"to\":\"alice\",\"content\":{{\"title\":\"Hello\",\"body\":\"It rings.\"}},\"channels\":[\"in_app\",\"email\"]}}'\n\n\
         {dim}Data in {data}; durability {durability}; ctrl-C stops everything.{plain}\n",
        gateway = up.gateway,
        sandbox = up.sandbox,
        metrics = up.metrics,
        ws = up.edge_ws,
        nats = up.nats,
        key = up.api_key,
        data = up.data_dir.display(),
        durability = up.durability,
    )
}
