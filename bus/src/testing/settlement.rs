//! What consumers told the server about messages, as it went over the wire.
//! Reads: acknowledgement subjects. Writes: nothing. Never: counts a heartbeat as an answer.

use std::time::Duration;

use async_nats::Message;

use crate::consume::reply::{self, Delivered};

/// How a message was settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// Handled, or replaced by a scheduled copy.
    Acked,
    /// Given back, to come again after this time.
    Retried(Duration),
    /// Given up; the reason begins with `bus:` and the class if it was parked as a dead letter.
    Terminated(String),
}

/// One answer of a consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// The stream of the message.
    pub stream: String,
    /// The durable consumer that answered.
    pub consumer: String,
    /// The message's sequence in its stream.
    pub sequence: u64,
    /// How often it had been delivered.
    pub delivered: u64,
    /// The answer.
    pub how: Settled,
}

/// Reads one acknowledgement; `None` for heartbeats and for anything that is none.
pub(super) fn read(message: &Message) -> Option<Settlement> {
    let Delivered { sequence, delivered, .. } = reply::parse(&message.subject)?;
    let (stream, consumer) = reply::names(&message.subject)?;
    Some(Settlement {
        stream: stream.to_owned(),
        consumer: consumer.to_owned(),
        delivered: u64::from(delivered),
        sequence,
        how: answer(&String::from_utf8_lossy(&message.payload))?,
    })
}

fn answer(text: &str) -> Option<Settled> {
    if text.is_empty() || text.starts_with("+ACK") {
        return Some(Settled::Acked);
    }
    if let Some(reason) = text.strip_prefix("+TERM") {
        return Some(Settled::Terminated(reason.trim().to_owned()));
    }
    let options = text.strip_prefix("-NAK")?.trim();
    let nanos = serde_json::from_str::<serde_json::Value>(options)
        .ok()
        .and_then(|options| options["delay"].as_u64())
        .unwrap_or(0);
    Some(Settled::Retried(Duration::from_nanos(nanos)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        assert_eq!(answer("+ACK"), Some(Settled::Acked));
        assert_eq!(answer(""), Some(Settled::Acked));
        assert_eq!(answer("+WPI"), None);
        assert_eq!(answer("-NAK"), Some(Settled::Retried(Duration::ZERO)));
        assert_eq!(
            answer("-NAK {\"delay\": 1500000}"),
            Some(Settled::Retried(Duration::from_micros(1500)))
        );
        assert_eq!(
            answer("+TERM bus:permanent"),
            Some(Settled::Terminated("bus:permanent".to_owned()))
        );
    }
}
