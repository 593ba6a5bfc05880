//! Filing dead letters, also when the dead letters themselves are in trouble.
//! Reads: the letter that is already there, if there is one. Writes: the `DLQ` stream. Never: says that a
//! message is parked before the stream has acknowledged it.
//!
//! A full or unreachable `DLQ` must neither lose messages nor be hammered. [`Parking`] is the gate of one
//! consumer: after a failure it stays shut for a pause that doubles up to [`PAUSE_MAX`], and messages that
//! come meanwhile are put off without asking. They keep their places among the consumer's pending messages,
//! so that the consumer stops taking new ones when all places are used. What is too large for the server even
//! without its headers is put off alone: that is one message's trouble, not the stream's.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::Instrument as _;

use super::letter::{self, Failed, Parker};
use crate::connect::Bus;
use crate::publish::{Outgoing, PublishError, publish_until};
use crate::topology::DLQ;
use crate::{clock, observe, telemetry};

/// How long one try to file a letter may take. Short: the message stays, and the next try is never far.
const FILE_DEADLINE: Duration = Duration::from_secs(5);
/// Pause after the first failure.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
/// Longest pause between two tries of one consumer.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// Pause of a message that is too large to be parked: only an operator can help, by a larger `max_payload`.
const TOO_LARGE_PAUSE: Duration = Duration::from_secs(60);
/// Messages of one number that may follow each other; each is of another incarnation of its stream.
const NAMESAKES_MAX: usize = 16;

/// Why a message was not parked. It stays where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ParkError {
    /// The dead letters take no more.
    Full(String),
    /// They do not answer.
    Unreachable(String),
    /// The message is too large with the least of its provenance.
    TooLarge,
    /// Refused for another reason.
    Refused(String),
}

impl ParkError {
    /// A bounded name for metrics.
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::Full(_) => "full",
            Self::Unreachable(_) => "unreachable",
            Self::TooLarge => "too_large",
            Self::Refused(_) => "refused",
        }
    }
}

impl std::fmt::Display for ParkError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Full(detail) => write!(
                f,
                "the stream {DLQ} is full ({detail}): redrive or discard dead letters, or raise its limits"
            ),
            Self::Unreachable(detail) => write!(f, "the stream {DLQ} does not answer: {detail}"),
            Self::TooLarge => f.write_str(
                "the message is too large to be parked with its provenance: raise the server's max_payload",
            ),
            Self::Refused(detail) => write!(f, "the stream {DLQ} refused the letter: {detail}"),
        }
    }
}

/// Files a letter once; true if it was not there yet.
pub(crate) async fn file(bus: &Bus, failed: &Failed<'_>) -> Result<bool, ParkError> {
    let parker = Parker { service: bus.name(), version: bus.version(), now: clock::now() };
    let letter = letter::fit(letter::letter(failed, parker), bus.client().max_payload())
        .ok_or(ParkError::TooLarge)?;
    publish(bus, failed, letter).await
}

async fn publish(bus: &Bus, failed: &Failed<'_>, mut letter: Outgoing) -> Result<bool, ParkError> {
    for _ in 0..NAMESAKES_MAX {
        let span = observe::publishing(&mut letter);
        let filed = publish_until(bus, &letter, FILE_DEADLINE).instrument(span.clone()).await;
        observe::published(&span, &filed);
        match filed {
            Ok(_) => return Ok(true),
            Err(PublishError::WrongLastSequence) => {}
            Err(error) => return Err(sort(&error)),
        }
        // Parked before, by us or by another process; or the message of an earlier stream of the same name
        // has this number, and ours goes behind it.
        let found = bus.last(DLQ, &letter.subject).await;
        match found.map_err(|error| ParkError::Unreachable(error.to_string()))? {
            Some(last) if letter::is_of(&last, failed) => return Ok(false),
            Some(last) => letter.expect_last_subject_sequence = Some(last.sequence),
            // Redriven or discarded in this moment.
            None => letter.expect_last_subject_sequence = Some(0),
        }
    }
    Err(ParkError::Refused("too many messages of this number".to_owned()))
}

