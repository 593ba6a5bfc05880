//! campana-sidecar: the bus for programs in any language, over HTTP on the same machine.
//!
//! An app that speaks HTTP and nothing else publishes events, takes them with retries and dead letters,
//! calls services and serves them, keeps state and sets schedules. It declares what it takes in a file or at
//! an address of its own; the sidecar posts CloudEvents to it and understands its status codes. The guide is
//! docs/guide-sidecar.md.
//!
//! Reads: requests of the app, its answers, and the bus. Writes: the bus, and requests to the app. Never:
//! acknowledges a message before the app has, or is reachable from another machine without a token.

pub mod answer;
mod api;
mod app;
mod cloudevent;
pub mod declare;
mod deliver;
mod event;
mod guard;
mod in_hand;
mod input;
mod manager;
pub mod options;
pub mod problem;
mod router;
mod serve;
mod server;
mod stall;
mod state;
pub mod telemetry;
mod unit;

use std::net::SocketAddr;
use std::sync::Mutex;

use campana_bus::Bus;
use campana_bus::lifecycle::Lifecycle;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use declare::Declaration;
pub use options::{AppOptions, Limits, Options, OptionsError, RenderMetrics, Source};
pub use router::openapi;

use app::App;
use in_hand::InHand;
use manager::Manager;
use server::Server;
use state::{Parts, Sidecar};
use unit::Shared;

/// Why a sidecar does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The options do not suit the address, or each other.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The listener has no address.
    #[error("the listener has no address: {0}")]
    Listener(#[from] std::io::Error),
    /// The client for the app cannot be made.
    #[error("the HTTP client cannot be made: {0}")]
    Client(#[from] reqwest::Error),
}

/// Runs a sidecar until the soft stop. Then it takes no new deliveries, finishes those in hand, serves the
/// app's requests meanwhile, and returns; the hard stop of the lifecycle is the end of its patience.
///
/// # Errors
/// If the options do not allow to listen on this address.
pub async fn run(
    listener: TcpListener,
    options: Options,
    bus: Bus,
    lifecycle: Lifecycle,
) -> Result<(), StartError> {
    let address: SocketAddr = listener.local_addr()?;
    options.check(address)?;
    let app = App::new(&options.app)?;
    let in_hand = InHand::default();
    let shared = Shared {
        bus: bus.clone(),
        app: app.clone(),
        in_hand: in_hand.clone(),
        lifecycle: lifecycle.clone(),
        drain: options.drain,
        answer_bytes_max: options.limits.answer_bytes_max,
    };
    let (manager, handle) = Manager::new(shared, options.source.clone());
    let limits = options.limits;
    let sidecar = Sidecar::new(Parts {
        bus,
        app: app.clone(),
        in_hand,
        manager: handle,
        lifecycle: lifecycle.clone(),
        permits: Semaphore::new(limits.requests_max),
        buckets: Mutex::default(),
        creating: tokio::sync::Mutex::new(()),
        options,
    });
    // Requests are served, and the app is watched, until the last delivery is settled.
    let closing = CancellationToken::new();
    let watching = closing.clone();
    lifecycle.spawn("sidecar app watch", async move { app.watch(watching).await });
    let server = Server {
        router: router::router(&sidecar),
        limits,
        lifecycle: lifecycle.clone(),
        closing: closing.clone(),
    };
    tracing::info!(%address, "sidecar listens");
    let managing = async {
        tokio::select! {
            () = manager.run() => {}
            () = lifecycle.hard.cancelled() => {}
        }
        closing.cancel();
    };
    tokio::join!(server::serve(listener, server), managing);
    Ok(())
}
