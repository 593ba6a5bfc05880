//! `campana-chat`: chat rooms as a service on the bus.
//!
//! Messages lie in a database of the service's own; what happened in a room is told through the outbox of
//! `campana-bus-sqlx` on the room's channel, which the edge brings to browsers. README.md says how to run it and
//! which file to read first.
//!
//! Reads and writes: its tables, the bus, the bucket `chat_files`; asks the notification gateway and the edge over
//! HTTP. Never: uses anything of the platform that an outside author does not have.

pub mod bench;
mod demo;
pub mod edge;
pub mod events;
mod files;
mod http;
mod jobs;
pub mod limits;
mod listeners;
pub mod options;
mod problem;
mod secrets;
pub mod store;
pub mod text;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use campana_bus::lifecycle::Lifecycle;
use campana_bus::{Bus, BusOptions, Durability};
use campana_bus_sqlx::{Relay, RelayOptions};
use tokio::net::TcpListener;

pub use options::Options;

use http::App;
use store::Store;

/// A chat that runs, until its lifecycle stops.
#[derive(Clone, Copy, Debug)]
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
}

/// Opens everything, then starts everything; returns when requests are answered.
///
/// # Errors
/// If an option is wrong, the address is taken, or the bus or the database does not answer.
pub async fn start(options: Options, lifecycle: &Lifecycle) -> anyhow::Result<Running> {
    options.check().map_err(anyhow::Error::msg)?;
    let listener = TcpListener::bind(options.listen)
        .await
        .with_context(|| format!("cannot listen on {}", options.listen))?;
    let address = listener.local_addr()?;
    let bus = Bus::connect(BusOptions {
        url: options.nats_url.clone(),
        name: "chat".to_owned(),
        durability: Durability::Power,
        credentials_file: None,
    })
    .await?;
    let store = Store::open(&options.database()).await?;
    let files = files::Files::open(&bus, options.replicas).await?;
    if options.demo {
        demo::fill(&store).await?;
    }
    let relay = Relay::new(store.outbox(), RelayOptions::default());
    let relaying = relay.run(store.pool().clone(), bus.clone(), lifecycle.clone());
    lifecycle.spawn_essential("relay", async { relaying.await.map_err(|e| e.to_string()) });
    let tidy = files.clone().keep_tidy(store.clone());
    let soft = lifecycle.soft.clone();
    lifecycle.spawn("tidy", async move {
        tokio::select! {
            () = soft.cancelled() => {}
            () = tidy => {}
        }
    });
    let app = Arc::new(App::new(options, store, files, address)?);
    listeners::start(&app, &bus, lifecycle)?;
    let soft = lifecycle.soft.clone();
    let router = http::router(app).into_make_service_with_connect_info::<SocketAddr>();
    lifecycle.spawn_essential("http", async move {
        let serving = axum::serve(listener, router);
        serving.with_graceful_shutdown(soft.cancelled_owned()).await.map_err(|e| e.to_string())
    });
    Ok(Running { address })
}
