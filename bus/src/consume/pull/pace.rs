//! How handlers are begun: where their message arrived, or each in a task of its own.
//! Reads: how long beginnings took. Writes: nothing. Never: reads a clock itself.
//!
//! A task costs more than a handler that is done at once. So messages are begun in the pull loop as long as
//! that takes next to no time on average; a handler that has to wait goes on in a task. Handlers that compute,
//! or that always wait, begin in their tasks, where all cores share them. A new consumer starts that way.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Beginnings that the average looks back on.
const WINDOW: u64 = 64;
/// An average below this means that a task would cost more than it gains.
const QUICK: Duration = Duration::from_micros(10);
/// What a beginning counts at most: the scheduler of a busy machine makes single ones long.
const SAMPLE_MAX: Duration = Duration::from_millis(1);
/// What a beginning counts that ended in waiting: the task was needed, and the beginning only delayed it.
const WAITED: Duration = Duration::from_micros(40);

/// The moving average of one consumer, times [`WINDOW`], in nanoseconds. Two tasks that write at the same time
/// may lose one sample, which an average can bear.
#[derive(Debug)]
pub(super) struct Pace(AtomicU64);

impl Pace {
    /// Nothing is known yet: messages begin in tasks.
    pub fn new() -> Self {
        Self(AtomicU64::new(nanos(QUICK * 2) * WINDOW))
    }

    /// Whether the next message begins in the pull loop.
    pub fn is_quick(&self) -> bool {
        self.0.load(Ordering::Relaxed) < nanos(QUICK) * WINDOW
    }

    /// A message was begun, and settled by that or not.
    pub fn began(&self, took: Duration, done: bool) {
        let sample = if done { took.min(SAMPLE_MAX) } else { took.clamp(WAITED, SAMPLE_MAX) };
        let sum = self.0.load(Ordering::Relaxed);
        self.0.store(sum - sum / WINDOW + nanos(sample), Ordering::Relaxed);
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / WINDOW)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(pace: &Pace, count: usize, took: Duration, done: bool) -> bool {
        (0..count).for_each(|_| pace.began(took, done));
        pace.is_quick()
    }

    #[test]
    fn only_handlers_that_are_done_at_once_begin_in_the_loop() {
        let pace = Pace::new();
        assert!(!pace.is_quick(), "unknown");
        assert!(!after(&pace, 10, Duration::from_micros(2), true), "not known well");
        assert!(after(&pace, 200, Duration::from_micros(2), true));
        assert!(!after(&pace, 1, Duration::from_secs(5), true), "one that blocked its thread");
        assert!(after(&pace, 200, Duration::from_micros(2), true), "is forgotten after a while");
        assert!(!after(&pace, 200, Duration::from_micros(20), true), "computing");
        assert!(!after(&pace, 200, Duration::from_micros(1), false), "waiting");
        let mixed = Pace::new();
        for at in 0..1_000 {
            mixed.began(Duration::from_micros(1), at % 2 == 0);
        }
        assert!(!mixed.is_quick(), "every other one waits");
    }

    #[test]
    fn senseless_times_do_no_harm() {
        let pace = Pace::new();
        assert!(!after(&pace, 1_000, Duration::MAX, true));
        assert!(after(&pace, 10_000, Duration::ZERO, true));
    }
}
