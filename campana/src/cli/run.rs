//! `campana up`, `campana run`, `campana migrate`: the processes.
//! Reads: the configuration. Writes: the banner on standard output. Never: decides what a role does.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{Global, output};
use crate::apps::{AppRecord, AppState, PortChoice, Wanted};
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
    /// Start the applications too: clinic, chat, shop, support desk, with demo accounts, for this machine alone
    #[arg(long)]
    apps: bool,
    /// Where the programs of the applications lie, if not beside this one
    #[arg(long, value_name = "DIR", requires = "apps")]
    apps_dir: Option<PathBuf>,
    /// The folder that holds the support desk's Python module (`campana_support`)
    #[arg(long, value_name = "DIR", env = "CAMPANA_SUPPORT_DIR")]
    support_dir: Option<PathBuf>,
}

/// How long the banner waits for the applications.
const APPS_WITHIN: Duration = Duration::from_secs(20);

/// Options of `run`.
#[derive(Args)]
pub struct RunArgs {
    /// Which role (repeatable, or separated by commas)
    #[arg(long = "role", required = true, value_delimiter = ',', value_name = "ROLE")]
    roles: Vec<String>,
}

impl UpArgs {
    fn wanted_apps(&self) -> Option<Wanted> {
        self.apps.then(|| Wanted {
            folder: self.apps_dir.clone(),
            support: self.support_dir.clone(),
            ports: match self.free_ports {
                true => PortChoice::Free,
                false => PortChoice::Offset(self.port_offset.unwrap_or(0)),
            },
        })
    }

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
        let platform = Box::pin(Platform::up(config, arguments.wanted_apps().as_ref())).await?;
        let (discovery, apps) = (platform.discovery().cloned(), platform.apps());
        let mut running = std::pin::pin!(platform.run_until_stopped());
        tokio::select! {
            ended = &mut running => return ended,
            () = apps.settled(APPS_WITHIN) => {}
        }
        if let Some(discovery) = discovery {
            output::text(&banner(&Discovery { apps: apps.records(), ..discovery }))?;
        }
        running.await
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
         \x20 Start here       {gateway}/\n\
         \x20 Sandbox mailbox  {sandbox}/\n\
         \x20 Dashboards       {metrics}/dashboards\n\
         \x20 API docs         {gateway}/docs\n\
         \x20 Metrics, health  {metrics}/metrics  {metrics}/readyz\n\
         \x20 WebSocket        {ws}\n\
         \x20 NATS             {nats}\n\n\
         {apps}\
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
        apps = up.apps.iter().map(app_line).collect::<String>()
            + if up.apps.is_empty() { "" } else { "\n" },
        key = up.api_key,
        data = up.data_dir.display(),
        durability = up.durability,
    )
}

/// Where an application is and who to be there, or why it does not run.
fn app_line(app: &AppRecord) -> String {
    let AppRecord { title, url, state, .. } = app;
    let account = app.account.as_deref().unwrap_or_default();
    let why = app.reason.as_deref().unwrap_or("it did not answer yet");
    let text = match state {
        AppState::Running => format!("{:27}{account}", format!("{url}/")),
        AppState::Missing => format!("is missing: {why}"),
        AppState::Starting | AppState::Restarting => {
            format!("{url}/ does not run yet: {why} ({})", app.log.display())
        }
    };
    format!("  {title:17}{}\n", text.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(state: AppState, reason: Option<&str>) -> AppRecord {
        AppRecord {
            name: "chat".to_owned(),
            title: "Chat".to_owned(),
            url: "http://127.0.0.1:8082".to_owned(),
            account: Some("be ana".to_owned()),
            state,
            reason: reason.map(str::to_owned),
            log: "/data/chat.log".into(),
        }
    }

    #[test]
    fn a_line_says_where_an_application_is_or_why_it_is_not() {
        let line = |state, reason| app_line(&app(state, reason));
        assert_eq!(
            line(AppState::Running, None),
            "  Chat             http://127.0.0.1:8082/     be ana\n"
        );
        let missing = line(AppState::Missing, Some("no python3"));
        assert_eq!(missing, "  Chat             is missing: no python3\n");
        let restarting = line(AppState::Restarting, Some("the port is taken"));
        assert!(restarting.contains("the port is taken (/data/chat.log)"), "{restarting}");
    }
}
