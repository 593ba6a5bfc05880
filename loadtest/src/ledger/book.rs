//! Turns a finished step of the ledger into classes, latencies and the self-check.
//! Pure; never drops an entry silently.

use std::collections::{BTreeMap, HashMap};

use super::{Ledger, Outcome, Sent};

/// How many of each class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests made.
    pub sent: u64,
    /// Answered 202.
    pub accepted: u64,
    /// Accepted and read exactly once by the right receiver.
    pub received_once: u64,
    /// Accepted and never read, judged after the drain.
    pub lost: u64,
    /// Accepted and read more than once.
    pub duplicate: u64,
    /// Answered with an error other than 503.
    pub rejected: u64,
    /// Answered 503: the platform refused load cleanly.
    pub shed: u64,
    /// Not answered, so not known to be accepted.
    pub unknown: u64,
    /// Of the unknown, those that nevertheless arrived.
    pub unknown_received: u64,
    /// Read without having been accepted, or read by the wrong receiver.
    pub phantom: u64,
    /// Read out of the order of their channel.
    pub reordered: u64,
}

impl Totals {
    /// Whether every sent notification is in exactly one class.
    pub fn balanced(&self) -> bool {
        let classes = self.received_once
            + self.lost
            + self.duplicate
            + self.rejected
            + self.shed
            + self.unknown;
        let accepted = self.received_once + self.lost + self.duplicate;
        self.sent == classes && self.accepted == accepted
    }

    fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.accepted += other.accepted;
        self.received_once += other.received_once;
        self.lost += other.lost;
        self.duplicate += other.duplicate;
        self.rejected += other.rejected;
        self.shed += other.shed;
        self.unknown += other.unknown;
        self.unknown_received += other.unknown_received;
        self.phantom += other.phantom;
        self.reordered += other.reordered;
    }
}

/// One wave: its classes and its samples in nanoseconds.
#[derive(Clone, Debug, Default)]
pub struct WaveBook {
    /// Its classes; phantoms cannot be tied to a wave and are counted in the step only.
    pub totals: Totals,
    /// Intended send to first receipt.
    pub latency_ns: Vec<u64>,
    /// Actual send to first receipt.
    pub uncorrected_ns: Vec<u64>,
    /// Intended send to the 202.
    pub accept_ns: Vec<u64>,
    /// Actual minus intended send.
    pub lag_ns: Vec<u64>,
    /// Intended send to the last receipt of the wave.
    pub makespan_ns: Option<u64>,
}

/// A judged step.
#[derive(Clone, Debug, Default)]
pub struct Book {
    /// The warm-up wave, kept out of every figure.
    pub warm_up: Totals,
    /// All measured waves together.
    pub totals: Totals,
    /// Each measured wave, in order.
    pub waves: Vec<WaveBook>,
    /// How often each status other than 202 was answered.
    pub statuses: BTreeMap<u16, u64>,
    /// How often each transport failure happened.
    pub failures: BTreeMap<String, u64>,
}

pub(super) fn judge(ledger: &Ledger) -> Book {
    let mut book = Book::default();
    let mut waves: BTreeMap<u32, WaveBook> = BTreeMap::new();
    // A shared id is entered once: the request that found it taken belongs to no class, the
    // classes no longer add up, and the step declares itself invalid.
    for (place, sent) in ledger.sent.iter().enumerate() {
        let wave = waves.entry(sent.wave).or_default();
        enter(ledger, place, sent, wave);
        if sent.wave > 0 {
            match &sent.outcome {
                Outcome::Refused { status } => *book.statuses.entry(*status).or_default() += 1,
                Outcome::Unknown { reason } => {
                    *book.failures.entry(reason.clone()).or_default() += 1;
                }
                Outcome::Accepted { .. } => {}
            }
        }
    }
    book.warm_up = waves.remove(&0).unwrap_or_default().totals;
    book.waves = waves.into_values().collect();
    for wave in &book.waves {
        book.totals.add(&wave.totals);
    }
    count_strangers(ledger, &mut book.totals);
    book
}

fn enter(ledger: &Ledger, place: usize, sent: &Sent, wave: &mut WaveBook) {
    wave.totals.sent += 1;
    wave.lag_ns.push(sent.sent_ns.saturating_sub(sent.intended_ns));
    let (id, accepted_ns) = match &sent.outcome {
        Outcome::Accepted { id, at_ns } => (id, *at_ns),
        Outcome::Refused { status: 503 } => return wave.totals.shed += 1,
        Outcome::Refused { .. } => return wave.totals.rejected += 1,
        Outcome::Unknown { .. } => return wave.totals.unknown += 1,
    };
    wave.totals.accepted += 1;
    wave.accept_ns.push(accepted_ns.saturating_sub(sent.intended_ns));
    if ledger.accepted.get(id) != Some(&place) {
        return;
    }
    let arrivals = ledger.receipts.get(id).filter(|seen| seen.recipient == sent.recipient);
    let Some(arrivals) = arrivals else {
        wave.totals.lost += 1;
        return;
    };
    if arrivals.count == 1 {
        wave.totals.received_once += 1;
    } else {
        wave.totals.duplicate += 1;
    }
    if ledger.reordered.contains(id) {
        wave.totals.reordered += 1;
    }
    let latency = arrivals.first_ns.saturating_sub(sent.intended_ns);
    wave.latency_ns.push(latency);
    wave.uncorrected_ns.push(arrivals.first_ns.saturating_sub(sent.sent_ns));
    wave.makespan_ns = wave.makespan_ns.max(Some(latency));
}

/// Receipts that no 202 explains: either the answer was lost on the way (then the recipient has
/// an unanswered request), or nobody asked for them.
fn count_strangers(ledger: &Ledger, totals: &mut Totals) {
    let mut unanswered: HashMap<u32, u64> = HashMap::new();
    for sent in &ledger.sent {
        if matches!(sent.outcome, Outcome::Unknown { .. }) {
            *unanswered.entry(sent.recipient).or_default() += 1;
        }
    }
    for (id, arrivals) in &ledger.receipts {
        totals.phantom += u64::from(arrivals.misdelivered);
        match ledger.accepted.get(id) {
            Some(place) if ledger.sent[*place].recipient == arrivals.recipient => {}
            Some(_) => totals.phantom += u64::from(arrivals.count),
            None => match unanswered.get_mut(&arrivals.recipient).filter(|left| **left > 0) {
                Some(left) => {
                    *left -= 1;
                    totals.unknown_received += 1;
                }
                None => totals.phantom += u64::from(arrivals.count),
            },
        }
    }
}
