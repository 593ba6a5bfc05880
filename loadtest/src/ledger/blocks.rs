//! Intervals of percentiles. Samples within one wave or one second queue behind each other and
//! are not independent, so whole blocks are resampled. A block is kept as few counts, 1.6 % wide.
//! Pure; the seed is fixed, so the same blocks always give the same interval.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::model::Interval;

const RESAMPLES: usize = 400;
const SEED: u64 = 0xCA3B_A7A0;
/// Below this many an interval would pretend to know more than the extremes say.
const BLOCKS_MIN: usize = 5;
/// Above this many, neighbours are joined: a longer block only makes the interval more careful.
const BLOCKS_MAX: usize = 200;
/// Buckets for all of `u32` microseconds.
const BUCKETS: usize = 27 * 64;

/// One block: bucket and count, growing.
#[derive(Clone, Debug, Default)]
struct Block(Vec<(u16, u32)>);

/// The blocks of a step, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Blocks {
    blocks: Vec<Block>,
    /// Blocks that come into one.
    joined: usize,
    pending: usize,
}

impl Blocks {
    /// Adds a block of values in microseconds with their counts; an empty one says nothing.
    pub fn push(&mut self, values: impl Iterator<Item = (u64, u64)>) {
        let mut dense = std::collections::BTreeMap::<u16, u32>::new();
        for (us, count) in values {
            let counted = dense.entry(bucket(us)).or_default();
            *counted = counted.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
        }
        if dense.is_empty() {
            return;
        }
        let fresh = Block(dense.into_iter().collect());
        match self.blocks.last_mut() {
            Some(last) if self.pending > 0 => {
                *last = join(last, &fresh);
                self.pending -= 1;
            }
            _ => {
                self.blocks.push(fresh);
                self.pending = self.joined;
            }
        }
        if self.blocks.len() > BLOCKS_MAX {
            self.blocks = self
                .blocks
                .chunks(2)
                .map(|pair| pair.iter().skip(1).fold(pair[0].clone(), |sum, next| join(&sum, next)))
                .collect();
            self.joined = self.joined * 2 + 1;
            self.pending = self.joined;
        }
    }

    /// The 95 % interval of a quantile over the blocks; nothing if there are too few.
    pub fn interval(&self, quantile: f64) -> Option<Interval> {
        if self.blocks.len() < BLOCKS_MIN {
            return None;
        }
        let mut random = StdRng::seed_from_u64(SEED);
        let mut values: Vec<u64> =
            (0..RESAMPLES).map(|_| self.resampled(quantile, &mut random)).collect();
        values.sort_unstable();
        let edge = RESAMPLES / 40;
        let ms = |us: u64| us as f64 / 1e3;
        Some(Interval { low: ms(values[edge]), high: ms(values[RESAMPLES - 1 - edge]) })
    }

    fn resampled(&self, quantile: f64, random: &mut StdRng) -> u64 {
        let mut counts = [0_u64; BUCKETS];
        let mut total = 0;
        for _ in 0..self.blocks.len() {
            for (bucket, count) in &self.blocks[random.random_range(0..self.blocks.len())].0 {
                counts[usize::from(*bucket)] += u64::from(*count);
                total += u64::from(*count);
            }
        }
        let rank = ((quantile * total as f64).ceil() as u64).max(1);
        let mut seen = 0;
        let found = counts.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        middle(found.unwrap_or(BUCKETS - 1))
    }
}

fn join(one: &Block, other: &Block) -> Block {
    let mut sum: std::collections::BTreeMap<u16, u32> = one.0.iter().copied().collect();
    for (bucket, count) in &other.0 {
        let counted = sum.entry(*bucket).or_default();
        *counted = counted.saturating_add(*count);
    }
    Block(sum.into_iter().collect())
}

/// Exact below 128 µs, 64 buckets for each doubling above.
fn bucket(us: u64) -> u16 {
    let us = u32::try_from(us).unwrap_or(u32::MAX);
    let shift = (32 - us.leading_zeros()).saturating_sub(7);
    u16::try_from(shift * 64 + (us >> shift)).unwrap_or(u16::MAX)
}

fn middle(bucket: usize) -> u64 {
    let shift = (bucket / 64).saturating_sub(1);
    let low = ((bucket - shift * 64) as u64) << shift;
    low + (1 << shift) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_narrow_and_in_order() {
        for us in (0..20_000_u64).chain((20_000..u64::from(u32::MAX)).step_by(9_999_991)) {
            let back = middle(usize::from(bucket(us)));
            assert!(back.abs_diff(us) as f64 <= us as f64 * 0.016, "{us} {back}");
            assert!(bucket(us) <= bucket(us + 1));
        }
        assert!(usize::from(bucket(u64::MAX)) < BUCKETS);
    }

    #[test]
    fn the_interval_tells_how_blocks_differ() {
        let mut blocks = Blocks::default();
        for block in 1..=1_000_u64 {
            blocks.push([(block % 20 * 1_000 + 1_000, 10)].into_iter());
            assert!(blocks.blocks.len() <= BLOCKS_MAX);
            if block <= 5 {
                assert_eq!(blocks.interval(0.5).is_some(), block == 5);
            }
        }
        let interval = blocks.interval(0.5).unwrap();
        assert!(
            interval.low > 6.0 && interval.low <= interval.high && interval.high < 15.0,
            "{interval:?}"
        );
        assert_eq!(blocks.interval(0.5), Some(interval), "the seed is fixed");
    }
}
