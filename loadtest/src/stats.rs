//! Percentiles, intervals and bounds. Pure. Percentiles of waves are never averaged: samples are
//! pooled, and the uncertainty comes from resampling whole waves, because the notifications of
//! one wave queue behind each other and are not independent.

use hdrhistogram::Histogram;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

/// Largest latency that the histogram can tell apart: ten minutes.
const LATENCY_US_MAX: u64 = 600_000_000;
const SIGNIFICANT_DIGITS: u8 = 3;
const RESAMPLES: usize = 400;
/// Fixed, so that the same samples always give the same interval.
const SEED: u64 = 0xCA3B_A7A0;
/// Below this many waves an interval would pretend to know more than the extremes say.
const WAVES_FOR_INTERVAL: usize = 5;

/// The usual percentiles in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
    pub mean: f64,
}

/// A range around a percentile over the repeats, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    pub low: f64,
    pub high: f64,
}

/// How the spread was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpreadKind {
    /// 95 % bootstrap interval over waves.
    Bootstrap95,
    /// Lowest and highest wave, when there are too few for an interval.
    #[default]
    Extremes,
}

/// A histogram in microseconds with three significant digits.
pub fn histogram(samples_ns: impl IntoIterator<Item = u64>) -> Histogram<u64> {
    let mut histogram = Histogram::new_with_bounds(1, LATENCY_US_MAX, SIGNIFICANT_DIGITS)
        .expect("bounds are constants that hdrhistogram accepts");
    for sample in samples_ns {
        histogram.saturating_record((sample + 500) / 1_000);
    }
    histogram
}

/// Summarises a histogram; all zero when nothing was recorded.
pub fn percentiles(histogram: &Histogram<u64>) -> Percentiles {
    let at = |quantile| us_to_ms(histogram.value_at_quantile(quantile));
    Percentiles {
        p50: at(0.5),
        p90: at(0.9),
        p99: at(0.99),
        p999: at(0.999),
        max: us_to_ms(histogram.max()),
        mean: round3(histogram.mean() / 1_000.0),
    }
}

/// The percentile curve, dense towards the tail: (quantile, milliseconds).
pub fn curve(histogram: &Histogram<u64>) -> Vec<(f64, f64)> {
    if histogram.is_empty() {
        return Vec::new();
    }
    let mut points = vec![(0.0, us_to_ms(histogram.min()))];
    let resolution = 1.0 / histogram.len() as f64;
    let mut rest = 1.0;
    // Eight points for each halving would be more than a picture can show; ten for each tenth
    // of the tail draws a smooth line down to the last sample.
    while rest > resolution {
        rest *= 0.794_328_234_724_281_5;
        let quantile = 1.0 - rest;
        points.push((round6(quantile), us_to_ms(histogram.value_at_quantile(quantile))));
    }
    points
}

/// Where a percentile of the pooled samples probably lies, given how waves differ.
pub fn spread(waves_ns: &[&[u64]], quantile: f64) -> (Spread, SpreadKind) {
    let waves: Vec<&[u64]> = waves_ns.iter().copied().filter(|wave| !wave.is_empty()).collect();
    if waves.is_empty() {
        return (Spread::default(), SpreadKind::Extremes);
    }
    let enough = waves.len() >= WAVES_FOR_INTERVAL;
    let mut values: Vec<u64> = if enough {
        let mut random = StdRng::seed_from_u64(SEED);
        (0..RESAMPLES).map(|_| resampled(&waves, quantile, &mut random)).collect()
    } else {
        waves.iter().map(|wave| quantile_of(wave.to_vec(), quantile)).collect()
    };
    values.sort_unstable();
    let (low, high, kind) = if enough {
        let edge = RESAMPLES / 40;
        (values[edge], values[RESAMPLES - 1 - edge], SpreadKind::Bootstrap95)
    } else {
        (values[0], values[values.len() - 1], SpreadKind::Extremes)
    };
    (Spread { low: ns_to_ms(low), high: ns_to_ms(high) }, kind)
}

fn resampled(waves: &[&[u64]], quantile: f64, random: &mut StdRng) -> u64 {
    let mut pool = Vec::with_capacity(waves.iter().map(|wave| wave.len()).sum());
    for _ in 0..waves.len() {
        pool.extend_from_slice(waves[random.random_range(0..waves.len())]);
    }
    quantile_of(pool, quantile)
}

