//! The collector: what nats-server knows of itself, its streams and consumers, on our own `/metrics`.
//! Reads: monitoring ports or JetStream's API, and the server's advisories. Writes: a text that is appended to the
//! endpoint's, and counters of advisories. Never: speaks from two processes: of those that have the role
//! `keeper`, the one that holds the lease does; runs more often than configured, whoever asks for `/metrics`.
//!
//! The numbers are not kept in the metrics recorder but rendered from each reading, so the series of a deleted
//! consumer are gone with the next one, and an old reading is not shown as a new one when NATS does not answer.

mod advisories;
mod lease;
pub mod names;
mod snapshot;
mod source;

use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use campana_bus::lifecycle::Lifecycle;
use campana_bus::{Bus, clock};
use serde::Deserialize;

use advisories::Advisories;
use lease::{LEASE, Lease};
use snapshot::Snapshot;
use source::Source;

/// The key of the lease.
const LEASE_KEY: &str = "nats-collector";
/// Most series a configuration may ask for: every consumer has ten.
const CONSUMERS_MAX: usize = 20_000;
const INTERVAL_MS_MAX: u64 = 60_000;

/// The collector's options.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CollectorOptions {
    /// Monitoring ports of all servers of the cluster.
    pub monitor_urls: Vec<String>,
    /// Milliseconds between two readings; 0 for no collector.
    pub interval_ms: u64,
    /// Consumers with series of their own.
    pub consumers_max: usize,
}

impl CollectorOptions {
    /// What the types cannot say, as `option: what is wrong with it`.
    pub fn check(&self) -> Result<(), String> {
        if self.interval_ms != 0 && !(500..=INTERVAL_MS_MAX).contains(&self.interval_ms) {
            return Err(format!("interval_ms must be 0, or 500 to {INTERVAL_MS_MAX}"));
        }
        if self.consumers_max > CONSUMERS_MAX {
            return Err(format!("consumers_max must be at most {CONSUMERS_MAX}"));
        }
        let is_http = |url: &String| {
            url::Url::parse(url).is_ok_and(|url| {
                matches!(url.scheme(), "http" | "https") && url.host_str().is_some()
            })
        };
        if self.monitor_urls.iter().all(is_http) {
            return Ok(());
        }
        // Not repeated in the message: it may hold a password.
        Err("monitor_urls must be http or https URLs, for example http://n1:8222".to_owned())
    }
}

/// The last reading, for the endpoint.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    last: Arc<RwLock<Option<Last>>>,
}

#[derive(Clone, Debug)]
struct Last {
    text: Arc<str>,
    /// Until then it may be shown.
    valid_until: Instant,
}

impl Reading {
    /// Its text; empty if this process does not collect, or has not for too long.
    pub fn text(&self, now: Instant) -> Arc<str> {
        let last = self.last.read().ok().and_then(|last| last.clone());
        let fresh = last.filter(|last| now < last.valid_until);
        fresh.map_or_else(|| Arc::from(""), |last| last.text)
    }

    fn set(&self, last: Option<Last>) {
        if let Ok(mut place) = self.last.write() {
            *place = last;
        }
    }
}

struct Collector {
    bus: Bus,
    source: Source,
    options: CollectorOptions,
    lease: Lease,
    advisories: Advisories,
    reading: Reading,
    /// Whether the last reading failed: one line in the log for an outage, not one for every reading.
    in_trouble: bool,
}

/// Starts collecting; nothing if it is turned off.
pub fn start(bus: &Bus, options: &CollectorOptions, lifecycle: &Lifecycle) -> Reading {
    let reading = Reading::default();
    if options.interval_ms == 0 {
        return reading;
    }
    let source = match Source::new(&options.monitor_urls) {
        Ok(source) => source,
        Err(error) => {
            tracing::error!("the monitoring ports of NATS cannot be read: {error:#}");
            return reading;
        }
    };
    let collector = Collector {
        bus: bus.clone(),
        source,
        options: options.clone(),
        lease: Lease::new(bus.clone(), LEASE_KEY),
        advisories: Advisories::default(),
        reading: reading.clone(),
        in_trouble: false,
    };
    let mine = lifecycle.clone();
    lifecycle.spawn("nats collector", collector.run(mine));
    reading
}

impl Collector {
    async fn run(mut self, lifecycle: Lifecycle) {
        let mut tick = tokio::time::interval(Duration::from_millis(self.options.interval_ms));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = lifecycle.soft.cancelled() => break,
                () = self.advisories.count_next() => continue,
                _ = tick.tick() => {}
            }
            tokio::select! {
                () = lifecycle.soft.cancelled() => break,
                () = self.turn() => {}
            }
        }
        self.reading.set(None);
        self.lease.release().await;
    }

    async fn turn(&mut self) {
        if !self.lease.keep().await {
            self.reading.set(None);
            self.advisories.stop();
            return;
        }
        self.advisories.listen(&self.bus).await;
        let started = clock::monotonic();
        let found = self.source.read(&self.bus).await;
        let took = started.elapsed();
        self.tell(found.as_ref().err());
        let up = found.is_ok();
        let mut snapshot = found.unwrap_or_else(|_| Snapshot::default());
        self.advisories.prepare(snapshot.stream_names());
        snapshot.gauge(names::COLLECTOR_UP, &[], f64::from(u8::from(up)));
        snapshot.gauge(names::COLLECTOR_TOOK, &[], took.as_secs_f64());
        let text = snapshot.finish(self.options.consumers_max);
        // Longer, and another process may hold the lease and speak.
        let valid = LEASE + Duration::from_millis(self.options.interval_ms);
        let valid_until = clock::monotonic() + valid;
        self.reading.set(Some(Last { text: Arc::from(text), valid_until }));
    }

    fn tell(&mut self, error: Option<&String>) {
        match error {
            Some(error) if !self.in_trouble => {
                tracing::warn!("NATS cannot be measured: {error}");
            }
            None if self.in_trouble => tracing::info!("NATS is measured again"),
            _ => {}
        }
        self.in_trouble = error.is_some();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(urls: &[&str], interval_ms: u64) -> CollectorOptions {
        CollectorOptions {
            monitor_urls: urls.iter().map(|&url| url.to_owned()).collect(),
            interval_ms,
            consumers_max: 10,
        }
    }

    #[test]
    fn options_are_checked_and_secrets_not_repeated() {
        assert_eq!(options(&["http://n1:8222", "https://n2/nats"], 5_000).check(), Ok(()));
        assert_eq!(options(&[], 0).check(), Ok(()));
        assert!(options(&[], 100).check().unwrap_err().contains("interval_ms"));
        let error = options(&["nats://u:hunter2@n1:4222"], 0).check().unwrap_err();
        assert!(error.contains("monitor_urls") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn an_old_reading_is_not_shown() {
        let (reading, now) = (Reading::default(), clock::monotonic());
        assert_eq!(&*reading.text(now), "");
        let valid_until = now + Duration::from_secs(5);
        reading.set(Some(Last { text: Arc::from("a 1\n"), valid_until }));
        assert_eq!(&*reading.text(now), "a 1\n");
        assert_eq!(&*reading.text(now + Duration::from_secs(5)), "");
    }
}
