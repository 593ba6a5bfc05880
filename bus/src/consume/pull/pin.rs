//! Pins: which of several processes is given the messages of a consumer that keeps strict order.
//! Reads: the spec, the pin that messages carry. Writes: nothing. Never: relies on the pin for order, which
//! comes from the limit of one message in hand; the pin only keeps a partition with one process.
//!
//! The server pins the first process that asks without a pin, tells it the pin with each message, refuses
//! requests that name an old one (status 423), and lets the pin go when its process does not ask for the
//! time of the lease (NATS ADR-42). The client library keeps the pin's field of a pull request to itself,
//! so the request is written here.

use std::time::Duration;

use async_nats::Message;
use async_nats::jetstream::consumer::PriorityPolicy;
use async_nats::jetstream::consumer::pull::{BatchConfig, Config};
use bytes::Bytes;
use serde::Serialize;

use crate::consume::{ConsumerSpec, Ordering, Pins};
use crate::headers;

/// The one priority group of a consumer.
pub(in crate::consume) const GROUP: &str = "order";
/// With a shorter lease a process that is merely busy would lose its pin.
const LEASE_MIN: Duration = Duration::from_secs(3);
/// With a longer one a process that died would keep its partitions for no good.
const LEASE_MAX: Duration = Duration::from_secs(60);

/// How long a process that does not ask keeps its pin: as long as its message would be kept.
pub(crate) fn lease(spec: &ConsumerSpec) -> Duration {
    spec.ack_wait.clamp(LEASE_MIN, LEASE_MAX)
}

/// The configuration of a consumer, made strict if the spec says so.
pub(super) fn config(spec: &ConsumerSpec, plain: Config) -> Config {
    if spec.ordering != Ordering::Strict {
        return plain;
    }
    Config {
        max_ack_pending: 1,
        priority_policy: PriorityPolicy::PinnedClient,
        priority_groups: vec![GROUP.to_owned()],
        priority_timeout: lease(spec),
        ..plain
    }
}

/// What a process knows about its pin.
#[derive(Debug)]
pub(super) struct Pin {
    /// `None` for a consumer that is not strict.
    expires: Option<Duration>,
    id: Option<String>,
    consumer: String,
    pins: Pins,
}

#[derive(Serialize)]
struct Request<'a> {
    #[serde(flatten)]
    batch: BatchConfig,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
}

impl Pin {
    pub fn new(spec: &ConsumerSpec) -> Self {
        let expires = (spec.ordering == Ordering::Strict).then(|| lease(spec) / 3);
        Self { expires, id: None, consumer: spec.durable.clone(), pins: spec.pins.clone() }
    }

    /// How long a request may wait, so that the pin is renewed in time.
    pub fn expires(&self) -> Option<Duration> {
        self.expires
    }

    /// The request with group and pin; `None` for a consumer that is not strict.
    pub fn request(&self, plain: &BatchConfig) -> Option<Bytes> {
        self.expires?;
        let batch = BatchConfig { group: Some(GROUP.to_owned()), ..plain.clone() };
        serde_json::to_vec(&Request { batch, id: self.id.as_deref() }).ok().map(Bytes::from)
    }

    /// Takes the pin from a message.
    pub fn learn(&mut self, message: &Message) {
        if self.expires.is_some()
            && let Some(id) =
                message.headers.as_ref().and_then(|all| headers::get(all, "Nats-Pin-Id"))
            && self.id.as_deref() != Some(id)
        {
            self.id = Some(id.to_owned());
            self.pins.hold(&self.consumer);
        }
    }

    /// Somebody else has the pin: stand by.
    pub fn lost(&mut self) {
        self.id = None;
        self.pins.let_go(&self.consumer);
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.lost();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(ordering: Ordering) -> ConsumerSpec {
        ConsumerSpec { ordering, ..ConsumerSpec::new("S", "c", "f") }
    }

    #[test]
    fn requests_name_group_and_pin() {
        let mut pin = Pin::new(&spec(Ordering::Strict));
        let request = BatchConfig { batch: 2, ..BatchConfig::default() };
        let body = |pin: &Pin| -> serde_json::Value {
            serde_json::from_slice(&pin.request(&request).unwrap()).unwrap()
        };
        assert_eq!(body(&pin)["group"], "order");
        assert_eq!(body(&pin).get("id"), None);
        pin.id = Some("p1".to_owned());
        assert_eq!(body(&pin)["id"], "p1");
        pin.lost();
        assert_eq!(body(&pin).get("id"), None);
        assert!(Pin::new(&spec(Ordering::None)).request(&request).is_none());
    }

    #[test]
    fn a_strict_consumer_has_one_message_in_hand() {
        let strict = config(&spec(Ordering::Strict), Config::default());
        assert_eq!(
            (strict.max_ack_pending, strict.priority_policy),
            (1, PriorityPolicy::PinnedClient)
        );
        assert!(Pin::new(&spec(Ordering::Strict)).expires().unwrap() * 2 < strict.priority_timeout);
        let plain = Config { max_ack_pending: 7, ..Config::default() };
        assert_eq!(config(&spec(Ordering::None), plain).max_ack_pending, 7);
    }
}
