//! `campana-shop`: one event, `OrderPlaced`, consumed in the three ways that a bus offers, and later.
//!
//! - as a **queue**: [`packing`], where one of many workers gets each order;
//! - as a **topic**: [`inventory`], [`mail`] and [`analytics`], which each get every order;
//! - as a **stream**: [`projection`], which reads the stored orders from the first one on;
//! - **deferred**: [`report`], at night, by a schedule that lies in the stream.
//!
//! Reads and writes: its own tables, the bus, the notification API. Never: anything of the platform that an outside
//! author does not have. `docs/guide-patterns.md` explains when to use which.

pub mod analytics;
pub mod events;
pub mod floor;
mod http;
pub mod inventory;
pub mod mail;
mod options;
pub mod packing;
pub mod projection;
pub mod report;
mod shop;
pub mod store;

use std::sync::Arc;
use std::time::Duration;

use campana_bus::Bus;
use campana_bus::lifecycle::Lifecycle;
use campana_bus_sqlx::{Horizons, Relay, RelayOptions, keep_tidy};
use jiff::tz::TimeZone;
use secrecy::ExposeSecret as _;
use tokio::net::TcpListener;

pub use options::{Options, Role};
pub use shop::Shop;

/// When another process takes over what a killed one had in hand; handlers that work show it much more often.
pub(crate) const TAKEN_OVER: Duration = Duration::from_secs(5);
/// HS256 with less can be guessed.
const SECRET_BYTES_MIN: usize = 32;
/// Pause before the projection tries again after an outage.
const PROJECTION_PAUSE: Duration = Duration::from_secs(1);
/// Pause before the schedule is stored again after a refusal.
const SCHEDULE_PAUSE: Duration = Duration::from_secs(5);

