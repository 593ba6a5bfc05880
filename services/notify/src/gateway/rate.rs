//! A token bucket, pure: time comes in as a parameter.
//! Reads and writes: nothing.

use std::time::Duration;

/// Allows `burst` at once and `rate` a second in the long run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    rate: f64,
    burst: f64,
    tokens: f64,
    at: Duration,
}

/// What a bucket says to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Whether the request may pass.
    pub(super) allowed: bool,
    /// Requests that would pass at once now.
    pub(super) remaining: u32,
    /// Seconds until the bucket is full (allowed), or until this request would pass (refused).
    pub(super) wait_seconds: u32,
}

impl Bucket {
    /// A full bucket at `now` (any monotonic time).
    pub(super) fn new(rate: u32, burst: u32, now: Duration) -> Self {
        let burst = f64::from(burst.max(1));
        Self { rate: f64::from(rate.max(1)), burst, tokens: burst, at: now }
    }

    /// Takes `cost` tokens if they are there. A cost above the burst passes when the bucket is full and
    /// leaves a debt, so that no request is impossible.
    pub(super) fn take(&mut self, cost: u32, now: Duration) -> Verdict {
        let elapsed = now.saturating_sub(self.at).as_secs_f64();
        self.at = self.at.max(now);
        self.tokens = (self.tokens + elapsed * self.rate).min(self.burst);
        let cost = f64::from(cost);
        let needed = cost.min(self.burst);
        let allowed = self.tokens >= needed;
        if allowed {
            self.tokens -= cost;
        }
        let missing = if allowed { self.burst - self.tokens } else { needed - self.tokens };
        Verdict {
            allowed,
            remaining: whole(self.tokens.floor()),
            wait_seconds: whole((missing / self.rate).ceil()),
        }
    }
}

/// Saturating: a negative figure gives 0.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "float to integer casts saturate, which is what is wanted"
)]
const fn whole(value: f64) -> u32 {
    value as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let mut bucket = Bucket::new(10, 5, at(0));
        for left in (0..5).rev() {
            let verdict = bucket.take(1, at(0));
            assert!(verdict.allowed);
            assert_eq!(verdict.remaining, left);
        }
        assert_eq!(
            bucket.take(1, at(0)),
            Verdict { allowed: false, remaining: 0, wait_seconds: 1 }
        );
        assert!(bucket.take(1, at(100)).allowed);
        assert!(!bucket.take(1, at(150)).allowed);
        assert!(bucket.take(1, at(200)).allowed);
    }

    #[test]
    fn a_cost_above_the_burst_leaves_a_debt() {
        let mut bucket = Bucket::new(10, 5, at(0));
        assert!(bucket.take(20, at(0)).allowed);
        assert!(!bucket.take(1, at(1_000)).allowed);
        assert!(bucket.take(1, at(1_600)).allowed);
    }

    #[test]
    fn a_clock_that_stands_still_or_jumps_back_gives_nothing() {
        let mut bucket = Bucket::new(1, 1, at(5_000));
        assert!(bucket.take(1, at(5_000)).allowed);
        assert!(!bucket.take(1, at(1_000)).allowed);
        assert!(!bucket.take(1, at(5_000)).allowed);
    }
}
