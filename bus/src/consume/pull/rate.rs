//! The rate limit of one consumer: a token bucket.
//! Reads: its arguments. Writes: nothing. Never: reads a clock itself, never lets more through than the burst
//! plus the rate times the time that passed.
//!
//! Tokens are spent when a message *arrives*; what is asked for is at most what is in the bucket. So a request
//! that stays open for minutes costs nothing, and messages that may not be taken yet stay with the server,
//! where others can have them.

use std::time::{Duration, Instant};

use crate::consume::RateLimit;

/// The slowest rate that is kept: one message in about eleven days. Anything below, and what is no number,
/// counts as this.
const PER_SECOND_MIN: f64 = 1e-6;
/// Work is asked for in portions of about this long, so that a high rate costs no request per message.
const PORTION: Duration = Duration::from_millis(20);

/// The state of one limit.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    rate: f64,
    burst: f64,
    tokens: f64,
    at: Instant,
}

impl Bucket {
    /// A full bucket.
    pub fn new(limit: RateLimit, now: Instant) -> Self {
        let rate = if limit.per_second.is_finite() {
            limit.per_second.max(PER_SECOND_MIN)
        } else {
            PER_SECOND_MIN
        };
        let burst = f64::from(limit.burst.max(1));
        Self { rate, burst, tokens: burst, at: now }
    }

    /// Messages that may arrive now.
    pub fn allowed(&mut self, now: Instant) -> usize {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * self.rate).min(self.burst);
        self.at = self.at.max(now);
        // Below zero after a message that nobody asked for; the cast makes that 0.
        self.tokens as usize
    }

    /// A message arrived.
    pub fn spend(&mut self) {
        self.tokens -= 1.0;
    }

    /// How long until it pays to ask again: a portion of work, or at least one message.
    pub fn wait(&self) -> Duration {
        let portion = (self.rate * PORTION.as_secs_f64()).floor().clamp(1.0, self.burst);
        let missing = (portion - self.tokens).max(0.0);
        // A little more than needed, so that rounding never makes the sleeper wake one token short.
        Duration::from_secs_f64((missing / self.rate).min(3_600.0)) + Duration::from_millis(1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_full_bucket_lets_the_burst_through_and_then_the_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(RateLimit { per_second: 10.0, burst: 3 }, start);
        assert_eq!(bucket.allowed(start), 3);
        for _ in 0..3 {
            bucket.spend();
        }
        assert_eq!(bucket.allowed(start), 0);
        assert_eq!(bucket.wait(), Duration::from_millis(101));
        assert_eq!(bucket.allowed(start + Duration::from_millis(101)), 1);
        assert_eq!(bucket.allowed(start + Duration::from_secs(60)), 3, "never more than the burst");
    }

    #[test]
    fn senseless_limits_are_slow_instead_of_endless() {
        let start = Instant::now();
        for per_second in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 0.0] {
            let mut bucket = Bucket::new(RateLimit { per_second, burst: 0 }, start);
            assert_eq!(bucket.allowed(start), 1);
            bucket.spend();
            assert_eq!(bucket.allowed(start + Duration::from_secs(3_600)), 0);
            assert!(bucket.wait() > Duration::from_secs(3_000));
        }
    }

    proptest! {
        /// Whatever the schedule of arrivals, no window sees more than the burst and the rate allow.
        #[test]
        fn no_window_exceeds_the_limit(
            per_second in 0.5_f64..500.0,
            burst in 1_u32..50,
            steps in proptest::collection::vec((0_u64..200, 0_usize..60), 1..60),
        ) {
            let start = Instant::now();
            let mut bucket = Bucket::new(RateLimit { per_second, burst }, start);
            let mut now = start;
            let mut taken: Vec<(Instant, usize)> = Vec::new();
            for (pause, wanted) in steps {
                now += Duration::from_millis(pause);
                let count = wanted.min(bucket.allowed(now));
                for _ in 0..count {
                    bucket.spend();
                }
                taken.push((now, count));
            }
            for first in 0..taken.len() {
                let mut sum = 0;
                for (at, count) in &taken[first..] {
                    sum += count;
                    let passed = at.duration_since(taken[first].0).as_secs_f64();
                    prop_assert!(sum as f64 <= f64::from(burst) + passed * per_second + 1e-6);
                }
            }
        }
    }
}
