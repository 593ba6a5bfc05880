//! When each notification is meant to be sent, and to whom: fixed by the seed before the first
//! one is, so that nothing the platform does can move it. Pure; yields one intended send after
//! the other, so that a day of arrivals needs no memory.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::scenario::Arrivals;

const NS_PER_S: f64 = 1e9;

/// Intended sends as nanoseconds since the step began, never falling.
#[derive(Clone, Debug)]
pub struct Schedule {
    interval_ns: f64,
    arrivals: Arrivals,
    random: StdRng,
    /// Arrivals given out so far.
    count: u64,
    /// The Poisson process's clock.
    elapsed_ns: f64,
}

impl Schedule {
    /// Arrivals at a mean rate; the rate must be positive.
    pub fn new(arrivals: Arrivals, rate_per_s: f64, seed: u64) -> Self {
        Self {
            interval_ns: NS_PER_S / rate_per_s,
            arrivals,
            random: StdRng::seed_from_u64(seed),
            count: 0,
            elapsed_ns: 0.0,
        }
    }

    fn advance(&mut self) -> u64 {
        let at_ns = match self.arrivals {
            // From the count and not from the arrival before: rounding never adds up.
            Arrivals::Constant => self.count as f64 * self.interval_ns,
            Arrivals::Poisson => {
                // 1 - u lies in (0, 1], whose logarithm is finite.
                let u: f64 = self.random.random();
                self.elapsed_ns -= (1.0 - u).ln() * self.interval_ns;
                self.elapsed_ns
            }
        };
        self.count += 1;
        at_ns as u64
    }
}

impl Iterator for Schedule {
    type Item = u64;

    /// The next intended send; there is always one.
    fn next(&mut self) -> Option<u64> {
        Some(self.advance())
    }
}

/// The first recipient of an arrival of open load: evenly spread, the same for one seed, and
/// without memory of who came before.
pub fn recipient(seed: u64, slot: u64, recipients: u32) -> u32 {
    // SplitMix64's finaliser: consecutive slots fall far apart.
    let mut mixed = seed ^ slot.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;
    u32::try_from(mixed % u64::from(recipients.max(1))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constant_arrivals_keep_their_rate_for_ever() {
        let schedule = Schedule::new(Arrivals::Constant, 3.0, 1);
        let tenth_hour: u64 = schedule.clone().nth(3 * 3_600 * 10).unwrap_or_default();
        assert_eq!(tenth_hour, 36_000 * 1_000_000_000);
        let first: Vec<u64> = schedule.take(4).collect();
        assert_eq!(first, [0, 333_333_333, 666_666_666, 1_000_000_000]);
    }

    #[test]
    fn poisson_arrivals_have_the_rate_and_the_spread_of_poisson() {
        let rate = 1_000.0;
        let all: Vec<u64> = Schedule::new(Arrivals::Poisson, rate, 7).take(200_000).collect();
        assert!(all.is_sorted());
        let seconds = *all.last().unwrap_or(&0) as f64 / NS_PER_S;
        let found = all.len() as f64 / seconds;
        assert!((found / rate - 1.0).abs() < 0.01, "{found}");
        // The standard deviation of exponential gaps equals their mean.
        let gaps: Vec<f64> = all.windows(2).map(|pair| (pair[1] - pair[0]) as f64).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.02, "{}", variance.sqrt() / mean);
    }

    #[test]
    fn a_seed_repeats_and_a_pause_changes_nothing() {
        let at_once: Vec<u64> = Schedule::new(Arrivals::Poisson, 50.0, 3).take(100).collect();
        let mut parts = Schedule::new(Arrivals::Poisson, 50.0, 3);
        let mut chunked: Vec<u64> = parts.by_ref().take(33).collect();
        chunked.extend(parts.take(67));
        assert_eq!(at_once, chunked);
        let other: Vec<u64> = Schedule::new(Arrivals::Poisson, 50.0, 4).take(100).collect();
        assert_ne!(at_once, other);
    }

    #[test]
    fn recipients_are_spread_evenly() {
        let mut counts = [0_u32; 10];
        for slot in 0..100_000 {
            counts[recipient(9, slot, 10) as usize] += 1;
        }
        assert!(counts.iter().all(|count| count.abs_diff(10_000) < 500), "{counts:?}");
        assert_eq!(recipient(9, 5, 1), 0);
    }
}
