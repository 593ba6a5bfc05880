//! A clinic's appointments: an application on the bus, written with nothing that another author does not have.
//!
//! Patients ask for an appointment, dentists answer, both hear of it by bell, e-mail, SMS or WhatsApp, and are reminded
//! in time. Where to begin reading: [`appointment`] is the process itself, [`store`] makes each step of it one
//! transaction with its event, [`notifier`] and [`reminders`] are the consumers, `web` is what browsers see.
//!
//! Reads and writes: its own database, its own events on the bus, the notification API. Never: another service's
//! tables or streams, nor any crate of the platform but the bus.

pub mod appointment;
pub mod calendar;
pub mod events;
pub mod notifier;
pub mod options;
pub mod passwords;
pub mod platform;
pub mod reminders;
pub mod setup;
pub mod store;
mod web;
pub mod words;

use std::net::SocketAddr;

use anyhow::Context as _;
use campana_bus::lifecycle::Lifecycle;
use campana_bus::{Bus, BusOptions, Durability, clock};
use campana_bus_sqlx::{Horizons, Relay, RelayOptions, keep_tidy};
use tokio::net::TcpListener;

use crate::notifier::Notifier;
use crate::options::Options;
use crate::platform::Platform;
use crate::reminders::Reminders;
use crate::store::Store;

/// A clinic that serves.
#[derive(Clone, Debug)]
pub struct Clinic {
    /// Where.
    pub address: SocketAddr,
    /// Its store, for tests.
    pub store: Store,
}

impl Clinic {
    /// Starts everything: tables, setup, relay, consumers, pages. All of it ends with the lifecycle.
    ///
    /// # Errors
    /// If the address is taken, the bus or the database is away, or the setup has a mistake.
    pub async fn start(options: Options, lifecycle: Lifecycle) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(options.listen)
            .await
            .with_context(|| format!("cannot listen on {}", options.listen))?;
        let address = listener.local_addr()?;
        let store = Store::open(&options.database()).await.context("the clinic's database")?;
        setup::apply(&store, &options, clock::now()).await?;
        let bus = Bus::connect(BusOptions {
            url: options.nats_url.clone(),
            name: "clinic".to_owned(),
            durability: Durability::Power,
            credentials_file: options.nats_creds.clone(),
        })
        .await?;
        let platform = Platform::new(&options.api_url, options.api_key.clone())?;
        let page = match &options.public_url {
            Some(url) => url.as_str().trim_end_matches('/').to_owned(),
            None => format!("http://{address}"),
        };
        consume(&store, &bus, &platform, &page, &lifecycle);
        let app = web::App::new(store.clone(), platform, bus, &options, page);
        web::serve(listener, app, &lifecycle);
        tracing::info!(clinic.address = %address, "the clinic is open");
        Ok(Self { address, store })
    }
}

/// The relay and the four consumers.
fn consume(store: &Store, bus: &Bus, platform: &Platform, page: &str, lifecycle: &Lifecycle) {
    let relay = Relay::new(store.outbox(), RelayOptions::default());
    let relaying = relay.run(store.pool().clone(), bus.clone(), lifecycle.clone());
    essential(lifecycle, "relay", relaying);
    let tidying = keep_tidy(store.pool().clone(), Horizons::default(), lifecycle.clone());
    lifecycle.spawn("keep tidy", tidying);

    let notifier = Notifier::new(store.clone(), platform.clone(), page.to_owned());
    let reminders = Reminders::new(notifier.clone(), bus.clone());
    let accounts = notifier.clone().follow_accounts(bus.clone(), lifecycle.clone());
    essential(lifecycle, "recipients", accounts);
    let changes = notifier.follow_appointments(bus.clone(), lifecycle.clone());
    essential(lifecycle, "notifications", changes);
    essential(lifecycle, "schedules", reminders.clone().follow_appointments(lifecycle.clone()));
    essential(lifecycle, "reminders", reminders.follow_due(lifecycle.clone()));
}

fn essential<E: std::fmt::Display>(
    lifecycle: &Lifecycle,
    name: &'static str,
    work: impl Future<Output = Result<(), E>> + Send + 'static,
) {
    lifecycle.spawn_essential(name, async move { work.await.map_err(|error| error.to_string()) });
}
