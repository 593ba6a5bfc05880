//! The program: reads its options, connects, runs the shop until a signal, and ends cleanly.
//! Reads: the command line and the environment. Writes: the log on standard error. Never: work of its own.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use campana_bus::lifecycle::Lifecycle;
use campana_bus::{Bus, BusOptions, Durability, stop_on_signal};
use campana_shop::Options;
use clap::Parser as _;
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

/// How long orders in hand may take at the end.
const GRACE: Duration = Duration::from_secs(20);

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let listener = TcpListener::bind(options.listen)
        .await
        .with_context(|| format!("cannot listen on {}: choose another --listen", options.listen))?;
    let bus = Bus::connect(BusOptions {
        url: options.nats_url.clone(),
        name: "shop".to_owned(),
        durability: Durability::default(),
        credentials_file: options.nats_creds.clone(),
    });
    let (bus, lifecycle) = (bus.await?, Lifecycle::new());
    campana_shop::start(listener, options, bus, &lifecycle).await?;
    tokio::select! {
        () = stop_on_signal() => {}
        () = lifecycle.soft.cancelled() => {}
    }
    lifecycle.stop(GRACE).await;
    match lifecycle.failure() {
        Some(why) => bail!(why),
        None => Ok(()),
    }
}
