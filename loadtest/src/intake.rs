//! Where senders, receivers and sinks put what happened, until the one task that owns the ledger
//! takes it. Bounded: what does not fit is counted, and a run with such a count is not to be used.
//! Judges nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::stamps::Stamps;

/// About 1 GiB; at 20,000 events a second it holds what a minute of a stalled ledger would miss.
const EVENTS_MAX: usize = 8_000_000;
/// Room that is kept between two takes.
const EVENTS_KEPT: usize = 1 << 16;

/// A channel of the platform on which a receipt can be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    InApp,
    Email,
    Sms,
    Whatsapp,
    Webhook,
}

impl Channel {
    /// Every channel.
    pub const ALL: [Self; 5] = [Self::InApp, Self::Email, Self::Sms, Self::Whatsapp, Self::Webhook];

    /// As the API, the sandbox and `run.json` write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::InApp => "in_app",
            Self::Email => "email",
            Self::Sms => "sms",
            Self::Whatsapp => "whatsapp",
            Self::Webhook => "webhook",
        }
    }

    /// The channel of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|channel| channel.name() == name)
    }
}

/// What the gateway said to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// 202; with the answer's stamps if they were asked for.
    Accepted { stamps: Option<Box<Stamps>> },
    /// Any other status.
    Refused { status: u16 },
    /// No usable answer: whether it was accepted is not known.
    Unknown { reason: String },
}

/// One thing that happened. Times are [`crate::clock::now_ns`]; recipients are indices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A request is about to be written; put in before the write, so that it comes before its
    /// answer. Slots grow with the intended time and are never used twice in a run. The request
    /// goes to recipients `recipient .. recipient + fan_out` of the step.
    Sent { slot: u64, wave: u32, recipient: u32, intended_ns: u64, sent_ns: u64 },
    /// Its answer, once for each `Sent`.
    Answered { slot: u64, at_ns: u64, outcome: Outcome },
    /// A marked notification arrived; `recovered` if it came by recovery after a reconnect.
    Receipt {
        slot: u64,
        channel: Channel,
        recipient: u32,
        at_ns: u64,
        /// Position in the recipient's channel, if it has one.
        offset: Option<u64>,
        intact: bool,
        recovered: bool,
        stamps: Option<Box<Stamps>>,
    },
    /// A recipient of the run got something that is none of the run's notifications.
    Stranger { channel: Channel, recipient: u32, at_ns: u64 },
    /// A receiver lost its connection although nothing was done to it.
    Dropped { recipient: u32, at_ns: u64, reason: String },
    /// An arrival of open load was not sent, because too many were in flight.
    Skipped { intended_ns: u64 },
}

/// The shared queue. One lock: a push is far cheaper than the system call before it.
pub struct Intake {
    events: Mutex<Vec<Event>>,
    limit: usize,
    overflow: AtomicU64,
    changed: Notify,
}

impl Default for Intake {
    fn default() -> Self {
        Self::with_limit(EVENTS_MAX)
    }
}

impl Intake {
    /// A queue of at most `limit` untaken events.
    pub fn with_limit(limit: usize) -> Self {
        let events = Mutex::new(Vec::with_capacity(EVENTS_KEPT.min(limit)));
        Self { events, limit, overflow: AtomicU64::new(0), changed: Notify::new() }
    }

    /// Puts an event in, in the order of the calls, or counts it as overflow.
    pub fn push(&self, event: Event) {
        // A poisoned lock holds a vector that is still whole.
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        if events.len() < self.limit {
            events.push(event);
            drop(events);
            self.changed.notify_one();
        } else {
            drop(events);
            self.overflow.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns when something has been put in since the last return; for closed load, whose users
    /// wait for their receipts.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Takes everything, in order.
    #[cfg(test)]
    pub fn take(&self) -> Vec<Event> {
        let fresh = Vec::with_capacity(EVENTS_KEPT.min(self.limit));
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *events, fresh)
    }

    /// Takes everything into a buffer that the caller empties and uses again: no allocation in
    /// the long run.
    pub fn take_into(&self, buffer: &mut Vec<Event>) {
        buffer.clear();
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut *events, buffer);
    }

    /// Events that were thrown away.
    pub fn overflow(&self) -> u64 {
        self.overflow.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn what_does_not_fit_is_counted() {
        let intake = Intake::with_limit(2);
        for intended_ns in 0..5 {
            intake.push(Event::Skipped { intended_ns });
        }
        assert_eq!(intake.overflow(), 3);
        let taken = intake.take();
        assert_eq!(taken, [0, 1].map(|intended_ns| Event::Skipped { intended_ns }));
        intake.push(Event::Skipped { intended_ns: 9 });
        let mut buffer = taken;
        intake.take_into(&mut buffer);
        assert_eq!(buffer, [Event::Skipped { intended_ns: 9 }]);
    }

    #[test]
    fn channels_have_names() {
        for channel in Channel::ALL {
            assert_eq!(Channel::parse(channel.name()), Some(channel));
        }
        assert_eq!(Channel::parse("pigeon"), None);
    }

    /// Prints what one event costs; asserts nothing about time.
    #[test]
    fn cost_of_a_push_and_a_take() {
        let intake = Intake::default();
        let mut buffer = Vec::new();
        let (rounds, batch) = (100, 2_000_u64);
        let start = Instant::now();
        for _ in 0..rounds {
            for slot in 0..batch {
                intake.push(Event::Sent {
                    slot,
                    wave: 1,
                    recipient: 0,
                    intended_ns: 1,
                    sent_ns: 2,
                });
            }
            intake.take_into(&mut buffer);
            assert_eq!(buffer.len(), batch as usize);
        }
        let each = start.elapsed().as_nanos() as f64 / (rounds * batch) as f64;
        println!("{each:.0} ns for one push and take; {} bytes an event", size_of::<Event>());
    }
}
