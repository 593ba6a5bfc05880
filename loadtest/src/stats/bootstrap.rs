//! Intervals by resampling (Efron 1979, percentile method). Pure and seeded: the same figures always
//! give the same interval. What is resampled must be what varies by itself: whole runs here, whole waves
//! and seconds in the ledger; never single notifications, which queue behind each other.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::model::Interval;

/// Enough for the 2.5 % and the 97.5 % point to stand still in the second digit.
const RESAMPLES: usize = 1_000;
const SEED: u64 = 0xCA3B_A7A0;

/// 95 % interval of a statistic of two independent lists of figures, one figure per run.
pub fn two_sided(a: &[f64], b: &[f64], statistic: impl Fn(&[f64], &[f64]) -> f64) -> Interval {
    let mut random = StdRng::seed_from_u64(SEED);
    let (mut left, mut right) = (a.to_vec(), b.to_vec());
    let values = (0..RESAMPLES).map(|_| {
        redraw(a, &mut left, &mut random);
        redraw(b, &mut right, &mut random);
        statistic(&left, &right)
    });
    middle_95(values.collect())
}

/// Middle value of a list; not a number for an empty one.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        count if count.is_multiple_of(2) => f64::midpoint(sorted[count / 2 - 1], sorted[count / 2]),
        count => sorted[count / 2],
    }
}

/// Draws with replacement.
pub(super) fn redraw(from: &[f64], into: &mut [f64], random: &mut StdRng) {
    if from.is_empty() {
        return;
    }
    for place in into {
        *place = from[random.random_range(0..from.len())];
    }
}

/// The range that leaves out 2.5 % of the values on each side; values that are no number are left out.
pub(super) fn middle_95(mut values: Vec<f64>) -> Interval {
    values.retain(|value| value.is_finite());
    values.sort_by(f64::total_cmp);
    let Some(last) = values.len().checked_sub(1) else {
        return Interval { low: f64::NAN, high: f64::NAN };
    };
    let at = |share: f64| values[(share * last as f64).round() as usize];
    Interval { low: at(0.025), high: at(0.975) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-12);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-12);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn the_interval_of_a_ratio_covers_it_and_is_the_same_each_time() {
        let a: Vec<f64> = (0..9).map(|i| 100.0 + f64::from(i)).collect();
        let b: Vec<f64> = a.iter().map(|value| value * 1.2).collect();
        let ratio = |a: &[f64], b: &[f64]| median(b) / median(a);
        let found = two_sided(&a, &b, ratio);
        assert!(found.low < 1.2 && found.high > 1.2, "{found:?}");
        assert!(found.low > 1.1 && found.high < 1.3, "{found:?}");
        assert_eq!(found, two_sided(&a, &b, ratio));
    }

    /// How often the interval of a median covers the true one, for samples of 21 from an
    /// exponential distribution: the textbook's 95 %, less a little for the small sample.
    #[test]
    fn intervals_cover_the_truth_about_as_often_as_they_say() {
        let mut random = StdRng::seed_from_u64(7);
        let truth = 2.0_f64.ln();
        let covered = (0..200)
            .filter(|_| {
                let sample: Vec<f64> =
                    (0..21).map(|_| -(1.0 - random.random::<f64>()).ln()).collect();
                let found = two_sided(&sample, &[], |sample, _| median(sample));
                found.low <= truth && truth <= found.high
            })
            .count();
        assert!((180..=199).contains(&covered), "{covered} of 200");
    }
}
