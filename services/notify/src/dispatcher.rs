//! The dispatcher: takes accepted requests and sends each recipient's message on its way.
//! Reads: `REQUESTS`, recipients and templates (through a cache). Writes: inbox messages on `CHANNELS`,
//! commands on `DELIVERIES`, outcomes. Never: calls a provider, writes the status tables.
//!
//! One consumer for each priority, so that a campaign never stands in front of a security code. Every id
//! is derived from the request, so a request that is dispatched twice changes nothing downstream.

mod directory;
mod handler;

use std::sync::Arc;
use std::time::Duration;

use campana_bus::consume::{self, Backoff, ConsumeError, ConsumerSpec};
use campana_bus::lifecycle::Lifecycle;
use campana_bus::publish::{EnvelopePublisher, GroupPublisher};
use campana_bus::{Bus, subjects, topology};
use serde::Deserialize;

use crate::contracts::Priority;
use crate::store::Store;

pub use directory::{Directory, DirectoryOptions};
pub use handler::Dispatcher;

/// How long the server waits for an acknowledgement or a heartbeat (every third of it).
const ACK_WAIT: Duration = Duration::from_secs(6);

/// How the dispatcher works; every number has a default.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DispatcherOptions {
    /// Envelopes of critical requests at work at the same time.
    pub critical_in_flight: usize,
    /// Envelopes of normal requests.
    pub normal_in_flight: usize,
    /// Envelopes of bulk requests.
    pub bulk_in_flight: usize,
    /// Attempts before a request becomes a dead letter.
    pub max_attempts: u32,
    /// Seconds for which a recipient or template is not read again; changes are announced and seen earlier.
    pub cache_seconds: u64,
    /// Recipients and templates kept in memory, each.
    pub cache_entries: usize,
    /// How long the database may take before the dispatcher goes on with what it knows, in milliseconds.
    pub lookup_timeout_ms: u64,
}

impl Default for DispatcherOptions {
    fn default() -> Self {
        Self {
            critical_in_flight: 32,
            normal_in_flight: 32,
            bulk_in_flight: 4,
            max_attempts: 12,
            cache_seconds: 30,
            cache_entries: 100_000,
            lookup_timeout_ms: 500,
        }
    }
}

/// What the dispatcher works with.
#[derive(Clone)]
pub struct DispatcherDeps {
    /// The bus.
    pub bus: Bus,
    /// Recipients and templates; read only.
    pub store: Store,
    /// Publishes to `CHANNELS`.
    pub channels: GroupPublisher,
    /// Publishes to `DELIVERIES`.
    pub deliveries: GroupPublisher,
    /// Publishes to `OUTCOMES`.
    pub outcomes: EnvelopePublisher,
}

/// Runs until the soft stop and drains.
///
/// # Errors
/// If a consumer cannot be created or the connection is gone for good.
pub async fn run(
    options: DispatcherOptions,
    deps: DispatcherDeps,
    lifecycle: Lifecycle,
) -> Result<(), ConsumeError> {
    crate::telemetry::start_dispatcher();
    let directory = Arc::new(Directory::new(
        deps.store.clone(),
        DirectoryOptions {
            ttl: Duration::from_secs(options.cache_seconds),
            entries: options.cache_entries,
            timeout: Duration::from_millis(options.lookup_timeout_ms),
            ..DirectoryOptions::default()
        },
    ));
    directory.listen(&deps.bus, &lifecycle).await;
    let lane = |priority: Priority, max_in_flight: usize| {
        let handler = Dispatcher {
            directory: Arc::clone(&directory),
            channels: deps.channels.clone(),
            deliveries: deps.deliveries.clone(),
            outcomes: deps.outcomes.clone(),
        };
        let spec = ConsumerSpec {
            max_in_flight,
            max_attempts: options.max_attempts,
            // Short, so that what a killed dispatcher held is soon taken by the next; repeats change nothing.
            ack_wait: ACK_WAIT,
            backoff: Backoff { first: Duration::from_millis(250), max: Duration::from_secs(60) },
            ..ConsumerSpec::new(
                topology::REQUESTS,
                durable(priority),
                subjects::request(priority.as_str()),
            )
        };
        consume::run_envelopes(&deps.bus, spec, handler, lifecycle.clone())
    };
    tokio::try_join!(
        lane(Priority::Critical, options.critical_in_flight),
        lane(Priority::Normal, options.normal_in_flight),
        lane(Priority::Bulk, options.bulk_in_flight),
    )?;
    Ok(())
}

/// The durable name of the consumer of one priority.
#[must_use]
pub const fn durable(priority: Priority) -> &'static str {
    match priority {
        Priority::Critical => "dispatcher-critical",
        Priority::Normal => "dispatcher-normal",
        Priority::Bulk => "dispatcher-bulk",
    }
}

#[cfg(test)]
mod tests;
