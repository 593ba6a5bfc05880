//! When each notification is meant to be sent, and to whom: fixed by the seed before the first
//! one is, so that nothing the platform does can move it. Pure; yields one intended send after
//! the other, so that a day of arrivals needs no memory.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::agent::part::Part;
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

/// To whom open load may go.
#[derive(Clone, Copy, Debug)]
pub struct Whom {
    pub seed: u64,
    /// Recipients of the whole run.
    pub recipients: u32,
    pub fan_out: u32,
}

/// One arrival of open load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intended {
    /// Number in the run, whoever sends it.
    pub number: u64,
    /// Since the step began.
    pub at_ns: u64,
    /// First recipient, among those of the generator that sends it.
    pub recipient: u32,
}

/// The arrivals of one generator. Each generator walks through the whole schedule and keeps what
/// its recipients get, so that all of them together send what one alone would have sent, at the
/// same moments and, where a notification has one recipient, to the same people. Those of a
/// fan-out are all one generator's.
#[derive(Clone, Debug)]
pub struct Share {
    schedule: Schedule,
    part: Part,
    whom: Whom,
    end_ns: u64,
    next: u64,
    over: bool,
}

impl Share {
    /// Arrivals before `end_ns`, of which the first has this number in the run.
    pub fn new(schedule: Schedule, part: Part, whom: Whom, first: u64, end_ns: u64) -> Self {
        Self { schedule, part, whom, end_ns, next: first, over: false }
    }

    /// The number after those that were given out or passed over.
    pub fn next_number(&self) -> u64 {
        self.next
    }

    /// Where an arrival goes, if it is this generator's.
    fn place(&self, number: u64) -> Option<u32> {
        let Whom { seed, recipients, fan_out } = self.whom;
        let places = |all: u32| all.saturating_sub(fan_out).saturating_add(1);
        if self.part == Part::WHOLE {
            return Some(recipient(seed, number, places(recipients)));
        }
        let whole = recipient(seed, number, recipients);
        let own = places(self.part.count(recipients));
        self.part.owns(whole).then(|| self.part.place(whole) % own)
    }
}

impl Iterator for Share {
    type Item = Intended;

    fn next(&mut self) -> Option<Intended> {
        while !self.over {
            let at_ns = self.schedule.advance();
            if at_ns >= self.end_ns {
                self.over = true;
                break;
            }
            let number = self.next;
            self.next += 1;
            if let Some(recipient) = self.place(number) {
                return Some(Intended { number, at_ns, recipient });
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn several_generators_send_together_what_one_alone_would(
            seed: u64,
            of in 2_u32..9,
            recipients in 9_u32..400,
            first in 0_u64..1 << 20,
            poisson: bool,
        ) {
            let arrivals = if poisson { Arrivals::Poisson } else { Arrivals::Constant };
            let share = |part, fan_out| {
                let whom = Whom { seed, recipients, fan_out };
                Share::new(Schedule::new(arrivals, 500.0, seed), part, whom, first, 2_000_000_000)
            };
            let mut alone = share(Part::WHOLE, 1);
            let expected: Vec<Intended> = alone.by_ref().collect();
            let mut union: Vec<Intended> = Vec::new();
            for index in 0..of {
                let part = Part { index, of };
                let mut own = share(part, 1);
                // By the number of the recipient in the whole run.
                union.extend(own.by_ref().map(|one| Intended {
                    recipient: u32::try_from(part.number(one.recipient as usize)).unwrap(),
                    ..one
                }));
                prop_assert_eq!(own.next_number(), alone.next_number());
            }
            union.sort_by_key(|one| one.number);
            prop_assert_eq!(&union, &expected);
            // A fan-out moves nothing in time, and stays among one generator's recipients.
            let mut fans: Vec<(u64, u64)> = Vec::new();
            for index in 0..of {
                let part = Part { index, of };
                let fan_out = part.count(recipients).min(3);
                for one in share(part, fan_out) {
                    prop_assert!(one.recipient + fan_out <= part.count(recipients));
                    fans.push((one.number, one.at_ns));
                }
            }
            fans.sort_unstable();
            let moments: Vec<(u64, u64)> =
                expected.iter().map(|one| (one.number, one.at_ns)).collect();
            prop_assert_eq!(fans, moments);
        }
    }

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
