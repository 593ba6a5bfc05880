//! What arrived: every message at every receiver, exactly once and in order, and when.
//! Reads: what receivers say. Writes: itself. Never: forgets a fault: a figure over lost messages is worth
//! nothing.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use campana_bus::clock;
use serde::Serialize;
use tokio::sync::Notify;

/// Parts of the list of times, so that receivers do not wait for each other.
const SHARDS: usize = 16;
/// How long the last receipt may take before something is wrong.
const PATIENCE: Duration = Duration::from_secs(120);
/// Reasons of lost connections that are kept.
const REASONS_MAX: usize = 3;

/// The sums that must be right.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Checks {
    /// Messages times receivers.
    pub expected: u64,
    /// Receipts.
    pub received: u64,
    /// Receipts twice, out of order, or of a message that was never sent.
    pub faults: u64,
    /// Connections that ended although nobody closed them.
    pub lost_connections: u64,
}

impl Checks {
    /// Adds the sums of another measurement.
    pub fn add(&mut self, other: &Self) {
        self.expected += other.expected;
        self.received += other.received;
        self.faults += other.faults;
        self.lost_connections += other.lost_connections;
    }

    /// Whether each message came exactly once to each receiver.
    pub fn pass(&self) -> bool {
        self.expected == self.received && self.faults == 0 && self.lost_connections == 0
    }
}

struct Message {
    sent_us: AtomicU64,
    /// Receivers that have not seen it.
    left: AtomicI64,
    last_us: AtomicU64,
}

/// All messages of one measurement, numbered from 0.
pub struct Board {
    origin: Instant,
    receivers: u64,
    messages: Box<[Message]>,
    /// Time from sending to each receipt, in µs.
    times: [Mutex<Vec<u32>>; SHARDS],
    received: AtomicU64,
    faults: AtomicU64,
    lost: AtomicU64,
    reasons: Mutex<Vec<String>>,
    progress: Notify,
}

/// A poisoned lock holds a vector that is still whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Board {
    /// Each of `messages` goes to `receivers` receivers.
    pub fn new(receivers: usize, messages: usize) -> Arc<Self> {
        let left = i64::try_from(receivers).unwrap_or(i64::MAX);
        let message = |_| Message {
            sent_us: AtomicU64::new(0),
            left: AtomicI64::new(left),
            last_us: AtomicU64::new(0),
        };
        Arc::new(Self {
            origin: clock::monotonic(),
            receivers: receivers as u64,
            messages: (0..messages).map(message).collect(),
            times: std::array::from_fn(|_| Mutex::default()),
            received: AtomicU64::new(0),
            faults: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            reasons: Mutex::default(),
            progress: Notify::new(),
        })
    }

    /// Microseconds since the board was made.
    pub fn now_us(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// A message is about to be published.
    pub fn sent(&self, number: u64, at_us: u64) {
        if let Some(message) = self.message(number) {
            message.sent_us.store(at_us, Ordering::Release);
        }
    }

    /// A receiver has a message.
    pub fn received(&self, receiver: usize, number: u64, at_us: u64) {
        let Some(message) = self.message(number) else {
            return self.fault();
        };
        let sent = message.sent_us.load(Ordering::Acquire);
        let time = u32::try_from(at_us.saturating_sub(sent)).unwrap_or(u32::MAX);
        locked(&self.times[receiver % SHARDS]).push(time);
        self.received.fetch_add(1, Ordering::Relaxed);
        match message.left.fetch_sub(1, Ordering::AcqRel) {
            1 => {
                message.last_us.store(at_us, Ordering::Release);
                self.progress.notify_one();
            }
            2.. => {}
            _ => self.fault(),
        }
    }

    /// A receiver saw something twice, too early or never sent.
    pub fn fault(&self) {
        self.faults.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection ended although nobody closed it.
    pub fn lost(&self, reason: String) {
        self.lost.fetch_add(1, Ordering::Relaxed);
        let mut reasons = locked(&self.reasons);
        if reasons.len() < REASONS_MAX {
            reasons.push(reason);
        }
        self.progress.notify_one();
    }

    /// Waits until every receiver has all of these messages; gives when each was complete, in µs after it was
    /// sent.
    pub async fn complete(&self, numbers: std::ops::Range<u64>) -> anyhow::Result<Vec<f64>> {
        let last_us = |number| {
            let message = self.message(number)?;
            // `left` falls to zero a moment before the time is there.
            match message.last_us.load(Ordering::Acquire) {
                0 => None,
                at => Some(at.saturating_sub(message.sent_us.load(Ordering::Acquire)) as f64),
            }
        };
        let mut times = Vec::new();
        for number in numbers {
            loop {
                if let Some(time) = last_us(number) {
                    times.push(time);
                    break;
                }
                let patience = tokio::time::timeout(PATIENCE, self.progress.notified()).await;
                anyhow::ensure!(
                    patience.is_ok() && self.lost.load(Ordering::Relaxed) == 0,
                    "message {number} is missing at {} of {} receivers; {} connections were lost: {}",
                    self.message(number).map_or(0, |one| one.left.load(Ordering::Relaxed)),
                    self.receivers,
                    self.lost.load(Ordering::Relaxed),
                    locked(&self.reasons).join("; ")
                );
            }
        }
        Ok(times)
    }

    /// When the last of all messages was complete, in µs since the board was made.
    pub fn last_us(&self) -> u64 {
        let all = self.messages.iter().map(|one| one.last_us.load(Ordering::Acquire));
        all.max().unwrap_or(0)
    }

    /// Takes the times of all receipts since the last call, in µs.
    pub fn take_times(&self) -> Vec<f64> {
        let taken = self.times.iter().map(|shard| std::mem::take(&mut *locked(shard)));
        taken.flatten().map(f64::from).collect()
    }

    /// The sums so far, for the first `messages` messages.
    pub fn checks(&self, messages: u64) -> Checks {
        Checks {
            expected: messages * self.receivers,
            received: self.received.load(Ordering::Relaxed),
            faults: self.faults.load(Ordering::Relaxed),
            lost_connections: self.lost.load(Ordering::Relaxed),
        }
    }

    fn message(&self, number: u64) -> Option<&Message> {
        self.messages.get(usize::try_from(number).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_message_is_complete_when_everybody_has_it() {
        let board = Board::new(2, 2);
        board.sent(0, 10);
        board.received(0, 0, 15);
        board.received(1, 0, 30);
        assert_eq!(board.complete(0..1).await.unwrap(), [20.0]);
        assert_eq!((board.last_us(), board.take_times()), (30, vec![5.0, 20.0]));
        assert!(board.checks(1).pass() && !board.checks(2).pass());
    }

    #[test]
    fn twice_and_never_sent_are_faults() {
        let board = Board::new(1, 1);
        board.received(0, 0, 1);
        board.received(0, 0, 2);
        board.received(0, 7, 2);
        assert_eq!(board.checks(1).faults, 2);
    }

    #[tokio::test]
    async fn a_lost_connection_ends_the_waiting_with_its_reason() {
        let board = Board::new(1, 1);
        board.lost("closed with 3008".to_owned());
        let error = board.complete(0..1).await.unwrap_err().to_string();
        assert!(error.contains("closed with 3008") && error.contains("1 of 1"), "{error}");
    }
}
