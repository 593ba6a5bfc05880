//! `campana sidecar`: the bus for a program in any language, over HTTP.
//! Reads: arguments, token files, the configuration's `nats` and `log` sections. Writes: one line on standard
//! output when it listens. Never: takes a token from the command line, where other users could read it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use campana_bus::lifecycle::Lifecycle;
use campana_bus::stop_on_signal;
use campana_sidecar::{Options, OptionsError, RenderMetrics, Source, StartError};
use clap::Args;
use secrecy::SecretString;
use tokio::net::TcpListener;

use super::{Global, client, output};
use crate::errors::{bad_config, cannot_connect, usage};
use crate::{ops, telemetry};

/// Time that a stop has beyond the drain of deliveries.
const STOP_SLACK: Duration = Duration::from_secs(5);
/// Bytes of a token file.
const TOKEN_BYTES_MAX: u64 = 4_096;

/// Options of `sidecar`.
#[derive(Args)]
pub struct SidecarArgs {
    /// Port on which the app serves HTTP
    #[arg(
        long,
        value_name = "PORT",
        required_unless_present = "openapi",
        default_value_if("openapi", "true", "0")
    )]
    app_port: Option<u16>,
    /// Host of the app
    #[arg(long, value_name = "HOST", default_value = "127.0.0.1")]
    app_host: String,
    /// Port on which the app finds the sidecar; 0 takes any free one
    #[arg(long, value_name = "PORT", default_value_t = 3500)]
    port: u16,
    /// Address to listen on; another one than this machine's own needs a token
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    bind: IpAddr,
    /// The app's name: keeps its schedules apart, and is how the server knows the connection
    #[arg(long, value_name = "NAME", default_value = "app")]
    name: String,
    /// Whose events these are when the app does not say
    #[arg(long, value_name = "TENANT", default_value = "default")]
    tenant: String,
    /// Subscriptions and endpoints as a TOML file; if absent the app is asked
    #[arg(long, value_name = "FILE")]
    subscriptions: Option<PathBuf>,
    /// Path at which the app is asked for its subscriptions and endpoints
    #[arg(long, value_name = "PATH", default_value = campana_sidecar::options::DECLARATION_PATH)]
    subscriptions_path: String,
    /// Path at which the app answers 2xx while it is well; if absent an open port is enough
    #[arg(long, value_name = "PATH")]
    app_health_path: Option<String>,
    /// File with the token that the app must send (`Authorization: Bearer`, or `campana-api-token`)
    #[arg(long, value_name = "FILE")]
    api_token_file: Option<PathBuf>,
    /// File with the token that is sent to the app (`campana-app-token`)
    #[arg(long, value_name = "FILE")]
    app_token_file: Option<PathBuf>,
    /// Seconds that deliveries in hand get to finish at a stop
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    drain_seconds: u64,
    /// Bytes of a request's body
    #[arg(long, value_name = "BYTES", default_value_t = 512 * 1024)]
    body_bytes_max: usize,
    /// Requests of the app at work at the same time
    #[arg(long, value_name = "N", default_value_t = 256)]
    requests_max: usize,
    /// Print the OpenAPI document of the sidecar and end
    #[arg(long)]
    openapi: bool,
}

impl SidecarArgs {
    fn options(&self) -> anyhow::Result<Options> {
        let port = self.app_port.ok_or_else(|| usage("--app-port is needed"))?;
        if self.requests_max == 0 || self.body_bytes_max == 0 {
            return Err(usage("--requests-max and --body-bytes-max are at least 1"));
        }
        let mut options = Options::new(port);
        options.name.clone_from(&self.name);
        options.tenant.clone_from(&self.tenant);
        options.app.host.clone_from(&self.app_host);
        options.app.health_path.clone_from(&self.app_health_path);
        options.app.token = self.app_token_file.as_deref().map(token).transpose()?;
        options.api_token = self.api_token_file.as_deref().map(token).transpose()?;
        options.source = match &self.subscriptions {
            Some(file) => Source::File(file.clone()),
            None => Source::App(self.subscriptions_path.clone()),
        };
        options.drain = Duration::from_secs(self.drain_seconds);
        options.limits.body_bytes_max = self.body_bytes_max;
        options.limits.answer_bytes_max = options.limits.answer_bytes_max.max(self.body_bytes_max);
        options.limits.requests_max = self.requests_max;
        Ok(options)
    }
}

/// A token from a file; the line break at its end is not part of it.
fn token(path: &Path) -> anyhow::Result<SecretString> {
    let shown = path.display();
    let size = std::fs::metadata(path)
        .map_err(|error| bad_config(format!("{shown} cannot be read: {error}")))?
        .len();
    if size > TOKEN_BYTES_MAX {
        return Err(bad_config(format!("{shown} has more than {TOKEN_BYTES_MAX} bytes")));
    }
    let text = std::fs::read_to_string(path)
        .map_err(|error| bad_config(format!("{shown} cannot be read: {error}")))?;
    let token = text.trim_end_matches(['\r', '\n']);
    let visible = token.bytes().all(|byte| byte.is_ascii_graphic());
    if token.is_empty() || !visible {
        return Err(bad_config(format!(
            "{shown} does not hold a token: one line of printable ASCII without spaces"
        )));
    }
    Ok(SecretString::from(token))
}

pub fn run(global: &Global, arguments: &SidecarArgs) -> anyhow::Result<()> {
    if arguments.openapi {
        return output::text(campana_sidecar::openapi().trim_end());
    }
    let config = global.load()?;
    let traces = telemetry::install(&config)?;
    let mut options = arguments.options()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(telemetry::around(traces, async {
        let recorder = ops::install_recorder()?;
        options.metrics = Some(RenderMetrics(Arc::new(move || {
            recorder.run_upkeep();
            recorder.render()
        })));
        let address = SocketAddr::new(arguments.bind, arguments.port);
        // Before anything is bound or connected.
        options.check(address).map_err(refused)?;
        let listener = TcpListener::bind(address)
            .await
            .map_err(|error| cannot_connect(format!("cannot listen on {address}: {error}")))?;
        let address = listener.local_addr()?;
        let url = if config.nats.url.is_empty() {
            client::running(&config)?.nats
        } else {
            config.nats.url.clone()
        };
        let bus = client::connect(&config, &url, &format!("sidecar-{}", options.name)).await?;
        let lifecycle = Lifecycle::new();
        let (drain, own) = (options.drain, lifecycle.clone());
        output::text(&format!(
            "sidecar: http://{address}, app: http://{}:{}",
            options.app.host, options.app.port
        ))?;
        let sidecar = campana_sidecar::run(listener, options, bus, own);
        tokio::pin!(sidecar);
        let ended = tokio::select! {
            ended = &mut sidecar => ended,
            () = stop_on_signal() => {
                let stop = lifecycle.stop(drain + STOP_SLACK);
                let (ended, clean) = tokio::join!(&mut sidecar, stop);
                tracing::info!(clean, "sidecar stopped");
                ended
            }
        };
        ended.map_err(|error| match error {
            StartError::Options(error) => refused(error),
            other => other.into(),
        })
    }))
}

fn refused(error: OptionsError) -> anyhow::Error {
    bad_config(error.to_string())
}
