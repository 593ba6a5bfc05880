//! Pure decisions: which attempt this is, and what follows from a handler's answer.
//! Reads: its arguments. Writes: nothing. Never: reads a clock or draws a random number itself.

use std::time::Duration;

use super::Failure;

/// Up to here a wait is a delayed negative acknowledgement; longer waits become scheduled copies, because a
/// delayed negative acknowledgement keeps one of the consumer's `max_ack_pending` places occupied.
pub(super) const NAK_DELAY_MAX: Duration = Duration::from_secs(10);

/// Pauses between attempts: exponential, with full jitter below the step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The first step.
    pub first: Duration,
    /// The largest step.
    pub max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_millis(500), max: Duration::from_secs(300) }
    }
}

impl Backoff {
    /// The pause after attempt `attempt` (1 for the first); `draw` is uniform in 0..=1. At least half of the
    /// step is always waited, so that a retry never hits a provider in the same instant.
    #[must_use]
    pub fn pause(&self, attempt: u32, draw: f64) -> Duration {
        let doublings = attempt.saturating_sub(1).min(31);
        let step = self.first.saturating_mul(1_u32 << doublings.min(30)).min(self.max);
        step.mul_f64(0.5 + 0.5 * draw.clamp(0.0, 1.0))
    }
}

/// Longest pause between two attempts of a consumer that keeps order: the message's key waits all the
/// while, so whoever asks for an hour gets this.
pub(super) const HOLD_MAX: Duration = Duration::from_secs(300);

/// What becomes of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Handled.
    Ack,
    /// Offer it again after this time; it keeps its place.
    NakAfter(Duration),
    /// Publish a copy that comes back after this time, then acknowledge.
    Schedule {
        /// How long to wait.
        after: Duration,
        /// Attempts that the copy has behind it.
        attempts: u32,
    },
    /// Park it.
    DeadLetter {
        /// Bounded class, for metrics.
        class: &'static str,
        /// Machine-readable reason.
        reason: String,
        /// For people.
        error: String,
    },
}

/// What a consumer that keeps order makes of a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum InPlace {
    /// The message ends here.
    Settle(Decision),
    /// The message stays in hand, the later ones of its key behind it.
    Again {
        /// How long to wait.
        after: Duration,
        /// Whether what was made counts as an attempt.
        counts: bool,
    },
}

/// Turns what would let later messages pass into a pause in place.
pub(super) fn in_place(decision: Decision, attempt: u32) -> InPlace {
    match decision {
        Decision::NakAfter(after) => InPlace::Again { after: after.min(HOLD_MAX), counts: true },
        Decision::Schedule { after, attempts } => {
            InPlace::Again { after: after.min(HOLD_MAX), counts: attempts >= attempt }
        }
        ended @ (Decision::Ack | Decision::DeadLetter { .. }) => InPlace::Settle(ended),
    }
}

/// Attempts used up before the handler was even called: it (or the process) died each time.
pub(super) fn exhausted(attempt: u32, max_attempts: u32) -> Option<Decision> {
    (attempt > max_attempts).then(|| Decision::DeadLetter {
        class: "max_deliver",
        reason: "crash_or_timeout".to_owned(),
        error: format!("{max_attempts} attempts ended without an answer from the handler"),
    })
}

/// What follows from the handler's answer to attempt `attempt`.
pub(super) fn after(
    result: &Result<(), Failure>,
    attempt: u32,
    max_attempts: u32,
    backoff: &Backoff,
    draw: f64,
) -> Decision {
    match result {
        Ok(()) => Decision::Ack,
        Err(Failure::Dead { reason, error }) => Decision::DeadLetter {
            class: class_of(reason),
            reason: reason.clone(),
            error: error.clone(),
        },
        // A delayed negative acknowledgement would count as an attempt, so a deferral is always a copy.
        Err(Failure::Defer { after, .. }) => {
            Decision::Schedule { after: *after, attempts: attempt.saturating_sub(1) }
        }
        Err(Failure::Retry { error, .. }) if attempt >= max_attempts => Decision::DeadLetter {
            class: "max_deliver",
            reason: "attempts_exhausted".to_owned(),
            error: error.clone(),
        },
        Err(Failure::Retry { after, .. }) => {
            let pause = after.unwrap_or_else(|| backoff.pause(attempt, draw));
            if pause <= NAK_DELAY_MAX {
                Decision::NakAfter(pause)
            } else {
                Decision::Schedule { after: pause, attempts: attempt }
            }
        }
    }
}

/// The bounded class of a free reason.
fn class_of(reason: &str) -> &'static str {
    match reason {
        "undecodable" => "poison",
        "expired" => "expired",
        _ => "permanent",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const B: Backoff = Backoff { first: Duration::from_millis(500), max: Duration::from_secs(300) };

    #[test]
    fn the_last_retry_is_a_dead_letter() {
        let retry = Err(Failure::retry("down"));
        assert!(matches!(after(&retry, 4, 5, &B, 0.0), Decision::NakAfter(_)));
        assert!(matches!(
            after(&retry, 5, 5, &B, 0.0),
            Decision::DeadLetter { class: "max_deliver", .. }
        ));
    }

    #[test]
    fn long_waits_hold_no_place() {
        let long = Err(Failure::retry_after(Duration::from_secs(11), "greylisted"));
        assert_eq!(
            after(&long, 2, 5, &B, 0.0),
            Decision::Schedule { after: Duration::from_secs(11), attempts: 2 }
        );
        let short = Err(Failure::retry_after(Duration::from_secs(10), "busy"));
        assert_eq!(after(&short, 2, 5, &B, 0.0), Decision::NakAfter(Duration::from_secs(10)));
    }

    #[test]
    fn a_deferral_is_no_attempt() {
        let later = Err(Failure::defer(Duration::from_millis(5), "not yet"));
        assert_eq!(
            after(&later, 5, 5, &B, 0.0),
            Decision::Schedule { after: Duration::from_millis(5), attempts: 4 }
        );
    }

    #[test]
    fn in_order_nothing_leaves_before_its_end() {
        let place = |result, attempt| in_place(after(&result, attempt, 5, &B, 0.0), attempt);
        assert_eq!(place(Ok(()), 1), InPlace::Settle(Decision::Ack));
        assert_eq!(
            place(Err(Failure::retry_after(Duration::from_secs(9), "busy")), 1),
            InPlace::Again { after: Duration::from_secs(9), counts: true }
        );
        assert_eq!(
            place(Err(Failure::retry_after(Duration::from_secs(3_600), "greylisted")), 2),
            InPlace::Again { after: HOLD_MAX, counts: true }
        );
        assert_eq!(
            place(Err(Failure::defer(Duration::from_secs(1), "not yet")), 5),
            InPlace::Again { after: Duration::from_secs(1), counts: false }
        );
        assert!(matches!(place(Err(Failure::retry("down")), 5), InPlace::Settle(_)));
    }

    #[test]
    fn a_message_past_its_attempts_is_parked_unseen() {
        assert_eq!(exhausted(5, 5), None);
        assert!(exhausted(6, 5).is_some());
    }

    proptest! {
        #[test]
        fn pauses_grow_within_bounds(attempt in 0_u32..100, draw in 0.0..=1.0_f64) {
            let pause = B.pause(attempt, draw);
            prop_assert!(pause >= B.first / 2 && pause <= B.max);
            prop_assert!(B.pause(attempt + 1, draw) >= pause);
        }
    }
}
