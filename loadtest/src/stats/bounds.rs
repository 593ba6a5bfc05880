//! What a number of trials proves: bounds of a failure rate, and between which samples a percentile
//! lies. Pure. Exact (binomial) where textbooks often approximate, because the interesting counts
//! are zero and one. Order statistics assume independent samples, which notifications that queue
//! behind each other are not: where there are repeats, `bootstrap` says more.

use hdrhistogram::Histogram;
use statrs::function::beta::beta_reg;

/// Halvings until a double cannot tell the two ends apart.
const HALVINGS: usize = 64;

/// One-sided 95 % upper bound of the failure rate after `failures` in `trials` (Clopper and Pearson
/// 1934): about 3/n for none. 1 when nothing was tried.
pub fn failure_upper_bound_95(failures: u64, trials: u64) -> f64 {
    if failures >= trials {
        return 1.0;
    }
    if failures == 0 {
        return 1.0 - 0.05_f64.powf(1.0 / trials as f64);
    }
    // P(at most `failures` in `trials`) falls from 1 to 0 as the rate grows.
    let (mut low, mut high) = (failures as f64 / trials as f64, 1.0);
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if at_most(failures, trials, middle) > 0.05 { low = middle } else { high = middle }
    }
    high
}

/// Between which samples (counted from 1, sorted) a quantile lies with at least 95 % probability;
/// nothing if so few samples cannot enclose it.
pub fn quantile_ranks(samples: u64, quantile: f64) -> Option<(u64, u64)> {
    if samples < 2 || !(quantile > 0.0 && quantile < 1.0) {
        return None;
    }
    let low = smallest(samples, |rank| at_most(rank, samples, quantile) >= 0.025);
    let high = smallest(samples, |rank| at_most(rank, samples, quantile) >= 0.975) + 1;
    (low >= 1 && high <= samples).then_some((low, high))
}

/// The same as values of a histogram, in its unit.
pub fn quantile_interval(histogram: &Histogram<u64>, quantile: f64) -> Option<(u64, u64)> {
    let (low, high) = quantile_ranks(histogram.len(), quantile)?;
    // A rank is a whole number of samples; half a sample less keeps rounding from the next one.
    let at = |rank: u64| histogram.value_at_quantile((rank as f64 - 0.5) / histogram.len() as f64);
    Some((at(low), at(high)))
}

/// P(X ≤ `count`) for X binomial.
fn at_most(count: u64, trials: u64, rate: f64) -> f64 {
    if count >= trials || rate <= 0.0 {
        return 1.0;
    }
    if rate >= 1.0 {
        return 0.0;
    }
    beta_reg((trials - count) as f64, (count + 1) as f64, 1.0 - rate)
}

/// The smallest number up to `end` for which a condition that stays true once true is true.
fn smallest(end: u64, holds: impl Fn(u64) -> bool) -> u64 {
    let (mut low, mut high) = (0, end);
    while low < high {
        let middle = u64::midpoint(low, high);
        if holds(middle) { high = middle } else { low = middle + 1 }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    /// scipy 1.17.1: `beta.ppf(0.95, k + 1, n - k)`.
    #[test]
    fn bounds_of_a_failure_rate_are_those_of_scipy() {
        for (failures, trials, bound) in [
            (0, 500, 0.005_973_551_516),
            (1, 500, 0.009_452_282_208),
            (5, 500, 0.020_910_322_943),
            (12, 50_000, 0.000_388_822_446),
            (499, 500, 0.999_897_418_673),
        ] {
            let found = failure_upper_bound_95(failures, trials);
            assert!((found - bound).abs() < 1e-9, "{failures} of {trials}: {found}");
        }
        assert!((failure_upper_bound_95(10, 10) - 1.0).abs() < 1e-12);
        assert!((failure_upper_bound_95(0, 0) - 1.0).abs() < 1e-12);
        // The rule of three.
        assert!((failure_upper_bound_95(0, 50_000) - 3.0 / 50_000.0).abs() < 1e-7);
    }

    /// scipy 1.17.1: `binom.ppf(0.025, n, q)` and `binom.ppf(0.975, n, q) + 1`.
    #[test]
    fn ranks_around_a_quantile_are_those_of_scipy() {
        assert_eq!(quantile_ranks(100, 0.5), Some((40, 61)));
        assert_eq!(quantile_ranks(1_000, 0.99), Some((983, 997)));
        assert_eq!(quantile_ranks(10_000, 0.99), Some((9_880, 9_920)));
        assert_eq!(quantile_ranks(500, 0.99), Some((490, 500)));
        assert_eq!(quantile_ranks(50, 0.5), Some((18, 33)));
        assert_eq!(quantile_ranks(100, 0.99), None, "the 101st of 100 samples does not exist");
        assert_eq!(quantile_ranks(0, 0.5), None);
        assert_eq!(quantile_ranks(9, f64::NAN), None);
    }

    #[test]
    fn an_interval_of_a_histogram_names_its_samples() {
        let mut times = Histogram::<u64>::new(4).unwrap();
        for value in 1..=1_000 {
            times.record(value).unwrap();
        }
        assert_eq!(quantile_interval(&times, 0.99), Some((983, 997)));
        assert_eq!(quantile_interval(&Histogram::<u64>::new(3).unwrap(), 0.5), None);
    }
}