/// Nearest-rank quantile of a non-empty sample.
fn quantile_of(mut samples: Vec<u64>, quantile: f64) -> u64 {
    let rank = (quantile * samples.len() as f64).ceil().max(1.0) as usize - 1;
    let place = rank.min(samples.len() - 1);
    *samples.select_nth_unstable(place).1
}

/// One-sided 95 % upper bound of the failure rate after `failures` in `trials`: exact for none
/// (about 3/n), Wilson's otherwise. 1 when nothing was tried.
pub fn failure_upper_bound_95(failures: u64, trials: u64) -> f64 {
    if trials == 0 {
        return 1.0;
    }
    let n = trials as f64;
    if failures == 0 {
        return 1.0 - 0.05_f64.powf(1.0 / n);
    }
    const Z: f64 = 1.644_853_626_951_472_7;
    let rate = failures as f64 / n;
    let centre = rate + Z * Z / (2.0 * n);
    let half = Z * (rate * (1.0 - rate) / n + Z * Z / (4.0 * n * n)).sqrt();
    ((centre + half) / (1.0 + Z * Z / n)).min(1.0)
}

/// Median of a list; 0 for an empty one.
pub fn median_ns(values: &[u64]) -> u64 {
    if values.is_empty() { 0 } else { quantile_of(values.to_vec(), 0.5) }
}

/// Nanoseconds to milliseconds with three decimals.
pub fn ns_to_ms(ns: u64) -> f64 {
    round3(ns as f64 / 1e6)
}

fn us_to_ms(us: u64) -> f64 {
    us as f64 / 1_000.0
}

/// Three decimals: what a microsecond histogram can say in milliseconds.
pub fn round3(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// Six decimals.
fn round6(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(left: f64, right: f64, tolerance: f64) -> bool {
        (left - right).abs() <= tolerance
    }

    #[test]
    fn percentiles_of_a_ramp() {
        let summary = percentiles(&histogram((1..=1_000).map(|ms| ms * 1_000_000)));
        assert!(close(summary.p50, 500.0, 0.5), "{summary:?}");
        assert!(close(summary.p99, 990.0, 1.0));
        assert!(close(summary.p999, 999.0, 1.0));
        assert!(close(summary.max, 1_000.0, 1.0));
        assert!(close(summary.mean, 500.5, 0.5));
    }

    #[test]
    fn nothing_recorded_is_all_zero() {
        let empty = histogram([]);
        assert_eq!(percentiles(&empty), Percentiles::default());
        assert!(curve(&empty).is_empty());
        assert_eq!(spread(&[], 0.5).0, Spread::default());
        assert_eq!(median_ns(&[]), 0);
    }

    #[test]
    fn sub_millisecond_values_keep_their_microseconds() {
        let summary = percentiles(&histogram([123_456, 123_456]));
        assert!(close(summary.p50, 0.123, 0.000_6), "{summary:?}");
    }

    #[test]
    fn the_curve_rises_and_ends_in_the_tail() {
        let points = curve(&histogram((1..=10_000).map(|us| us * 1_000)));
        assert!(points.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1));
        assert!(points.last().unwrap().0 > 0.9998);
    }

    #[test]
    fn few_waves_show_extremes_and_many_an_interval() {
        let waves: Vec<Vec<u64>> = (1..=20).map(|n| vec![n * 1_000_000; 10]).collect();
        let slices: Vec<&[u64]> = waves.iter().map(Vec::as_slice).collect();
        let (few, kind) = spread(&slices[..3], 0.5);
        assert_eq!((few.low, few.high, kind), (1.0, 3.0, SpreadKind::Extremes));
        let (many, kind) = spread(&slices, 0.5);
        assert_eq!(kind, SpreadKind::Bootstrap95);
        assert!(many.low > 1.0 && many.low < 10.5 && many.high > 10.5 && many.high < 20.0);
        assert_eq!(spread(&slices, 0.5).0, many, "the seed is fixed");
    }

    #[test]
    fn bounds_of_the_failure_rate() {
        assert!(close(failure_upper_bound_95(0, 500), 0.005_97, 1e-4));
        assert!(close(failure_upper_bound_95(0, 50_000), 0.000_06, 1e-6));
        assert!(failure_upper_bound_95(5, 500) > 0.01);
        assert!(close(failure_upper_bound_95(10, 10), 1.0, 1e-9));
        assert!(close(failure_upper_bound_95(0, 0), 1.0, 1e-9));
    }
}
