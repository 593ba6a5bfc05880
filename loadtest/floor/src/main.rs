//! The floor: HTTP POST, JetStream publish with acknowledgement, consumer, second stream, republish, WebSocket,
//! and nothing else. No templates, preferences, limits, database or ledger, and of authentication only the
//! comparison of one bearer key. The platform is measured against it, so it shares the platform's HTTP library,
//! allocator, group commit, streams and durability.
//! With `--core` even the streams are left out: an HTTP listener in front of a bare nats-server.
//! Reads: its arguments. Writes: two streams; one line of JSON on standard output when it is ready. Never: sheds
//! load, recovers what a client missed, or serves anybody but a load test.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line program: one line on stdout when ready, complaints on stderr"
)]

mod http;
mod push;
mod relay;
mod wire;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::serve::ListenerExt as _;
use campana_bus::ids::KeyId;
use campana_bus::lifecycle::Lifecycle;
use campana_bus::publish::{EnvelopePublisher, GroupPublisher};
use campana_bus::staging::Staging;
use campana_bus::testing::NatsServer;
use campana_bus::topology::{self, CHANNELS, REQUESTS, Topology, TopologyOptions};
use campana_bus::{Bus, BusOptions, Durability, stop_on_signal};
use clap::Parser;
use http::Way;
use serde::Serialize;
use tokio::net::TcpListener;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// How long tasks may take to end after a signal.
const STOP_GRACE: Duration = Duration::from_secs(2);
/// Connections that the kernel keeps for us while a wave of clients comes.
const BACKLOG: u32 = 4_096;

/// The unavoidable work of a stored notification, as a yardstick for the platform.
#[derive(Debug, Parser)]
#[command(name = "campana-floor", version)]
struct Arguments {
    /// A running nats-server with JetStream, empty; without it a private one is started and removed again
    #[arg(long, value_name = "URL")]
    nats_url: Option<String>,
    /// What an acknowledged notification survives: power (needs `sync_interval: always`) or process
    #[arg(long, value_name = "power|process", default_value = "power")]
    durability: Durability,
    /// Where HTTP and WebSocket listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Publish on core NATS and nothing else: no streams, no acknowledgement. Clients connect to nats-server's own
    /// WebSocket gateway, which listens here
    #[arg(long, value_name = "WS_URL", requires = "nats_url")]
    core: Option<String>,
    /// The bearer key of senders [default: a fresh one]
    #[arg(long, value_name = "KEY")]
    api_key: Option<String>,
    /// Also write the line of JSON to this folder's up.json, where `campana loadtest --data-dir` looks
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

/// What a load generator needs to know; the shape of `campana up`'s up.json.
#[derive(Serialize)]
struct Ready<'a> {
    schema_version: u32,
    pid: u32,
    nats_pid: Option<u32>,
    gateway: String,
    edge_ws: String,
    nats_url: &'a str,
    api_key: &'a str,
    durability: &'static str,
    version: &'static str,
}

fn main() -> ExitCode {
    match start(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("campana-floor: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: Arguments) -> anyhow::Result<()> {
    let private = match &arguments.nats_url {
        Some(_) => None,
        None => Some(NatsServer::start_with(arguments.durability).map_err(anyhow::Error::msg)?),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    // `private` outlives the runtime's work and ends its server when it goes.
    let staging = private.as_ref().and_then(|server| Staging::of(&server.store_dir()));
    let ended = runtime.block_on(run(arguments, private.as_ref(), staging.as_ref()));
    drop(private);
    if let Some(staging) = staging {
        staging.remove(&[CHANNELS]);
    }
    ended
}

async fn run(
    arguments: Arguments,
    private: Option<&NatsServer>,
    staging: Option<&Staging>,
) -> anyhow::Result<()> {
    let nats_url = match (private, arguments.nats_url) {
        (Some(server), _) => server.url(),
        (None, Some(url)) => url,
        (None, None) => anyhow::bail!("no nats-server"),
    };
    let bus = Bus::connect(BusOptions {
        url: nats_url.clone(),
        name: "campana-floor".to_owned(),
        durability: arguments.durability,
        credentials_file: None,
    })
    .await?;
    let lifecycle = Lifecycle::new();
    let listener = listen(arguments.listen)?;
    let address = listener.local_addr()?;
    let key = arguments.api_key.unwrap_or_else(|| KeyId::fresh().to_string());
    let (edge_ws, durability, way) = match arguments.core {
        Some(gateway) => (gateway, "none", Way::Core(bus.client().clone())),
        None => {
            let edge = format!("ws://{address}/connection/websocket");
            let way = stored(&bus, &lifecycle).await?;
            // As the platform has its own server do it.
            if let Some(staging) = staging {
                let _ = staging.tend(&[CHANNELS]);
            }
            (edge, arguments.durability.as_str(), way)
        }
    };
    let shared = http::Shared { bearer: format!("Bearer {key}"), edge_ws: edge_ws.clone(), way };
    let router = http::router(Arc::new(shared));
    // Without it a frame behind another one waits for a delayed acknowledgement of up to 40 ms.
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    lifecycle.spawn_essential("http", async move {
        axum::serve(listener, router).await.map_err(|error| error.to_string())
    });
    announce(
        &Ready {
            schema_version: 1,
            pid: std::process::id(),
            nats_pid: private.map(NatsServer::pid),
            gateway: format!("http://{address}"),
            edge_ws,
            nats_url: &nats_url,
            api_key: &key,
            durability,
            version: env!("CARGO_PKG_VERSION"),
        },
        arguments.data_dir.as_deref(),
    )?;
    tokio::select! {
        () = stop_on_signal() => {}
        () = lifecycle.soft.cancelled() => {}
    }
    lifecycle.stop(STOP_GRACE).await;
    match lifecycle.failure() {
        Some(why) => anyhow::bail!(why),
        None => Ok(()),
    }
}

/// Starts everything between the first stream and the WebSockets.
async fn stored(bus: &Bus, lifecycle: &Lifecycle) -> anyhow::Result<Way> {
    topology::apply(bus, &streams()).await?;
    let listeners = push::start(bus, lifecycle).await?;
    let channels = GroupPublisher::start(bus, CHANNELS, lifecycle);
    relay::start(bus, channels, lifecycle).await?;
    let requests = EnvelopePublisher::start(bus, REQUESTS, lifecycle);
    Ok(Way::Stored { requests, listeners })
}

/// The platform's own two streams on the way of an in-app notification, with its settings.
fn streams() -> Topology {
    let platform = topology::platform(TopologyOptions::default());
    let streams = platform
        .streams
        .into_iter()
        .filter(|stream| [REQUESTS, CHANNELS].contains(&stream.name))
        .collect();
    Topology { streams, buckets: Vec::new() }
}

fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
        SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address).with_context(|| format!("cannot listen at {address}"))?;
    Ok(socket.listen(BACKLOG)?)
}

fn announce(ready: &Ready<'_>, data_dir: Option<&std::path::Path>) -> anyhow::Result<()> {
    let line = serde_json::to_string(ready)?;
    if let Some(folder) = data_dir {
        let path = folder.join("up.json");
        std::fs::write(&path, &line).with_context(|| format!("cannot write {}", path.display()))?;
    }
    println!("{line}");
    Ok(())
}
