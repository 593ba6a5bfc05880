//! The delivery ledger of one step: what was sent, what was answered, what arrived, by
//! notification id. Pure and owned by one task: receipts that overtake their 202 wait here, and
//! every sent notification ends in exactly one class. It is the evidence behind "received
//! exactly once", so it also checks itself: the classes must add up to what was sent.

mod book;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};

#[cfg(test)]
pub use book::Totals;
pub use book::{Book, WaveBook};

/// What the gateway said to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// 202 with the notification's id.
    Accepted { id: Box<str>, at_ns: u64 },
    /// Any other status.
    Refused { status: u16 },
    /// No usable answer: whether it was accepted is not known.
    Unknown { reason: String },
}

/// One request of one user in one wave. Times are nanoseconds since the run's origin.
#[derive(Clone, Debug)]
pub struct Sent {
    /// 0 is the warm-up; measured waves count from 1.
    pub wave: u32,
    /// Index of the recipient, which is also the user's.
    pub recipient: u32,
    /// When the whole wave was released.
    pub intended_ns: u64,
    /// When this user began to write the request.
    pub sent_ns: u64,
    /// What came back.
    pub outcome: Outcome,
}

/// One publication read by a receiver.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// Index of the recipient whose connection read it.
    pub recipient: u32,
    /// The notification's id.
    pub id: Box<str>,
    /// When the frame had been read.
    pub at_ns: u64,
    /// Its position in the channel, if the edge gave one.
    pub offset: Option<u64>,
}

/// The ledger of a run; one step is open at a time.
#[derive(Default)]
pub struct Ledger {
    sent: Vec<Sent>,
    /// Accepted ids to their place in `sent`.
    accepted: HashMap<Box<str>, usize>,
    receipts: HashMap<Box<str>, Arrivals>,
    waiting: usize,
    last_offset: HashMap<u32, u64>,
    reordered: HashSet<Box<str>>,
    closed: HashSet<Box<str>>,
    late: u64,
}

/// Every receipt of one id.
struct Arrivals {
    recipient: u32,
    first_ns: u64,
    count: u32,
    misdelivered: u32,
}

impl Ledger {
    /// Enters a request with its answer.
    pub fn record_sent(&mut self, sent: Sent) {
        if let Outcome::Accepted { id, .. } = &sent.outcome {
            // A second 202 with the same id is entered in no class, which the self-check finds.
            if !self.accepted.contains_key(id) {
                self.accepted.insert(id.clone(), self.sent.len());
                if !self.arrived_at(id, sent.recipient) {
                    self.waiting += 1;
                }
            }
        }
        self.sent.push(sent);
    }

    /// Enters a publication, in the order in which its connection read it.
    pub fn record_receipt(&mut self, receipt: Receipt) {
        if self.closed.contains(&receipt.id) {
            self.late += 1;
            return;
        }
        let known = self.accepted.get(&receipt.id).map(|place| self.sent[*place].recipient);
        let before = self
            .receipts
            .get(&receipt.id)
            .is_some_and(|seen| known.is_some_and(|recipient| seen.recipient == recipient));
        let arrivals = self.receipts.entry(receipt.id.clone()).or_insert(Arrivals {
            recipient: receipt.recipient,
            first_ns: receipt.at_ns,
            count: 0,
            misdelivered: 0,
        });
        if arrivals.recipient == receipt.recipient {
            arrivals.count += 1;
        } else if known == Some(receipt.recipient) {
            // The rightful reader comes second: the first one was the stranger.
            arrivals.misdelivered += arrivals.count;
            arrivals.recipient = receipt.recipient;
            arrivals.first_ns = receipt.at_ns;
            arrivals.count = 1;
        } else {
            arrivals.misdelivered += 1;
        }
        if known == Some(receipt.recipient) && !before {
            self.waiting -= 1;
        }
        let first = arrivals.count == 1 && arrivals.misdelivered == 0;
        self.record_order(receipt, first);
    }

    fn record_order(&mut self, receipt: Receipt, first: bool) {
        let Some(offset) = receipt.offset else { return };
        let last = self.last_offset.entry(receipt.recipient).or_insert(0);
        if offset > *last {
            *last = offset;
        } else if first {
            // A repeat carries its old offset by right; only a first receipt can be out of order.
            self.reordered.insert(receipt.id);
        }
    }

    fn arrived_at(&self, id: &str, recipient: u32) -> bool {
        self.receipts.get(id).is_some_and(|seen| seen.recipient == recipient)
    }

    /// Requests entered so far in this step.
    pub fn sent_count(&self) -> usize {
        self.sent.len()
    }

    /// Accepted notifications that no receiver has seen yet.
    pub fn outstanding(&self) -> usize {
        self.waiting
    }

    /// Receipts of earlier steps that arrived after those had been judged.
    pub fn late(&self) -> u64 {
        self.late
    }

    /// Judges the step and opens the next one. Call it after the drain.
    pub fn close_step(&mut self) -> Book {
        let book = book::judge(self);
        self.closed.extend(self.accepted.drain().map(|(id, _)| id));
        self.closed.extend(self.receipts.drain().map(|(id, _)| id));
        self.sent.clear();
        self.reordered.clear();
        self.waiting = 0;
        book
    }
}