fn sort(error: &PublishError) -> ParkError {
    match error {
        PublishError::TooLarge => ParkError::TooLarge,
        PublishError::Unavailable(detail) => ParkError::Unreachable(detail.clone()),
        // Insufficient resources, storage, "maximum messages (or bytes) exceeded".
        PublishError::Refused { code: 10_023 | 10_047 | 10_077, detail } => {
            ParkError::Full(detail.clone())
        }
        PublishError::Refused { detail, code } => {
            ParkError::Refused(format!("{detail} (code {code})"))
        }
        PublishError::WrongLastSequence => ParkError::Refused(error.to_string()),
    }
}

/// The gate of one consumer; shared by its messages.
#[derive(Clone, Debug)]
pub(crate) struct Parking {
    stream: Arc<str>,
    consumer: Arc<str>,
    gate: Arc<Mutex<Gate>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Gate {
    failures: u32,
    shut_until: Option<Instant>,
}

impl Gate {
    /// How long the gate stays shut; `None` if the caller may try. Whoever may try shuts it behind him for the
    /// time of the try, if there was trouble before, so that one message probes and not all of them.
    fn enter(&mut self, now: Instant) -> Option<Duration> {
        match self.shut_until {
            Some(until) if now < until => Some(until - now),
            _ => {
                if self.failures > 0 {
                    self.shut_until = Some(now + FILE_DEADLINE);
                }
                None
            }
        }
    }

    /// Shuts the gate after a failed try; returns for how long.
    fn failed(&mut self, now: Instant) -> Duration {
        let pause = PAUSE_FIRST.saturating_mul(1 << self.failures.min(16)).min(PAUSE_MAX);
        self.failures = self.failures.saturating_add(1);
        self.shut_until = Some(now + pause);
        pause
    }
}

impl Parking {
    pub(crate) fn new(stream: &Arc<str>, consumer: &Arc<str>) -> Self {
        Self {
            stream: Arc::clone(stream),
            consumer: Arc::clone(consumer),
            gate: Arc::new(Mutex::new(Gate::default())),
        }
    }

    /// Parks a message, or says how long it should be put off.
    pub(crate) async fn park(&self, bus: &Bus, failed: &Failed<'_>) -> Result<(), Duration> {
        if let Some(wait) = self.gate().enter(clock::monotonic()) {
            return Err(spread(wait));
        }
        match file(bus, failed).await {
            Ok(_) => {
                *self.gate() = Gate::default();
                telemetry::parking_blocked(&self.stream, &self.consumer, false);
                Ok(())
            }
            Err(error) => {
                let pause = match error {
                    ParkError::TooLarge => TOO_LARGE_PAUSE,
                    _ => {
                        telemetry::parking_blocked(&self.stream, &self.consumer, true);
                        self.gate().failed(clock::monotonic())
                    }
                };
                telemetry::park_failed(&self.stream, &self.consumer, error.reason());
                tracing::error!(
                    stream = %self.stream, consumer = %self.consumer, stream.sequence = failed.sequence,
                    dead.class = failed.class, park.error = error.reason(), park.pause_ms = pause.as_millis(),
                    "a dead letter could not be stored, the message stays where it is: {error}"
                );
                Err(spread(pause))
            }
        }
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A tenth more at random, so that what was put off together does not come back together.
fn spread(pause: Duration) -> Duration {
    pause.mul_f64(1.0 + 0.1 * rand::random::<f64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gate_lets_one_try_through_after_each_growing_pause() {
        let start = clock::monotonic();
        let mut gate = Gate::default();
        assert_eq!(gate.enter(start), None);
        assert_eq!(gate.enter(start), None, "without trouble nobody waits");
        let pauses: Vec<u64> = (0..8).map(|_| gate.failed(start).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(gate.enter(start + Duration::from_secs(59)), Some(Duration::from_secs(1)));
        let later = start + Duration::from_secs(60);
        assert_eq!(gate.enter(later), None, "one probes");
        assert!(gate.enter(later).is_some(), "the others wait for it");
    }

    #[test]
    fn a_full_stream_is_told_from_one_that_refuses() {
        let refused = |code| sort(&PublishError::Refused { code, detail: String::new() }).reason();
        assert_eq!([refused(10_077), refused(10_023), refused(10_047)], ["full"; 3]);
        assert_eq!(refused(10_059), "refused");
        assert_eq!(sort(&PublishError::Unavailable(String::new())).reason(), "unreachable");
    }
}
