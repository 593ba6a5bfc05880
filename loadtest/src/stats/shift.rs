//! The quantile shift: by how much each quantile moved from one group of runs to another, with its
//! interval (Doksum's shift function, over runs). Pure.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::bootstrap::{median, two_sided};
use crate::model::Interval;

/// Where the two are compared: the body in steps, the tail in nines.
pub const QUANTILES: [f64; 9] = [0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999];

/// One quantile.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Shift {
    pub quantile: f64,
    /// Medians over runs, milliseconds.
    pub a_ms: f64,
    pub b_ms: f64,
    /// b ÷ a, and its 95 % interval over runs.
    pub ratio: f64,
    pub interval: Interval,
}

/// The shift of every quantile that each run has enough samples for; empty with fewer than two runs
/// a side.
pub fn shifts(a: &[Histogram<u64>], b: &[Histogram<u64>]) -> Vec<Shift> {
    let fewest = a.iter().chain(b).map(Histogram::len).min().unwrap_or(0);
    if a.len() < 2 || b.len() < 2 {
        return Vec::new();
    }
    QUANTILES
        .into_iter()
        // Ten samples beyond a quantile are the least that makes it more than the maximum.
        .filter(|quantile| (1.0 - quantile) * fewest as f64 >= 10.0)
        .filter_map(|quantile| {
            let of = |runs: &[Histogram<u64>]| -> Vec<f64> {
                runs.iter().map(|run| run.value_at_quantile(quantile) as f64 / 1e6).collect()
            };
            let (left, right) = (of(a), of(b));
            let ratio = |left: &[f64], right: &[f64]| median(right) / median(left);
            let (a_ms, b_ms) = (median(&left), median(&right));
            (a_ms > 0.0).then(|| Shift {
                quantile,
                a_ms,
                b_ms,
                ratio: b_ms / a_ms,
                interval: two_sided(&left, &right, ratio),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(scale: u64, tail: u64) -> Histogram<u64> {
        let mut times = crate::model::histogram();
        for i in 1..=2_000_u64 {
            let value = if i > 1_960 { i * scale * tail } else { i * scale };
            times.record(value * 1_000).unwrap();
        }
        times
    }

    #[test]
    fn a_longer_tail_moves_the_tail_alone() {
        let a: Vec<_> = (0..5).map(|_| run(10, 1)).collect();
        let b: Vec<_> = (0..5).map(|_| run(10, 3)).collect();
        let found = shifts(&a, &b);
        assert_eq!(found.len(), 8, "p99.9 of 2,000 has too few samples beyond it");
        let at = |quantile: f64| found.iter().find(|shift| shift.quantile == quantile).unwrap();
        assert!((at(0.5).ratio - 1.0).abs() < 0.01);
        assert!((at(0.99).ratio - 3.0).abs() < 0.1, "{:?}", at(0.99));
        assert!(shifts(&a[..1], &b).is_empty());
    }
}
