//! A token bucket: how many may come in the long run, and how many at once.
//! Reads: the time it is given. Writes: nothing. Never: waits, or knows a clock.

/// How fast something may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    /// In the long run; 0 for no limit.
    pub(crate) per_second: u32,
    /// At once.
    pub(crate) burst: u32,
}

/// One token, in the unit of [`Bucket`].
const TOKEN: u64 = 1_000;

/// What may happen now, in thousandths.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bucket {
    tokens: u64,
    at_ms: u64,
}

impl Bucket {
    /// One from which a whole burst may be taken.
    pub(crate) const fn full(rate: Rate, now_ms: u64) -> Self {
        Self { tokens: rate.burst as u64 * TOKEN, at_ms: now_ms }
    }

    /// Takes one token.
    ///
    /// # Errors
    /// If there is none; says in how many milliseconds there will be one.
    pub(crate) fn take(&mut self, rate: Rate, now_ms: u64) -> Result<(), u64> {
        let per_second = u64::from(rate.per_second);
        if per_second == 0 {
            return Ok(());
        }
        // A thousandth of a token per millisecond and per token a second.
        let earned = now_ms.saturating_sub(self.at_ms).saturating_mul(per_second);
        self.tokens = self.tokens.saturating_add(earned).min(u64::from(rate.burst) * TOKEN);
        self.at_ms = self.at_ms.max(now_ms);
        if self.tokens >= TOKEN {
            self.tokens -= TOKEN;
            return Ok(());
        }
        Err((TOKEN - self.tokens).div_ceil(per_second))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 10, burst: 3 };

    #[test]
    fn a_burst_and_then_the_rate() {
        let mut bucket = Bucket::full(RATE, 1_000);
        let mut take = |at| bucket.take(RATE, at);
        assert_eq!([take(1_000), take(1_000), take(1_000)], [Ok(()); 3]);
        assert_eq!(take(1_000), Err(100));
        assert_eq!(take(1_040), Err(60));
        assert_eq!(take(1_100), Ok(()));
        assert_eq!(take(1_101), Err(99));
        // A long pause earns no more than a burst.
        assert_eq!([take(90_000), take(90_000), take(90_000)], [Ok(()); 3]);
        assert!(take(90_000).is_err());
    }

    #[test]
    fn no_rate_is_no_limit() {
        let rate = Rate { per_second: 0, burst: 0 };
        let mut bucket = Bucket::full(rate, 0);
        assert!((0..1_000).all(|_| bucket.take(rate, 0).is_ok()));
    }

    proptest::proptest! {
        /// Whatever the times, also backwards: never more than a burst and what the time earned.
        #[test]
        fn never_more_than_earned(
            times in proptest::collection::vec(0_u64..5_000, 1..200),
            per_second in 1_u32..50,
            burst in 1_u32..20,
        ) {
            let rate = Rate { per_second, burst };
            let mut bucket = Bucket::full(rate, 0);
            let taken = times.iter().filter(|at| bucket.take(rate, **at).is_ok()).count() as u64;
            let latest = times.iter().max().copied().unwrap_or(0);
            let most = u64::from(burst) + latest * u64::from(per_second) / 1_000;
            proptest::prop_assert!(taken <= most);
        }
    }
}
