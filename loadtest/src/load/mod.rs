//! The sending side. Three kinds of load write the same requests and put the same events into the
//! intake; none of them looks at the ledger, and none ever sends a notification twice.

pub mod closed;
pub mod gate;
pub mod goose;
pub mod open;
pub mod pool;
pub mod post;
pub mod users;
pub mod wave;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::agent::part::Part;
use crate::http1::Answer;
use crate::intake::{Channel, Event, Intake, Outcome};
use crate::stamps::Stamps;
use post::Poster;

/// The wave number of load that comes in no waves.
pub const ONE_WAVE: u32 = 1;

/// What every sender of a run shares.
pub struct Sending {
    pub intake: Arc<Intake>,
    pub poster: Poster,
    /// `host:port`.
    pub authority: String,
    /// The status that means "taken".
    pub accepted_status: u16,
    pub timeout: Duration,
    pub stop: CancellationToken,
    /// Which share of the run's load these senders have.
    pub part: Part,
    numbers: AtomicU64,
    boot: u32,
}

/// Where one request goes.
#[derive(Clone, Copy, Debug)]
pub struct Aim<'a> {
    /// First recipient.
    pub recipient: u32,
    pub fan_out: u32,
    pub channels: &'a [Channel],
}

impl Sending {
    /// The senders of one run.
    pub fn new(
        intake: Arc<Intake>,
        poster: Poster,
        authority: String,
        accepted_status: u16,
        timeout: Duration,
        stop: CancellationToken,
    ) -> Self {
        let boot = crate::clock::boot();
        let (part, numbers) = (Part::WHOLE, AtomicU64::new(0));
        Self { intake, poster, authority, accepted_status, timeout, stop, part, numbers, boot }
    }

    /// The same for one of several generators.
    pub fn of_part(self, part: Part) -> Self {
        Self { part, ..self }
    }

    /// A slot that nobody had before.
    pub fn next_slot(&self) -> u64 {
        self.part.slot(self.take_numbers(1))
    }

    /// The first of several numbers in the run that nobody had before.
    pub fn take_numbers(&self, count: u64) -> u64 {
        self.numbers.fetch_add(count, Ordering::Relaxed)
    }

    /// The number that is given out next.
    pub fn next_number(&self) -> u64 {
        self.numbers.load(Ordering::Relaxed)
    }

    /// Goes on from this number; those before it have been given out here or elsewhere.
    pub fn go_on_from(&self, number: u64) {
        self.numbers.fetch_max(number, Ordering::Relaxed);
    }

    /// Enters an answer.
    pub fn answered(&self, slot: u64, at_ns: u64, answer: &Answer) {
        let outcome = if answer.status == self.accepted_status {
            let stamps = answer.stamps.as_deref().and_then(|text| Stamps::parse(text, self.boot));
            Outcome::Accepted { stamps }
        } else {
            Outcome::Refused { status: answer.status }
        };
        self.intake.push(Event::Answered { slot, at_ns, outcome });
    }

    /// Enters that there was no usable answer.
    pub fn unanswered(&self, slot: u64, at_ns: u64, reason: impl Into<String>) {
        let outcome = Outcome::Unknown { reason: reason.into() };
        self.intake.push(Event::Answered { slot, at_ns, outcome });
    }
}

/// What a part of the load came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offered {
    /// When the measured part began and ended, as [`crate::clock::now_ns`].
    pub from_ns: u64,
    pub to_ns: u64,
    /// Notifications that were meant to be sent in it.
    pub intended: u64,
    /// Of those, how many were not, because too many requests were without an answer.
    pub dropped: u64,
    /// Measured waves, fewer than asked if it was stopped.
    pub waves: u32,
}
