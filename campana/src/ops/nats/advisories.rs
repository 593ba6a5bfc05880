//! Advisories of the server, counted.
//! Reads: advisories about deliveries that were used up, terminated or refused, about lost quorums and new leaders.
//! Writes: a counter. Never: stores one or acts on it (the keeper's backstop does), makes a label of a stream that
//! no reading has shown.

use std::collections::BTreeSet;

use async_nats::Subscriber;
use campana_bus::{Bus, subjects};
use futures::StreamExt;
use futures::stream::SelectAll;
use metrics::counter;

/// Advisories of nats-server, by kind and stream, since this process collects.
pub const ADVISORIES: &str = "campana_nats_advisories_total";

/// Streams with a label of their own; the rest is one.
const STREAMS_MAX: usize = 500;
const OTHER: &str = "other";

/// The subscriptions while this process collects, and what was seen.
#[derive(Debug, Default)]
pub struct Advisories {
    subscriptions: SelectAll<Subscriber>,
    streams: BTreeSet<String>,
}

impl Advisories {
    /// Subscribes, if that has not happened. Where it is not allowed, nothing is counted.
    pub async fn listen(&mut self, bus: &Bus) {
        if !self.subscriptions.is_empty() {
            return;
        }
        self.prepare([OTHER].into_iter());
        for (kind, prefix) in subjects::ADVISORIES_COUNTED {
            match bus.client().subscribe(subjects::advisories_of(prefix)).await {
                Ok(subscription) => self.subscriptions.push(subscription),
                Err(error) => tracing::debug!(advisory = kind, "cannot be followed: {error}"),
            }
        }
    }

    /// Another process counts now.
    pub fn stop(&mut self) {
        self.subscriptions.clear();
    }

    /// Zeros for streams that are new, so that the first advisory is seen as an increase.
    pub fn prepare<'a>(&mut self, names: impl Iterator<Item = &'a str>) {
        for name in names {
            if self.streams.contains(name) || self.streams.len() >= STREAMS_MAX {
                continue;
            }
            self.streams.insert(name.to_owned());
            for (kind, _) in subjects::ADVISORIES_COUNTED {
                counter!(ADVISORIES, "kind" => kind, "stream" => name.to_owned()).increment(0);
            }
        }
    }

    /// Waits for the next advisory and counts it; for ever while nothing is followed.
    pub async fn count_next(&mut self) {
        let Some(message) = self.subscriptions.next().await else {
            return std::future::pending().await;
        };
        if let Some((kind, stream)) = subjects::parse_advisory(&message.subject) {
            let stream = if self.streams.contains(stream) { stream } else { OTHER };
            counter!(ADVISORIES, "kind" => kind, "stream" => stream.to_owned()).increment(1);
        }
    }
}
