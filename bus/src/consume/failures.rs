//! When a message failed for the first time, for its dead letter.
//! Reads and writes: memory only. Never: grows without a limit, guesses: a message that failed in another
//! process first, and came from there without a copy, has no first failure here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::Micros;

/// Messages whose first failure is remembered; beyond that the oldest message is forgotten.
const REMEMBERED_MAX: usize = 4_096;

/// First failures of the messages of one consumer, by sequence.
#[derive(Clone, Debug, Default)]
pub(super) struct FirstFailures(Arc<Mutex<BTreeMap<u64, Micros>>>);

impl FirstFailures {
    /// An attempt failed; returns when the first one did.
    pub fn note(&self, sequence: u64, now: Micros) -> Micros {
        let mut all = self.lock();
        if all.len() >= REMEMBERED_MAX && !all.contains_key(&sequence) {
            all.pop_first();
        }
        *all.entry(sequence).or_insert(now)
    }

    /// The message ends after attempt `attempt`, which failed; returns when the first one did, if that is known.
    pub fn end(&self, sequence: u64, attempt: u32, now: Micros) -> Option<Micros> {
        let known = self.lock().remove(&sequence);
        known.or_else(|| (attempt <= 1).then_some(now))
    }

    /// The message was handled.
    pub fn forget(&self, sequence: u64) {
        self.lock().remove(&sequence);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Micros>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_stays_the_first() {
        let all = FirstFailures::default();
        assert_eq!(all.note(7, Micros(1)), Micros(1));
        assert_eq!(all.note(7, Micros(2)), Micros(1));
        assert_eq!(all.end(7, 3, Micros(3)), Some(Micros(1)));
        assert_eq!(all.end(7, 3, Micros(4)), None, "unknown, and not the first attempt");
        assert_eq!(all.end(8, 1, Micros(5)), Some(Micros(5)));
    }

    #[test]
    fn only_so_many_are_remembered() {
        let all = FirstFailures::default();
        for sequence in 0..=REMEMBERED_MAX as u64 {
            all.note(sequence, Micros(1));
        }
        assert_eq!(all.end(0, 2, Micros(2)), None);
        assert_eq!(all.lock().len(), REMEMBERED_MAX);
    }
}