/// Why the shop does not start.
#[derive(Debug, thiserror::Error)]
pub enum ShopError {
    /// The database.
    #[error(transparent)]
    Store(#[from] store::StoreError),
    /// The time zone.
    #[error("--time-zone: {0}")]
    TimeZone(jiff::Error),
    /// The edge's secret.
    #[error("--edge-secret needs at least 32 bytes: the edge's auth.token_secret")]
    EdgeSecret,
    /// No client for the gateway.
    #[error("the HTTP client: {0}")]
    Http(#[from] reqwest::Error),
    /// The report's schedule.
    #[error("--report-at: {0}")]
    Report(campana_bus::schedule::WhenError),
    /// The listener.
    #[error("the listener: {0}")]
    Listen(std::io::Error),
}

/// Starts the roles that `options` names on `lifecycle`, whose stop ends them; returns when they are started.
///
/// # Errors
/// If the database, the time zone or the schedule is not usable.
pub async fn start(
    listener: TcpListener,
    options: Options,
    bus: Bus,
    lifecycle: &Lifecycle,
) -> Result<(), ShopError> {
    if options.edge_secret.as_ref().is_some_and(|one| one.expose_secret().len() < SECRET_BYTES_MIN)
    {
        return Err(ShopError::EdgeSecret);
    }
    let time_zone = TimeZone::get(&options.time_zone).map_err(ShopError::TimeZone)?;
    let store = store::Store::open(&store::url(&options)).await?;
    let shop = Shop { store, floor: floor::Floor::default(), time_zone, rebuild: Arc::default() };
    for role in Role::ALL.into_iter().filter(|role| options.roles.contains(role)) {
        match role {
            Role::Web => web(&shop, &options, &bus, lifecycle),
            Role::Packing => packers(&shop, &options, &bus, lifecycle),
            Role::Mail => letters(&shop, &options, &bus, lifecycle)?,
            Role::Projection => project(&shop, &bus, lifecycle),
            Role::Report => reports(&shop, &options, &bus, lifecycle)?,
            Role::Inventory => {
                let ended = inventory::run(bus.clone(), shop.clone(), stopped(lifecycle));
                essential(lifecycle, "inventory", ended);
            }
            Role::Analytics => {
                let ended = analytics::run(bus.clone(), shop.clone(), stopped(lifecycle));
                essential(lifecycle, "analytics", ended);
            }
        }
    }
    let pushing = floor::push(bus.clone(), shop.clone());
    let soft = lifecycle.soft.clone();
    lifecycle.spawn("floor", async move {
        tokio::select! {
            () = pushing => {}
            () = soft.cancelled() => {}
        }
    });
    serve(listener, http::router(bus, shop.clone(), options), lifecycle)
        .map_err(ShopError::Listen)?;
    shop.floor.changed();
    Ok(())
}

/// The relay and the tidying of its tables; the pages themselves are served by every process.
fn web(shop: &Shop, _options: &Options, bus: &Bus, lifecycle: &Lifecycle) {
    let relay = Relay::new(shop.store.outbox(), RelayOptions::default());
    let relaying = relay.run(shop.store.pool(), bus.clone(), lifecycle.clone());
    essential(lifecycle, "relay", relaying);
    let tidying = keep_tidy(shop.store.pool(), Horizons::default(), lifecycle.clone());
    lifecycle.spawn("tidy", tidying);
}

fn packers(shop: &Shop, options: &Options, bus: &Bus, lifecycle: &Lifecycle) {
    for number in 1..=options.packers {
        let worker = format!("{}-{number}", options.packer_name);
        let ended = packing::run(bus.clone(), shop.clone(), worker, stopped(lifecycle));
        essential(lifecycle, "packing", ended);
    }
}

fn letters(
    shop: &Shop,
    options: &Options,
    bus: &Bus,
    lifecycle: &Lifecycle,
) -> Result<(), ShopError> {
    let (Some(url), Some(key)) = (&options.api_url, &options.api_key) else {
        tracing::info!("no --api-url: orders are not confirmed by e-mail");
        return Ok(());
    };
    let gateway = mail::Gateway::new(url, key.clone())?;
    let ended = mail::run(bus.clone(), shop.clone(), gateway, stopped(lifecycle));
    essential(lifecycle, "mail", ended);
    Ok(())
}

/// Follows the stream again and again: outages of bus and database are waited for.
fn project(shop: &Shop, bus: &Bus, lifecycle: &Lifecycle) {
    let (shop, bus, soft) = (shop.clone(), bus.clone(), lifecycle.soft.clone());
    let following = async move {
        loop {
            if let Err(error) = projection::follow(&bus, &shop, &shop.rebuild).await {
                tracing::warn!(%error, "the projection tries again");
                tokio::time::sleep(PROJECTION_PAUSE).await;
            }
        }
    };
    lifecycle.spawn("projection", async move {
        tokio::select! {
            () = following => {}
            () = soft.cancelled() => {}
        }
    });
}

fn reports(
    shop: &Shop,
    options: &Options,
    bus: &Bus,
    lifecycle: &Lifecycle,
) -> Result<(), ShopError> {
    let ended = report::run(bus.clone(), shop.clone(), stopped(lifecycle));
    essential(lifecycle, "report", ended);
    let (bus, soft, floor) = (bus.clone(), lifecycle.soft.clone(), shop.floor.clone());
    let (at, zone) = (options.report_at.clone(), options.time_zone.clone());
    let scheduling = async move {
        while let Err(error) = report::every_night(&bus, &at, &zone).await {
            tracing::warn!(%error, "the nightly report is not scheduled");
            tokio::time::sleep(SCHEDULE_PAUSE).await;
        }
        floor.changed();
    };
    lifecycle.spawn("report schedule", async move {
        tokio::select! {
            () = scheduling => {}
            () = soft.cancelled() => {}
        }
    });
    Ok(())
}

fn stopped(lifecycle: &Lifecycle) -> impl Future<Output = ()> + Send + 'static {
    lifecycle.soft.clone().cancelled_owned()
}

/// A part without which the process has no purpose: its failure ends it.
fn essential<E: std::fmt::Display>(
    lifecycle: &Lifecycle,
    name: &'static str,
    running: impl Future<Output = Result<(), E>> + Send + 'static,
) {
    lifecycle.spawn_essential(name, async { running.await.map_err(|error| error.to_string()) });
}

fn serve(
    listener: TcpListener,
    router: axum::Router,
    lifecycle: &Lifecycle,
) -> std::io::Result<()> {
    let address = listener.local_addr()?;
    let service = router.into_make_service_with_connect_info::<std::net::SocketAddr>();
    let serving = axum::serve(listener, service).with_graceful_shutdown(stopped(lifecycle));
    essential(lifecycle, "http", async move { serving.await });
    tracing::info!("the shop is open at http://{address}/");
    Ok(())
}
