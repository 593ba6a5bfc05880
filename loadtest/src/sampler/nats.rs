//! nats-server's monitoring port: streams and consumers at one moment. Reads only; a server that
//! does not answer in time is no reading, never an old one.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use url::Url;

const TIMEOUT: Duration = Duration::from_millis(800);
/// Consumers beyond this many are left out: a series each would make the report unreadable.
const CONSUMERS_MAX: usize = 64;

/// What the server says of its streams.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Monitor {
    pub streams: BTreeMap<String, Stream>,
    /// By `stream/consumer`.
    pub consumers: BTreeMap<String, Consumer>,
}

/// One stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stream {
    pub messages: u64,
    pub bytes: u64,
    /// Grows by one with each message that was ever stored.
    pub last_seq: u64,
}

/// One consumer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Consumer {
    pub pending: u64,
    pub ack_pending: u64,
    /// Messages that are being delivered again at this moment.
    pub redelivered: u64,
    /// Deliveries and messages so far; their difference is what was delivered again.
    pub delivered_consumer_seq: u64,
    pub delivered_stream_seq: u64,
}

impl Monitor {
    /// Bytes of all streams.
    pub fn stored_bytes(&self) -> u64 {
        self.streams.values().map(|stream| stream.bytes).sum()
    }

    pub(super) fn parse(jsz: &Value) -> Self {
        let list = |value: &Value, place: &str| -> Vec<Value> {
            value.pointer(place).and_then(Value::as_array).cloned().unwrap_or_default()
        };
        let number =
            |value: &Value, place: &str| value.pointer(place).and_then(Value::as_u64).unwrap_or(0);
        let mut monitor = Self::default();
        for account in list(jsz, "/account_details") {
            for stream in list(&account, "/stream_detail") {
                let name = stream["name"].as_str().unwrap_or_default().to_owned();
                for consumer in list(&stream, "/consumer_detail") {
                    if monitor.consumers.len() >= CONSUMERS_MAX {
                        break;
                    }
                    let key = format!("{name}/{}", consumer["name"].as_str().unwrap_or_default());
                    let found = Consumer {
                        pending: number(&consumer, "/num_pending"),
                        ack_pending: number(&consumer, "/num_ack_pending"),
                        redelivered: number(&consumer, "/num_redelivered"),
                        delivered_consumer_seq: number(&consumer, "/delivered/consumer_seq"),
                        delivered_stream_seq: number(&consumer, "/delivered/stream_seq"),
                    };
                    monitor.consumers.insert(key, found);
                }
                let found = Stream {
                    messages: number(&stream, "/state/messages"),
                    bytes: number(&stream, "/state/bytes"),
                    last_seq: number(&stream, "/state/last_seq"),
                };
                monitor.streams.insert(name, found);
            }
        }
        monitor
    }
}

/// Asks the server.
#[derive(Clone)]
pub struct Reader(Option<(reqwest::Client, Url)>);

impl Reader {
    /// A reader that has nothing to say without an address.
    pub fn new(monitor: Option<Url>) -> Self {
        let client = reqwest::Client::builder().timeout(TIMEOUT).build().ok();
        let address = monitor.and_then(|url| url.join("jsz?consumers=true").ok());
        Self(client.zip(address))
    }

    /// The server now; nothing if it does not answer in time.
    pub async fn read(&self) -> Option<Monitor> {
        let (client, url) = self.0.as_ref()?;
        let answer = client.get(url.clone()).send().await.ok()?;
        if !answer.status().is_success() {
            return None;
        }
        Some(Monitor::parse(&answer.json().await.ok()?))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn streams_and_consumers_are_read() {
        let monitor = Monitor::parse(&json!({"account_details": [{"name": "$G", "stream_detail": [
            {"name": "REQUESTS", "state": {"messages": 3, "bytes": 900, "last_seq": 12},
             "consumer_detail": [{"name": "dispatcher", "num_pending": 4, "num_ack_pending": 5,
                "num_redelivered": 1, "delivered": {"consumer_seq": 9, "stream_seq": 8}}]},
            {"name": "CHANNELS", "state": {"bytes": 100}},
        ]}]}));
        assert_eq!(monitor.stored_bytes(), 1_000);
        assert_eq!(monitor.streams["REQUESTS"].last_seq, 12);
        let consumer = monitor.consumers["REQUESTS/dispatcher"];
        assert_eq!((consumer.pending, consumer.ack_pending, consumer.redelivered), (4, 5, 1));
        assert_eq!(Monitor::parse(&json!([])), Monitor::default());
    }
}
