//! What became of every notification, and how that agrees with what others counted.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Every delivery (a notification on one of its channels) is in exactly one of the classes from
/// `delivered` to `unknown`; the others are seen beside them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Classes {
    /// Deliveries asked for: requests times their channels and recipients.
    pub sent: u64,
    /// Of the requests that were answered 202.
    pub accepted: u64,
    /// Received exactly once, whole, within the deadline.
    pub delivered: u64,
    /// Received exactly once, but after the deadline.
    pub late: u64,
    /// Accepted, and not received when the drain ended.
    pub lost: u64,
    /// Accepted, and received more than once.
    pub duplicate: u64,
    /// Accepted, and received with other content than was sent.
    pub corrupt: u64,
    /// Answered 503 or 429: refused cleanly, under load.
    pub shed: u64,
    /// Answered with another error.
    pub rejected: u64,
    /// Not answered, so nobody can say whether it was accepted.
    pub unknown: u64,
    /// Accepted, and given up by the platform as a dead letter, as its store says.
    #[serde(default)]
    pub dead: u64,
    /// Of the unknown, those that arrived all the same.
    pub unknown_received: u64,
    /// Received although nobody sent it, or by somebody else than it was sent to.
    pub phantom: u64,
    /// Received after a later one of the same channel.
    pub reordered: u64,
    /// How many places the worst of them was behind.
    pub reorder_depth_max: u64,
}

impl Classes {
    /// Whether every delivery that was asked for is in exactly one class.
    pub fn balanced(&self) -> bool {
        // Wide, because counts may come from a file.
        let sum = |parts: &[u64]| parts.iter().copied().map(u128::from).sum::<u128>();
        let settled =
            [self.delivered, self.late, self.lost, self.duplicate, self.corrupt, self.dead];
        let asked = [self.accepted, self.shed, self.rejected, self.unknown];
        u128::from(self.accepted) == sum(&settled) && u128::from(self.sent) == sum(&asked)
    }

    /// The share that was received exactly once and whole, in time or late; 1 if nothing was sent.
    pub fn success_ratio(&self) -> f64 {
        if self.sent == 0 {
            return 1.0;
        }
        (self.delivered + self.late) as f64 / self.sent as f64
    }

    /// Adds what another generator, wave or channel counted.
    pub fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.accepted += other.accepted;
        self.delivered += other.delivered;
        self.late += other.late;
        self.lost += other.lost;
        self.duplicate += other.duplicate;
        self.corrupt += other.corrupt;
        self.shed += other.shed;
        self.rejected += other.rejected;
        self.unknown += other.unknown;
        self.dead += other.dead;
        self.unknown_received += other.unknown_received;
        self.phantom += other.phantom;
        self.reordered += other.reordered;
        self.reorder_depth_max = self.reorder_depth_max.max(other.reorder_depth_max);
    }
}

/// The ledger against what others counted in the same step.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Reconciliation {
    pub checks: Vec<Reconciled>,
    /// Counters of the platform during the step, for the reader: redeliveries, dead letters, …
    #[serde(default)]
    pub counters: BTreeMap<String, f64>,
}

/// One comparison.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Reconciled {
    /// For example `messages in CHANNELS` or `rows of deliveries`.
    pub what: String,
    pub ledger: u64,
    pub other: u64,
    /// Whether the two agree, within what cannot be known (requests without an answer).
    pub agrees: bool,
    /// Whether only what this run sent is counted; others' notifications are in all other counts.
    #[serde(default)]
    pub of_run: bool,
    /// Whether the other's count still grew when the harness stopped waiting for it.
    #[serde(default)]
    pub growing: bool,
}

impl Reconciled {
    /// Whether it differs only as it would if somebody else sent as well.
    pub fn others(&self) -> bool {
        !self.agrees && !self.of_run && self.other > self.ledger
    }
}
